//! How models write reasoning and calls.

use glasshouse_protocol::{RejectedCall, ToolCall};
use serde_json::json;

use super::{ParsedCall, json, python};
use crate::tokenizer::{TokenKind, Tokenizer};

/// How a model writes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallForm {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen.
    Hermes,
    /// `{"name": …, "parameters": {…}}` as the whole message, or behind `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS][{"name": …, "arguments": {…}}]` or `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
    Mistral,
    /// A block fenced as `tool_code` with a Python call, or as `json`, or bare JSON: Gemma.
    Gemma,
    /// A JSON object as the whole message or in a fenced block.
    Json,
}

/// A mark of a form.
#[derive(Debug, Clone, Copy)]
struct Mark {
    text: &'static str,
    /// It is a control token of the vocabulary: the same letters in text are text.
    is_control: bool,
}

/// A mark that begins a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opener {
    pub(super) text: &'static str,
    pub(super) ending: Ending,
}

/// Where a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// At this mark, outside of the JSON's strings.
    Tag(&'static str),
    /// At the end of the fenced block.
    Fence {
        /// Whether it is Python; else JSON.
        python: bool,
    },
    /// At the mark of the next call, or with the output. `json_only`: unless it is a call as JSON, it is text.
    Output { json_only: bool },
    /// At the next `[TOOL_CALLS]`, or with the output.
    Next(&'static str),
}

const FENCE: &str = "```";

impl Ending {
    /// The mark that ends it, if any must.
    pub(super) fn closer(self) -> Option<&'static str> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Fence { .. } => Some(FENCE),
            Self::Output { .. } | Self::Next(_) => None,
        }
    }

    /// Where the body in `text` ends and where what follows it begins, if it ends there.
    pub(super) fn end(self, text: &str) -> Option<(usize, usize)> {
        let (mark, is_python) = match self {
            Self::Output { .. } => return None,
            Self::Next(mark) => return text.find(mark).map(|position| (position, position)),
            Self::Fence { python } => (FENCE, python),
            Self::Tag(mark) => (mark, false),
        };
        let mut from = 0;
        while let Some(offset) = text[from..].find(mark) {
            let position = from + offset;
            // A mark within a string of the JSON is part of it.
            if is_python || !json::is_incomplete(&text[..position]) {
                return Some((position, position + mark.len()));
            }
            from = position + mark.len();
        }
        None
    }
}

/// How a model writes reasoning and calls.
#[derive(Debug, Clone)]
pub struct OutputForm {
    calls: CallForm,
    reasoning: Option<(Mark, Mark)>,
    openers: Vec<(Mark, Ending)>,
    /// Control tokens whose text is part of a call.
    parts: Vec<&'static str>,
}

