//! What a generation needs of the model next, apart from who has it computed: the session alone, or a scheduler together
//! with others.

use std::ops::ControlFlow;

use glasshouse_protocol::{FinishReason, GenerateResponse};

use super::{Generation, Session, TokenEvent};
use crate::LlmError;
use crate::model::{Logits, Sequence};

/// Tokens that a generation needs evaluated before it can go on.
#[derive(Debug)]
pub(crate) struct Evaluation {
    /// They continue the sequence in the session's cache.
    tokens: Vec<u32>,
    logits: Logits,
}

impl Evaluation {
    /// How many tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// How many rows of logits there will be.
    pub fn rows(&self) -> usize {
        match self.logits {
            Logits::None => 0,
            Logits::Last => 1,
            Logits::All => self.tokens.len(),
        }
    }
}

impl Session {
    /// The sequence in the cache, with what `evaluation` adds to it.
    pub(crate) fn sequence<'a>(&'a mut self, evaluation: &'a Evaluation) -> Sequence<'a> {
        Sequence { cache: &mut self.cache, tokens: &evaluation.tokens, logits: evaluation.logits }
    }
}

impl Generation {
    /// Whether tokens of the prompt are left to evaluate.
    pub(crate) fn is_in_prompt(&self, session: &Session) -> bool {
        self.current.generated.is_empty() && session.cache.len() < session.tokens.len()
    }

    /// What to evaluate next, at most `prompt_tokens` tokens of a prompt; none if the next token can be chosen.
    pub(crate) fn evaluation(&self, session: &Session, prompt_tokens: usize) -> Option<Evaluation> {
        let left = &session.tokens[session.cache.len()..];
        if left.is_empty() {
            None
        } else if self.is_in_prompt(session) && left.len() > prompt_tokens {
            Some(Evaluation { tokens: left[..prompt_tokens].to_vec(), logits: Logits::None })
        } else {
            Some(Evaluation { tokens: left.to_vec(), logits: Logits::Last })
        }
    }

    /// Goes on after `evaluation`, which is in the session's cache now; `logits` are those that it wanted. Chooses a token
    /// unless the evaluation was of the prompt.
    pub(crate) fn go_on(
        &mut self,
        session: &mut Session,
        evaluation: &Evaluation,
        logits: &[f32],
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<FinishReason>, LlmError> {
        debug_assert_eq!(logits.len(), evaluation.rows() * session.model.model.config().vocabulary_size);
        if evaluation.rows() > 0 {
            self.logits.clear();
            self.logits.extend_from_slice(logits);
        }
        if self.current.generated.is_empty() { Ok(None) } else { self.choose(session, on_token) }
    }

    /// Chooses the next token if nothing has to be evaluated before; the response if it was the last.
    pub(crate) fn advance_if_ready(
        &mut self,
        session: &mut Session,
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        self.check(session)?;
        if session.cache.len() < session.tokens.len() {
            return Ok(None);
        }
        let chosen = self.choose(session, on_token);
        self.answer(session, chosen)
    }

    /// [`go_on`](Self::go_on); the response if that was the end.
    pub(crate) fn advance_after(
        &mut self,
        session: &mut Session,
        evaluation: &Evaluation,
        logits: &[f32],
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        let gone_on = self.go_on(session, evaluation, logits, on_token);
        self.answer(session, gone_on)
    }

    /// Ends the generation with an error.
    pub(crate) fn fail(
        &mut self,
        session: &mut Session,
        error: LlmError,
    ) -> Result<Option<GenerateResponse>, LlmError> {
        self.answer(session, Err(error))
    }
}
