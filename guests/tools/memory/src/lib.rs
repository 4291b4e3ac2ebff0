//! The tools `memory_store` and `memory_search` on long-term memory.

use glasshouse_guest::{ErrorData, memory, tools};
use serde::Deserialize;

/// How many memories a search shows: more would drown the question in a small model's context.
const SHOWN: u32 = 5;

/// The arguments of [`memory_store`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreMemory {
    /// The text to keep.
    pub text: String,
}

/// The arguments of [`memory_search`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchMemory {
    /// Words to look for.
    pub query: String,
}

/// Keeps a text.
///
/// # Errors
///
/// `empty_text`, and the service's.
pub async fn memory_store(arguments: StoreMemory) -> Result<String, ErrorData> {
    if arguments.text.trim().is_empty() {
        return Err(ErrorData::new("empty_text", "the text to remember is empty"));
    }
    memory::store(arguments.text).await?;
    Ok("stored".to_owned())
}

/// The remembered texts that match best, one a line, best first.
///
/// # Errors
///
/// The service's.
pub async fn memory_search(arguments: SearchMemory) -> Result<String, ErrorData> {
    let found = memory::search(arguments.query, SHOWN).await?;
    if found.is_empty() {
        return Ok("nothing found".to_owned());
    }
    let lines = found.iter().map(|memory| memory.text.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

tools! {
    memory_store {
        description: "Remembers a text for later conversations.",
        parameters: r#"{"type":"object","properties":{"text":{"type":"string","description":"What to remember, as a sentence"}},"required":["text"],"additionalProperties":false}"#,
        services: ["memory"],
    }
    memory_search {
        description: "Searches what was remembered.",
        parameters: r#"{"type":"object","properties":{"query":{"type":"string","description":"Words to look for"}},"required":["query"],"additionalProperties":false}"#,
        services: ["memory"],
    }
}
