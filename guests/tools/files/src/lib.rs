//! The tools `read_file`, `write_file`, `list_dir` and `search_files` on the mounted directories.
//!
//! They only put requests and answers into words: which paths exist and which are refused is the service's to say.

use glasshouse_guest::{ErrorData, files, protocol::EntryKind, tools};
use serde::Deserialize;

/// The arguments of [`read_file`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// Relative to the mounts.
    pub path: String,
}

/// The arguments of [`write_file`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// Relative to the mounts.
    pub path: String,
    /// The whole new content.
    pub content: String,
}

/// The arguments of [`list_dir`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListDirectory {
    /// Relative to the mounts; the root when absent.
    #[serde(default = "root")]
    pub path: String,
}

/// The arguments of [`search_files`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchFiles {
    /// The text to look for.
    pub query: String,
    /// The directory to search below; the root when absent.
    #[serde(default = "root")]
    pub path: String,
}

fn root() -> String {
    ".".to_owned()
}

/// The text of a file, with a last line that says so when it is not all of it.
///
/// # Errors
///
/// The service's.
pub async fn read_file(arguments: ReadFile) -> Result<String, ErrorData> {
    let file = files::read(arguments.path).await?;
    let mut text = file.content;
    if file.truncated {
        text.push_str(&format!("\n…[truncated: {} of {} bytes]", text.len(), file.bytes));
    }
    Ok(text)
}

/// Writes a file and says how much was written.
///
/// # Errors
///
/// The service's.
pub async fn write_file(arguments: WriteFile) -> Result<String, ErrorData> {
    let written = files::write(arguments.path.as_str(), arguments.content).await?;
    Ok(format!("wrote {} bytes to {}", written.bytes, arguments.path))
}

/// The entries of a directory, one a line; directories end in `/`.
///
/// # Errors
///
/// The service's.
pub async fn list_dir(arguments: ListDirectory) -> Result<String, ErrorData> {
    let entries = files::list(arguments.path).await?;
    let lines = entries.into_iter().map(|entry| match entry.kind {
        EntryKind::Directory => entry.name + "/",
        EntryKind::File | EntryKind::Other => entry.name,
    });
    Ok(lines_or(lines, "(empty)"))
}

/// The lines that contain a text, each as `path:line: text`.
///
/// # Errors
///
/// `empty_query`, and the service's.
pub async fn search_files(arguments: SearchFiles) -> Result<String, ErrorData> {
    if arguments.query.trim().is_empty() {
        return Err(ErrorData::new("empty_query", "the text to search for is empty"));
    }
    let found = files::search(arguments.query, arguments.path).await?;
    let lines = found
        .matches
        .into_iter()
        .map(|found| format!("{}:{}: {}", found.path, found.line, found.text.trim()));
    let mut text = lines_or(lines, "no matches");
    if found.truncated {
        text.push_str("\n…[truncated: there are more matches]");
    }
    Ok(text)
}

fn lines_or(lines: impl Iterator<Item = String>, none: &str) -> String {
    let text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() { none.to_owned() } else { text }
}

tools! {
    read_file {
        description: "Reads a text file.",
        parameters: r#"{"type":"object","properties":{"path":{"type":"string","description":"The file, such as notes/today.txt"}},"required":["path"],"additionalProperties":false}"#,
        services: ["files"],
    }
    write_file {
        description: "Creates or replaces a text file.",
        parameters: r#"{"type":"object","properties":{"path":{"type":"string","description":"The file, such as notes/today.txt"},"content":{"type":"string","description":"The whole new content"}},"required":["path","content"],"additionalProperties":false}"#,
        services: ["files"],
    }
    list_dir {
        description: "Lists the files and folders in a folder.",
        parameters: r#"{"type":"object","properties":{"path":{"type":"string","description":"The folder; . is the top one"}},"required":["path"],"additionalProperties":false}"#,
        services: ["files"],
    }
    search_files {
        description: "Finds the lines of all files that contain a text.",
        parameters: r#"{"type":"object","properties":{"query":{"type":"string","description":"The text to look for"},"path":{"type":"string","description":"The folder to search; everything when left out"}},"required":["query"],"additionalProperties":false}"#,
        services: ["files"],
    }
}
