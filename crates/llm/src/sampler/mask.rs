//! Which tokens may come next.

/// A set of allowed tokens, one bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    /// Bit `id % 32` of word `id / 32`.
    words: Vec<u32>,
}

impl TokenMask {
    /// A mask from its words: bit `id % 32` of word `id / 32` says whether token `id` is allowed. What lies
    /// beyond the last word is not.
    pub fn from_words(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// A mask that allows just these tokens.
    pub fn from_tokens(tokens: impl IntoIterator<Item = u32>) -> Self {
        let mut words = Vec::new();
        for token in tokens {
            let word = token as usize / 32;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (token % 32);
        }
        Self { words }
    }

    /// Appends the logits of the allowed tokens to `allowed`, in order.
    pub(crate) fn select(&self, logits: &[f32], allowed: &mut Vec<f32>) {
        for (word, logits) in self.words.iter().zip(logits.chunks(32)) {
            // Grammars mostly allow nearly everything or nearly nothing.
            if *word == u32::MAX {
                allowed.extend_from_slice(logits);
                continue;
            }
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                allowed.extend(logits.get(bit));
                left &= left - 1;
            }
        }
    }

    /// Whether token `id` is allowed.
    pub fn allows(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logits_of_allowed_tokens_are_selected_in_order() {
        let logits: Vec<f32> = (0..100).map(|id| id as f32).collect();
        for words in
            [vec![], vec![u32::MAX; 4], vec![u32::MAX], vec![0x8000_0001, 0, u32::MAX, 0xf], vec![6; 9]]
        {
            let mask = TokenMask::from_words(words);
            let mut allowed = Vec::new();
            mask.select(&logits, &mut allowed);
            let ids: Vec<u32> = (0..100).filter(|id| mask.allows(*id)).collect();
            assert_eq!(allowed, ids.iter().map(|id| *id as f32).collect::<Vec<_>>());
            let again = TokenMask::from_tokens(ids);
            assert!((0..100).all(|id| again.allows(id) == mask.allows(id)));
        }
    }
}
