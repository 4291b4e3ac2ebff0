//! Agreement of what is said with given facts, word by word.

use alloc::{collections::VecDeque, string::String};

use hashbrown::HashSet;
use unicode_normalization::UnicodeNormalization;

/// Characters of a word at least that can only be right or wrong about something: shorter ones are nearly all articles,
/// pronouns and prepositions, which every text has.
const CONTENT_CHARACTERS: usize = 4;
/// Characters of a word at most: what is longer is cut into words of its own.
const WORD_CHARACTERS: usize = 64;

/// Scores a stream of tokens by how much of what was said last is in the facts.
///
/// A *word* is a run of letters, digits and combining marks (Unicode), composed (NFKC) and in small letters; in scripts
/// without spaces between words, each character is one. A *content word* has at least four characters, or a digit, or is of
/// such a script. A number may have points and commas between its digits. Of the last `span` content words, with `w` words
/// and `n` numbers that are not in the facts:
///
/// ```text
/// score = max(0, 1 - w / span - n)
/// ```
///
/// So a stream starts at 1; each word that the facts do not have costs `1 / span`, since it may be another word for the same
/// thing, and each number all of it, since there is no other; until `span` content words have followed. A word is scored
/// when the token comes that ends it; the tokens within it have the score before. Each character is looked at once, each
/// word looked up once.
#[derive(Debug, Clone)]
pub struct Grounding {
    facts: HashSet<String>,
    words: Words,
    /// What each of the last content words costs, the oldest first, in parts of `span`.
    costs: VecDeque<usize>,
    cost: usize,
    span: usize,
}

/// Takes a text apart, of which it is told piece by piece.
#[derive(Debug, Clone, Default)]
struct Words {
    /// The beginning of a word that may go on.
    open: String,
    characters: usize,
    /// A point or comma behind a digit, which belongs to the number if a digit follows.
    separator: Option<char>,
}

impl Grounding {
    /// A scorer that looks back on so many content words, at least one.
    pub fn new(facts: &str, span: u32) -> Self {
        let mut known = HashSet::new();
        let mut words = Words::default();
        words.read(facts, |word| {
            known.insert(word);
        });
        words.end(|word| {
            known.insert(word);
        });
        let span = span.max(1) as usize;
        Self { facts: known, words: Words::default(), costs: VecDeque::with_capacity(span), cost: 0, span }
    }

    /// The score behind the next piece of the stream.
    pub fn push(&mut self, piece: &str) -> f64 {
        let Self { facts, words, costs, cost, span } = self;
        words.read(piece, |word| {
            if !is_content(&word) {
                return;
            }
            if costs.len() == *span {
                *cost -= costs.pop_front().unwrap_or(0);
            }
            let own = match facts.contains(&word) {
                true => 0,
                false if word.chars().any(char::is_numeric) => *span,
                false => 1,
            };
            costs.push_back(own);
            *cost += own;
        });
        1.0 - self.cost.min(self.span) as f64 / self.span as f64
    }
}

impl Words {
    /// Reads a piece; hands out the words that end in it.
    fn read(&mut self, piece: &str, mut word: impl FnMut(String)) {
        for character in piece.chars() {
            if is_alone(character) {
                self.end(&mut word);
                self.push(character);
                self.end(&mut word);
            } else if is_word(character) {
                if let Some(separator) = self.separator.take() {
                    if character.is_numeric() {
                        self.push(separator);
                    } else {
                        self.end(&mut word);
                    }
                }
                self.push(character);
                if self.characters == WORD_CHARACTERS {
                    self.end(&mut word);
                }
            } else if matches!(character, '.' | ',')
                && self.separator.is_none()
                && self.open.chars().next_back().is_some_and(char::is_numeric)
            {
                self.separator = Some(character);
            } else {
                self.end(&mut word);
            }
        }
    }

    fn push(&mut self, character: char) {
        self.open.push(character);
        self.characters += 1;
    }

