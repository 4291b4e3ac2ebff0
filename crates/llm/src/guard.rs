//! A generation's guard: scores each token and stops where the halt kernel says so.
//!
//! - [`GuardConfig`]: limits, scorer, facts; checked before anything is generated.
//! - `Guard`: that of one generation.

use std::collections::VecDeque;

use glasshouse_halt::{
    Config, Decision, Halt, HaltMode, Kernel, Token,
    scorer::{Choice, Grounding, confidence},
};
use glasshouse_protocol::{GuardHalt, GuardedToken};
use serde::{Deserialize, Serialize};

use crate::{Kernels, LlmError, sampler::TokenMask, stream::Utf8Decoder};

/// The most text of facts: it is in the event log of every run that it guards.
pub const MAXIMUM_FACTS_BYTES: usize = 256 << 10;

/// Where a guard's scores come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// `w_logic` times the confidence and `w_fact` times the grounding, where there are facts; else the confidence.
    #[default]
    Combined,
    /// The model's own confidence in its choice ([`confidence`]).
    Confidence,
    /// How much of what was said last is in the facts ([`Grounding`]), looking back on `history_window` words.
    Grounding,
}

/// What guards generations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GuardConfig {
    /// The kernel's limits.
    pub limits: Config,
    /// Where scores come from.
    #[serde(default)]
    pub scorer: Scorer,
    /// What may be said to be so.
    #[serde(default)]
    pub facts: Option<String>,
    /// The text behind which the facts count: what comes before it is no statement to others. None: from the beginning.
    #[serde(default)]
    pub facts_behind: Option<String>,
    /// Whether a token may take no longer than `deadline_ms`. What a machine's load decides is not decided again in the
    /// same way, so this is off unless it is asked for; a replay takes the time from the log.
    #[serde(default)]
    pub has_deadline: bool,
}

impl GuardConfig {
    /// Fails when no generation could be guarded so.
    ///
    /// # Errors
    /// [`LlmError::InvalidGuard`].
    pub fn check(&self) -> Result<(), LlmError> {
        let refused = |message: String| Err(LlmError::InvalidGuard { message });
        if let Err(error) = self.limits.validate() {
            return refused(error.to_string());
        }
        match &self.facts {
            None if self.scorer == Scorer::Grounding => {
                refused("the scorer `grounding` compares with facts, and there are none".into())
            }
            Some(facts) if facts.len() > MAXIMUM_FACTS_BYTES => {
                refused(format!("the facts have {} bytes; {MAXIMUM_FACTS_BYTES} are allowed", facts.len()))
            }
            _ => Ok(()),
        }
    }
}

/// A token that was chosen, and from what.
pub(crate) struct Chosen<'a> {
    pub(crate) token: u32,
    /// The logits of all tokens.
    pub(crate) logits: &'a [f32],
    /// Those that were allowed.
    pub(crate) mask: Option<&'a TokenMask>,
    /// What the token adds to the text.
    pub(crate) bytes: &'a [u8],
    /// How long it took, if that is to count.
    pub(crate) elapsed_ms: Option<f64>,
}

/// Waits for a text.
#[derive(Debug)]
struct Marker {
    text: String,
    /// The end of what was said: what may be the beginning of the text.
    seen: String,
}

impl Marker {
    /// Takes what is said next; answers what came behind the text, once that was said.
    fn push(&mut self, piece: &str) -> Option<String> {
        self.seen.push_str(piece);
        if let Some((_, rest)) = self.seen.split_once(&self.text) {
            return Some(rest.to_owned());
        }
        let mut start = self.seen.len().saturating_sub(self.text.len());
        while !self.seen.is_char_boundary(start) {
            start -= 1;
        }
        self.seen.drain(..start);
        None
    }
}

/// The guard of one generation.
#[derive(Debug)]
pub(crate) struct Guard {
    kernel: Kernel,
    scorer: Scorer,
    weights: (f64, f64),
    has_deadline: bool,
    /// Whether anybody looks at the text: facts, a soft halt, a trace with texts.
    needs_text: bool,
    grounding: Option<Grounding>,
    /// What must be said before the facts count, until it was.
    behind: Option<Marker>,
    decoder: Utf8Decoder,
    /// The text of the last token; kept to save the allocation.
    text: String,
    /// The allowed logits; likewise.
    allowed: Vec<f32>,
    /// Of each token that is not released yet, and of the last one that is, the length of the text behind it.
    ends: VecDeque<usize>,
    /// Tokens before those of `ends`.
    before: u64,
}

impl Guard {
    pub(crate) fn new(config: &GuardConfig) -> Result<Self, LlmError> {
        config.check()?;
        let limits = &config.limits;
        let kernel =
            Kernel::new(limits).map_err(|error| LlmError::InvalidGuard { message: error.to_string() })?;
        let facts = config.facts.as_deref().filter(|_| config.scorer != Scorer::Confidence);
        let needs_text = facts.is_some() || limits.halt_mode == HaltMode::Soft || limits.keep_text;
        Ok(Self {
            kernel,
            needs_text,
            scorer: config.scorer,
            weights: (limits.w_logic, limits.w_fact),
            has_deadline: config.has_deadline,
            grounding: facts.map(|facts| Grounding::new(facts, limits.history_window)),
            behind: config.facts_behind.clone().map(|text| Marker { text, seen: String::new() }),
            decoder: Utf8Decoder::default(),
            text: String::new(),
            allowed: Vec::new(),
            ends: VecDeque::new(),
            before: 0,
        })
    }

