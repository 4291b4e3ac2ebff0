//! What the last tokens were and what was decided: bounded, and asked for separately.

use alloc::{boxed::Box, vec};

use crate::{Decision, Verdict, decision::Rule};

/// One token of the trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceEntry {
    /// Its index.
    pub index: u64,
    /// Its score.
    pub score: f64,
    /// What was decided.
    pub verdict: Verdict,
    /// The rule that it broke, if it broke one.
    pub rule: Option<Rule>,
    text: Text,
}

/// The beginning of a token's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Text {
    length: u8,
    bytes: [u8; TraceEntry::TEXT_BYTES],
}

impl TraceEntry {
    /// Bytes of a token's text that are kept at most; a longer one is cut at a character's boundary.
    pub const TEXT_BYTES: usize = 47;

    /// The text, if the configuration asks for it.
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text.bytes[..self.text.length.into()]).unwrap_or_default()
    }

    pub(crate) fn new(decision: &Decision, score: f64, text: &str) -> Self {
        let mut length = text.len().min(Self::TEXT_BYTES);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        let mut bytes = [0; Self::TEXT_BYTES];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        let Decision { index, verdict, cause, .. } = *decision;
        let rule = cause.map(|cause| cause.rule);
        Self { index, score, verdict, rule, text: Text { length: length as u8, bytes } }
    }
}

/// The last tokens, in a ring.
#[derive(Debug)]
pub(crate) struct Trace {
    entries: Box<[Option<TraceEntry>]>,
    /// Where the next one goes.
    next: usize,
}

impl Trace {
    pub(crate) fn new(size: u32) -> Self {
        Self { entries: vec![None; size as usize].into(), next: 0 }
    }

    pub(crate) fn push(&mut self, entry: TraceEntry) {
        if let Some(place) = self.entries.get_mut(self.next) {
            *place = Some(entry);
            self.next = if self.next + 1 == self.entries.len() { 0 } else { self.next + 1 };
        }
    }

    /// From the oldest to the newest.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &TraceEntry> {
        let (newer, older) = self.entries.split_at(self.next);
        older.iter().chain(newer).flatten()
    }
}