    /// Ends the open word.
    fn end(&mut self, mut word: impl FnMut(String)) {
        self.separator = None;
        self.characters = 0;
        if !self.open.is_empty() {
            word(self.open.nfkc().flat_map(char::to_lowercase).nfkc().collect());
            self.open.clear();
        }
    }
}

fn is_content(word: &str) -> bool {
    word.chars().count() >= CONTENT_CHARACTERS
        || word.chars().any(|character| character.is_numeric() || is_alone(character))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || unicode_normalization::char::is_combining_mark(character)
}

/// Whether a character is a word alone: those of scripts without spaces between words.
fn is_alone(character: char) -> bool {
    matches!(
        character,
        // Thai, Lao, Tibetan, Myanmar, Khmer letters.
        '\u{0e01}'..='\u{0e30}' | '\u{0e81}'..='\u{0eb0}' | '\u{0f40}'..='\u{0f6c}' | '\u{1000}'..='\u{102a}'
            | '\u{1780}'..='\u{17b3}'
            // Japanese syllables, Chinese characters.
            | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use std::{string::ToString, vec::Vec};

    use super::*;

    const FACTS: &str = "The Eiffel Tower was completed in 1889 and is 330.5 metres tall. Café Größe 東京.";

    fn scores(pieces: &[&str]) -> Vec<f64> {
        let mut grounding = Grounding::new(FACTS, 4);
        pieces.iter().map(|piece| grounding.push(piece)).collect()
    }

    #[test]
    fn what_the_facts_say_scores_1_and_each_other_word_costs_its_share() {
        assert_eq!(scores(&["The Eiffel", " Tower was", " completed", " in 1889", ".", " "]), [1.0; 6]);
        // The word is scored when it ends; short words are not.
        assert_eq!(
            scores(&["Painted", " by", " a", " blue", " robot", "."]),
            [1.0, 0.75, 0.75, 0.75, 0.5, 0.25]
        );
    }

    #[test]
    fn numbers_must_be_right_whatever_their_length() {
        assert_eq!(scores(&["330.5 metres"]), [1.0]);
        assert_eq!(scores(&["330.6 metres "]), [0.0]);
        assert_eq!(scores(&["in 7 ", "robot "]), [0.0, 0.0]);
        assert_eq!(scores(&["in 7 Eiffel Tower completed ", "1889 "]), [0.0, 1.0]);
        // A full stop behind a number is none of it.
        assert_eq!(scores(&["in 1889", ". ", "It"]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_word_is_forgotten_when_so_many_others_have_followed() {
        assert_eq!(scores(&["robot Eiffel Tower completed ", "1889 "]), [0.75, 1.0]);
    }

    #[test]
    fn words_are_compared_as_unicode_has_them() {
        // Composed or not, capital or small, full width or half.
        assert_eq!(scores(&["CAFE\u{301} gröSSe Größe ", "ＥＩＦＦＥＬ "]), [0.75, 0.75]);
        assert_eq!(scores(&["東京 "]), [1.0]);
        assert_eq!(scores(&["京都 "]), [0.75]);
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "The Eiffel Tower, painted 1.889 times in 1889. CAFE\u{301} 東京都!";
        let whole = Grounding::new(FACTS, 4).push(text);
        for size in 1..10 {
            let characters: Vec<char> = text.chars().collect();
            let mut grounding = Grounding::new(FACTS, 4);
            let pieces =
                characters.chunks(size).map(|piece| grounding.push(&piece.iter().collect::<String>()));
            assert_eq!(pieces.last(), Some(whole), "{size}");
        }
    }

    #[test]
    fn a_word_without_an_end_takes_no_more_memory() {
        let mut grounding = Grounding::new(FACTS, 4);
        for _ in 0..10_000 {
            grounding.push("aaaaaaaaaaaaaaaaaaaa");
        }
        assert!(grounding.words.open.capacity() < 1_000);
        assert_eq!(grounding.push(" ").to_string(), "0");
    }
}
