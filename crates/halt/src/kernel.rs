//! The kernel itself: what a token does to a stream.

use crate::{
    Cause, Config, ConfigError, Decision, Halt, HaltMode, InputError, InvalidInput, Rule, TraceEntry,
    Verdict,
    sentence::ends_sentence,
    trace::Trace,
    window::{Drop, Mean, quantized},
};

/// A token and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Token<'a> {
    /// Its place in the stream, from 0 on without a gap.
    pub index: u64,
    /// Its coherence, in [0, 1]; none: its scorer gave none.
    pub score: Option<f64>,
    /// The entropy of its choice in bits, if it is known.
    pub entropy_bits: Option<f64>,
    /// How long it and its score took, in milliseconds, if that is to count.
    pub elapsed_ms: Option<f64>,
    /// Its text, if that is known: it says where a sentence ends, for a soft halt, and may be kept in the trace.
    pub text: Option<&'a str>,
}

/// One stream's guard. See the crate's page.
#[derive(Debug)]
pub struct Kernel {
    limits: Limits,
    mean: Mean,
    drop: Drop,
    /// The index of the token that is due.
    due: u64,
    released: u64,
    state: State,
    trace: Trace,
}

/// What of a configuration is asked at each token.
#[derive(Debug)]
struct Limits {
    hard: f64,
    soft: Option<f64>,
    window: f64,
    trend: f64,
    entropy_bits: f64,
    deadline_ms: f64,
    halt_mode: HaltMode,
    soft_halt_tokens: u32,
    hold_back: u64,
    invalid_input: InvalidInput,
    keep_text: bool,
}

/// Where the stream is.
#[derive(Debug, Clone, Copy)]
enum State {
    Running,
    /// A soft halt waits for the end of the sentence.
    Finishing {
        cause: Cause,
        trigger: u64,
        /// Tokens that may still come.
        left: u32,
    },
    Halted(Halt),
    /// It ended by itself.
    Ended,
}

