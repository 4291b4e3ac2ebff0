//! Byte-level BPE: bytes of a word are merged pair by pair, the pair of the lowest rank first. In SentencePiece's
//! spelling the same is done with characters.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::data::TokenizerData;
use super::pretokenizer::Splitter;
use super::repeats::Repeats;
use super::scheme::Scheme;
use super::vocabulary::{Spelling, VISIBLE_SPACE, Vocabulary, byte_character, invalid};
use crate::LlmError;

/// A symbol that was merged into the one before it.
const GONE: u32 = u32::MAX;

/// Set in the symbol of a character without a token, which merges with nothing; the other bits are the character.
const CHARACTER: u32 = 1 << 31;

/// The merges of a BPE tokenizer.
#[derive(Debug, Clone)]
pub(super) struct BytePairs {
    splitter: Splitter,
    spelling: Spelling,
    merges: Merges,
    /// As [`Scheme::whole_words`].
    whole_words: bool,
    /// As [`Scheme::whole_lines`].
    whole_lines: bool,
}

/// What pairs of tokens merge into. A sorted list for each left token: a file cannot make it slow, as it could a hash
/// table.
#[derive(Debug, Clone)]
struct Merges {
    /// Where the pairs of each left token begin; one more entry than there are tokens.
    starts: Vec<u32>,
    /// The right tokens, ascending for each left one.
    rights: Vec<u32>,
    /// The rank of each merge and the token it makes.
    results: Vec<(u32, u32)>,
}

/// The symbols of a word while they merge, kept from word to word for its memory.
#[derive(Default)]
struct Word {
    symbols: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    queue: BinaryHeap<Reverse<Pair>>,
}

/// Two neighbours that merge. The least is merged first: that of the lowest rank, then the leftmost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: u32,
    left_token: u32,
    right_token: u32,
    merged: u32,
}

