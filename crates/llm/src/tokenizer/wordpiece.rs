//! WordPiece (BERT): words are cut from the left, each time the longest token; a word that cannot be cut so is one
//! unknown token.
//!
//! As llama.cpp's `llm_tokenizer_wpm`, which differs from the original in this: it spells tokens that begin a word
//! with a visible space before them, and others as they are; of a character with accents it keeps the first that the
//! character decomposes into.

use unicode_normalization::char::decompose_canonical;

use super::characters::{CharacterSet, pinned};
use super::data::TokenizerData;
use super::trie::Trie;
use super::vocabulary::{TokenKind, VISIBLE_SPACE, Vocabulary, invalid};
use crate::LlmError;

/// Chinese characters, each a word of its own.
const CHINESE: &str = r"[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}]";

/// Control characters, format characters and those of private use, which are dropped.
const CONTROL: &str = r"[\p{Cc}\p{Cf}\p{Co}&&\p{age=15.1}]";

/// A WordPiece model.
#[derive(Debug, Clone)]
pub(super) struct WordPieces {
    tokens: Trie,
    unknown: u32,
    lowercase: bool,
    strip_accents: bool,
    assigned: CharacterSet,
    control: CharacterSet,
    accents: CharacterSet,
    /// Characters that are words of their own.
    alone: CharacterSet,
}

impl WordPieces {
    pub(super) fn new(data: &TokenizerData<'_>, vocabulary: &Vocabulary) -> Result<Self, LlmError> {
        let unknown = vocabulary
            .roles
            .unknown
            .ok_or_else(|| invalid("a WordPiece tokenizer needs an unknown_token_id".to_string()))?;
        let from_text = |id: u32| {
            let text = vocabulary.text(id).filter(|text| !text.is_empty())?;
            let kinds = [TokenKind::Normal, TokenKind::UserDefined, TokenKind::Unused];
            kinds.contains(&vocabulary.kind(id)?).then_some((text.as_bytes(), id))
        };
        let lowercase = data.lowercase.unwrap_or(true);
        Ok(Self {
            tokens: Trie::new((0..vocabulary.len() as u32).filter_map(from_text)),
            unknown,
            lowercase,
            strip_accents: data.strip_accents.unwrap_or(lowercase),
            assigned: CharacterSet::new(r"\p{age=15.1}"),
            control: CharacterSet::new(CONTROL),
            accents: CharacterSet::new(&pinned(r"\p{M}")),
            alone: CharacterSet::new(&pinned(&format!(r"[\p{{P}}[\p{{S}}&&[\x00-\x7E]]{CHINESE}]"))),
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut word = String::new();
        for character in text.chars() {
            if character.is_whitespace() {
                self.end_word(&mut word, tokens);
                continue;
            }
            let character = self.without_accents(character);
            let dropped = matches!(character, '\0' | char::REPLACEMENT_CHARACTER);
            if dropped
                || self.control.contains(character)
                || (self.strip_accents && self.accents.contains(character))
            {
                continue;
            }
            let alone = self.alone.contains(character);
            if alone {
                self.end_word(&mut word, tokens);
            }
            if word.is_empty() {
                word.push(VISIBLE_SPACE);
            }
            word.push(self.small(character));
            if alone {
                self.end_word(&mut word, tokens);
            }
        }
        self.end_word(&mut word, tokens);
    }

    /// The first character of the canonical decomposition, if accents are to be stripped.
    fn without_accents(&self, character: char) -> char {
        if !self.strip_accents || character.is_ascii() || !self.assigned.contains(character) {
            return character;
        }
        let mut first = None;
        decompose_canonical(character, |part| first = first.or(Some(part)));
        first.unwrap_or(character)
    }

    /// The first character of the lower case, if text is to be in lower case.
    fn small(&self, character: char) -> char {
        if !self.lowercase || !self.assigned.contains(character) {
            return character;
        }
        character.to_lowercase().next().unwrap_or(character)
    }

    /// Appends the tokens of `word`, and clears it.
    fn end_word(&self, word: &mut String, tokens: &mut Vec<u32>) {
        let first = tokens.len();
        let mut rest = word.as_bytes();
        while !rest.is_empty() {
            let Some((length, token)) = self.tokens.prefixes(rest).last() else {
                tokens.truncate(first);
                tokens.push(self.unknown);
                break;
            };
            tokens.push(token);
            rest = &rest[length..];
        }
        word.clear();
    }
}
