//! Text to token ids and back, from a model file's own metadata.
//!
//! - [`Tokenizer`]: byte-level BPE (`gpt2`), SentencePiece's BPE (`llama`, `gemma4`) and Unigram (`t5`), WordPiece
//!   (`bert`).
//! - [`TokenizerData`]: the metadata it is built from.
//! - [`Special`]: whether the texts of control tokens mean the tokens.
//! - [`Segment`], [`Breaker`]: prompts, in which control tokens come from the template and never from a person.
//!
//! Token ids are those of llama.cpp, whatever it makes of a model's own tokenizer, with one exception.
//!
//! **Invariant:** [`Special::Text`] and the messages of a prompt never produce a control token, whatever they say.
//! Where llama.cpp would join pieces of text to one, or takes one for user-defined (of Harmony models `<|channel|>`
//! and its like), the text stays in pieces here.
//!
//! Text is a [`str`], so bytes that are not UTF-8 never come here: who reads them decides what they become.

mod bpe;
mod characters;
mod charsmap;
mod data;
mod pretokenizer;
mod prompt;
mod repeats;
mod roles;
mod scheme;
mod special;
mod spm;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trie;
mod unigram;
mod vocabulary;
mod wordpiece;

use std::borrow::Cow;

use self::bpe::BytePairs;
pub use self::data::{FillInMiddle, TokenizerData};
pub use self::prompt::{Breaker, Segment};
use self::scheme::Scheme;
use self::special::{Fragment, TokenFinder};
use self::spm::SentencePieces;
use self::unigram::Unigram;
pub use self::vocabulary::TokenKind;
use self::vocabulary::{Spelling, Vocabulary, invalid};
use self::wordpiece::WordPieces;
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

#[derive(Debug, Clone)]
enum Algorithm {
    BytePairs(BytePairs),
    SentencePieces(SentencePieces),
    Unigram(Unigram),
    WordPieces(WordPieces),
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
    /// The token before every text, and the one after.
    added_begin: Option<u32>,
    added_end: Option<u32>,
}

/// The model, as `tokenizer.ggml.model` names it.
enum Model {
    BytePairs(Scheme),
    SentencePieces,
    Unigram,
    WordPieces,
}

impl Model {
    /// The model that `tokenizer.ggml.model` and `tokenizer.ggml.pre` name.
    fn named(name: &str, pre: Option<&str>) -> Result<Self, LlmError> {
        Ok(match name {
            "gpt2" => Self::BytePairs(Scheme::named(pre).ok_or_else(|| LlmError::Tokenizer {
                message: format!(
                    "the pre-tokenizer `{}` (tokenizer.ggml.pre) is not supported; known are those of published models, \
                     such as gpt-2, llama-bpe, qwen2, tekken and gpt-4o",
                    pre.unwrap_or_default()
                ),
            })?),
            "gemma4" => Self::BytePairs(Scheme::GEMMA4),
            "llama" => Self::SentencePieces,
            "t5" => Self::Unigram,
            "bert" => Self::WordPieces,
            other => {
                return Err(LlmError::Tokenizer {
                    message: format!(
                        "the tokenizer `{other}` (tokenizer.ggml.model) is not supported; supported are gpt2 (byte-level \
                         BPE), llama and gemma4 (SentencePiece BPE), t5 (SentencePiece Unigram) and bert (WordPiece)"
                    ),
                });
            }
        })
    }

    /// Gives the special tokens the numbers that such models give them unless they say otherwise.
    fn number(&self, data: &mut TokenizerData<'_>) {
        let count = data.tokens.len();
        let usually =
            |id: &mut Option<u32>, usual: u32| *id = id.or(((usual as usize) < count).then_some(usual));
        match self {
            Self::BytePairs(_) => {}
            Self::SentencePieces => {
                usually(&mut data.unknown, 0);
                usually(&mut data.begin, 1);
                usually(&mut data.end, 2);
            }
            Self::Unigram => {
                usually(&mut data.padding, 0);
                usually(&mut data.end, 1);
                usually(&mut data.unknown, 2);
            }
            Self::WordPieces => {
                usually(&mut data.padding, 0);
                usually(&mut data.unknown, 100);
                usually(&mut data.begin, 101);
                usually(&mut data.separator, 102);
            }
        }
    }
}

