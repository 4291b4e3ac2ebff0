//! What an agent ends with.

use glasshouse_protocol::Usage;
use serde::{Deserialize, Serialize};

/// The result of the agent's entry: how it ended and what that took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentOutcome {
    /// How it ended.
    pub end: AgentEnd,
    /// Generations that were made, the last one included.
    pub steps: u32,
    /// What they cost together.
    pub usage: UsageTotals,
}

impl AgentOutcome {
    /// The answer, if there is one.
    pub fn answer(&self) -> Option<&str> {
        match &self.end {
            AgentEnd::Answer { text } => Some(text),
            _ => None,
        }
    }
}

/// How an agent ended. Only [`AgentEnd::Answer`] is an answer. `partial` is the text of a step that was cut off; it is
/// shown and never acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentEnd {
    /// The model answered.
    Answer {
        /// The answer.
        text: String,
    },
    /// `maximum_steps` generations gave no answer.
    StepsExhausted {
        /// The limit.
        limit: u32,
    },
    /// `maximum_tokens` tokens were generated without an answer.
    TokensExhausted {
        /// The limit.
        limit: u32,
        /// What the model was saying.
        partial: String,
    },
    /// One step was cut off at `maximum_tokens_per_step`.
    StepTruncated {
        /// The limit.
        limit: u32,
        /// What the model was saying.
        partial: String,
    },
    /// The conversation no longer fits the model's context.
    ContextExhausted {
        /// The context's length in tokens.
        limit: u32,
        /// What the model was saying; empty if the prompt alone did not fit.
        partial: String,
    },
    /// The model made the same call again and again.
    Repeating {
        /// The tool.
        tool: String,
        /// How many times in a row; the last one was not executed.
        times: u32,
    },
    /// The model's output is neither a call nor an answer.
    Malformed {
        /// What it said.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host stopped the generation.
    Cancelled {
        /// What the model was saying.
        partial: String,
    },
    /// The host's guard stopped the generation.
    Halted {
        /// What the model was saying, as far as the guard let it through.
        partial: String,
        /// The rule that was broken, the value and the limit.
        reason: String,
    },
}

impl AgentEnd {
    /// One sentence for a person: what happened and what can be done. `None` for an answer.
    pub fn explanation(&self) -> Option<String> {
        Some(match self {
            Self::Answer { .. } => return None,
            Self::StepsExhausted { limit } => {
                format!("no answer after {limit} steps; raise the step limit or ask for less at once")
            }
            Self::TokensExhausted { limit, .. } => {
                format!("no answer within {limit} tokens; raise the token limit or ask for less at once")
            }
            Self::StepTruncated { limit, .. } => {
                format!("a step was cut off at {limit} tokens; raise the limit of tokens per step")
            }
            Self::ContextExhausted { limit, .. } => {
                format!(
                    "the conversation does not fit the model's context of {limit} tokens; shorten the question or \
                     use a model with a longer context"
                )
            }
            Self::Repeating { tool, times } => {
                format!(
                    "the model called `{tool}` {times} times in a row with the same arguments; rephrase the question"
                )
            }
            Self::Malformed { reason, .. } => format!("the model's output cannot be used: {reason}"),
            Self::Cancelled { .. } => "the generation was stopped by the host".to_owned(),
            Self::Halted { reason, .. } => {
                format!("the guard halted the model: {reason}; what it went on to say is not shown")
            }
        })
    }
}

/// Sums of [`Usage`] over all generations of an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTotals {
    /// Tokens of the prompts; what two steps share counts twice.
    pub prompt_tokens: u64,
    /// Of those, taken from the session's KV cache.
    pub cached_tokens: u64,
    /// Tokens that the model evaluated.
    pub evaluated_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
}

impl UsageTotals {
    /// Adds the cost of one generation.
    pub fn add(&mut self, usage: &Usage) {
        self.prompt_tokens += u64::from(usage.prompt_tokens);
        self.cached_tokens += u64::from(usage.cached_tokens);
        self.evaluated_tokens += u64::from(usage.evaluated_tokens);
        self.generated_tokens += u64::from(usage.generated_tokens);
    }
}