impl OutputForm {
    /// The form of a model with this chat template and vocabulary.
    pub fn new(template: &str, tokenizer: &Tokenizer) -> Self {
        let kind = |text: &str| tokenizer.token_with_text(text).and_then(|id| tokenizer.kind(id));
        let knows = |text: &str| template.contains(text) || kind(text).is_some();
        let mark = |text: &'static str| Mark { text, is_control: kind(text) == Some(TokenKind::Control) };
        let calls = if template.contains("<tool_call>") {
            CallForm::Hermes
        } else if knows("[TOOL_CALLS]") {
            CallForm::Mistral
        } else if kind("<|python_tag|>").is_some() {
            CallForm::Llama
        } else if knows("<start_of_turn>") {
            CallForm::Gemma
        } else if kind("<tool_call>").is_some() {
            CallForm::Hermes
        } else {
            CallForm::Json
        };
        let pairs = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];
        let reasoning =
            pairs.into_iter().find(|(open, _)| knows(open)).map(|(open, close)| (mark(open), mark(close)));
        let fenced = |python| Ending::Fence { python };
        let openers = match calls {
            CallForm::Hermes => vec![("<tool_call>", Ending::Tag("</tool_call>"))],
            CallForm::Llama => vec![("<|python_tag|>", Ending::Output { json_only: false })],
            CallForm::Mistral => vec![("[TOOL_CALLS]", Ending::Next("[TOOL_CALLS]"))],
            CallForm::Gemma => vec![("```tool_code", fenced(true)), ("```json", fenced(false))],
            CallForm::Json => vec![("```json", fenced(false))],
        };
        Self {
            calls,
            reasoning,
            openers: openers.into_iter().map(|(text, ending)| (mark(text), ending)).collect(),
            parts: if calls == CallForm::Mistral { vec![json::ARGUMENTS, json::CALL_ID] } else { vec![] },
        }
    }

    /// How the model writes calls.
    pub fn call_form(&self) -> CallForm {
        self.calls
    }

    /// A message with these calls, for a template that has no place for calls.
    pub(crate) fn with_calls(&self, content: &str, calls: &[ToolCall]) -> String {
        let written = calls.iter().map(|call| {
            let ToolCall { name, arguments, .. } = call;
            match self.calls {
                CallForm::Hermes => {
                    format!("<tool_call>\n{}\n</tool_call>", json!({ "name": name, "arguments": arguments }))
                }
                CallForm::Llama | CallForm::Gemma => {
                    json!({ "name": name, "parameters": arguments }).to_string()
                }
                CallForm::Mistral | CallForm::Json => {
                    json!({ "name": name, "arguments": arguments }).to_string()
                }
            }
        });
        let parts = [content.to_string()].into_iter().filter(|text| !text.is_empty()).chain(written);
        parts.collect::<Vec<_>>().join("\n")
    }

    /// Whether a prompt that ends so has opened the reasoning.
    pub(super) fn opens_reasoning(&self, prompt_end: &str) -> bool {
        self.reasoning.is_some_and(|(open, _)| prompt_end.trim_end().ends_with(open.text))
    }

    pub(super) fn reasoning_opener(&self) -> Option<&'static str> {
        self.reasoning.map(|(open, _)| open.text)
    }

    pub(super) fn reasoning_closer(&self) -> Option<&'static str> {
        self.reasoning.map(|(_, close)| close.text)
    }

    pub(super) fn reasoning_opener_in_text(&self) -> Option<&'static str> {
        self.reasoning.filter(|(open, _)| !open.is_control).map(|(open, _)| open.text)
    }

    pub(super) fn reasoning_closer_in_text(&self) -> Option<&'static str> {
        self.reasoning.filter(|(_, close)| !close.is_control).map(|(_, close)| close.text)
    }

    /// The opener with this text.
    pub(super) fn call_opener(&self, text: &str) -> Option<Opener> {
        let (mark, ending) = self.openers.iter().find(|(mark, _)| mark.text == text)?;
        Some(Opener { text: mark.text, ending: *ending })
    }

    /// The openers that are text.
    pub(super) fn call_openers_in_text(&self) -> impl Iterator<Item = Opener> {
        let text = self.openers.iter().filter(|(mark, _)| !mark.is_control);
        text.map(|(mark, ending)| Opener { text: mark.text, ending: *ending })
    }

    /// Whether a control token's text is part of a call.
    pub(super) fn is_part_of_calls(&self, text: &str) -> bool {
        self.parts.contains(&text)
    }

    /// Whether a message that is one JSON object may be a call.
    pub(super) fn has_bare_calls(&self) -> bool {
        matches!(self.calls, CallForm::Llama | CallForm::Gemma | CallForm::Json)
    }

    /// The calls of a whole body, or none if it is text after all.
    pub(super) fn calls(
        &self,
        ending: Ending,
        body: &str,
        tools: &[String],
    ) -> Option<Vec<Result<ParsedCall, RejectedCall>>> {
        match ending {
            Ending::Fence { python: true } => Some(python::calls(body, tools)),
            Ending::Fence { python: false } | Ending::Output { json_only: true } => {
                json::calls_if_any(body, tools)
            }
            Ending::Next(_) => Some(json::mistral_calls(body, tools)),
            Ending::Tag(_) | Ending::Output { json_only: false } => Some(json::calls(body, tools)),
        }
    }
}