impl Tokenizer {
    /// The tokenizer of a model file.
    ///
    /// # Errors
    /// [`LlmError::Tokenizer`] when the metadata is missing, damaged or of a kind that is not supported.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, LlmError> {
        Self::new(&TokenizerData::from_gguf(gguf)?)
    }

    /// A tokenizer from its metadata.
    ///
    /// # Errors
    /// [`LlmError::Tokenizer`] as for [`Tokenizer::from_gguf`].
    pub fn new(data: &TokenizerData<'_>) -> Result<Self, LlmError> {
        let mut data = Cow::Borrowed(data);
        let model = Model::named(data.model, data.pre)?;
        if !matches!(model, Model::BytePairs(_)) {
            model.number(data.to_mut());
        }
        let spelling = match &model {
            Model::BytePairs(scheme) if !scheme.sentence_piece => Spelling::ByteLevel,
            _ => Spelling::SentencePiece,
        };
        let vocabulary = Vocabulary::new(&data, spelling)?;
        let roles = &vocabulary.roles;
        for (flag, wanted, id) in
            [("add_bos_token", data.add_begin, roles.begin), ("add_eos_token", data.add_end, roles.end)]
        {
            if wanted == Some(true) && id.is_none() {
                return Err(invalid(format!("{flag} is set, but there is no such token")));
            }
        }
        let begin = |usually: bool| roles.begin.filter(|_| data.add_begin.unwrap_or(usually));
        let end = |usually: bool| roles.end.filter(|_| data.add_end.unwrap_or(usually));
        let (added_begin, added_end) = match &model {
            // Files of Gemma 4 say that it needs none, which is wrong.
            Model::BytePairs(scheme) if scheme.whole_lines => (roles.begin, end(false)),
            Model::BytePairs(scheme) => (begin(scheme.add_begin), end(false)),
            Model::SentencePieces => (begin(true), end(false)),
            Model::Unigram => (begin(false), end(true)),
            Model::WordPieces => (roles.begin, roles.separator),
        };
        let algorithm = match &model {
            Model::BytePairs(scheme) => {
                vocabulary.require_bytes()?;
                Algorithm::BytePairs(BytePairs::new(&data, scheme, spelling, &vocabulary)?)
            }
            Model::SentencePieces => {
                vocabulary.require_bytes()?;
                Algorithm::SentencePieces(SentencePieces::new(&data, &vocabulary)?)
            }
            Model::Unigram => Algorithm::Unigram(Unigram::new(&data, &vocabulary)?),
            Model::WordPieces => Algorithm::WordPieces(WordPieces::new(&data, &vocabulary)?),
        };
        let finder = |kinds: &[TokenKind]| TokenFinder::new(&data, &vocabulary, kinds);
        Ok(Self {
            algorithm,
            user_defined: finder(&[TokenKind::UserDefined]),
            control: finder(&[TokenKind::Control, TokenKind::Unknown]),
            all_special: finder(&[TokenKind::UserDefined, TokenKind::Control, TokenKind::Unknown]),
            added_begin,
            added_end,
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

    /// `tokens` with the beginning and the end that the model file asks for, where they are not there already.
    pub fn with_begin_and_end(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        let begin = self.added_begin.filter(|begin| tokens.first() != Some(begin));
        let end = self.added_end.filter(|end| tokens.last() != Some(end));
        tokens.splice(0..0, begin);
        tokens.extend(end);
        tokens
    }

    /// The token that must begin every prompt, if the model wants one.
    pub fn added_begin(&self) -> Option<u32> {
        self.added_begin
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
                        Algorithm::Unigram(unigram) => unigram.encode(text, tokens),
                        Algorithm::WordPieces(pieces) => pieces.encode(text, tokens),
                    }
                    before = Before::Text;
                }
            }
        }
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
        self.vocabulary.roles.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end generation, ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.vocabulary.roles.ends
    }

    /// The token of the beginning of a text.
    pub fn begin_token(&self) -> Option<u32> {
        self.vocabulary.roles.begin
    }

    /// The token of the end of a text.
    pub fn end_token(&self) -> Option<u32> {
        self.vocabulary.roles.end
    }

    /// The tokens of code with a hole, as far as the model has them.
    pub fn fill_in_middle(&self) -> FillInMiddle {
        self.vocabulary.roles.fill_in_middle
    }
}