impl Kernel {
    /// A kernel with these limits, before the first token. All of its memory is taken here.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            mean: Mean::new(config.window_size, config.window_threshold),
            drop: Drop::new(config.trend_window, config.trend_threshold, config.trend),
            due: 0,
            released: 0,
            state: State::Running,
            trace: Trace::new(config.trace_tokens),
            limits: Limits {
                hard: config.hard_limit,
                soft: config.soft_limit,
                window: config.window_threshold,
                trend: config.trend_threshold,
                entropy_bits: config.logit_entropy_limit,
                deadline_ms: config.deadline_ms,
                halt_mode: config.halt_mode,
                soft_halt_tokens: config.soft_halt_tokens,
                hold_back: config.hold_back.into(),
                invalid_input: config.invalid_input,
                keep_text: config.keep_text,
            },
        })
    }

    /// Decides about a token of which only the score is known.
    ///
    /// # Errors
    /// Those of [`Kernel::process`].
    pub fn process_token(&mut self, index: u64, score: f64) -> Result<Decision, InputError> {
        self.process(&Token { index, score: Some(score), ..Token::default() })
    }

    /// Decides about a token.
    ///
    /// # Errors
    /// [`InputError`] for an input that is none, where the configuration asks for errors.
    pub fn process(&mut self, token: &Token<'_>) -> Result<Decision, InputError> {
        let score = match self.checked(token) {
            Ok(score) => score,
            Err(cause) => return self.refuse(token, cause),
        };
        self.due += 1;
        let cause = self.broken(score, token);
        let decision = self.decide(token, score, cause);
        let text = token.text.filter(|_| self.limits.keep_text).unwrap_or_default();
        self.trace.push(TraceEntry::new(&decision, score, text));
        Ok(decision)
    }

    /// The score of a token that may come now.
    fn checked(&self, token: &Token<'_>) -> Result<f64, Cause> {
        let place = |rule| Cause { rule, value: token.index as f64, limit: self.due as f64 };
        if matches!(self.state, State::Halted(_) | State::Ended) {
            return Err(place(Rule::AfterEnd));
        }
        if token.index != self.due {
            return Err(place(Rule::OutOfOrder));
        }
        let Some(score) = token.score else {
            return Err(Cause { rule: Rule::MissingScore, value: 0.0, limit: 0.0 });
        };
        let invalid = |value, limit| Err(Cause { rule: Rule::InvalidScore, value, limit });
        if !(0.0..=1.0).contains(&score) {
            return invalid(score, 1.0);
        }
        for measured in [token.entropy_bits, token.elapsed_ms].into_iter().flatten() {
            if !(0.0..=f64::MAX).contains(&measured) {
                return invalid(measured, f64::MAX);
            }
        }
        Ok(score)
    }

    /// What comes of an input that is none.
    fn refuse(&mut self, token: &Token<'_>, cause: Cause) -> Result<Decision, InputError> {
        let index = token.index;
        if self.limits.invalid_input == InvalidInput::Error {
            return Err(InputError { index, cause });
        }
        // What was halted stays as it was.
        if !matches!(self.state, State::Halted(_)) {
            self.state = State::Halted(Halt { index, cause, trigger: index, released: self.released });
        }
        Ok(Decision { index, verdict: Verdict::Halt, cause: Some(cause), released: self.released })
    }

    /// The first rule that a score breaks.
    fn broken(&mut self, score: f64, token: &Token<'_>) -> Option<Cause> {
        let limits = &self.limits;
        let quantum = quantized(score);
        let (mean, drop) = (self.mean.push(quantum), self.drop.push(quantum));
        let cause = |rule, value, limit| Some(Cause { rule, value, limit });
        if score < limits.hard {
            return cause(Rule::HardLimit, score, limits.hard);
        }
        if let Some(mean) = mean {
            return cause(Rule::WindowMean, mean, limits.window);
        }
        if let Some(drop) = drop {
            return cause(Rule::DownwardTrend, drop, limits.trend);
        }
        if let Some(bits) = token.entropy_bits.filter(|bits| *bits > limits.entropy_bits) {
            return cause(Rule::EntropyLimit, bits, limits.entropy_bits);
        }
        if let Some(elapsed) = token.elapsed_ms.filter(|elapsed| *elapsed > limits.deadline_ms) {
            return cause(Rule::Deadline, elapsed, limits.deadline_ms);
        }
        None
    }

    fn decide(&mut self, token: &Token<'_>, score: f64, broken: Option<Cause>) -> Decision {
        let index = token.index;
        let is_soft = self.limits.halt_mode == HaltMode::Soft;
        let state = match (self.state, broken) {
            (_, Some(cause)) if !is_soft || !may_wait(cause.rule) => {
                let trigger = index;
                State::Halted(Halt { index, cause, trigger, released: self.released })
            }
            // The first halt that waits is the one that counts.
            (State::Finishing { cause, trigger, left }, _) => self.finishing(token, cause, trigger, left),
            (_, Some(cause)) => self.finishing(token, cause, index, self.limits.soft_halt_tokens + 1),
            (state, None) => state,
        };
        self.state = state;
        let (verdict, cause) = match state {
            State::Halted(halt) => (Verdict::Halt, Some(halt.cause)),
            State::Finishing { cause, .. } => (Verdict::Warn, Some(cause)),
            State::Running | State::Ended => match self.limits.soft.filter(|limit| score < *limit) {
                Some(limit) => (Verdict::Warn, Some(Cause { rule: Rule::SoftLimit, value: score, limit })),
                None => (Verdict::Continue, None),
            },
        };
        match state {
            State::Halted(halt) => self.released = halt.released,
            _ => self.released = self.due.saturating_sub(self.limits.hold_back),
        }
        Decision { index, verdict, cause, released: self.released }
    }

    /// Where a soft halt is when a token has come of so many that may still come.
    fn finishing(&self, token: &Token<'_>, cause: Cause, trigger: u64, left: u32) -> State {
        let left = left - 1;
        if left == 0 || token.text.is_some_and(ends_sentence) {
            // The sentence is shown whole.
            State::Halted(Halt { index: token.index, cause, trigger, released: self.due })
        } else {
            State::Finishing { cause, trigger, left }
        }
    }

    /// Ends the stream: what was held back is released, and a halt that waited is confirmed. Answers the halt, if there is
    /// one. Ending twice changes nothing.
    pub fn finish(&mut self) -> Option<Halt> {
        match self.state {
            State::Running => {
                self.released = self.due;
                self.state = State::Ended;
            }
            State::Finishing { cause, trigger, .. } => {
                self.released = self.due;
                let index = self.due.saturating_sub(1);
                self.state = State::Halted(Halt { index, cause, trigger, released: self.due });
            }
            State::Halted(_) | State::Ended => {}
        }
        self.halt()
    }

    /// The halt, if the stream has halted.
    pub fn halt(&self) -> Option<Halt> {
        match self.state {
            State::Halted(halt) => Some(halt),
            State::Running | State::Finishing { .. } | State::Ended => None,
        }
    }

    /// Whether a soft halt waits for the end of a sentence: the text of tokens matters now.
    pub fn is_finishing(&self) -> bool {
        matches!(self.state, State::Finishing { .. })
    }

    /// Whether tokens may still come.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Running | State::Finishing { .. })
    }

    /// Tokens that were taken.
    pub fn tokens(&self) -> u64 {
        self.due
    }

    /// Tokens that may be shown: those with a lower index.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The mean of the window, when there are so many scores.
    pub fn mean(&self) -> Option<f64> {
        self.mean.value()
    }

    /// The drop over the trend window, when there are so many scores.
    pub fn drop_over_window(&self) -> Option<f64> {
        self.drop.value()
    }

    /// The last tokens that were taken and what was decided, from the oldest on.
    pub fn trace(&self) -> impl Iterator<Item = &TraceEntry> {
        self.trace.entries()
    }
}

/// Whether a soft halt by this rule waits for the end of the sentence.
fn may_wait(rule: Rule) -> bool {
    matches!(rule, Rule::WindowMean | Rule::DownwardTrend | Rule::EntropyLimit)
}
