//! The token list of a model, read from its metadata and checked.
//!
//! - [`TokenKind`]: what a token is for.
//! - [`Vocabulary`]: every token's kind and bytes, and the maps that encoding needs.
//!
//! What a model file says is not trusted: lengths that do not fit, ids out of range, duplicate tokens and invalid
//! spellings are errors.

use std::collections::HashMap;

use super::data::TokenizerData;
use super::roles::Roles;
use crate::LlmError;

/// The largest number of tokens: token ids must fit the 24 bits that constrained decoding gives them.
const MAXIMUM_TOKENS: usize = (1 << 24) - 1;

/// SentencePiece's visible space (U+2581), which stands for a space in its tokens.
pub(super) const VISIBLE_SPACE: char = '\u{2581}';

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text that encoding may produce.
    Normal,
    /// Stands for text that has no token.
    Unknown,
    /// Structure of the conversation; never made from a person's text, and shown as nothing.
    Control,
    /// A piece of text that is matched before all else.
    UserDefined,
    /// A hole in the vocabulary.
    Unused,
    /// One byte, for text that has no token.
    Byte,
}

/// How a model spells its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2: every byte is a printable character.
    ByteLevel,
    /// SentencePiece: text with a visible space; bytes as `<0x0A>`.
    SentencePiece,
}

/// The tokens of a model.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    kinds: Vec<TokenKind>,
    /// Each token's spelling in the model file.
    texts: Vec<Box<str>>,
    /// What each token stands for in text; control tokens have their text here too. Token `i` is
    /// `bytes[starts[i]..starts[i + 1]]`.
    bytes: Vec<u8>,
    /// One more than there are tokens.
    starts: Vec<usize>,
    /// Tokens that encoding may produce from text, by spelling.
    by_text: HashMap<Box<str>, u32>,
    /// The token for each byte, where the vocabulary has one.
    by_byte: Vec<Option<u32>>,
    pub(super) roles: Roles,
    /// The length in bytes of the longest spelling in `by_text`.
    pub(super) longest_text: usize,
}

impl Vocabulary {
    pub(super) fn new(data: &TokenizerData<'_>, spelling: Spelling) -> Result<Self, LlmError> {
        let count = data.tokens.len();
        if count == 0 || count > MAXIMUM_TOKENS {
            return Err(invalid(format!("{count} tokens; a vocabulary has between 1 and {MAXIMUM_TOKENS}")));
        }
        let lengths = [
            ("token_type", data.types.as_ref().map(Vec::len)),
            ("scores", data.scores.as_ref().map(Vec::len)),
        ];
        for (name, length) in lengths {
            if let Some(length) = length
                && length != count
            {
                return Err(invalid(format!("{name} has {length} entries for {count} tokens")));
            }
        }
        let mut kinds = match &data.types {
            Some(types) => types.iter().map(|&number| kind(number)).collect::<Result<Vec<_>, _>>()?,
            None => data.tokens.iter().map(|text| guessed_kind(text, spelling)).collect(),
        };
        let roles = Roles::new(data, &mut kinds)?;

        let mut vocabulary = Self {
            kinds,
            texts: data.tokens.iter().map(|&text| text.into()).collect(),
            bytes: Vec::new(),
            starts: vec![0],
            by_text: HashMap::with_capacity(count),
            by_byte: vec![None; 256],
            roles,
            longest_text: 0,
        };
        vocabulary.fill(spelling)?;
        Ok(vocabulary)
    }

    /// An error if some text has no tokens at all, since a byte has none and neither has what is unknown.
    pub(super) fn require_bytes(&self) -> Result<(), LlmError> {
        // The others are in no UTF-8.
        let in_text = |byte: &usize| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        match (0..256).filter(in_text).find(|&byte| self.by_byte[byte].is_none()) {
            Some(byte) if self.roles.unknown.is_none() => Err(invalid(format!(
                "byte 0x{byte:02X} has no token and there is no unknown_token_id, so some text has no tokens at all"
            ))),
            _ => Ok(()),
        }
    }

