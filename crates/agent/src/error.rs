//! What can be wrong with a set of tools, and with a model's output.

use thiserror::Error;

/// Why no agent can be made of these tools.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentError {
    /// A tool's name cannot stand in a call.
    #[error(
        "tool name `{name}` is not usable; use lower-case letters, digits and `_`, starting with a letter"
    )]
    InvalidToolName {
        /// The name.
        name: String,
    },
    /// Two tools have the same name.
    #[error("two tools are named `{name}`; rename one or grant only one of them")]
    DuplicateTool {
        /// The name.
        name: String,
    },
    /// A tool's parameters are not the JSON schema of an object.
    #[error("the parameters of tool `{name}` are not the JSON schema of an object")]
    SchemaNotObject {
        /// The tool's name.
        name: String,
    },
}

/// Why a model's output is not a step. Positions are byte offsets into the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// There is no text.
    #[error("the model said nothing")]
    Empty,
    /// A thought without an end of line: nothing follows it.
    #[error("the model's thought is not followed by a call or an answer")]
    OnlyThought,
    /// Neither `Call: ` nor `Answer: ` where one must be.
    #[error("expected `Call: ` or `Answer: ` at byte {position} of the model's output")]
    NoAction {
        /// Where it should start.
        position: usize,
    },
    /// No tool name after `Call: `, or one with characters that no tool name has.
    #[error("expected a tool name at byte {position} of the model's output")]
    NoToolName {
        /// Where it should start.
        position: usize,
    },
    /// The call ends before its arguments do.
    #[error("the arguments of the call of `{tool}` are cut off")]
    UnfinishedCall {
        /// The tool.
        tool: String,
    },
    /// The arguments are not JSON, or text follows them.
    #[error("the arguments of the call of `{tool}` are not valid JSON: {reason}")]
    InvalidArguments {
        /// The tool.
        tool: String,
        /// What the JSON parser says.
        reason: String,
    },
    /// The arguments are JSON, but not an object.
    #[error("the arguments of the call of `{tool}` are not a JSON object")]
    ArgumentsNotObject {
        /// The tool.
        tool: String,
    },
    /// Nothing, or only white space, after `Answer: `.
    #[error("the model's answer is empty")]
    EmptyAnswer,
}
