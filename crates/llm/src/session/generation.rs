//! One message in the making, as a state machine: a host that has one thread can stop between any two pieces of it.
//!
//! A generation is `Prompt` (tokens of the prompt are left to evaluate), then `Tokens` (one more token at a time),
//! then over. [`Session::generate`] is a loop over it, so both give the same tokens, texts and logits; so do all
//! sizes of the prompt's pieces, since logits do not depend on how a prompt is cut. Of several answers, each begins
//! where the prompt ends: what was evaluated of the one before it is dropped from the cache, and the prompt is not
//! evaluated again.

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_protocol::{FinishReason, GenerateRequest, GenerateResponse, Usage};

use super::answer::{Answer, Recipe, Timer};
use super::{Draft, Prompt, Session, TokenEvent, count};
use crate::LlmError;

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
    /// So many tokens are generated, of all answers.
    Tokens(usize),
    /// The response was returned.
    Finished,
}

/// The next message of a [`Session`], in the making. It belongs to the session that started it, which it is given
/// at every call. Dropping it leaves the session usable.
#[derive(Debug)]
pub struct Generation {
    recipe: Recipe,
    pub(super) current: Answer,
    /// Answers to generate.
    wanted: u32,
    /// The answers before this one.
    done: Vec<GenerateResponse>,
    /// What they cost.
    done_usage: Usage,
    timer: Option<Timer>,
    /// Guesses the next tokens.
    pub(super) draft: Option<Draft>,
    pub(super) maximum_tokens: usize,
    /// Prompt tokens of one `advance`.
    piece: usize,
    prompt_tokens: usize,
    /// Of these, in the session's cache before it started: evaluated for earlier requests of the session.
    cached: usize,
    /// Of these, in the session's cache when it started: `cached`, or more, taken from a session that began alike.
    pub(super) known: usize,
    /// The logits after the last evaluated token.
    pub(super) logits: Vec<f32>,
    /// The logits after the prompt, where another answer follows.
    prompt_logits: Vec<f32>,
    /// The session's course that this generation is.
    course: u64,
    finished: bool,
}

impl Generation {
    pub(super) fn new(
        session: &mut Session,
        prompt: &Prompt,
        request: &GenerateRequest,
        recipe: Recipe,
    ) -> Result<Self, LlmError> {
        let current = recipe.answer(0)?;
        session.course += 1;
        let (fewest, most) = PROMPT_PIECE_TOKENS;
        let work = session.model.model.config().matrix_elements().max(1);
        Ok(Self {
            recipe,
            current,
            wanted: request.n,
            done: Vec::new(),
            done_usage: Usage::default(),
            timer: None,
            draft: None,
            maximum_tokens: request.maximum_tokens as usize,
            piece: (PROMPT_PIECE_WORK / work / fewest * fewest).clamp(fewest, most) as usize,
            prompt_tokens: prompt.tokens.len(),
            cached: prompt.cached,
            known: prompt.cached,
            logits: Vec::new(),
            prompt_logits: Vec::new(),
            course: session.course,
            finished: false,
        })
    }

    /// How far it is in `session`, which started it.
    pub fn progress(&self, session: &Session) -> Progress {
        let of = self.prompt_tokens - self.known;
        let evaluated = session.cache.len().saturating_sub(self.known);
        if self.finished {
            Progress::Finished
        } else if evaluated < of {
            Progress::Prompt { evaluated, of }
        } else {
            Progress::Tokens(self.generated_tokens())
        }
    }

    /// Tokens generated so far, of all answers.
    pub fn generated_tokens(&self) -> usize {
        self.done_usage.generated_tokens as usize + self.current.generated.len()
    }

    /// Has the next tokens guessed from here on, so that right guesses save evaluations: [`advance`](Self::advance) may then
    /// generate several tokens. They are the same with and without.
    pub fn set_draft(&mut self, draft: Draft) {
        self.draft = Some(draft);
    }

    /// Where guesses come from, if it has them.
    pub fn draft(&self) -> Option<&Draft> {
        self.draft.as_ref()
    }

    /// Is asked at each token, with its index, how many milliseconds it took: a guard with a deadline wants to know.
    pub fn set_timer(&mut self, timer: impl FnMut(u64) -> Option<f64> + Send + 'static) {
        self.timer = Some(Timer(Box::new(timer)));
    }

