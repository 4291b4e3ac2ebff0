//! SentencePiece BPE: characters are merged pair by pair, the pair whose token has the highest score first;
//! characters without a token become bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::data::TokenizerData;
use super::repeats::Repeats;
use super::vocabulary::{VISIBLE_SPACE, Vocabulary};
use crate::LlmError;

/// The scores of a SentencePiece tokenizer.
#[derive(Debug, Clone)]
pub(super) struct SentencePieces {
    /// One for each token.
    scores: Vec<f32>,
    /// Whether text after a control token, or at the beginning, gets a space before it.
    pub(super) add_space_prefix: bool,
    /// Whether no token holds a space after anything else: then words that begin with spaces do not merge with what is
    /// before them, and each can be encoded by itself.
    words: bool,
}

/// A pair of neighbours whose text is a token. The greatest is merged first.
struct Pair {
    score: f32,
    /// Where the left part begins, in bytes.
    left: usize,
    /// Where the right part begins.
    right: usize,
    /// Where the right part ended when the pair was found; the pair is stale when it ends elsewhere now.
    end: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores were checked to be numbers. Of equal ones the leftmost goes first.
        self.score
            .partial_cmp(&other.score)
            .unwrap_or(Ordering::Equal)
            .then(other.left.cmp(&self.left))
            .then(other.end.cmp(&self.end))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl SentencePieces {
    pub(super) fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary) -> Result<Self, LlmError> {
        let scores = vocabulary.scores(data)?;
        let crosses = |text: &str| begins_of_words(text).next().is_some();
        let words = !data.tokens.iter().any(|text| vocabulary.by_text(text).is_some() && crosses(text));
        Ok(Self { scores, add_space_prefix: data.add_space_prefix.unwrap_or(true), words })
    }

    /// Appends the tokens of `text`; `prefix` says whether it gets a space before it.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, prefix: bool, tokens: &mut Vec<u32>) {
        let mut visible = String::with_capacity(text.len() + text.len() / 2);
        if prefix {
            visible.push(VISIBLE_SPACE);
        }
        visible
            .extend(text.chars().map(|character| if character == ' ' { VISIBLE_SPACE } else { character }));

        let mut repeats = Repeats::default();
        let mut rest = 0;
        let begins = begins_of_words(&visible).filter(|_| self.words);
        for end in begins.chain([visible.len()]) {
            let word = &visible[rest..end];
            repeats.append(word, tokens, |tokens| self.encode_word(vocabulary, word, tokens));
            rest = end;
        }
    }

    /// Appends the tokens of `word`, in which every space is visible.
    fn encode_word(&self, vocabulary: &Vocabulary, word: &str, tokens: &mut Vec<u32>) {
        // `ends[start]` is where the part that begins at byte `start` ends; 0 where no part begins.
        let mut ends = vec![0usize; word.len()];
        let mut starts_before = vec![usize::MAX; word.len()];
        let mut last = usize::MAX;
        for (start, character) in word.char_indices() {
            ends[start] = start + character.len_utf8();
            starts_before[start] = last;
            last = start;
        }
        let mut queue = BinaryHeap::new();
        let pair = |ends: &[usize], left: usize| {
            let right = *ends.get(left)?;
            let end = *ends.get(right)?;
            if end - left > vocabulary.longest_text {
                return None;
            }
            let id = vocabulary.by_text(&word[left..end])?;
            Some(Pair { score: self.scores[id as usize], left, right, end })
        };
        queue.extend(word.char_indices().filter_map(|(start, _)| pair(&ends, start)));
        while let Some(Pair { left, right, end, .. }) = queue.pop() {
            if ends[left] != right || ends[right] != end {
                continue;
            }
            ends[left] = end;
            ends[right] = 0;
            if let Some(before) = starts_before.get_mut(end) {
                *before = left;
            }
            if starts_before[left] != usize::MAX {
                queue.extend(pair(&ends, starts_before[left]));
            }
            queue.extend(pair(&ends, left));
        }
        let mut start = 0;
        while let Some(&end) = ends.get(start) {
            let part = &word[start..end];
            match vocabulary.by_text(part) {
                Some(id) => tokens.push(id),
                None => tokens.extend(part.bytes().filter_map(|byte| vocabulary.by_byte(byte))),
            }
            start = end;
        }
    }
}

/// Where a visible space comes after anything else.
fn begins_of_words(text: &str) -> impl Iterator<Item = usize> {
    let space = |text: &str| text.ends_with(VISIBLE_SPACE);
    text.match_indices(VISIBLE_SPACE)
        .map(|(start, _)| start)
        .filter(move |&start| start > 0 && !space(&text[..start]))
}
