//! Prompts, in which control tokens come from the template and never from a person.
//!
//! - [`Segment`]: a part of a prompt.
//! - [`Breaker`]: keeps the text of a message from being taken for control tokens while a template is rendered.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Tokenizer;
use super::special::{Bigrams, Fragment};
use crate::LlmError;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text, without control tokens.
    Text(String),
    /// A control token.
    Control(u32),
}

/// A character that no input of a prompt holds. Put inside the text of a control token, it keeps the text from
/// being taken for the token; [`Tokenizer::segments`] removes it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker(pub(super) char);

impl Breaker {
    /// A breaker for these inputs.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] when the inputs hold every character that could serve.
    pub fn for_inputs<'i>(inputs: impl Iterator<Item = &'i str>) -> Result<Self, LlmError> {
        // Noncharacters, which text should not hold, then a plane of private use.
        let candidates = ['\u{fdd0}'..='\u{fdef}', '\u{100000}'..='\u{10fffd}'];
        let taken: HashSet<char> = inputs
            .flat_map(str::chars)
            .filter(|character| candidates.iter().any(|range| range.contains(character)))
            .collect();
        candidates.into_iter().flatten().find(|candidate| !taken.contains(candidate)).map(Self).ok_or_else(
            || LlmError::InvalidRequest {
                message: "the messages hold every private-use character; remove some".to_string(),
            },
        )
    }
}

impl Tokenizer {
    /// `text` with `breaker` where it would otherwise read, alone or with what a template puts beside it, as a
    /// control token.
    pub fn guard<'t>(&self, text: &'t str, breaker: Breaker) -> Cow<'t, str> {
        let trimmed = text.trim();
        let trimmed_start = text.len() - text.trim_start().len();
        let trimmed_end = trimmed_start + trimmed.len();
        let pairs = Bigrams::of(text.as_bytes());
        let mut breaks = Vec::new();
        for token in self.control.texts() {
            // The first character is whole: tokens are text.
            let first = token.iter().skip(1).take_while(|&&byte| byte & 0xc0 == 0x80).count() + 1;
            let mut from = 0;
            while pairs.may_hold(token)
                && let Some(offset) = memchr::memmem::find(&text.as_bytes()[from..], token)
            {
                breaks.push(from + offset + first);
                from += offset + first;
            }
            // A template may join the text, or the text without the white space around it, with more text.
            for (start, end) in [(0, text.len()), (trimmed_start, trimmed_end)] {
                let part = &text.as_bytes()[start..end];
                if (1..token.len()).any(|length| part.ends_with(&token[..length])) {
                    breaks.push(end);
                }
                let inside = !part.is_empty() && memchr::memmem::find(token, part).is_some();
                if inside || (1..token.len()).any(|length| part.starts_with(&token[length..])) {
                    breaks.push(start);
                }
            }
        }
        if breaks.is_empty() {
            return Cow::Borrowed(text);
        }
        breaks.sort_unstable();
        breaks.dedup();
        let mut guarded = String::with_capacity(text.len() + 3 * breaks.len());
        let mut rest = 0;
        for position in breaks {
            // Only a token that is not text could be cut elsewhere, and there is none.
            if text.is_char_boundary(position) {
                guarded.push_str(&text[rest..position]);
                guarded.push(breaker.0);
                rest = position;
            }
        }
        guarded.push_str(&text[rest..]);
        Cow::Owned(guarded)
    }

    /// Cuts a rendered template into text and control tokens, and removes the breakers.
    pub fn segments(&self, rendered: &str, breaker: Breaker) -> Vec<Segment> {
        let mut segments = Vec::new();
        for fragment in self.control.cut(rendered) {
            match fragment {
                Fragment::Token(id) => segments.push(Segment::Control(id)),
                Fragment::Text(text) => {
                    let text = text.replace(breaker.0, "");
                    if !text.is_empty() {
                        segments.push(Segment::Text(text));
                    }
                }
            }
        }
        segments
    }
}
