//! Every architecture held against independent implementations, and to the numerics contract.
//!
//! `golden/architectures.json` is made by `golden/architectures.py`, which evaluates the same random-weight models with
//! llama.cpp and with a plain numpy transformer.

#[path = "support/references.rs"]
mod references;

use std::panic::catch_unwind;
use std::sync::Arc;

use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::gguf::{Gguf, TensorType};
use glasshouse_llm::{Embedder, Kernels, LlmError, LoadedModel, Model, Pooling};
use proptest::prelude::*;
use references::{Golden, write_models};

fn presets() -> impl Iterator<Item = Preset> {
    Preset::names()
        .into_iter()
        .map(|name| name.parse().unwrap())
        .filter(|preset| matches!(preset, Preset::Tiny(..)))
}

fn file(preset: Preset) -> Arc<Gguf> {
    let mut bytes = Vec::new();
    generate_random::write_to(&mut bytes, preset).unwrap();
    Arc::new(Gguf::from_vec(bytes).unwrap())
}

/// The logits behind `chunks`, or the vector of their text if the model is for embeddings.
fn result(model: &Model, chunks: &[&[u32]]) -> Vec<f32> {
    if let Some(pooling) = model.config().pooling {
        return model.embed(&[&chunks.concat()], pooling).unwrap().remove(0);
    }
    let (mut cache, mut logits) = (model.new_cache(256), Vec::new());
    for chunk in chunks {
        model.forward(&mut cache, chunk, &mut logits).unwrap();
    }
    logits
}

/// The largest distance, relative to the reference's length, that a model may have from `implementation`.
///
/// All matrices are F32, so the numpy transformer in double precision differs by the rounding of f32, and by a key or value
/// here and there that is rounded to another f16. llama.cpp rounds queries and probabilities to f16 too, and looks up its
/// GELU, which the Gemmas and BERT use, in a table of f16.
fn tolerance(implementation: &str) -> f64 {
    if implementation == "numpy" { 0.0002 } else { 0.001 }
}

#[test]
fn results_agree_with_independent_implementations() {
    let golden = Golden::read("architectures.json");
    let mut failures = Vec::new();
    for preset in presets().filter(|preset| matches!(preset, Preset::Tiny(_, TensorType::F32))) {
        let (name, model) = (preset.name(), Model::load(file(preset), 1).unwrap());
        assert!(golden.models.get(&name).is_some_and(|models| models.contains_key("numpy")), "{name}");
        golden.compare(&name, |prompt| result(&model, &[prompt]), tolerance, &mut failures);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn generated_models_can_be_written_to_files() {
    write_models(presets());
}

#[test]
fn kernels_threads_and_chunks_give_the_same_bits() {
    // Longer than a batch of the forward pass.
    let prompt: Vec<u32> = (0..150).map(|number| number * 97 % 300).collect();
    let halves = prompt.split_at(77);
    let single: Vec<&[u32]> = prompt.chunks(1).collect();
    for preset in presets() {
        let model = |threads, kernels| Model::load_with(file(preset), threads, kernels).unwrap();
        let bits = |model: &Model, chunks: &[&[u32]]| -> Vec<u32> {
            result(model, chunks).iter().map(|value| value.to_bits()).collect()
        };
        let (fast, threaded) = (model(1, Kernels::detect()), model(2, Kernels::detect()));
        let expected = bits(&model(1, Kernels::scalar()), &[&prompt]);
        assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{preset:?}");
        assert!(bits(&fast, &[&prompt]) == expected, "{preset:?} on other kernels");
        assert!(bits(&threaded, &[&prompt]) == expected, "{preset:?} on two threads");
        assert!(bits(&fast, &[halves.0, halves.1]) == expected, "{preset:?} in two chunks");
        assert!(bits(&fast, &single) == expected, "{preset:?} token by token");
    }
}

#[test]
fn an_encoder_embeds_texts_and_does_not_continue_them() {
    let preset: Preset = "tiny-bert-f32".parse().unwrap();
    let model = Model::load(file(preset), 1).unwrap();
    let vector = result(&model, &[&[1, 2, 3]]);
    assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    let mut logits = Vec::new();
    let error = model.forward(&mut model.new_cache(8), &[1], &mut logits).unwrap_err();
    assert!(error.to_string().contains("it is for embeddings"), "{error}");
    assert!(LoadedModel::load(file(preset), 1).unwrap_err().to_string().contains("it is for embeddings"));
    let pooling = model.config().pooling.unwrap();
    assert!(matches!(model.embed(&[&[1], &[]], pooling), Err(LlmError::NoTokens)));
    assert!(matches!(model.embed(&[&[1; 257]], pooling), Err(LlmError::ContextFull { .. })));
    assert!(matches!(model.embed(&[&[300]], pooling), Err(LlmError::UnknownToken { token: 300, .. })));
    assert_eq!(model.embed(&[], pooling).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn a_text_is_read_as_the_encoder_was_trained() {
    let embedder = Embedder::load(file("tiny-bert-f32".parse().unwrap()), 1).unwrap();
    for (text, tokens) in [
        // The beginning, a word of three letters, one of a large letter, the end; letters have a token for the beginning of a
        // word and one for the rest of it.
        ("abc B", &[2, 5, 8, 10, 7, 3][..]),
        // The text of a control token is text.
        ("[CLS]", &[2, 1, 9, 28, 42, 1, 3]),
    ] {
        let expected = embedder.model().embed(&[tokens], Pooling::First).unwrap();
        assert_eq!(embedder.embed(&[text]).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_text_has_the_same_vector_in_any_company() {
    let texts =
        ["a", "some words", &"many words, more than fit a batch of the forward pass. ".repeat(4), "b"];
    for name in
        ["tiny-bert-q8_0", "tiny-nomic-bert-f32", "tiny-gemma-embedding-q8_0", "tiny-qwen3-embedding-f32"]
    {
        for pooling in [Pooling::Mean, Pooling::First, Pooling::Last] {
            let embedder = Embedder::load(file(name.parse().unwrap()), 1).unwrap().with_pooling(pooling);
            let together = embedder.embed(&texts).unwrap();
            for (text, vector) in texts.iter().zip(&together) {
                assert_eq!(vector.len(), embedder.dimensions());
                assert_eq!(&embedder.embed(&[text]).unwrap()[0], vector, "{name} {pooling:?} {text}");
            }
            assert!(together[0] != together[3], "{name} {pooling:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_models_of_any_architecture_load_with_an_error_or_run(
        number in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let presets: Vec<Preset> = presets().collect();
        let mut bytes = Vec::new();
        generate_random::write_to(&mut bytes, *number.get(&presets)).unwrap();
        // The numbers of the architecture come before the tokenizer, the tensors' descriptions behind it.
        let at = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
        let (tokenizer, tensors) = (at(b"tokenizer.ggml.model"), at(b"token_embd.weight"));
        let places: Vec<usize> = (0..tokenizer).chain(tensors..(tensors + 4000).min(bytes.len())).collect();
        for (place, value) in changes {
            bytes[*place.get(&places)] = value;
        }
        let outcome = catch_unwind(|| {
            let Ok(gguf) = Gguf::from_vec(bytes) else { return };
            if let Ok(model) = Model::load(Arc::new(gguf), 1) {
                let _ = model.embed(&[&[1, 2, 3], &[4]], Pooling::Mean);
                let _ = model.forward(&mut model.new_cache(4), &[1, 2], &mut Vec::new());
            }
        });
        prop_assert!(outcome.is_ok());
    }
}
