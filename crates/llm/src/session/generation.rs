//! One message in the making, as a state machine: a host that has one thread can stop between any two pieces of it.
//!
//! A generation is `Prompt` (tokens of the prompt are left to evaluate), then `Tokens` (one more token at a time),
//! then over. [`Session::generate`] is a loop over it, so both give the same tokens, texts and logits; so do all
//! sizes of the prompt's pieces, since logits do not depend on how a prompt is cut.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_halt::Verdict;
use glasshouse_protocol::{FinishReason, GenerateRequest, GenerateResponse, GuardHalt, Usage};

use super::{Prompt, Session, TokenEvent, count};
use crate::LlmError;
use crate::constraint::Constraint;
use crate::guard::{Chosen, Guard};
use crate::sampler::Sampler;
use crate::stream::TextStream;
use crate::tokenizer::Tokenizer;

/// Multiply-accumulates that one call of [`Generation::advance`] may spend on a prompt: a fraction of a second on
/// one core of a browser.
const PROMPT_PIECE_WORK: u64 = 16_000_000_000;
/// The fewest and the most prompt tokens of one call: with fewer, reading the weights costs more than computing
/// with them; with more, nothing is gained.
const PROMPT_PIECE_TOKENS: (u64, u64) = (4, 64);

/// How far a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many tokens of the prompt are evaluated, of so many that are not in the session already.
    Prompt {
        /// Tokens evaluated.
        evaluated: usize,
        /// Tokens to evaluate.
        of: usize,
    },
    /// So many tokens are generated.
    Tokens(usize),
    /// The response was returned.
    Finished,
}

/// The next message of a [`Session`], in the making. It belongs to the session that started it, which it is given
/// at every call. Dropping it leaves the session usable.
#[derive(Debug)]
pub struct Generation {
    sampler: Sampler,
    constraint: Option<Constraint>,
    guard: Option<Guard>,
    timer: Option<Timer>,
    /// How the guard stopped it.
    halt: Option<GuardHalt>,
    stream: TextStream,
    stops: Vec<String>,
    /// Bytes of the text that were given to whoever listens.
    shown: usize,
    maximum_tokens: usize,
    /// Prompt tokens of one `advance`.
    piece: usize,
    prompt_tokens: usize,
    /// Of these, in the session's cache when it started.
    cached: usize,
    pub(super) generated: Vec<u32>,
    /// Whether the text ends before the tokens do: before a stop text, or where the guard stopped it.
    cut: bool,
    /// The logits after the last evaluated token.
    pub(super) logits: Vec<f32>,
    /// The session's course that this generation is.
    course: u64,
    finished: bool,
}

/// Says how long a token took.
struct Timer(Box<dyn FnMut(u64) -> Option<f64> + Send>);

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer(..)")
    }
}

/// What a generation came to.
pub(super) struct Outcome {
    pub finish: FinishReason,
    pub generated: Vec<u32>,
    pub text: String,
    /// Whether the text ends before the tokens do.
    pub cut: bool,
}

impl Generation {
    pub(super) fn new(
        session: &mut Session,
        prompt: &Prompt,
        request: &GenerateRequest,
        sampler: Sampler,
        constraint: Option<Constraint>,
        guard: Option<Guard>,
    ) -> Self {
        session.course += 1;
        let (fewest, most) = PROMPT_PIECE_TOKENS;
        let work = session.model.model.config().matrix_elements().max(1);
        Self {
            sampler,
            constraint,
            guard,
            timer: None,
            halt: None,
            stream: TextStream::new(&request.stop),
            stops: request.stop.clone(),
            shown: 0,
            maximum_tokens: request.maximum_tokens as usize,
            piece: (PROMPT_PIECE_WORK / work / fewest * fewest).clamp(fewest, most) as usize,
            prompt_tokens: prompt.tokens.len(),
            cached: prompt.cached,
            generated: Vec::new(),
            cut: false,
            logits: Vec::new(),
            course: session.course,
            finished: false,
        }
    }

