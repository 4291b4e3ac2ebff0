//! Requests of a process, and the answers of the services that have small ones.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::GenerateRequest;

/// What a process asks for. In JSON, the field `service` names the variant: `{"service":"files.read","path":"a.txt"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "service")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is sent at once")]
pub enum Request {
    /// Generate text. Answer: [`crate::GenerateResponse`].
    #[serde(rename = "model.generate")]
    Generate(GenerateRequest),
    /// What the model is. Answer: [`crate::ModelDescription`].
    #[serde(rename = "model.describe")]
    DescribeModel {},
    /// Call a granted tool by name. Answer: the tool's result, any JSON value.
    #[serde(rename = "tool.call")]
    CallTool {
        /// The tool's name.
        name: String,
        /// The arguments object.
        arguments: serde_json::Value,
    },
    /// The host's wall clock. Answer: [`ClockReading`].
    #[serde(rename = "clock.now")]
    ReadClock {},
    /// Read a text file of a mount. Answer: [`FileText`].
    #[serde(rename = "files.read")]
    ReadFile {
        /// Relative to the mounts; `..` and absolute paths are refused.
        path: String,
    },
    /// Create or replace a file of a writable mount. Answer: [`FileWritten`].
    #[serde(rename = "files.write")]
    WriteFile {
        /// Relative to the mounts.
        path: String,
        /// The whole new content.
        content: String,
    },
    /// List a directory of a mount. Answer: an array of [`DirectoryEntry`], sorted by name.
    #[serde(rename = "files.list")]
    ListDirectory {
        /// Relative to the mounts; `.` is the root.
        path: String,
    },
    /// Find lines that contain a text, ignoring case. Answer: [`SearchMatches`].
    #[serde(rename = "files.search")]
    SearchFiles {
        /// The text to look for.
        query: String,
        /// The directory to search below; `.` is the root.
        path: String,
    },
    /// Keep a text in long-term memory. Answer: [`StoredMemory`].
    #[serde(rename = "memory.store")]
    StoreMemory {
        /// The text, as it will be found again.
        text: String,
    },
    /// Search long-term memory. Answer: an array of [`FoundMemory`], best first.
    #[serde(rename = "memory.search")]
    SearchMemory {
        /// Words to look for.
        query: String,
        /// The largest number of results.
        limit: u32,
    },
}

/// The host's wall clock when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_milliseconds: i64,
}

/// A file's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    /// The content, as far as it was read.
    pub content: String,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Whether `content` stops before the end of the file.
    pub truncated: bool,
}

/// A file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWritten {
    /// Bytes written.
    pub bytes: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Its name, without a path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes; 0 for a directory.
    pub bytes: u64,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Lines found by a file search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchMatches {
    /// Sorted by path, then line.
    pub matches: Vec<SearchMatch>,
    /// Whether there were more than are listed.
    pub truncated: bool,
}

/// One line that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchMatch {
    /// Path relative to the mount.
    pub path: String,
    /// Line number, from 1.
    pub line: u32,
    /// The line's text, without its end.
    pub text: String,
}

/// A memory was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMemory {
    /// Its identifier.
    pub id: i64,
}

/// A memory that matched a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundMemory {
    /// Its identifier.
    pub id: i64,
    /// Its text.
    pub text: String,
}
