//! What an agent reports on its way: the JSON that it emits, one object per event.

use serde::{Deserialize, Serialize};

use crate::AgentEnd;

/// One event of an agent. `step` counts generations from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AgentEvent {
    /// The model thought.
    Thought {
        /// The step.
        step: u32,
        /// One line.
        text: String,
    },
    /// A tool is about to be called.
    Call {
        /// The step.
        step: u32,
        /// The tool's name.
        tool: String,
        /// The arguments object.
        arguments: serde_json::Value,
    },
    /// A tool has answered.
    Observation {
        /// The step.
        step: u32,
        /// The tool's name.
        tool: String,
        /// What the model is shown.
        text: String,
        /// Whether it is an error.
        failed: bool,
    },
    /// The model answered.
    Answer {
        /// The step.
        step: u32,
        /// The answer.
        text: String,
    },
    /// The agent ended without an answer.
    Exhausted {
        /// The step.
        step: u32,
        /// How it ended; never [`AgentEnd::Answer`].
        end: AgentEnd,
    },
}
