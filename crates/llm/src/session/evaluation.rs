//! What a generation needs of the model next, apart from who has it computed: the session alone, or a scheduler together
//! with others.

use std::ops::ControlFlow;

use glasshouse_protocol::{FinishReason, GenerateResponse};

use super::{Generation, Session, TokenEvent};
use crate::LlmError;
use crate::cache::PAGE_TOKENS;
use crate::model::{Logits, Sequence};

/// Tokens that a generation needs evaluated before it can go on.
#[derive(Debug)]
pub(crate) struct Evaluation {
    /// They continue the sequence in the session's cache.
    tokens: Vec<u32>,
    logits: Logits,
    /// How many of the tokens, at the end, are guesses.
    guesses: usize,
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
    pub(crate) fn evaluation(
        &mut self,
        session: &Session,
        prompt_tokens: usize,
    ) -> Result<Option<Evaluation>, LlmError> {
        let mut tokens = session.tokens[session.cache.len()..].to_vec();
        if tokens.is_empty() {
            return Ok(None);
        }
        if self.is_in_prompt(session) {
            let logits = if tokens.len() > prompt_tokens { Logits::None } else { Logits::Last };
            tokens.truncate(prompt_tokens);
            return Ok(Some(Evaluation { tokens, logits, guesses: 0 }));
        }
        let guesses = self.guesses(session)?;
        let logits = if guesses.is_empty() { Logits::Last } else { Logits::All };
        tokens.extend(&guesses);
        Ok(Some(Evaluation { tokens, logits, guesses: guesses.len() }))
    }

    /// Guesses of what follows the last token, no more than can be of use.
    fn guesses(&mut self, session: &Session) -> Result<Vec<u32>, LlmError> {
        let room = session.cache.capacity() - session.tokens.len();
        let wanted = self.maximum_tokens.saturating_sub(self.current.generated.len() + 1);
        let Some(draft) = &mut self.draft else { return Ok(Vec::new()) };
        let vocabulary_size = session.model.model.config().vocabulary_size;
        let mut guesses = draft.guess(&session.tokens, room.min(wanted))?;
        let known = guesses.iter().take_while(|guess| (**guess as usize) < vocabulary_size).count();
        guesses.truncate(known);
        Ok(guesses)
    }

    /// Goes on after `evaluation`, which is in the session's cache now; `logits` are those that it wanted. Chooses a token,
    /// and one more behind each guess that was right, unless the evaluation was of the prompt.
    pub(crate) fn go_on(
        &mut self,
        session: &mut Session,
        evaluation: &Evaluation,
        logits: &[f32],
        on_token: &mut dyn FnMut(&TokenEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<FinishReason>, LlmError> {
        let vocabulary_size = session.model.model.config().vocabulary_size;
        debug_assert_eq!(logits.len(), evaluation.rows() * vocabulary_size);
        if self.current.generated.is_empty() {
            self.logits.clear();
            self.logits.extend_from_slice(logits);
            // Only whole pages: into the last one the session writes next.
            let whole = session.cache.len() / PAGE_TOKENS * PAGE_TOKENS;
            session.prefixes.lock().insert(&session.tokens[..whole], &session.cache);
            return Ok(None);
        }
        if evaluation.guesses == 0 {
            self.logits.clear();
            self.logits.extend_from_slice(logits);
            return self.choose(session, on_token);
        }
        // Each choice sees the session as it is without guesses: the cache ends with the token before.
        let before = session.cache.len() - evaluation.guesses;
        let ahead = session.cache.clone();
        session.cache.truncate(before);
        let guesses = &evaluation.tokens[evaluation.tokens.len() - evaluation.guesses..];
        let mut accepted = 0;
        let finish = loop {
            self.logits.clear();
            self.logits.extend_from_slice(&logits[accepted * vocabulary_size..][..vocabulary_size]);
            let finish = self.choose(session, on_token)?;
            let was_guessed = session.tokens.len() == before + accepted + 1
                && guesses.get(accepted) == session.tokens.last();
            accepted += usize::from(was_guessed);
            if finish.is_some() || !was_guessed {
                break finish;
            }
            session.cache.catch_up(&ahead, before + accepted);
        };
        if let Some(draft) = &mut self.draft {
            draft.learn(evaluation.guesses, accepted);
        }
        Ok(finish)
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
