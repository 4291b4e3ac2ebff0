//! The grammar that a model's output is held to, in the Lark syntax of `llguidance`.

use glasshouse_protocol::ToolDescription;
use serde_json::{Map, Value, json};

use crate::{ANSWER, AgentError, CALL, MAXIMUM_THOUGHT, THOUGHT, is_tool_name};

/// A grammar that lets through an optional thought and then either a call of one of `tools`, with arguments that match
/// its schema as compact JSON, or an answer. Without tools only the answer is left.
///
/// # Errors
///
/// [`AgentError`] when a tool's name or schema cannot be used.
pub fn grammar(tools: &[ToolDescription]) -> Result<String, AgentError> {
    let mut text = String::from("start: thought? ");
    text.push_str(if tools.is_empty() { "answer\n" } else { "(call | answer)\n" });
    text.push_str(&format!("thought: {THOUGHT:?} /[^\\n]{{1,{MAXIMUM_THOUGHT}}}/ \"\\n\"\n"));
    text.push_str(&format!("answer: {ANSWER:?} /[^\\s](?s:.*)/\n"));
    if !tools.is_empty() {
        let names: Vec<String> = (0..tools.len()).map(|index| format!("c{index}")).collect();
        text.push_str(&format!("call: {CALL:?} ({})\n", names.join(" | ")));
    }
    for (index, tool) in tools.iter().enumerate() {
        if !is_tool_name(&tool.name) {
            return Err(AgentError::InvalidToolName { name: tool.name.clone() });
        }
        if tools[..index].iter().any(|other| other.name == tool.name) {
            return Err(AgentError::DuplicateTool { name: tool.name.clone() });
        }
        let schema = compact(tool)?;
        text.push_str(&format!("c{index}: \"{} \" %json {schema}\n", tool.name));
    }
    Ok(text)
}

/// The tool's schema, closed to properties that it does not name and to white space between its tokens.
fn compact(tool: &ToolDescription) -> Result<Value, AgentError> {
    let not_object = || AgentError::SchemaNotObject { name: tool.name.clone() };
    let mut schema: Map<String, Value> = tool.parameters.as_object().ok_or_else(not_object)?.clone();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(not_object());
    }
    schema.entry("additionalProperties").or_insert(Value::Bool(false));
    schema.insert("x-guidance".to_owned(), json!({ "whitespace_flexible": false }));
    Ok(Value::Object(schema))
}
