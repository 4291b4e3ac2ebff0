//! Text to token ids and back, from a model file's own metadata.
//!
//! - [`Tokenizer`]: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`).
//! - [`TokenizerData`]: the metadata it is built from.
//! - [`Special`]: whether the texts of control tokens mean the tokens.
//! - [`Segment`], [`Breaker`]: prompts, in which control tokens come from the template and never from a person.
//!
//! **Invariant:** [`Special::Text`] and the messages of a prompt never produce a control token, whatever they say.

mod bpe;
mod pretokenizer;
mod special;
mod spm;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::borrow::Cow;
use std::collections::HashSet;

use self::bpe::BytePairs;
use self::special::{Fragment, TokenFinder};
use self::spm::SentencePieces;
use self::vocabulary::{Spelling, Vocabulary};
pub use self::vocabulary::{TokenKind, TokenizerData};
use crate::LlmError;
use crate::gguf::Gguf;

/// Whether the texts of control tokens mean the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// They do: for text whose author may write control tokens, such as a template.
    Parse,
    /// They are text like any other: for everything a person or a tool wrote.
    Text,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text, without control tokens.
    Text(String),
    /// A control token.
    Control(u32),
}

/// A character that no input of a prompt holds. Put inside the text of a control token, it keeps the text from
/// being taken for the token; [`Tokenizer::segments`] removes it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker(char);

impl Breaker {
    /// A breaker for these inputs.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] when the inputs hold every character that could serve.
    pub fn for_inputs<'i>(inputs: impl Iterator<Item = &'i str>) -> Result<Self, LlmError> {
        // Noncharacters, which text should not hold, then a plane of private use.
        let candidates = ['\u{fdd0}'..='\u{fdef}', '\u{100000}'..='\u{10fffd}'];
        let taken: HashSet<char> = inputs
            .flat_map(str::chars)
            .filter(|character| candidates.iter().any(|range| range.contains(character)))
            .collect();
        candidates.into_iter().flatten().find(|candidate| !taken.contains(candidate)).map(Self).ok_or_else(
            || LlmError::InvalidRequest {
                message: "the messages hold every private-use character; remove some".to_string(),
            },
        )
    }
}

#[derive(Debug, Clone)]
enum Algorithm {
    BytePairs(BytePairs),
    SentencePieces(SentencePieces),
}

/// What precedes a text, which decides whether SentencePiece puts a space before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing, or a control token.
    Boundary,
    /// Text.
    Text,
}

/// Text to token ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    algorithm: Algorithm,
    user_defined: TokenFinder,
    control: TokenFinder,
    all_special: TokenFinder,
    add_begin: bool,
    add_end: bool,
}

