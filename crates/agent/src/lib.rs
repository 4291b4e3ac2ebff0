//! The agent's text protocol: prompt, grammar, parsing, requests, outcomes and events, shared by host and guest.
//!
//! - [`AgentRequest`], [`AgentOutcome`], [`AgentEvent`]: what an agent is given, ends with, and reports on its way.
//! - [`grammar`]: the grammar that a model's output is held to.
//! - [`parse`], [`StreamParser`]: a model's output, whole or as it arrives, as a [`Step`].
//! - [`system_prompt`]: the instructions for a model that does not know the protocol.
//! - [`observation`]: how the result of a tool is shown to the model.
//!
//! One step of the model is one of two texts, the thought being optional in both:
//!
//! ```text
//! Thought: <one line>                    Thought: <one line>
//! Call: <tool> <compact JSON object>     Answer: <text to the end>
//! ```

mod error;
mod event;
mod grammar;
mod observation;
mod outcome;
mod parse;
mod prompt;
mod request;
mod stream;

pub use error::{AgentError, ParseError};
pub use event::AgentEvent;
pub use grammar::grammar;
pub use observation::{observation, observation_budget};
pub use outcome::{AgentEnd, AgentOutcome, UsageTotals};
pub use parse::{Action, Step, parse};
pub use prompt::system_prompt;
pub use request::{AgentRequest, Limits};
pub use stream::{Delta, StreamParser};

/// Starts the optional first line of a step.
const THOUGHT: &str = "Thought: ";
/// Starts a tool call.
const CALL: &str = "Call: ";
/// Starts the final answer.
/// What a step's answer stands behind.
pub const ANSWER: &str = "Answer: ";

/// The longest thought that the grammar lets through, in characters: a thought is a remark, and a model that rambles
/// on its first line would never reach its call.
const MAXIMUM_THOUGHT: usize = 300;

/// Whether `name` can stand in a call: `[a-z][a-z0-9_]*`.
fn is_tool_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