    /// Does one piece of work in `session`, which started this generation: evaluates some tokens of the prompt (so
    /// many that it takes a fraction of a second), or generates one token (or several, with guesses) and calls `on_token` with it, which may
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
    /// was evaluated is kept or counted, so that the response does not depend on when exactly that was. Of several
    /// answers, those that are complete stay so, and those not begun are left out.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] when this generation is over, or the session went on without it.
    pub fn cancel(&mut self, session: &mut Session) -> Result<GenerateResponse, LlmError> {
        self.check(session)?;
        if self.current.generated.is_empty() {
            if self.done.is_empty() {
                session.cache.truncate(self.cached);
            }
            self.logits.clear();
        }
        Ok(self.finish(session, FinishReason::Cancelled))
    }

    pub(super) fn check(&self, session: &Session) -> Result<(), LlmError> {
        let problem = if self.finished {
            "this generation is over; start another"
        } else if self.course != session.course
            || session.tokens.len() != self.prompt_tokens + self.current.generated.len()
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
        let Some(evaluation) = self.evaluation(session, prompt_tokens)? else {
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
        if self.current.generated.is_empty() && self.done.len() + 1 < self.wanted as usize {
            self.prompt_logits.clone_from(&self.logits);
        }
        let index = self.generated_tokens();
        let timer = &mut self.timer;
        let elapsed_ms = || timer.as_mut().and_then(|timer| (timer.0)(index as u64));
        let (token, finish) = self.current.choose(&model, &self.logits, &session.tokens, elapsed_ms)?;
        session.tokens.push(token);
        let finish = if finish.is_some() {
            finish
        } else if self.current.generated.len() >= self.maximum_tokens {
            Some(FinishReason::Length)
        } else if session.cache.len() >= model.model.config().context_length {
            Some(FinishReason::Context)
        } else {
            None
        };
        let finish = finish.map(|finish| self.current.conclude(&model.tokenizer, finish));
        let shown = self.current.show(&model.tokenizer, finish);
        let event = TokenEvent {
            token,
            text: shown.text,
            reasoning: shown.reasoning,
            logprob: shown.logprob,
            index: count(index),
            answer: count(self.done.len()),
        };
        let cancelled = on_token(&event).is_break().then_some(FinishReason::Cancelled);
        let Some(finish) = finish else { return Ok(cancelled) };
        if self.done.len() + 1 == self.wanted as usize {
            return Ok(Some(finish));
        }
        self.begin_next(session, finish)?;
        if cancelled.is_some() {
            self.logits.clear();
        }
        Ok(cancelled)
    }

    /// Puts the answer that ended for this reason aside, and begins the next one where the prompt ends.
    fn begin_next(&mut self, session: &mut Session, finish: FinishReason) -> Result<(), LlmError> {
        let prompt = &session.tokens[..self.prompt_tokens];
        let (response, _) = self.current.respond(&session.model.tokenizer, finish, &self.logits, prompt);
        self.put_aside(session, response);
        self.current = self.recipe.answer(count(self.done.len()))?;
        session.tokens.truncate(self.prompt_tokens);
        session.cache.truncate(self.prompt_tokens);
        self.logits = std::mem::take(&mut self.prompt_logits);
        Ok(())
    }

    /// Adds a response to those that are done, with what it cost.
    fn put_aside(&mut self, session: &Session, mut response: GenerateResponse) {
        let before = if self.done.is_empty() { self.cached } else { self.prompt_tokens };
        let usage = &mut response.usage;
        usage.evaluated_tokens = count(session.cache.len() - before);
        // Those that the guard did not let through cost as much.
        usage.generated_tokens = count(session.tokens.len() - self.prompt_tokens);
        self.done_usage.evaluated_tokens += usage.evaluated_tokens;
        self.done_usage.generated_tokens += usage.generated_tokens;
        self.done.push(response);
    }

    /// Makes the response and brings the session in line with it.
    fn finish(&mut self, session: &mut Session, finish: FinishReason) -> GenerateResponse {
        self.finished = true;
        let prompt = &session.tokens[..self.prompt_tokens];
        let (response, outcome) =
            self.current.respond(&session.model.tokenizer, finish, &self.logits, prompt);
        self.put_aside(session, response);
        session.settle(&outcome, self.prompt_tokens);
        let mut first = self.done.remove(0);
        first.usage = Usage {
            prompt_tokens: count(self.prompt_tokens),
            cached_tokens: count(self.cached),
            ..self.done_usage
        };
        first.further = std::mem::take(&mut self.done);
        first
    }
}
