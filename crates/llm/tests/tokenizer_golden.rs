//! Token ids and token bytes equal those of llama.cpp, Hugging Face `tokenizers` and `sentencepiece`, on the
//! vocabularies that `golden/tokenizers.py` trains.

use glasshouse_llm::tokenizer::{Special, Tokenizer, TokenizerData};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    model: String,
    pre: Option<String>,
    tokens: Vec<String>,
    types: Vec<i32>,
    scores: Option<Vec<f32>>,
    #[serde(default)]
    merges: Vec<String>,
    begin: u32,
    end: u32,
    unknown: Option<u32>,
    cases: Vec<Case>,
    /// For each token a 16-bit length and its bytes, in hexadecimal.
    pieces: String,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    special: bool,
    tokens: Vec<u32>,
}

fn golden() -> Vec<Golden> {
    serde_json::from_str(include_str!("golden/tokenizers.json")).expect("the golden file is JSON")
}

fn tokenizer(golden: &Golden) -> Tokenizer {
    Tokenizer::new(&TokenizerData {
        model: &golden.model,
        pre: golden.pre.as_deref(),
        tokens: golden.tokens.iter().map(String::as_str).collect(),
        types: Some(golden.types.clone()),
        scores: golden.scores.clone(),
        merges: golden.merges.iter().map(String::as_str).collect(),
        begin: Some(golden.begin),
        end: Some(golden.end),
        unknown: golden.unknown,
        ..TokenizerData::default()
    })
    .expect("the golden vocabulary is valid")
}

#[test]
fn token_ids_equal_the_reference() {
    let mut count = 0;
    for golden in golden() {
        let tokenizer = tokenizer(&golden);
        let name = golden.pre.as_ref().unwrap_or(&golden.model);
        for case in &golden.cases {
            let special = if case.special { Special::Parse } else { Special::Text };
            assert_eq!(tokenizer.encode(&case.text, special), case.tokens, "{name}: {:?}", case.text);
            count += 1;
        }
    }
    assert!(count >= 300, "{count} cases");
}

#[test]
fn token_bytes_equal_the_reference() {
    for golden in golden() {
        let tokenizer = tokenizer(&golden);
        let bytes: Vec<u8> = (0..golden.pieces.len() / 2)
            .map(|i| u8::from_str_radix(&golden.pieces[2 * i..2 * i + 2], 16).expect("hexadecimal"))
            .collect();
        let mut rest = bytes.as_slice();
        for id in 0..golden.tokens.len() as u32 {
            let (length, after) = rest.split_at(2);
            let (piece, after) = after.split_at(u16::from_le_bytes([length[0], length[1]]).into());
            assert_eq!(tokenizer.token_bytes(id), piece, "{}: token {id}", golden.model);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn byte_level_text_survives() {
    for golden in golden().iter().filter(|golden| golden.model == "gpt2") {
        let tokenizer = tokenizer(golden);
        for case in golden.cases.iter().filter(|case| !case.special) {
            let tokens = tokenizer.encode(&case.text, Special::Text);
            assert_eq!(tokenizer.decode(&tokens), case.text.as_bytes());
        }
    }
}
