//! Speculative decoding: guesses of the next tokens, which the model then evaluates together.
//!
//! - [`Draft`]: where guesses come from, and how many are made.
//! - [`DraftStatistics`]: how good they were.
//!
//! A guess decides nothing. At each place the token is chosen from the model's own logits, as without guesses; where it is
//! the guessed one, the logits behind it are there already, and where it is not, the guesses behind it are dropped. So
//! every token, draw, mask and penalty is the same with and without (compare Leviathan et al., 2023, whose acceptance keeps
//! the distribution; this keeps the choices themselves).

use std::sync::Arc;

use crate::fingerprint::most_probable;
use crate::loaded::LoadedModel;
use crate::{KvCache, LlmError};

/// Guesses of the first round.
const FIRST_LENGTH: usize = 4;
/// The most guesses of a round: with more, one that fails early wastes too much.
const LONGEST: usize = 16;
/// The most tokens chosen without guesses after rounds whose guesses were all wrong.
const LONGEST_PAUSE: u32 = 32;
/// The longest and the shortest end of the text that is looked up.
const LOOKED_UP: [usize; 2] = [8, 3];

/// How good guesses were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DraftStatistics {
    /// Tokens guessed.
    pub guessed: u64,
    /// Of these, the ones that were chosen.
    pub accepted: u64,
    /// Evaluations that guesses took part in.
    pub rounds: u64,
}

/// Where guesses of a generation come from.
#[derive(Debug)]
pub struct Draft {
    source: Source,
    /// Guesses of the next round.
    length: usize,
    /// Rounds in a row whose guesses were all wrong.
    failures: u32,
    /// Tokens to choose before the next round.
    pause: u32,
    statistics: DraftStatistics,
}

#[derive(Debug)]
enum Source {
    Lookup,
    Model(Box<Guesser>),
}

/// A smaller model that follows the conversation.
#[derive(Debug)]
struct Guesser {
    model: Arc<LoadedModel>,
    cache: KvCache,
    /// What the cache holds.
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

impl Draft {
    /// What followed the last place in the conversation where it read as it does now: good where an answer repeats its
    /// prompt, as tool calls do (prompt look-up decoding, Saxena, 2023).
    pub fn lookup() -> Self {
        Self::new(Source::Lookup)
    }

    /// What a smaller model finds most probable, for generations of `target`.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] when the two do not have the same tokens.
    pub fn model(model: Arc<LoadedModel>, target: &LoadedModel) -> Result<Self, LlmError> {
        let (ours, theirs) = (&model.tokenizer, &target.tokenizer);
        let size = theirs.vocabulary_size();
        let same = |id: u32| {
            ours.token_bytes(id) == theirs.token_bytes(id)
                && ours.ends_generation(id) == theirs.ends_generation(id)
        };
        if ours.vocabulary_size() != size || !(0..size as u32).all(same) {
            return Err(LlmError::InvalidRequest {
                message:
                    "the draft model has other tokens than the model; take a smaller one of the same family"
                        .to_string(),
            });
        }
        let cache = model.new_cache();
        Ok(Self::new(Source::Model(Box::new(Guesser {
            model,
            cache,
            tokens: Vec::new(),
            logits: Vec::new(),
        }))))
    }

    fn new(source: Source) -> Self {
        Self { source, length: FIRST_LENGTH, failures: 0, pause: 0, statistics: DraftStatistics::default() }
    }

    /// How good its guesses were so far.
    pub fn statistics(&self) -> DraftStatistics {
        self.statistics
    }

    /// At most `limit` guesses of what follows `tokens`.
    pub(super) fn guess(&mut self, tokens: &[u32], limit: usize) -> Result<Vec<u32>, LlmError> {
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(Vec::new());
        }
        let limit = limit.min(self.length);
        match &mut self.source {
            Source::Lookup => Ok(look_up(tokens, limit)),
            Source::Model(guesser) => guesser.guess(tokens, limit),
        }
    }