    /// Fills in the bytes and the maps.
    fn fill(&mut self, spelling: Spelling) -> Result<(), LlmError> {
        let mut seen: HashMap<&str, u32> = HashMap::with_capacity(self.texts.len());
        for (id, text) in (0u32..).zip(&self.texts) {
            if !text.is_empty()
                && let Some(first) = seen.insert(text, id)
            {
                return Err(invalid(format!("tokens {first} and {id} are both `{}`", text.escape_debug())));
            }
            let kind = self.kinds[id as usize];
            let plain = matches!(kind, TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined);
            let mut byte = None;
            match spelling {
                _ if plain => {
                    if let (TokenKind::UserDefined, &[single]) = (kind, text.as_bytes()) {
                        byte = Some(single);
                    }
                    self.bytes.extend_from_slice(text.as_bytes());
                }
                Spelling::ByteLevel => match byte_level_bytes(text) {
                    Some(bytes) => {
                        if let [single] = bytes[..] {
                            byte = Some(single);
                        }
                        self.bytes.extend_from_slice(&bytes);
                    }
                    // A hole, or a token that no text becomes.
                    None => self.bytes.extend_from_slice(text.as_bytes()),
                },
                Spelling::SentencePiece if kind == TokenKind::Byte => match hexadecimal_byte(text) {
                    Some(value) => {
                        byte = Some(value);
                        self.bytes.push(value);
                    }
                    None => {
                        return Err(invalid(format!(
                            "token {id} `{}` should be a byte, spelled like <0x0A>",
                            text.escape_debug()
                        )));
                    }
                },
                Spelling::SentencePiece => {
                    self.bytes.extend_from_slice(text.replace(VISIBLE_SPACE, " ").as_bytes());
                }
            }
            self.starts.push(self.bytes.len());
            if let Some(byte) = byte {
                self.by_byte[byte as usize].get_or_insert(id);
            }
            // Byte tokens are reached through their byte: `<0x41>` typed by a person is six characters.
            let from_text = matches!(kind, TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused);
            if from_text && !text.is_empty() {
                self.by_text.insert(text.clone(), id);
                self.longest_text = self.longest_text.max(text.len());
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize).map(|text| &**text)
    }

    /// What the token stands for, control tokens included; empty for an id that does not exist.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        match (self.starts.get(id), self.starts.get(id + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[start..end],
            _ => &[],
        }
    }

    /// The token that text of this spelling may become. Never a control token.
    pub(super) fn by_text(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// The score of each token; an error if one is not a number.
    pub(super) fn scores(&self, data: &TokenizerData<'_>) -> Result<Vec<f32>, LlmError> {
        let scores = data.scores.clone().unwrap_or_else(|| vec![0.0; self.len()]);
        match scores.iter().position(|score| score.is_nan()) {
            Some(id) => Err(invalid(format!("the score of token {id} is not a number"))),
            None => Ok(scores),
        }
    }

    /// The token for a byte, or the unknown token.
    pub(super) fn by_byte(&self, byte: u8) -> Option<u32> {
        self.by_byte[byte as usize].or(self.roles.unknown)
    }
}

fn kind(number: i32) -> Result<TokenKind, LlmError> {
    Ok(match number {
        1 => TokenKind::Normal,
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        0 | 5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        other => return Err(invalid(format!("token_type {other} does not exist"))),
    })
}

/// The kind of a token in a file without `token_type`.
fn guessed_kind(text: &str, spelling: Spelling) -> TokenKind {
    if spelling == Spelling::SentencePiece && hexadecimal_byte(text).is_some() {
        TokenKind::Byte
    } else {
        TokenKind::Normal
    }
}

pub(super) fn invalid(problem: String) -> LlmError {
    LlmError::Tokenizer { message: format!("the model file's tokenizer is damaged: {problem}") }
}

/// The character that stands for a byte in GPT-2's spelling: itself where it is printable Latin-1, else the next
/// free character from U+0100.
pub(super) fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !printable(other)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character stands for in GPT-2's spelling.
fn character_byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

fn byte_level_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(character_byte).collect()
}

/// The byte in `<0x0A>`.
fn hexadecimal_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let valid = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if valid { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_characters_go_both_ways() {
        for byte in 0..=255 {
            assert_eq!(character_byte(byte_character(byte)), Some(byte), "{byte:#x}");
        }
        assert_eq!(byte_character(b' '), 'Ġ');
        assert_eq!(byte_character(b'\n'), 'Ċ');
        assert_eq!(character_byte('€'), None);
        assert_eq!(character_byte(' '), None);
    }

    #[test]
    fn bytes_are_two_hexadecimal_digits() {
        assert_eq!(hexadecimal_byte("<0x0A>"), Some(10));
        for bad in ["<0x+A>", "<0xA>", "0x0A", "<0x0G>", "<0x00A>", ""] {
            assert_eq!(hexadecimal_byte(bad), None, "{bad}");
        }
    }
}