    /// How far it is in `session`, which started it.
    pub fn progress(&self, session: &Session) -> Progress {
        let of = self.prompt_tokens - self.cached;
        let evaluated = session.cache.len().saturating_sub(self.cached);
        if self.finished {
            Progress::Finished
        } else if evaluated < of {
            Progress::Prompt { evaluated, of }
        } else {
            Progress::Tokens(self.generated.len())
        }
    }

    /// Tokens generated so far.
    pub fn generated_tokens(&self) -> usize {
        self.generated.len()
    }

    /// Is asked at each token, with its index, how many milliseconds it took: a guard with a deadline wants to know.
    pub fn set_timer(&mut self, timer: impl FnMut(u64) -> Option<f64> + Send + 'static) {
        self.timer = Some(Timer(Box::new(timer)));
    }

    /// Does one piece of work in `session`, which started this generation: evaluates some tokens of the prompt (so
    /// many that it takes a fraction of a second), or generates one token and calls `on_token` with it, which may
    /// end the generation after it. The response comes with the last piece.
    ///
    /// # Errors
    /// [`LlmError`] when the model fails; the session has forgotten its conversation then and is usable.
    /// [`LlmError::InvalidRequest`] when this generation is over, or the session went on without it.
    pub fn advance(
        &mut self,
        session: &mut Session,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        self.advance_by(session, self.piece, on_token)
    }

    /// [`advance`](Self::advance) with up to `prompt_tokens` tokens of the prompt at a time, at least one.
    ///
    /// # Errors
    /// As for [`advance`](Self::advance).
    pub fn advance_by(
        &mut self,
        session: &mut Session,
        prompt_tokens: usize,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        self.check(session)?;
        let step = self.step(session, prompt_tokens.max(1), on_token);
        self.answer(session, step)
    }

    /// What a step came to: the response if it was the last.
    pub(super) fn answer(
        &mut self,
        session: &mut Session,
        step: Result<Option<FinishReason>, LlmError>,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        match step {
            Ok(finish) => Ok(finish.map(|finish| self.finish(session, finish))),
            Err(error) => {
                self.finished = true;
                // What a failure leaves behind is in no order that could be continued.
                session.clear();
                Err(error)
            }
        }
    }

    /// Prompt tokens that take a fraction of a second on one core of a browser.
    pub(crate) fn piece(&self) -> usize {
        self.piece
    }

    /// Ends the generation where it is: the response has the tokens generated so far, which stay part of the
    /// conversation, and the reason [`FinishReason::Cancelled`]. It is the response that `on_token` would have
    /// brought about by ending the generation after the last of these tokens. Before the first token, nothing that
    /// was evaluated is kept or counted, so that the response does not depend on when exactly that was.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] when this generation is over, or the session went on without it.
    pub fn cancel(&mut self, session: &mut Session) -> Result<GenerateResponse, LlmError> {
        self.check(session)?;
        if self.generated.is_empty() {
            session.cache.truncate(self.cached);
            self.logits.clear();
        }
        Ok(self.finish(session, FinishReason::Cancelled))
    }

    pub(super) fn check(&self, session: &Session) -> Result<(), LlmError> {
        let problem = if self.finished {
            "this generation is over; start another"
        } else if self.course != session.course
            || session.tokens.len() != self.prompt_tokens + self.generated.len()
        {
            "the session went on without this generation; start another"
        } else {
            return Ok(());
        };
        Err(LlmError::InvalidRequest { message: problem.to_string() })
    }