    /// Learns how many of its guesses were chosen.
    pub(super) fn learn(&mut self, guessed: usize, accepted: usize) {
        self.statistics.rounds += 1;
        self.statistics.guessed += guessed as u64;
        self.statistics.accepted += accepted as u64;
        if accepted == 0 {
            self.pause = LONGEST_PAUSE.min(1 << self.failures.min(31));
            self.failures += 1;
            self.length = FIRST_LENGTH;
        } else {
            self.failures = 0;
            let all = accepted == guessed;
            self.length = if all { (2 * self.length).min(LONGEST) } else { accepted + 1 };
        }
    }
}

/// What followed the last place where `tokens` read as they end.
fn look_up(tokens: &[u32], limit: usize) -> Vec<u32> {
    let [longest, shortest] = LOOKED_UP;
    // How many tokens before `end` are those at the end.
    let matching = |end: usize| {
        let pairs = tokens[..end].iter().rev().zip(tokens.iter().rev());
        pairs.take(longest).take_while(|(a, b)| a == b).count()
    };
    let mut best = (shortest - 1, 0);
    for end in (shortest..tokens.len()).rev() {
        let matching = matching(end);
        if matching > best.0 {
            best = (matching, end);
            if matching == longest {
                break;
            }
        }
    }
    let (_, end) = best;
    if end == 0 {
        return Vec::new();
    }
    tokens[end..tokens.len().min(end + limit)].to_vec()
}

impl Guesser {
    fn guess(&mut self, tokens: &[u32], limit: usize) -> Result<Vec<u32>, LlmError> {
        let limit = limit.min((self.cache.capacity() + 1).saturating_sub(tokens.len()));
        let mut guesses = Vec::new();
        if limit == 0 {
            return Ok(guesses);
        }
        let common = self.tokens.iter().zip(tokens).take_while(|(held, wanted)| held == wanted).count();
        // The last token is always evaluated: its logits are needed.
        let common = common.min(tokens.len().saturating_sub(1));
        self.cache.truncate(common);
        self.tokens.truncate(common);
        let mut next = tokens[common..].to_vec();
        loop {
            self.model.model.forward(&mut self.cache, &next, &mut self.logits)?;
            self.tokens.append(&mut next);
            let known = self.logits.len().min(self.model.tokenizer.vocabulary_size());
            guesses.push(most_probable(&self.logits[..known]));
            if guesses.len() == limit {
                return Ok(guesses);
            }
            next.extend(guesses.last());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_is_continued_and_of_equals_the_last() {
        assert_eq!(look_up(&[1, 2, 3, 4, 5, 9, 2, 3, 4, 7, 1, 2, 3, 4], 3), [5, 9, 2]);
        assert_eq!(look_up(&[8, 2, 3, 4, 5, 9, 2, 3, 4, 7, 1, 2, 3, 4], 3), [7, 1, 2]);
        assert_eq!(look_up(&[6, 6, 6, 6], 3), [6]);
        assert!(look_up(&[2, 3, 9, 2, 3], 3).is_empty());
        assert!(look_up(&[], 3).is_empty());
    }

    #[test]
    fn wrong_guesses_make_pauses_and_right_ones_longer_rounds() {
        let mut draft = Draft::lookup();
        let tokens = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3];
        let guesses = |draft: &mut Draft| draft.guess(&tokens, 100).unwrap().len();
        assert_eq!(guesses(&mut draft), 3);
        draft.learn(3, 0);
        assert_eq!((guesses(&mut draft), guesses(&mut draft)), (0, 3));
        draft.learn(3, 0);
        assert_eq!([(); 3].map(|()| guesses(&mut draft)), [0, 0, 3]);
        draft.learn(3, 3);
        assert_eq!(draft.length, 2 * FIRST_LENGTH);
        draft.learn(8, 2);
        assert_eq!(draft.length, 3);
        assert_eq!(draft.statistics(), DraftStatistics { guessed: 17, accepted: 5, rounds: 4 });
    }
}
