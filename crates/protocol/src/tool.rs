//! How a tool presents itself.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

/// A tool as a model and a host see it. A tool module carries an array of these, as JSON, in its custom
/// section `glasshouse.tool`, so a host learns its tools without running any of its code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDescription {
    /// The name a model calls it by: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// One sentence for the model.
    pub description: String,
    /// JSON schema of the arguments object.
    pub parameters: serde_json::Value,
    /// The exported function that runs it; empty when the tool is not a guest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry: String,
    /// The services it asks for (`files`, `clock`, `memory`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}
