//! A small vocabulary for tests: bytes, the control tokens of the pocket model's conversation, user-defined texts.

use super::vocabulary::byte_character;
use super::{Tokenizer, TokenizerData};

pub(crate) const CONTROL: [&str; 6] =
    ["<|begin|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"];

/// The token of `<|end|>`.
pub(crate) const END: u32 = 256 + 5;

pub(crate) const USER_DEFINED: [&str; 5] = ["Thought: ", "\nCall: ", "Call: ", "\nAnswer: ", "Answer: "];

/// The pocket model's template.
pub(crate) const TEMPLATE: &str = "<|begin|>{% if tools %}<|tools|>{{ tools | map(attribute='name') | join(' ') }}{% endif %}\
    {% for message in messages %}{% if message.role == 'user' %}<|user|>{{ message.content }}<|assistant|>\
    {% elif message.role == 'assistant' %}{{ message.content }}<|end|>\
    {% elif message.role == 'tool' %}<|tool|>{{ message.content }}<|assistant|>{% endif %}{% endfor %}";

/// Bytes as a vocabulary of bytes spells them.
pub(crate) fn spelled(bytes: &[u8]) -> String {
    bytes.iter().copied().map(byte_character).collect()
}

/// The vocabulary's texts, in order.
pub(crate) fn texts() -> Vec<String> {
    let bytes = (0..=255).map(|byte| spelled(&[byte]));
    bytes.chain(CONTROL.iter().chain(&USER_DEFINED).map(|text| text.to_string())).collect()
}

/// The vocabulary's token types.
pub(crate) fn types() -> Vec<i32> {
    [vec![1; 256], vec![3; CONTROL.len()], vec![4; USER_DEFINED.len()]].concat()
}

/// Metadata of the vocabulary with these texts, which must be [`texts`].
pub(crate) fn data(texts: &[String]) -> TokenizerData<'_> {
    TokenizerData {
        model: "gpt2",
        pre: Some("default"),
        tokens: texts.iter().map(String::as_str).collect(),
        types: Some(types()),
        begin: Some(256),
        end: Some(END),
        add_begin: Some(false),
        ..TokenizerData::default()
    }
}

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::new(&data(&texts())).expect("the test vocabulary is valid")
}
