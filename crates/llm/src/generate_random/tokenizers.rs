//! Tokenizers of random models: simple ones, whose texts show the tokens.

use crate::gguf::MetadataValue;

/// A token like others.
const NORMAL: i32 = 1;
/// What stands for text that has no tokens.
const UNKNOWN: i32 = 2;
/// A token that no text means.
const CONTROL: i32 = 3;
/// A token that nothing means.
const UNUSED: i32 = 5;

/// Tokens and their types.
#[derive(Default)]
struct Tokens {
    texts: Vec<String>,
    types: Vec<i32>,
}

impl Tokens {
    fn push(&mut self, kind: i32, texts: impl IntoIterator<Item = String>) {
        self.texts.extend(texts);
        self.types.resize(self.texts.len(), kind);
    }

    /// The metadata of a tokenizer of this model, with unused tokens up to `vocabulary`.
    fn metadata(mut self, model: &str, vocabulary: u32, ids: &[(&str, u32)]) -> Vec<(String, MetadataValue)> {
        let unused = self.texts.len()..vocabulary as usize;
        self.push(UNUSED, unused.map(|number| format!("<|unused_{number}|>")));
        let mut metadata = vec![
            ("model", MetadataValue::String(model.into())),
            ("pre", MetadataValue::String("default".into())),
            ("tokens", MetadataValue::Strings(self.texts)),
            ("token_type", MetadataValue::I32s(self.types)),
            ("merges", MetadataValue::Strings(Vec::new())),
        ];
        metadata.extend(ids.iter().map(|&(name, id)| (name, MetadataValue::U32(id))));
        metadata.into_iter().map(|(suffix, value)| (format!("tokenizer.ggml.{suffix}"), value)).collect()
    }
}

/// A byte-level tokenizer without merges: 256 byte tokens, two control tokens, unused ones up to the vocabulary.
pub(super) fn bytes(vocabulary: u32) -> Vec<(String, MetadataValue)> {
    let mut tokens = Tokens::default();
    tokens.push(NORMAL, byte_tokens());
    tokens.push(CONTROL, ["<|begin|>", "<|end|>"].map(str::to_owned));
    let mut metadata = tokens.metadata("gpt2", vocabulary, &[("bos_token_id", 256), ("eos_token_id", 257)]);
    let template =
        "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}";
    metadata.push(("tokenizer.chat_template".to_owned(), MetadataValue::String(template.into())));
    metadata
}

/// BERT's WordPiece with the letters, at the beginning of a word and behind it.
pub(super) fn word_pieces(vocabulary: u32) -> Vec<(String, MetadataValue)> {
    let mut tokens = Tokens::default();
    tokens.push(CONTROL, ["[PAD]".to_owned()]);
    tokens.push(UNKNOWN, ["[UNK]".to_owned()]);
    tokens.push(CONTROL, ["[CLS]", "[SEP]", "[MASK]"].map(str::to_owned));
    // Converters write a visible space before what begins a word, instead of two signs before what does not.
    tokens.push(NORMAL, ('a'..='z').flat_map(|letter| [format!("\u{2581}{letter}"), letter.to_string()]));
    let ids = [
        ("padding_token_id", 0),
        ("unknown_token_id", 1),
        ("cls_token_id", 2),
        ("seperator_token_id", 3),
        ("mask_token_id", 4),
    ];
    tokens.metadata("bert", vocabulary, &ids)
}

/// The 256 bytes in GPT-2's printable spelling.
fn byte_tokens() -> Vec<String> {
    let mut next = 256;
    let spell = |byte: u32| {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if printable { byte } else { next };
        next += u32::from(!printable);
        char::from_u32(code).unwrap_or(' ').to_string()
    };
    (0..256).map(spell).collect()
}
