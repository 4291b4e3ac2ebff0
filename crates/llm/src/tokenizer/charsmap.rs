//! SentencePiece's `precompiled_charsmap`: what sequences of characters are replaced by.
//!
//! Layout, all little-endian: the number of bytes of the units (u32); the units (u32 each), an XOR-compressed double
//! array (S. Kanda, "Space- and Time-Efficient String Dictionaries", 2018, as in the Darts-clone library); then the
//! replacements, each ended by a zero byte. Nothing in it is trusted: what leads nowhere matches nothing.

use super::vocabulary::invalid;
use crate::LlmError;

/// Replacements of sequences of characters.
#[derive(Debug, Clone)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

/// A unit's fields.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    /// What the node's index is combined with to reach its children.
    fn offset(self) -> u32 {
        (self.0 >> 10) << ((self.0 & (1 << 9)) >> 6)
    }

    /// The byte that leads to the node; bit 31 is set in a unit that holds a value.
    fn label(self) -> u32 {
        self.0 & (1 << 31 | 0xff)
    }

    /// Whether a sequence ends at the node, so that one of its children holds a value.
    fn has_value(self) -> bool {
        self.0 & (1 << 8) != 0
    }

    fn value(self) -> u32 {
        self.0 & !(1 << 31)
    }
}

impl Charsmap {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, LlmError> {
        let damaged = || invalid("its precompiled_charsmap is cut off".to_string());
        let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (units, replacements) =
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
        Ok(Self {
            units: units.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        })
    }

    fn unit(&self, index: u32) -> Option<Unit> {
        self.units.get(index as usize).copied().map(Unit)
    }

    /// What the longest sequence that `text` begins with is replaced by, and the length of that sequence in bytes.
    pub(super) fn replacement(&self, text: &str) -> Option<(&str, usize)> {
        let mut longest = None;
        let mut node = self.unit(0)?.offset();
        // A zero byte is the label of values.
        for (index, byte) in text.bytes().enumerate().take_while(|&(_, byte)| byte != 0) {
            node ^= u32::from(byte);
            let Some(unit) = self.unit(node).filter(|unit| unit.label() == u32::from(byte)) else { break };
            node ^= unit.offset();
            if unit.has_value() {
                longest = self.unit(node).map(|unit| (unit.value(), index + 1));
            }
        }
        let (start, length) = longest.filter(|&(_, length)| text.is_char_boundary(length))?;
        let replacement = self.replacements.get(start as usize..)?;
        let end = memchr::memchr(0, replacement)?;
        Some((std::str::from_utf8(&replacement[..end]).ok()?, length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_map_that_is_cut_off_is_an_error() {
        assert!(Charsmap::new(&[]).is_err());
        assert!(Charsmap::new(&[8, 0, 0, 0, 1, 2, 3, 4]).is_err());
        assert!(Charsmap::new(&[4, 0, 0, 0, 1, 2, 3, 4]).is_ok());
    }

    proptest! {
        #[test]
        fn any_map_matches_whole_characters(units in proptest::collection::vec(any::<u32>(), 0..300), replacements in proptest::collection::vec(any::<u8>(), 0..20), text in "\\PC{0,8}") {
            let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
            bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
            bytes.extend(replacements);
            if let Some((_, length)) = Charsmap::new(&bytes).unwrap().replacement(&text) {
                prop_assert!(length > 0 && text.is_char_boundary(length));
            }
        }
    }
}
