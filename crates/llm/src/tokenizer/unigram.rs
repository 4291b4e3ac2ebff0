//! SentencePiece's Unigram: of all ways to cut a text into tokens, the one whose scores add up to the most.
//!
//! - [`Unigram`]: normalizes a text, then finds the best way by dynamic programming (T. Kudo, "Subword
//!   Regularization", 2018; the order of ties as in llama.cpp's `llm_tokenizer_ugm`).

use super::charsmap::Charsmap;
use super::data::TokenizerData;
use super::trie::Trie;
use super::vocabulary::{TokenKind, VISIBLE_SPACE, Vocabulary, invalid};
use crate::LlmError;

/// How much worse than the worst token a character without a token is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A Unigram model.
#[derive(Debug, Clone)]
pub(super) struct Unigram {
    /// All tokens that text may become.
    tokens: Trie,
    /// The user-defined ones; what begins like one is not normalized.
    user_defined: Trie,
    /// What each token adds to the sum.
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
    charsmap: Option<Charsmap>,
    add_space_prefix: bool,
    /// Whether every run of spaces becomes one, and those at both ends none.
    merge_spaces: bool,
}

/// The best way to cut the text up to some byte.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last token begins.
    start: usize,
    token: u32,
}

impl Unigram {
    pub(super) fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary) -> Result<Self, LlmError> {
        let unknown = vocabulary
            .roles
            .unknown
            .ok_or_else(|| invalid("a Unigram tokenizer needs an unknown_token_id".to_string()))?;
        let scores = vocabulary.scores(data)?;
        let of_kinds = |kinds: &[TokenKind]| {
            let of_kind = |id: &u32| vocabulary.kind(*id).is_some_and(|kind| kinds.contains(&kind));
            let ids: Vec<u32> = (0..vocabulary.len() as u32).filter(of_kind).collect();
            let text = |id: u32| (vocabulary.text(id).unwrap_or_default().as_bytes(), id);
            Trie::new(ids.into_iter().map(text).filter(|(text, _)| !text.is_empty()))
        };
        let normal = |(id, _): &(u32, &f32)| vocabulary.kind(*id) == Some(TokenKind::Normal);
        let lowest =
            (0u32..).zip(&scores).filter(normal).fold(f32::MAX, |lowest, (_, &score)| lowest.min(score));
        Ok(Self {
            tokens: of_kinds(&[TokenKind::Normal, TokenKind::UserDefined, TokenKind::Unused]),
            user_defined: of_kinds(&[TokenKind::UserDefined]),
            scores: (0u32..)
                .zip(&scores)
                .map(|(id, &score)| match vocabulary.kind(id) {
                    Some(TokenKind::UserDefined) => 0.0,
                    _ => f64::from(score),
                })
                .collect(),
            unknown,
            unknown_score: f64::from(lowest - UNKNOWN_PENALTY),
            charsmap: data.charsmap.as_deref().map(Charsmap::new).transpose()?,
            add_space_prefix: data.add_space_prefix.unwrap_or(false),
            merge_spaces: data.remove_extra_whitespaces.unwrap_or(false),
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let normalized = self.normalize(text);
        let nothing = Best { score: f64::MIN, start: 0, token: self.unknown };
        let mut best = vec![nothing; normalized.len() + 1];
        best[0].score = 0.0;
        for (start, character) in normalized.char_indices() {
            let here = best[start].score;
            let mut improve = |end: usize, token: u32, score: f64| {
                if here + score > best[end].score {
                    best[end] = Best { score: here + score, start, token };
                }
            };
            let mut whole_character = false;
            for (length, token) in self.tokens.prefixes(&normalized.as_bytes()[start..]) {
                whole_character |= length == character.len_utf8();
                improve(start + length, token, self.scores[token as usize]);
            }
            if !whole_character {
                improve(start + character.len_utf8(), self.unknown, self.unknown_score);
            }
        }
        let first = tokens.len();
        let mut end = normalized.len();
        while end > 0 {
            let Best { start, token, .. } = best[end];
            // Characters without tokens in a row are one unknown token.
            let again = tokens.len() > first && token == self.unknown && tokens.last() == Some(&token);
            if !again {
                tokens.push(token);
            }
            end = start;
        }
        tokens[first..].reverse();
    }

    /// `text` as the model was trained to see it, with visible spaces.
    fn normalize(&self, text: &str) -> String {
        let mut normalized = String::with_capacity(text.len() + text.len() / 2);
        let mut prefixed = false;
        let mut in_word = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (replacement, consumed) = self.replacement(rest);
            for character in replacement.chars() {
                if character == ' ' {
                    in_word = false;
                    if !self.merge_spaces {
                        normalized.push(VISIBLE_SPACE);
                    }
                    continue;
                }
                if !in_word && (self.merge_spaces || (self.add_space_prefix && !prefixed)) {
                    normalized.push(VISIBLE_SPACE);
                    prefixed = true;
                }
                in_word = true;
                normalized.push(character);
            }
            rest = &rest[consumed..];
        }
        normalized
    }

    /// What the beginning of `rest` becomes, and how many bytes of it that is.
    fn replacement<'a>(&'a self, rest: &'a str) -> (&'a str, usize) {
        // What begins like a user-defined token stays, as far as it does; there whole characters only.
        let mut kept = self.user_defined.depth(rest.as_bytes());
        while !rest.is_char_boundary(kept) {
            kept -= 1;
        }
        if kept > 0 {
            return (&rest[..kept], kept);
        }
        let mapped = self.charsmap.as_ref().and_then(|charsmap| charsmap.replacement(rest));
        mapped.unwrap_or_else(|| {
            let first = rest.chars().next().map_or(rest.len(), char::len_utf8);
            (&rest[..first], first)
        })
    }
}
