//! Character classes as Unicode 15.1 has them.
//!
//! Which words a text is split into must depend on neither the version of a library nor the day it was built, so
//! characters that later versions of Unicode assign stay unassigned here. The version is that of the tables that
//! llama.cpp splits by.

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// The general categories that patterns name.
const CATEGORIES: [&str; 5] = [r"\p{L}", r"\p{M}", r"\p{N}", r"\p{P}", r"\p{S}"];

/// `pattern` with the general categories in it limited to the characters of Unicode 15.1.
pub(super) fn pinned(pattern: &str) -> String {
    CATEGORIES.iter().fold(pattern.to_string(), |pattern, category| {
        pattern.replace(category, &format!(r"[{category}&&\p{{age=15.1}}]"))
    })
}

/// A set of characters.
#[derive(Debug, Clone)]
pub(super) struct CharacterSet {
    /// First and last character of each range, ascending.
    ranges: Vec<(char, char)>,
}

impl CharacterSet {
    /// The set that a character class of a regular expression stands for; the empty set if it is none.
    pub(super) fn new(class: &str) -> Self {
        let ranges = match regex_syntax::parse(class).map(|parsed| parsed.into_kind()) {
            Ok(HirKind::Class(Class::Unicode(class))) => Self::ranges(&class),
            _ => Vec::new(),
        };
        Self { ranges }
    }

    fn ranges(class: &ClassUnicode) -> Vec<(char, char)> {
        class.iter().map(|range| (range.start(), range.end())).collect()
    }

    pub(super) fn contains(&self, character: char) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= character);
        after > 0 && character <= self.ranges[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_later_versions_are_unassigned() {
        let letters = CharacterSet::new(&pinned(r"\p{L}"));
        assert!(letters.contains('a') && letters.contains('ß') && letters.contains('你'));
        assert!(!letters.contains('1') && !letters.contains('\u{301}'));
        // Assigned in Unicode 16.
        assert!(!letters.contains('\u{10d50}'));
        assert!(CharacterSet::new(r"\p{L}").contains('\u{10d50}'));
    }
}
