//! Token ids and token bytes equal those of llama.cpp, Hugging Face `tokenizers` and `sentencepiece`, on the
//! vocabularies that `golden/tokenizers.py` trains.

use glasshouse_llm::tokenizer::{FillInMiddle, Special, Tokenizer, TokenizerData};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    roles: Vec<Roles>,
    vocabularies: Vec<Vocabulary>,
}

/// A vocabulary: metadata by the names of `tokenizer.ggml`.
#[derive(Deserialize)]
struct Vocabulary {
    model: String,
    tokens: Vec<String>,
    token_type: Vec<i32>,
    scores: Option<Vec<f32>>,
    #[serde(default)]
    merges: Vec<String>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    unknown_token_id: Option<u32>,
    padding_token_id: Option<u32>,
    seperator_token_id: Option<u32>,
    add_space_prefix: Option<bool>,
    remove_extra_whitespaces: Option<bool>,
    /// In hexadecimal.
    precompiled_charsmap: Option<String>,
    #[serde(rename = "normalizer.lowercase")]
    lowercase: Option<bool>,
    #[serde(rename = "normalizer.strip_accents")]
    strip_accents: Option<bool>,
    runs: Vec<Run>,
    /// All different answers of the runs.
    answers: Vec<Vec<u32>>,
    /// For each token a 16-bit length and its bytes, in hexadecimal.
    pieces: String,
}

/// All texts with some metadata changed.
#[derive(Deserialize)]
struct Run {
    model: Option<String>,
    pre: Option<String>,
    name: Option<String>,
    add_space_prefix: Option<bool>,
    special: bool,
    /// The answer to each text.
    answers: Vec<usize>,
    /// The answer to `a` with the beginning and the end.
    around: Vec<u32>,
}

/// Texts of control tokens, after the twelve tokens `000` to `011`, and what they are.
#[derive(Deserialize)]
struct Roles {
    texts: Vec<String>,
    ends: Vec<u32>,
    fill_in_middle: [i32; 6],
}

/// The checked-in texts, or those of the file that is named.
fn golden() -> Golden {
    let json = match std::env::var_os("GLASSHOUSE_TOKENIZERS") {
        Some(path) => std::fs::read_to_string(path).expect("the file can be read"),
        None => include_str!("golden/tokenizers.json").to_string(),
    };
    serde_json::from_str(&json).expect("the golden file is JSON")
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |index| u8::from_str_radix(&hexadecimal[2 * index..2 * index + 2], 16);
    (0..hexadecimal.len() / 2).map(|index| byte(index).expect("hexadecimal")).collect()
}

fn tokenizer(vocabulary: &Vocabulary, run: &Run) -> Tokenizer {
    Tokenizer::new(&TokenizerData {
        model: run.model.as_ref().unwrap_or(&vocabulary.model),
        pre: run.pre.as_deref(),
        name: run.name.as_deref(),
        tokens: vocabulary.tokens.iter().map(String::as_str).collect(),
        types: Some(vocabulary.token_type.clone()),
        scores: vocabulary.scores.clone(),
        merges: vocabulary.merges.iter().map(String::as_str).collect(),
        begin: vocabulary.bos_token_id,
        end: vocabulary.eos_token_id,
        unknown: vocabulary.unknown_token_id,
        padding: vocabulary.padding_token_id,
        separator: vocabulary.seperator_token_id,
        add_space_prefix: run.add_space_prefix.or(vocabulary.add_space_prefix),
        remove_extra_whitespaces: vocabulary.remove_extra_whitespaces,
        charsmap: vocabulary.precompiled_charsmap.as_deref().map(bytes),
        lowercase: vocabulary.lowercase,
        strip_accents: vocabulary.strip_accents,
        ..TokenizerData::default()
    })
    .expect("the golden vocabulary is valid")
}

#[test]
fn token_ids_equal_the_reference() {
    let golden = golden();
    let (mut count, mut wrong) = (0, Vec::new());
    for vocabulary in &golden.vocabularies {
        for run in &vocabulary.runs {
            let tokenizer = tokenizer(vocabulary, run);
            let special = if run.special { Special::Parse } else { Special::Text };
            for (text, &answer) in golden.texts.iter().zip(&run.answers) {
                let (expected, found) = (&vocabulary.answers[answer], tokenizer.encode(text, special));
                if found != *expected {
                    let name = run.pre.as_ref().or(run.model.as_ref()).unwrap_or(&vocabulary.model);
                    wrong.push(format!("{name}, {special:?}: {text:?}\n  {expected:?}\n  {found:?}"));
                }
                count += 1;
            }
            let a = tokenizer.encode("a", Special::Text);
            assert_eq!(tokenizer.with_begin_and_end(a), run.around, "{:?}", run.pre);
        }
    }
    let few = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} of {count} cases differ, such as\n{}", wrong.len(), few.join("\n"));
    assert!(count >= 5000, "{count} cases");
}

#[test]
fn token_bytes_equal_the_reference() {
    for vocabulary in golden().vocabularies {
        let tokenizer = tokenizer(&vocabulary, vocabulary.runs.last().expect("there is one"));
        let pieces = bytes(&vocabulary.pieces);
        let mut rest = pieces.as_slice();
        for id in 0..vocabulary.tokens.len() as u32 {
            let (length, after) = rest.split_at(2);
            let (piece, after) = after.split_at(u16::from_le_bytes([length[0], length[1]]).into());
            assert_eq!(tokenizer.token_bytes(id), piece, "{}: token {id}", vocabulary.model);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn byte_level_text_survives() {
    let golden = golden();
    for vocabulary in golden.vocabularies.iter().filter(|vocabulary| vocabulary.model == "gpt2") {
        for run in vocabulary.runs.iter().filter(|run| !run.special) {
            let tokenizer = tokenizer(vocabulary, run);
            for text in &golden.texts {
                let tokens = tokenizer.encode(text, Special::Text);
                assert_eq!(tokenizer.decode(&tokens), text.as_bytes());
            }
        }
    }
}

#[test]
fn tokens_with_a_role_equal_the_reference() {
    for roles in golden().roles {
        let mut tokens: Vec<String> = (0..12).map(|index| format!("{index:03}")).collect();
        tokens.extend(roles.texts.iter().cloned());
        let tokenizer = Tokenizer::new(&TokenizerData {
            model: "t5",
            tokens: tokens.iter().map(String::as_str).collect(),
            types: Some((0..tokens.len()).map(|index| if index < 12 { 1 } else { 3 }).collect()),
            unknown: Some(0),
            end: Some(1),
            padding: Some(2),
            ..TokenizerData::default()
        })
        .expect("the vocabulary is valid");
        assert_eq!(tokenizer.end_tokens(), roles.ends, "{:?}", roles.texts);
        let [prefix, suffix, middle, padding, repository, separator] =
            roles.fill_in_middle.map(|id| u32::try_from(id).ok());
        let expected = FillInMiddle { prefix, suffix, middle, padding, repository, separator };
        assert_eq!(tokenizer.fill_in_middle(), expected, "{:?}", roles.texts);
    }
}
