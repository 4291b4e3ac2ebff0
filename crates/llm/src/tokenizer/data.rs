//! The `tokenizer.ggml.*` metadata, borrowed from a model file.

use crate::LlmError;
use crate::gguf::Gguf;

/// The tokenizer metadata of a model file.
#[derive(Debug, Clone, Default)]
pub struct TokenizerData<'a> {
    /// `model`: `gpt2`, `llama`, `gemma4`, `t5` or `bert`.
    pub model: &'a str,
    /// `pre`: how byte-level BPE splits text into words.
    pub pre: Option<&'a str>,
    /// `general.architecture`; a few tell how their control tokens treat white space.
    pub architecture: Option<&'a str>,
    /// `general.name`; the same.
    pub name: Option<&'a str>,
    /// `tokens`: the text of every token, in its model's spelling.
    pub tokens: Vec<&'a str>,
    /// `token_type`, one for each token.
    pub types: Option<Vec<i32>>,
    /// `scores`, one for each token; SentencePiece merges the pair with the highest first.
    pub scores: Option<Vec<f32>>,
    /// `merges`: two tokens with a space between, first the one that merges first.
    pub merges: Vec<&'a str>,
    /// `bos_token_id`.
    pub begin: Option<u32>,
    /// `eos_token_id`.
    pub end: Option<u32>,
    /// `eot_token_id`.
    pub end_of_turn: Option<u32>,
    /// `eom_token_id`.
    pub end_of_message: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `seperator_token_id`, which the format spells so.
    pub separator: Option<u32>,
    /// `padding_token_id`.
    pub padding: Option<u32>,
    /// The tokens of code with a hole.
    pub fill_in_middle: FillInMiddle,
    /// `add_bos_token`.
    pub add_begin: Option<bool>,
    /// `add_eos_token`.
    pub add_end: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `remove_extra_whitespaces`: whether Unigram makes every run of spaces one.
    pub remove_extra_whitespaces: Option<bool>,
    /// `precompiled_charsmap`: what Unigram replaces in text first.
    pub charsmap: Option<Vec<u8>>,
    /// `normalizer.lowercase`: whether WordPiece makes text small.
    pub lowercase: Option<bool>,
    /// `normalizer.strip_accents`: whether WordPiece drops accents; as `lowercase` if not given.
    pub strip_accents: Option<bool>,
}

/// The tokens of a model that fills holes in code, as far as it has them. A prompt is made of what is before and
/// after a hole, each after its token; the model's answer to the token of the middle is what belongs there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FillInMiddle {
    /// `fim_pre_token_id`: before the hole.
    pub prefix: Option<u32>,
    /// `fim_suf_token_id`: after the hole.
    pub suffix: Option<u32>,
    /// `fim_mid_token_id`: the hole.
    pub middle: Option<u32>,
    /// `fim_pad_token_id`: nothing; ends generation.
    pub padding: Option<u32>,
    /// `fim_rep_token_id`: a repository's name; ends generation.
    pub repository: Option<u32>,
    /// `fim_sep_token_id`: the next file; ends generation.
    pub separator: Option<u32>,
}

impl<'a> TokenizerData<'a> {
    /// The metadata of a model file.
    ///
    /// # Errors
    /// [`LlmError::MissingKey`] and [`LlmError::WrongValue`].
    pub fn from_gguf(gguf: &'a Gguf) -> Result<Self, LlmError> {
        let id = |name: &str| gguf.get_u32(&format!("tokenizer.ggml.{name}_token_id"));
        let flag = |name: &str| gguf.get_bool(&format!("tokenizer.ggml.{name}"));
        // Old files have the name before the comma.
        let id_of = |old: &str, new: &str| id(new).and_then(|id_new| Ok(id_new.or(id(old)?)));
        // Some files have whole numbers.
        let scores = gguf.get_f32s("tokenizer.ggml.scores").or_else(|error| {
            let whole = gguf.get_i32s("tokenizer.ggml.scores").map_err(|_| error)?;
            Ok::<_, LlmError>(whole.map(|scores| scores.into_iter().map(|score| score as f32).collect()))
        })?;
        let charsmap = gguf.get_i32s("tokenizer.ggml.precompiled_charsmap")?;
        Ok(Self {
            model: gguf.string("tokenizer.ggml.model")?,
            pre: gguf.get_string("tokenizer.ggml.pre")?,
            architecture: gguf.get_string("general.architecture")?,
            name: gguf.get_string("general.name")?,
            tokens: gguf.strings("tokenizer.ggml.tokens")?,
            types: gguf.get_i32s("tokenizer.ggml.token_type")?,
            scores,
            merges: gguf.get_strings("tokenizer.ggml.merges")?.unwrap_or_default(),
            begin: id_of("cls", "bos")?,
            end: id("eos")?,
            end_of_turn: id("eot")?,
            end_of_message: id("eom")?,
            unknown: id("unknown")?,
            separator: id("seperator")?,
            padding: id("padding")?,
            fill_in_middle: FillInMiddle {
                prefix: id_of("prefix", "fim_pre")?,
                suffix: id_of("suffix", "fim_suf")?,
                middle: id_of("middle", "fim_mid")?,
                padding: id("fim_pad")?,
                repository: id("fim_rep")?,
                separator: id("fim_sep")?,
            },
            add_begin: flag("add_bos_token")?,
            add_end: flag("add_eos_token")?,
            add_space_prefix: flag("add_space_prefix")?,
            remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
            charsmap: charsmap.map(|bytes| bytes.into_iter().map(|byte| byte as u8).collect()),
            lowercase: flag("normalizer.lowercase")?,
            strip_accents: flag("normalizer.strip_accents")?,
        })
    }
}
