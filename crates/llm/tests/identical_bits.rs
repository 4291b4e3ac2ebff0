//! The numerics contract: logits are the same bits for any thread count, prompt chunking and instruction set.

use std::sync::Arc;

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::{Gguf, I2sPacking, TensorType};
use glasshouse_llm::{Kernels, LlmError, Model};
use proptest::prelude::*;

fn model(preset: Preset, threads: usize, kernels: Kernels) -> Model {
    let mut bytes = Vec::new();
    write_to(&mut bytes, preset).unwrap();
    Model::load_with(Arc::new(Gguf::from_vec(bytes).unwrap()), threads, kernels).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|number| number * 97 % 300).collect()
}

fn logits(model: &Model, chunks: &[&[u32]]) -> Vec<u32> {
    let (mut cache, mut logits) = (model.new_cache(256), Vec::new());
    for chunk in chunks {
        model.forward(&mut cache, chunk, &mut logits).unwrap();
    }
    assert!(logits.iter().all(|logit| logit.is_finite()));
    logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn kernels_and_thread_counts_give_the_same_logits_for_every_type() {
    let prompt = tokens(21);
    for kind in TensorType::COMPUTED {
        for preset in [Preset::TinyLlama(kind), Preset::TinyBitNet(kind)] {
            let expected = logits(&model(preset, 1, Kernels::scalar()), &[&prompt]);
            for kernels in Kernels::all() {
                for threads in [1, 2] {
                    let actual = logits(&model(preset, threads, kernels), &[&prompt]);
                    assert!(actual == expected, "{preset:?} on {}, {threads} threads", kernels.name());
                }
            }
        }
    }
}

#[test]
fn weights_repacked_in_place_give_the_logits_of_weights_repacked_elsewhere() {
    let prompt = tokens(21);
    for kind in TensorType::COMPUTED {
        for preset in [Preset::TinyLlama(kind), Preset::TinyBitNet(kind)] {
            let mut bytes = Vec::new();
            write_to(&mut bytes, preset).unwrap();
            let gguf = || Arc::new(Gguf::from_vec(bytes.clone()).unwrap());
            // Somebody else holds the file, so it stays as it is.
            let shared = gguf();
            let elsewhere = Model::load(Arc::clone(&shared), 1).unwrap();
            assert!(shared.shards().eq([bytes.as_slice()]), "{preset:?}");
            let in_place = Model::load(gguf(), 2).unwrap();
            // Floats are read as they are, and TQ1_0 needs more room.
            let as_large =
                !matches!(kind, TensorType::F32 | TensorType::F16 | TensorType::Bf16 | TensorType::Tq1_0);
            assert_eq!(!in_place.gguf().shards().eq([bytes.as_slice()]), as_large, "{preset:?}");
            assert!(logits(&in_place, &[&prompt]) == logits(&elsewhere, &[&prompt]), "{preset:?}");
        }
    }
}

#[test]
fn a_long_prompt_gives_the_logits_of_token_by_token_evaluation() {
    // Longer than one batch of the forward pass.
    let prompt = tokens(150);
    let single: Vec<&[u32]> = prompt.chunks(1).collect();
    for kind in [TensorType::F16, TensorType::Q8_0, TensorType::Q4_0] {
        let model = model(Preset::TinyLlama(kind), 2, Kernels::detect());
        assert!(logits(&model, &[&prompt]) == logits(&model, &single), "{kind:?}");
    }
    for kind in [TensorType::Tq2_0, TensorType::I2S(I2sPacking::X86)] {
        let model = model(Preset::TinyBitNet(kind), 2, Kernels::detect());
        assert!(logits(&model, &[&prompt]) == logits(&model, &single), "{kind:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_chunking_of_a_prompt_gives_the_same_logits(cuts in proptest::collection::vec(1usize..30, 1..6)) {
        let model = model(Preset::TinyBitNet(TensorType::Tq2_0), 2, Kernels::detect());
        let prompt = tokens(cuts.iter().sum());
        let mut rest = &prompt[..];
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, tail) = rest.split_at(cut);
            chunks.push(chunk);
            rest = tail;
        }
        prop_assert!(logits(&model, &chunks) == logits(&model, &[&prompt]));
    }
}

#[test]
fn a_truncated_or_forked_cache_continues_as_if_the_rest_had_never_been() {
    let model = model(Preset::TinyLlama(TensorType::Q8_0), 1, Kernels::detect());
    let prompt = tokens(20);
    let (mut cache, mut first, mut second) = (model.new_cache(64), Vec::new(), Vec::new());
    model.forward(&mut cache, &prompt, &mut first).unwrap();
    let mut fork = cache.clone();
    model.forward(&mut cache, &[1, 2, 3], &mut second).unwrap();
    cache.truncate(20);
    assert_eq!(cache.len(), 20);
    model.forward(&mut cache, &[7], &mut first).unwrap();
    model.forward(&mut fork, &[7], &mut second).unwrap();
    assert_eq!(first, second);
}

#[test]
fn impossible_calls_are_errors_and_leave_the_cache_alone() {
    let small = model(Preset::TinyLlama(TensorType::F16), 1, Kernels::detect());
    let (mut cache, mut logits) = (small.new_cache(4), Vec::new());
    assert!(matches!(small.forward(&mut cache, &[], &mut logits), Err(LlmError::NoTokens)));
    assert!(matches!(
        small.forward(&mut cache, &[1, 300], &mut logits),
        Err(LlmError::UnknownToken { token: 300, vocabulary_size: 300 })
    ));
    assert!(matches!(
        small.forward(&mut cache, &[1; 5], &mut logits),
        Err(LlmError::ContextFull { needed: 5, capacity: 4 })
    ));
    assert_eq!(cache.len(), 0);
    small.forward(&mut cache, &[1; 4], &mut logits).unwrap();
    assert_eq!(cache.len(), 4);
}
