//! Remembers the tokens of words, since most words of a text come again.

use std::collections::HashMap;
use std::ops::Range;

/// The longest word that is remembered, in bytes: long ones hardly ever come again.
const LONGEST_WORD: usize = 32;

/// The words of one text that were encoded so far.
#[derive(Default)]
pub(super) struct Repeats<'t> {
    /// Where in the text's tokens those of each word are.
    places: HashMap<&'t str, Range<usize>>,
}

impl<'t> Repeats<'t> {
    /// Appends the tokens of `word` to `tokens`: those that it had before, or those that `encode` appends.
    pub(super) fn append(
        &mut self,
        word: &'t str,
        tokens: &mut Vec<u32>,
        encode: impl FnOnce(&mut Vec<u32>),
    ) {
        if word.len() > LONGEST_WORD {
            return encode(tokens);
        }
        if let Some(place) = self.places.get(word) {
            return tokens.extend_from_within(place.clone());
        }
        let start = tokens.len();
        encode(tokens);
        self.places.insert(word, start..tokens.len());
    }
}