    /// One piece of work; the reason if it was the last.
    fn step(
        &mut self,
        session: &mut Session,
        prompt_tokens: usize,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<FinishReason>, LlmError> {
        let Some(evaluation) = self.evaluation(session, prompt_tokens) else {
            return self.choose(session, on_token);
        };
        let mut logits = Vec::new();
        let model = Arc::clone(&session.model);
        model.model.forward_batch(&mut [session.sequence(&evaluation)], &mut logits)?;
        self.go_on(session, &evaluation, &logits, on_token)
    }

    /// Chooses the next token after `logits`.
    pub(super) fn choose(
        &mut self,
        session: &mut Session,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<FinishReason>, LlmError> {
        let model = Arc::clone(&session.model);
        let tokenizer = &model.tokenizer;
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        // Some models have logits for ids that the tokenizer does not know.
        let known = &self.logits[..self.logits.len().min(tokenizer.vocabulary_size())];
        let token = self.sampler.choose(known, &session.tokens, mask.as_ref())?;
        session.tokens.push(token);
        self.generated.push(token);

        let ends = tokenizer.ends_generation(token);
        let bytes = if ends { &[] } else { tokenizer.token_bytes(token) };
        let mut halts = false;
        if let Some(guard) = &mut self.guard {
            let index = self.generated.len() as u64 - 1;
            let elapsed_ms = self.timer.as_mut().and_then(|timer| (timer.0)(index));
            let mask = mask.as_ref();
            // The end of the turn ends a word, too.
            let bytes = if ends { b"\n" } else { bytes };
            let chosen = Chosen { token, logits: known, mask, bytes, elapsed_ms };
            halts = guard.judge(model.model.kernels(), &chosen)?.verdict == Verdict::Halt;
        }
        if let Some(constraint) = self.constraint.as_mut().filter(|_| !ends && !halts) {
            constraint.accept(token)?;
        }
        self.stream.push(bytes);
        let finish = if halts {
            Some(FinishReason::Halted)
        } else if ends || self.stream.is_stopped() {
            Some(FinishReason::Stop)
        } else if self.generated.len() >= self.maximum_tokens {
            Some(FinishReason::Length)
        } else if session.cache.len() >= model.model.config().context_length {
            Some(FinishReason::Context)
        } else {
            None
        };
        self.cut = self.stream.is_stopped();
        let finish = finish.map(|finish| self.conclude(tokenizer, finish));
        let visible = match &mut self.guard {
            Some(guard) if finish.is_none() => guard.shown(self.stream.text().len()),
            _ => self.stream.text().len(),
        };
        let text = &self.stream.text()[self.shown..visible];
        self.shown = visible;
        let event = TokenEvent { token, text, index: count(self.generated.len() - 1) };
        let cancelled = on_token(&event).is_break();
        Ok(finish.or(cancelled.then_some(FinishReason::Cancelled)))
    }

    /// Ends the text, and with it the guard's stream: what was held back is shown, or, after a halt, never is. A person's
    /// stop does neither. Answers why the generation ended.
    fn conclude(&mut self, tokenizer: &Tokenizer, finish: FinishReason) -> FinishReason {
        let Some(guard) = &mut self.guard else {
            self.stream.finish();
            return finish;
        };
        let halt = if finish == FinishReason::Cancelled { None } else { guard.finish() };
        let released = guard.released();
        if released < self.generated.len() {
            self.generated.truncate(released);
            self.cut = true;
            self.stream = TextStream::new(&self.stops);
            for &token in &self.generated {
                self.stream.push(tokenizer.token_bytes(token));
            }
        }
        self.halt = halt.map(|halt| guard.report(&halt));
        self.stream.finish();
        if halt.is_some() { FinishReason::Halted } else { finish }
    }

    /// Makes the response and brings the session in line with it.
    fn finish(&mut self, session: &mut Session, finish: FinishReason) -> GenerateResponse {
        self.finished = true;
        if finish == FinishReason::Cancelled {
            let model = Arc::clone(&session.model);
            self.conclude(&model.tokenizer, finish);
        }
        let evaluated = session.cache.len() - self.cached;
        // Those that the guard did not let through cost as much.
        let generated = session.tokens.len() - self.prompt_tokens;
        let outcome = Outcome {
            finish,
            generated: std::mem::take(&mut self.generated),
            text: self.stream.text().to_string(),
            cut: self.cut,
        };
        session.settle(&outcome, self.prompt_tokens);
        let mut hasher = blake3::Hasher::new();
        for logit in &self.logits {
            hasher.update(&logit.to_le_bytes());
        }
        GenerateResponse {
            usage: Usage {
                prompt_tokens: count(self.prompt_tokens),
                cached_tokens: count(self.cached),
                evaluated_tokens: count(evaluated),
                generated_tokens: count(generated),
            },
            text: outcome.text,
            finish: outcome.finish,
            tokens: outcome.generated,
            logits_hash: hasher.finalize().to_hex().to_string(),
            halt: self.halt.take(),
        }
    }
}
