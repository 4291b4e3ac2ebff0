//! Byte-level BPE: bytes of a word are merged pair by pair, the pair of the lowest rank first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::pretokenizer::Splitter;
use super::vocabulary::{TokenizerData, Vocabulary, byte_character, invalid};
use crate::LlmError;

/// The merges of a byte-level BPE tokenizer.
#[derive(Debug, Clone)]
pub(super) struct BytePairs {
    splitter: Splitter,
    /// Left and right token to the rank of their merge and the token it makes.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

impl BytePairs {
    pub(super) fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary) -> Result<Self, LlmError> {
        let splitter = Splitter::named(data.pre)?;
        let mut merges = HashMap::with_capacity(data.merges.len());
        for (rank, merge) in (0u32..).zip(&data.merges) {
            let unknown = || invalid(format!("merge {rank} `{}` names unknown tokens", merge.escape_debug()));
            // The spelling has no spaces, so the first one separates the two.
            let (left, right) = merge.split_once(' ').ok_or_else(unknown)?;
            let mut joined = String::with_capacity(merge.len());
            joined.push_str(left);
            joined.push_str(right);
            let id = |text: &str| vocabulary.by_text(text).ok_or_else(unknown);
            merges.entry((id(left)?, id(right)?)).or_insert((rank, id(&joined)?));
        }
        Ok(Self { splitter, merges })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        if self.merges.is_empty() && !self.splitter.whole_words {
            tokens.extend(text.bytes().filter_map(|byte| vocabulary.by_byte(byte)));
            return;
        }
        let mut symbols = Vec::new();
        for word in self.splitter.split(text) {
            if self.splitter.whole_words
                && let Some(id) = vocabulary.by_text(&word.bytes().map(byte_character).collect::<String>())
            {
                tokens.push(id);
                continue;
            }
            symbols.clear();
            symbols.extend(word.bytes().filter_map(|byte| vocabulary.by_byte(byte)));
            self.merge(&mut symbols);
            tokens.extend_from_slice(&symbols);
        }
    }

    /// Merges `symbols` until no pair is left that merges: `n log n` in their number.
    fn merge(&self, symbols: &mut Vec<u32>) {
        /// A symbol that was merged into the one before it.
        const GONE: u32 = u32::MAX;
        let count = symbols.len();
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<usize> = (0..count).map(|i| i.wrapping_sub(1)).collect();
        // Lowest rank first, then leftmost. An entry is stale when one of its two symbols has changed.
        let mut queue = BinaryHeap::new();
        let pair = |symbols: &[u32], left: usize, right: usize| {
            let (&left_token, &right_token) = (symbols.get(left)?, symbols.get(right)?);
            let &(rank, merged) = self.merges.get(&(left_token, right_token))?;
            Some(Reverse((rank, left, left_token, right_token, merged)))
        };
        queue.extend((1..count).filter_map(|right| pair(symbols, right - 1, right)));
        while let Some(Reverse((_, left, left_token, right_token, merged))) = queue.pop() {
            let right = next[left];
            if symbols[left] != left_token || symbols.get(right) != Some(&right_token) {
                continue;
            }
            symbols[left] = merged;
            symbols[right] = GONE;
            next[left] = next[right];
            if let Some(back) = previous.get_mut(next[left]) {
                *back = left;
            }
            queue.extend(pair(symbols, previous[left], left));
            queue.extend(pair(symbols, left, next[left]));
        }
        symbols.retain(|&symbol| symbol != GONE);
    }
}