impl Tokenizer {
    /// The tokenizer of a model file.
    ///
    /// # Errors
    /// [`LlmError::Tokenizer`] when the metadata is missing, damaged or of a kind that is not supported.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, LlmError> {
        let data = TokenizerData {
            model: gguf.string("tokenizer.ggml.model")?,
            pre: gguf.get_string("tokenizer.ggml.pre")?,
            tokens: gguf.strings("tokenizer.ggml.tokens")?,
            types: gguf.get_i32s("tokenizer.ggml.token_type")?,
            scores: gguf.get_f32s("tokenizer.ggml.scores")?,
            merges: gguf.get_strings("tokenizer.ggml.merges")?.unwrap_or_default(),
            begin: gguf.get_u32("tokenizer.ggml.bos_token_id")?,
            end: gguf.get_u32("tokenizer.ggml.eos_token_id")?,
            end_of_turn: gguf.get_u32("tokenizer.ggml.eot_token_id")?,
            end_of_message: gguf.get_u32("tokenizer.ggml.eom_token_id")?,
            unknown: gguf.get_u32("tokenizer.ggml.unknown_token_id")?,
            padding: gguf.get_u32("tokenizer.ggml.padding_token_id")?,
            add_begin: gguf.get_bool("tokenizer.ggml.add_bos_token")?,
            add_end: gguf.get_bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: gguf.get_bool("tokenizer.ggml.add_space_prefix")?,
        };
        Self::new(&data)
    }

    /// A tokenizer from its metadata.
    ///
    /// # Errors
    /// [`LlmError::Tokenizer`] as for [`Tokenizer::from_gguf`].
    pub fn new(data: &TokenizerData<'_>) -> Result<Self, LlmError> {
        let mut data = Cow::Borrowed(data);
        let spelling = match data.model {
            "gpt2" => Spelling::ByteLevel,
            "llama" => {
                // SentencePiece models number these so unless they say otherwise.
                let count = data.tokens.len();
                let data = data.to_mut();
                data.unknown = data.unknown.or((count > 0).then_some(0));
                data.begin = data.begin.or((count > 1).then_some(1));
                data.end = data.end.or((count > 2).then_some(2));
                Spelling::SentencePiece
            }
            other => {
                return Err(LlmError::Tokenizer {
                    message: format!(
                        "the tokenizer `{other}` (tokenizer.ggml.model) is not supported; supported are gpt2 \
                         (byte-level BPE) and llama (SentencePiece)"
                    ),
                });
            }
        };
        let vocabulary = Vocabulary::new(&data, spelling)?;
        let algorithm = match spelling {
            Spelling::ByteLevel => Algorithm::BytePairs(BytePairs::new(&data, &vocabulary)?),
            Spelling::SentencePiece => Algorithm::SentencePieces(SentencePieces::new(&data, &vocabulary)?),
        };
        for (flag, wanted, id) in [
            ("add_bos_token", data.add_begin, vocabulary.begin),
            ("add_eos_token", data.add_end, vocabulary.end),
        ] {
            if wanted == Some(true) && id.is_none() {
                return Err(vocabulary::invalid(format!("{flag} is set, but there is no such token")));
            }
        }
        let begin_by_default = match (spelling, data.pre) {
            (Spelling::SentencePiece, _) => true,
            (Spelling::ByteLevel, Some("llama-bpe" | "llama3" | "llama-v3")) => true,
            (Spelling::ByteLevel, _) => false,
        };
        let finder = |kinds: &[TokenKind]| TokenFinder::new(&vocabulary, kinds);
        Ok(Self {
            algorithm,
            user_defined: finder(&[TokenKind::UserDefined]),
            control: finder(&[TokenKind::Control, TokenKind::Unknown]),
            all_special: finder(&[TokenKind::UserDefined, TokenKind::Control, TokenKind::Unknown]),
            add_begin: data.add_begin.unwrap_or(begin_by_default) && vocabulary.begin.is_some(),
            add_end: data.add_end.unwrap_or(false) && vocabulary.end.is_some(),
            vocabulary,
        })
    }

    /// The tokens of `text`, with neither beginning nor end added.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        let finder = match special {
            Special::Parse => &self.all_special,
            Special::Text => &self.user_defined,
        };
        let mut tokens = Vec::new();
        self.encode_with(finder, text, Before::Boundary, &mut tokens);
        tokens
    }

    /// `tokens` with the beginning and the end that the model file asks for.
    pub fn with_begin_and_end(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        if let Some(begin) = self.added_begin() {
            tokens.insert(0, begin);
        }
        if self.add_end {
            tokens.extend(self.vocabulary.end);
        }
        tokens
    }

    /// The token that must begin every prompt, if the model wants one.
    pub fn added_begin(&self) -> Option<u32> {
        self.vocabulary.begin.filter(|_| self.add_begin)
    }

    /// Appends the tokens of `segments` to `tokens`; `before` is what stands before the first.
    pub fn encode_segments(&self, segments: &[Segment], mut before: Before, tokens: &mut Vec<u32>) {
        for segment in segments {
            match segment {
                Segment::Control(id) => {
                    tokens.push(*id);
                    before = Before::Boundary;
                }
                Segment::Text(text) => {
                    self.encode_with(&self.user_defined, text, before, tokens);
                    before = Before::Text;
                }
            }
        }
    }

    fn encode_with(&self, finder: &TokenFinder, text: &str, mut before: Before, tokens: &mut Vec<u32>) {
        for fragment in finder.cut(text) {
            match fragment {
                Fragment::Token(id) => {
                    tokens.push(id);
                    before = Before::Boundary;
                }
                Fragment::Text(text) => {
                    match &self.algorithm {
                        Algorithm::BytePairs(pairs) => pairs.encode(&self.vocabulary, text, tokens),
                        Algorithm::SentencePieces(pieces) => {
                            let prefix = pieces.add_space_prefix && before == Before::Boundary;
                            pieces.encode(&self.vocabulary, text, prefix, tokens);
                        }
                    }
                    before = Before::Text;
                }
            }
        }
    }

    /// `text` with `breaker` where it would otherwise read, alone or with what a template puts beside it, as a
    /// control token.
    pub fn guard<'t>(&self, text: &'t str, breaker: Breaker) -> Cow<'t, str> {
        let trimmed = text.trim();
        let trimmed_start = text.len() - text.trim_start().len();
        let trimmed_end = trimmed_start + trimmed.len();
        let mut breaks = Vec::new();
        for token in self.control.texts() {
            // The first character is whole: tokens are text.
            let first = token.iter().skip(1).take_while(|&&byte| byte & 0xc0 == 0x80).count() + 1;
            let mut from = 0;
            while let Some(offset) = memchr::memmem::find(&text.as_bytes()[from..], token) {
                breaks.push(from + offset + first);
                from += offset + first;
            }
            // A template may join the text, or the text without the white space around it, with more text.
            for (start, end) in [(0, text.len()), (trimmed_start, trimmed_end)] {
                let part = &text.as_bytes()[start..end];
                if (1..token.len()).any(|length| part.ends_with(&token[..length])) {
                    breaks.push(end);
                }
                let inside = !part.is_empty() && memchr::memmem::find(token, part).is_some();
                if inside || (1..token.len()).any(|length| part.starts_with(&token[length..])) {
                    breaks.push(start);
                }
            }
        }
        if breaks.is_empty() {
            return Cow::Borrowed(text);
        }
        breaks.sort_unstable();
        breaks.dedup();
        let mut guarded = String::with_capacity(text.len() + 3 * breaks.len());
        let mut rest = 0;
        for position in breaks {
            // Only a token that is not text could be cut elsewhere, and there is none.
            if text.is_char_boundary(position) {
                guarded.push_str(&text[rest..position]);
                guarded.push(breaker.0);
                rest = position;
            }
        }
        guarded.push_str(&text[rest..]);
        Cow::Owned(guarded)
    }

    /// Cuts a rendered template into text and control tokens, and removes the breakers.
    pub fn segments(&self, rendered: &str, breaker: Breaker) -> Vec<Segment> {
        let mut segments = Vec::new();
        for fragment in self.control.cut(rendered) {
            match fragment {
                Fragment::Token(id) => segments.push(Segment::Control(id)),
                Fragment::Text(text) => {
                    let text = text.replace(breaker.0, "");
                    if !text.is_empty() {
                        segments.push(Segment::Text(text));
                    }
                }
            }
        }
        segments
    }

    /// Fails when there are more tokens than the model knows.
    pub(crate) fn check_vocabulary(&self, known: usize) -> Result<(), LlmError> {
        if self.vocabulary_size() <= known {
            return Ok(());
        }
        let message =
            format!("the tokenizer has {} tokens, but the model knows {known}", self.vocabulary_size());
        Err(LlmError::Tokenizer { message })
    }

    /// The number of tokens.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// What a token is for; `None` for an id that does not exist.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// The bytes that a token adds to the output: nothing for control tokens and for ids that do not exist.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        match self.vocabulary.kind(id) {
            Some(TokenKind::Control | TokenKind::Unknown) | None => &[],
            Some(_) => self.vocabulary.bytes(id),
        }
    }

    /// A token's text in the model file's spelling.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// The token with this text in the model file's spelling.
    pub fn token_with_text(&self, text: &str) -> Option<u32> {
        (0..self.vocabulary.len() as u32).find(|&id| self.vocabulary.text(id) == Some(text))
    }

    /// The bytes of `tokens`, one after the other.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|&id| self.token_bytes(id)).copied().collect()
    }

    /// Whether a token ends generation.
    pub fn ends_generation(&self, id: u32) -> bool {
        self.vocabulary.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end generation, ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.vocabulary.ends
    }

    /// The token of the beginning of a text.
    pub fn begin_token(&self) -> Option<u32> {
        self.vocabulary.begin
    }

    /// The token of the end of a text.
    pub fn end_token(&self) -> Option<u32> {
        self.vocabulary.end
    }
}
