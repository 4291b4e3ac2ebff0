//! What the tokens with a role are: by the metadata's ids, else by the texts that published models give them.
//!
//! The texts are those that llama.cpp knows (`llama_vocab::impl::load` in `src/llama-vocab.cpp`).

use super::data::{FillInMiddle, TokenizerData};
use super::vocabulary::{TokenKind, invalid};
use crate::LlmError;

/// Texts of tokens that end a turn or a document in published models. Metadata often names only one of a model's.
const END_TEXTS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

const PREFIX_TEXTS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
];
const SUFFIX_TEXTS: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
];
const MIDDLE_TEXTS: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];
const PADDING_TEXTS: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const REPOSITORY_TEXTS: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const SEPARATOR_TEXTS: &[&str] = &["<|file_sep|>"];

/// The tokens with a role. Every id is in range.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    pub(super) begin: Option<u32>,
    pub(super) end: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) separator: Option<u32>,
    pub(super) fill_in_middle: FillInMiddle,
    /// Tokens that end generation, ascending.
    pub(super) ends: Vec<u32>,
}

impl Roles {
    /// The roles by `data`. What ends or begins a turn is structure, whatever its type says, and becomes a control
    /// token in `kinds`: a person must not be able to type it.
    pub(super) fn new(data: &TokenizerData<'_>, kinds: &mut [TokenKind]) -> Result<Self, LlmError> {
        let count = data.tokens.len();
        let checked = |name: &str, id: Option<u32>| match id {
            Some(id) if id as usize >= count => {
                Err(invalid(format!("{name}_token_id is {id}, but there are {count} tokens")))
            }
            id => Ok(id),
        };
        let with_text = |texts: &[&str]| {
            (0u32..).zip(&data.tokens).find(|(_, text)| texts.contains(*text)).map(|(id, _)| id)
        };
        let of_hole = |name: &str, id: Option<u32>, texts: &[&str]| {
            Ok::<_, LlmError>(checked(name, id)?.or_else(|| with_text(texts)))
        };
        let hole = &data.fill_in_middle;
        let fill_in_middle = FillInMiddle {
            prefix: of_hole("fim_pre", hole.prefix, PREFIX_TEXTS)?,
            suffix: of_hole("fim_suf", hole.suffix, SUFFIX_TEXTS)?,
            middle: of_hole("fim_mid", hole.middle, MIDDLE_TEXTS)?,
            padding: of_hole("fim_pad", hole.padding, PADDING_TEXTS)?,
            repository: of_hole("fim_rep", hole.repository, REPOSITORY_TEXTS)?,
            separator: of_hole("fim_sep", hole.separator, SEPARATOR_TEXTS)?,
        };
        let mut roles = Self {
            begin: checked("bos", data.begin)?,
            end: checked("eos", data.end)?,
            unknown: checked("unknown", data.unknown)?,
            separator: checked("seperator", data.separator)?,
            fill_in_middle,
            ends: Vec::new(),
        };
        // Some files name one more token than there are, which does no harm.
        let padding = data.padding.filter(|&id| (id as usize) < count);
        let named = [roles.end, checked("eot", data.end_of_turn)?, checked("eom", data.end_of_message)?];
        let holes = [fill_in_middle.padding, fill_in_middle.repository, fill_in_middle.separator];
        roles.ends = named.into_iter().chain(holes).flatten().collect();
        roles.ends.extend(
            (0u32..).zip(&data.tokens).filter(|(_, text)| END_TEXTS.contains(*text)).map(|(id, _)| id),
        );
        roles.ends.sort_unstable();
        roles.ends.dedup();

        let structure = [roles.begin, roles.separator, padding];
        let code = [fill_in_middle.prefix, fill_in_middle.suffix, fill_in_middle.middle];
        let control = roles.ends.iter().copied().chain(structure.into_iter().chain(code).flatten());
        for id in control {
            // Some files name a mere character, where the model has no such token.
            let text = data.tokens[id as usize].chars().nth(1).is_some();
            let kind = &mut kinds[id as usize];
            if text && matches!(kind, TokenKind::Normal | TokenKind::UserDefined) {
                *kind = TokenKind::Control;
            }
        }

        let has = |text: &str| roles.ends.iter().any(|&id| data.tokens[id as usize] == text);
        // Harmony and Solar models end a message with <|end|>, but a turn with one of these.
        let messages = (has("<|return|>") || has("<|flush|>")) && (has("<|call|>") || has("<|calls|>"));
        // In Gemma 4 and PLaMo it is a piece of text.
        let text = has("<|tool_response>") || has("<|plamo:eos|>");
        roles.ends.retain(|&id| match data.tokens[id as usize] {
            "<|end|>" => !messages,
            "</s>" if text => {
                kinds[id as usize] = TokenKind::Normal;
                false
            }
            _ => true,
        });
        Ok(roles)
    }
}
