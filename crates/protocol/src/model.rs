//! The `model` service: what generation takes and gives.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Message, RejectedCall, Sampling, ToolCall, ToolDescription};

/// What the output must match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Anything.
    #[default]
    None,
    /// A JSON value of this schema.
    JsonSchema(Value),
    /// A grammar in Lark syntax.
    Lark(String),
    /// A regular expression that matches the whole output, in the syntax of Rust's `regex` without look-around.
    Regex(String),
    /// A grammar in llama.cpp's GBNF syntax; its rule `root` is the output.
    Gbnf(String),
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
    /// Whether the output is taken apart into text, reasoning and tool calls, in the form that the model's chat template
    /// has for them. Otherwise the text is what was generated, verbatim.
    #[serde(default, skip_serializing_if = "is_false")]
    pub parse_output: bool,
    /// How many answers to generate. The prompt is evaluated once, and each answer after the first is the one that a
    /// request for one answer gives with a seed derived from the seed and its index.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub n: u32,
    /// Log-probabilities of the generated tokens, each with so many of the most probable tokens in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Never end before `maximum_tokens`: tokens that end the model's turn are not chosen, unless the constraint allows
    /// nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_eos: bool,
    /// Further variables of the chat template, such as `enable_thinking`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub template_variables: Map<String, Value>,
}

impl GenerateRequest {
    /// A request for the message after `messages`, of at most `maximum_tokens` tokens, chosen greedily.
    pub fn new(messages: Vec<Message>, maximum_tokens: u32) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            constraint: Constraint::None,
            sampling: Sampling::default(),
            maximum_tokens,
            stop: Vec::new(),
            parse_output: false,
            n: 1,
            logprobs: None,
            ignore_eos: false,
            template_variables: Map::new(),
        }
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
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
    /// The model ended its turn after calls of tools, which [`GenerateResponse::tool_calls`] has.
    ToolCall,
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
    /// What the model thought, if the output was to be parsed and has such a section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The calls that the model made, whole and valid, if the output was to be parsed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What looked like a call, but was cut off or is not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_calls: Vec<RejectedCall>,
    /// One entry for each of `tokens`, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// The answers after the first, if there are several. Their usage is part of this one's and stands here as zeros.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<GenerateResponse>,
}

impl GenerateResponse {
    /// An answer of `tokens` that say `text`; what else there is to it can be set.
    pub fn new(text: impl Into<String>, finish: FinishReason, tokens: Vec<u32>) -> Self {
        Self {
            text: text.into(),
            finish,
            tokens,
            logits_hash: String::new(),
            usage: Usage::default(),
            halt: None,
            reasoning: None,
            tool_calls: Vec::new(),
            rejected_calls: Vec::new(),
            logprobs: Vec::new(),
            further: Vec::new(),
        }
    }

    /// Whether the host stopped it, in whichever answer.
    pub fn is_cancelled(&self) -> bool {
        self.finish == FinishReason::Cancelled || self.further.iter().any(Self::is_cancelled)
    }
}

/// How probable a token was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its id.
    pub token: u32,
    /// Its text; bytes that are no characters by themselves are U+FFFD.
    pub text: String,
    /// The natural logarithm of its probability: the log-softmax of the model's logits, before constraint, penalties and
    /// temperature.
    pub logprob: f64,
    /// The most probable tokens in its place, the most probable first; of equals, the lower id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TokenLogprob>,
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