impl BytePairs {
    pub(super) fn new(
        data: &TokenizerData<'_>,
        scheme: &Scheme,
        spelling: Spelling,
        vocabulary: &Vocabulary,
    ) -> Result<Self, LlmError> {
        Ok(Self {
            splitter: Splitter::new(scheme)?,
            spelling,
            merges: Merges::new(data, vocabulary)?,
            whole_words: scheme.whole_words,
            whole_lines: scheme.whole_lines,
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        let mut word = Word::default();
        match self.spelling {
            Spelling::ByteLevel if self.merges.results.is_empty() && !self.whole_words => {
                tokens.extend(text.bytes().filter_map(|byte| vocabulary.by_byte(byte)));
            }
            Spelling::ByteLevel => {
                let mut repeats = Repeats::default();
                for part in self.splitter.split(text) {
                    repeats.append(part, tokens, |tokens| self.bytes(vocabulary, part, &mut word, tokens));
                }
            }
            Spelling::SentencePiece => {
                let text = text.replace(' ', VISIBLE_SPACE.encode_utf8(&mut [0; 4]));
                for part in self.splitter.split(&text) {
                    self.characters(vocabulary, part, &mut word, tokens);
                }
            }
        }
    }

    /// Appends the tokens that the bytes of `part` merge into.
    fn bytes(&self, vocabulary: &Vocabulary, part: &str, word: &mut Word, tokens: &mut Vec<u32>) {
        let whole = || vocabulary.by_text(&part.bytes().map(byte_character).collect::<String>());
        if let Some(id) = self.whole_words.then(whole).flatten() {
            tokens.push(id);
            return;
        }
        word.merge(&self.merges, part.bytes().filter_map(|byte| vocabulary.by_byte(byte)));
        tokens.extend_from_slice(&word.symbols);
    }

    /// Appends the tokens that the characters of `part` merge into; characters without a token become bytes.
    fn characters(&self, vocabulary: &Vocabulary, part: &str, word: &mut Word, tokens: &mut Vec<u32>) {
        let whole = self.whole_words || (self.whole_lines && part.starts_with('\n'));
        if let Some(id) = vocabulary.by_text(part).filter(|_| whole) {
            tokens.push(id);
            return;
        }
        let symbol = |character: char| {
            let id = vocabulary.by_text(character.encode_utf8(&mut [0; 4]));
            id.unwrap_or(CHARACTER | u32::from(character))
        };
        word.merge(&self.merges, part.chars().map(symbol));
        for &symbol in &word.symbols {
            match char::from_u32(symbol ^ CHARACTER) {
                Some(character) if symbol & CHARACTER != 0 => {
                    let mut utf8 = [0; 4];
                    let bytes = character.encode_utf8(&mut utf8).bytes();
                    tokens.extend(bytes.filter_map(|byte| vocabulary.by_byte(byte)));
                }
                _ => tokens.push(symbol),
            }
        }
    }
}

impl Merges {
    fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary) -> Result<Self, LlmError> {
        // What text never becomes, no merge makes.
        let hidden: HashSet<&str> = (0u32..)
            .zip(&data.tokens)
            .filter(|(_, text)| vocabulary.by_text(text).is_none())
            .map(|(_, text)| *text)
            .collect();
        let mut merges = Vec::with_capacity(data.merges.len());
        for (rank, merge) in (0u32..).zip(&data.merges) {
            // No token begins with a space, so the first one after the first byte separates the two.
            let pair = memchr::memchr(b' ', merge.as_bytes().get(1..).unwrap_or_default());
            let (left, right) = pair.map_or((*merge, ""), |at| (&merge[..at + 1], &merge[at + 2..]));
            let joined = [left, right].concat();
            let id = |text: &str| match vocabulary.by_text(text) {
                None if !hidden.contains(text) => {
                    Err(invalid(format!("merge {rank} `{}` names unknown tokens", merge.escape_debug())))
                }
                id => Ok(id),
            };
            if let (Some(left), Some(right), Some(merged)) = (id(left)?, id(right)?, id(&joined)?) {
                merges.push((left, right, rank, merged));
            }
        }
        merges.sort_unstable();
        // Of equal pairs the first counts.
        merges.dedup_by_key(|&mut (left, right, ..)| (left, right));
        let mut starts = vec![0; vocabulary.len() + 1];
        for &(left, ..) in &merges {
            starts[left as usize + 1] += 1;
        }
        for left in 1..starts.len() {
            starts[left] += starts[left - 1];
        }
        Ok(Self {
            starts,
            rights: merges.iter().map(|&(_, right, ..)| right).collect(),
            results: merges.iter().map(|&(.., rank, merged)| (rank, merged)).collect(),
        })
    }

    /// The rank of the merge of two tokens and the token it makes, if there is such a merge.
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let left = left as usize;
        let (&first, &last) = (self.starts.get(left)?, self.starts.get(left + 1)?);
        let rights = &self.rights[first as usize..last as usize];
        rights.binary_search(&right).ok().map(|index| self.results[first as usize + index])
    }
}

impl Word {
    /// Sets the symbols and merges them until no pair is left that merges: `n log n` in their number.
    fn merge(&mut self, merges: &Merges, symbols: impl Iterator<Item = u32>) {
        self.symbols.clear();
        self.symbols.extend(symbols);
        let count = self.symbols.len() as u32;
        self.next.clear();
        self.next.extend(1..=count);
        self.previous.clear();
        self.previous.extend((0..count).map(|index| index.wrapping_sub(1)));
        self.queue.clear();
        for right in 1..count {
            self.consider(merges, right - 1, right);
        }
        while let Some(Reverse(Pair { left, left_token, right_token, merged, .. })) = self.queue.pop() {
            let right = self.next[left as usize];
            // An entry is stale when one of its two symbols has changed.
            let stale = self.symbols[left as usize] != left_token
                || self.symbols.get(right as usize) != Some(&right_token);
            if stale {
                continue;
            }
            self.symbols[left as usize] = merged;
            self.symbols[right as usize] = GONE;
            let after = self.next[right as usize];
            self.next[left as usize] = after;
            if let Some(previous) = self.previous.get_mut(after as usize) {
                *previous = left;
            }
            self.consider(merges, self.previous[left as usize], left);
            self.consider(merges, left, after);
        }
        self.symbols.retain(|&symbol| symbol != GONE);
    }

    /// Queues the pair of the symbols at these places if both are there and merge.
    fn consider(&mut self, merges: &Merges, left: u32, right: u32) {
        let (Some(&left_token), Some(&right_token)) =
            (self.symbols.get(left as usize), self.symbols.get(right as usize))
        else {
            return;
        };
        if let Some((rank, merged)) = merges.get(left_token, right_token) {
            self.queue.push(Reverse(Pair { rank, left, left_token, right_token, merged }));
        }
    }
}
