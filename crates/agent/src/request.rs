//! What an agent is given.

use glasshouse_protocol::{Message, Sampling, ToolDescription};
use serde::{Deserialize, Serialize};

/// The input of the agent's entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRequest {
    /// What the person asks.
    pub question: String,
    /// The granted tools, in the order in which the model sees them.
    #[serde(default)]
    pub tools: Vec<ToolDescription>,
    /// Where the agent stops without an answer.
    #[serde(default)]
    pub limits: Limits,
    /// How tokens are chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// Instructions of the embedder, put before the protocol's own.
    #[serde(default)]
    pub system: Option<String>,
    /// What the person asked and the agent answered before this question, the answers alone. A model that was trained on
    /// the protocol is not shown it: it knows single questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
}

/// Where an agent stops without an answer. Reaching one is an outcome of its own, never an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most generations, the one of the answer included.
    pub maximum_steps: u32,
    /// The most tokens generated in all steps together.
    pub maximum_tokens: u32,
    /// The most tokens generated in one step.
    pub maximum_tokens_per_step: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { maximum_steps: 12, maximum_tokens: 4096, maximum_tokens_per_step: 512 }
    }
}
