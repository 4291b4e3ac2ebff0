//! The `model` service: what generation takes and gives.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::ToolDescription;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The person.
    User,
    /// The model; the content is what it generated, verbatim.
    Assistant,
    /// A tool's observation.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role` saying `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// What the output must match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Anything.
    #[default]
    None,
    /// A JSON value of this schema.
    JsonSchema(serde_json::Value),
    /// A grammar in Lark syntax.
    Lark(String),
}

/// How the next token is chosen. The default is greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 is greedy: always the most probable token.
    pub temperature: f32,
    /// Keep only the `top_k` most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than `min_p` times the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides (or multiplies, when negative) the logits of recent tokens; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from a recent token's logit once for each time it occurred.
    pub frequency_penalty: f32,
    /// Subtracted from a recent token's logit if it occurred at all.
    pub presence_penalty: f32,
    /// How many recent tokens the penalties look at.
    pub repeat_last_n: u32,
    /// Seed of the draw; `None` takes the one that the kernel derives for the request.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last_n: 64,
            seed: None,
        }
    }
}

/// Generate the next assistant message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// The conversation so far. A process has one session: what it shares with the previous request is not
    /// evaluated again.
    pub messages: Vec<Message>,
    /// The tools on offer, for the chat template.
    #[serde(default)]
    pub tools: Vec<ToolDescription>,
    /// What the output must match.
    #[serde(default)]
    pub constraint: Constraint,
    /// How tokens are chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// The most tokens to generate.
    pub maximum_tokens: u32,
    /// Texts that end the output; they are not part of it.
    #[serde(default)]
    pub stop: Vec<String>,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop text was met.
    Stop,
    /// `maximum_tokens` were generated: the text is cut off.
    Length,
    /// The context is full: the text is cut off.
    Context,
    /// The host stopped it.
    Cancelled,
    /// The host's guard stopped it: the text is cut off, and [`GenerateResponse::halt`] says why.
    Halted,
}

/// How a guard stopped a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardHalt {
    /// The generated token at which it stopped, from 0 on.
    pub index: u64,
    /// The token that broke the rule: an earlier one when the guard let the sentence be finished.
    pub trigger: u64,
    /// The rule's name: `hard_limit`, `window_avg`, `downward_trend`, …
    pub rule: String,
    /// What broke it; `None` if it was no number.
    pub value: Option<f64>,
    /// What it should have kept to; `None` if the rule has no limit.
    pub limit: Option<f64>,
    /// Rule, value and limit in words.
    pub reason: String,
    /// The last tokens that were judged.
    pub trace: Vec<GuardedToken>,
}

/// A token that a guard has judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardedToken {
    /// Its index among the generated ones.
    pub index: u64,
    /// Its score, in [0, 1].
    pub score: f64,
    /// `continue`, `warn` or `halt`.
    pub decision: String,
    /// The rule that it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What a generation cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Of those, taken from the session's KV cache.
    pub cached_tokens: u32,
    /// Tokens that the model evaluated: the rest of the prompt and the generated ones fed back.
    pub evaluated_tokens: u32,
    /// Tokens generated, the end-of-turn token included.
    pub generated_tokens: u32,
}

/// The outcome of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateResponse {
    /// The text, without the end-of-turn token and the stop text.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// The generated token ids, the end-of-turn token included.
    pub tokens: Vec<u32>,
    /// BLAKE3 of the logits (f32, little-endian) that the last token was chosen from, in hexadecimal.
    pub logits_hash: String,
    /// What it cost.
    pub usage: Usage,
    /// How the host's guard stopped it, if it did. Tokens and text are then those that may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<GuardHalt>,
}

/// What the model is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// `general.name` of the model file.
    pub name: String,
    /// `general.architecture`.
    pub architecture: String,
    /// The most tokens a session holds, prompt and output together.
    pub context_length: u32,
    /// Whether it was trained on the agent protocol: its chat template shows it the tools, and it needs no
    /// instructions. Any other model is instructed by a system message, and its template is given no tools, since
    /// templates add instructions of their own that contradict the protocol.
    #[serde(default)]
    pub knows_agent_protocol: bool,
}
