//! A model's whole output as a step.

use serde_json::{Map, Value};

use crate::{ANSWER, CALL, ParseError, THOUGHT, is_tool_name};

/// What a model said in one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its remark, one line, if it made one.
    pub thought: Option<String>,
    /// What it wants done.
    pub action: Action,
}

/// What a model wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Call a tool.
    Call {
        /// The tool's name: well-formed, not necessarily granted.
        tool: String,
        /// The arguments.
        arguments: Map<String, Value>,
    },
    /// Give this answer.
    Answer(String),
}

/// Reads one step from all of `text`.
///
/// # Errors
///
/// [`ParseError`] says what is missing or wrong. Whether the text was cut off by a limit is not visible here: a caller
/// looks at the finish reason of the generation first.
pub fn parse(text: &str) -> Result<Step, ParseError> {
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    let (thought, rest) = match text.strip_prefix(THOUGHT) {
        None => (None, text),
        Some(rest) => {
            let (thought, rest) = rest.split_once('\n').ok_or(ParseError::OnlyThought)?;
            (Some(thought.to_owned()), rest)
        }
    };
    let position = text.len() - rest.len();
    let action = if let Some(answer) = rest.strip_prefix(ANSWER) {
        if answer.trim().is_empty() {
            return Err(ParseError::EmptyAnswer);
        }
        Action::Answer(answer.to_owned())
    } else if let Some(call) = rest.strip_prefix(CALL) {
        parse_call(call, position + CALL.len())?
    } else if rest.is_empty() {
        return Err(ParseError::OnlyThought);
    } else {
        return Err(ParseError::NoAction { position });
    };
    Ok(Step { thought, action })
}

/// Reads `<tool> <JSON object>`; `position` is where it starts in the whole text.
fn parse_call(call: &str, position: usize) -> Result<Action, ParseError> {
    let (tool, arguments) = call.split_once(' ').unwrap_or((call, ""));
    if !is_tool_name(tool) {
        return Err(ParseError::NoToolName { position });
    }
    let tool = tool.to_owned();
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(arguments)) => Ok(Action::Call { tool, arguments }),
        Ok(_) => Err(ParseError::ArgumentsNotObject { tool }),
        Err(error) if error.is_eof() => Err(ParseError::UnfinishedCall { tool }),
        Err(error) => Err(ParseError::InvalidArguments { tool, reason: error.to_string() }),
    }
}