    /// Judges a token. After a halt none may come.
    pub(crate) fn judge(&mut self, kernels: Kernels, chosen: &Chosen<'_>) -> Result<Decision, LlmError> {
        if self.needs_text {
            self.text.clear();
            self.decoder.push(chosen.bytes, &mut self.text);
        }
        let choice = self.choice(kernels, chosen);
        let sure = confidence(&choice);
        let grounded = self.grounded();
        let score = match (grounded, self.scorer) {
            (Some(grounded), Scorer::Grounding) => grounded,
            (Some(grounded), _) => self.weights.0 * sure + self.weights.1 * grounded,
            (None, _) => sure,
        };
        // Weights whose sum is 1 but for rounding.
        let score = score.min(1.0);
        let token = Token {
            index: self.kernel.tokens(),
            score: Some(score),
            entropy_bits: Some(choice.entropy_bits),
            elapsed_ms: chosen.elapsed_ms.filter(|_| self.has_deadline),
            text: Some(&self.text),
        };
        self.kernel.process(&token).map_err(|error| LlmError::InvalidGuard { message: error.to_string() })
    }

    /// How much of what was said is in the facts, if there are facts.
    fn grounded(&mut self) -> Option<f64> {
        let grounding = self.grounding.as_mut()?;
        let Some(marker) = &mut self.behind else { return Some(grounding.push(&self.text)) };
        let score = match marker.push(&self.text) {
            None => 1.0,
            Some(rest) => {
                let score = grounding.push(&rest);
                self.behind = None;
                score
            }
        };
        Some(score)
    }

    /// What the model's distribution over what was allowed says of the token.
    fn choice(&mut self, kernels: Kernels, chosen: &Chosen<'_>) -> Choice {
        let Chosen { token, logits, mask, .. } = *chosen;
        let allowed = match mask {
            None => logits,
            Some(mask) => {
                self.allowed.clear();
                mask.select(logits, &mut self.allowed);
                &self.allowed
            }
        };
        let [largest, sum, moment] = kernels.distribution(allowed).map(f64::from);
        let logit = logits.get(token as usize).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit));
        // H = ln Σeᵈ - Σd·eᵈ / Σeᵈ, in bits. Rounding may leave less than nothing.
        let entropy = (libm::log(sum) - moment / sum) / std::f64::consts::LN_2;
        Choice {
            probability: (libm::exp(logit - largest) / sum).min(1.0),
            entropy_bits: entropy.max(0.0),
            vocabulary: logits.len(),
        }
    }

    /// Notes how long the text is behind the token that was judged last; answers how much of it may be shown.
    pub(crate) fn shown(&mut self, length: usize) -> usize {
        self.ends.push_back(length);
        let released = self.kernel.released();
        while self.before < released.saturating_sub(1) && self.ends.len() > 1 {
            self.ends.pop_front();
            self.before += 1;
        }
        if released > self.before { self.ends.front().copied().unwrap_or(0) } else { 0 }
    }

    /// Ends the generation's stream of tokens: the halt, if there was one or one was waiting.
    pub(crate) fn finish(&mut self) -> Option<Halt> {
        self.kernel.finish()
    }

    /// Tokens that may be shown.
    pub(crate) fn released(&self) -> usize {
        self.kernel.released() as usize
    }

    /// A halt, as a response has it.
    pub(crate) fn report(&self, halt: &Halt) -> GuardHalt {
        let number = |number: f64| number.is_finite().then_some(number);
        let trace = self.kernel.trace().map(|entry| GuardedToken {
            index: entry.index,
            score: entry.score,
            decision: entry.verdict.name().to_owned(),
            rule: entry.rule.map(|rule| rule.name().to_owned()),
        });
        GuardHalt {
            index: halt.index,
            trigger: halt.trigger,
            rule: halt.cause.rule.name().to_owned(),
            value: number(halt.cause.value),
            limit: number(halt.cause.limit),
            reason: halt.cause.to_string(),
            trace: trace.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_the_pieces_end_and_little_is_kept_until_then() {
        let said = "Thought: äAnswer äöü Answ\nAnswer: It is so.";
        for size in 1..20 {
            let characters: Vec<char> = said.chars().collect();
            let mut marker = Marker { text: "Answer: ".into(), seen: String::new() };
            let mut behind: Option<String> = None;
            for piece in characters.chunks(size).map(|piece| piece.iter().collect::<String>()) {
                match &mut behind {
                    Some(behind) => behind.push_str(&piece),
                    None => behind = marker.push(&piece),
                }
                assert!(behind.is_some() || marker.seen.len() <= 8 + 3);
            }
            assert_eq!(behind.as_deref(), Some("It is so."), "{size}");
        }
    }
}
