//! Several sequences at once: each gets the bits that it gets alone.

use std::sync::{Arc, LazyLock};

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::{Gguf, TensorType};
use glasshouse_llm::{Kernels, KvCache, KvType, LlmError, Logits, Model, Sequence};
use proptest::prelude::*;

fn model(preset: Preset) -> Model {
    let mut bytes = Vec::new();
    write_to(&mut bytes, preset).unwrap();
    Model::load_with(Arc::new(Gguf::from_vec(bytes).unwrap()), 2, Kernels::detect()).unwrap()
}

static MODELS: LazyLock<Vec<(Model, KvType)>> = LazyLock::new(|| {
    [
        (Preset::TinyLlama(TensorType::F16), KvType::F16),
        (Preset::TinyLlama(TensorType::Q4_0), KvType::F16),
        (Preset::TinyLlama(TensorType::Q8_0), KvType::Q8_0),
        (Preset::TinyBitNet(TensorType::Tq2_0), KvType::Q8_0),
    ]
    .map(|(preset, kind)| (model(preset), kind))
    .into()
});

/// Tokens of a sequence.
const LENGTH: usize = 90;
const SEQUENCES: usize = 5;

fn tokens(sequence: usize) -> Vec<u32> {
    (0..LENGTH).map(|number| ((number * 97 + sequence * 31) % 300) as u32).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|logit| logit.is_finite()));
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// For each model and sequence the logits behind each token, evaluated alone and one by one.
static ALONE: LazyLock<Vec<Vec<Vec<Vec<u32>>>>> = LazyLock::new(|| {
    let sequence = |(model, kind): &(Model, KvType), number: usize| {
        let (mut cache, mut logits) = (model.new_cache_of(*kind, LENGTH).unwrap(), Vec::new());
        let one = |&token: &u32| {
            model.forward(&mut cache, &[token], &mut logits).unwrap();
            bits(&logits)
        };
        tokens(number).iter().map(one).collect()
    };
    MODELS.iter().map(|model| (0..SEQUENCES).map(|number| sequence(model, number)).collect()).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn logits_are_the_same_bits_alone_and_in_any_batch(
        which in 0usize..4,
        rounds in proptest::collection::vec(
            proptest::collection::vec((0..SEQUENCES, 1usize..40, 0usize..3), 1..=SEQUENCES), 1..8),
    ) {
        let (model, kind) = &MODELS[which];
        let prompts: Vec<Vec<u32>> = (0..SEQUENCES).map(tokens).collect();
        let mut caches: Vec<KvCache> = (0..SEQUENCES).map(|_| model.new_cache_of(*kind, LENGTH).unwrap()).collect();
        for round in rounds {
            let mut batch = Vec::new();
            let mut expected = Vec::new();
            let mut places: Vec<Option<&mut KvCache>> = caches.iter_mut().map(Some).collect();
            for (number, count, wanted) in round {
                let Some(cache) = places[number].take() else { continue };
                let start = cache.len();
                let end = LENGTH.min(start + count);
                if start == end {
                    continue;
                }
                let logits = [Logits::None, Logits::Last, Logits::All][wanted];
                let first = match logits {
                    Logits::None => end,
                    Logits::Last => end - 1,
                    Logits::All => start,
                };
                expected.extend_from_slice(&ALONE[which][number][first..end]);
                batch.push(Sequence { cache, tokens: &prompts[number][start..end], logits });
            }
            let mut logits = Vec::new();
            model.forward_batch(&mut batch, &mut logits).unwrap();
            prop_assert!(bits(&logits) == expected.concat());
        }
    }
}

#[test]
fn a_batch_with_an_impossible_sequence_is_an_error_and_leaves_all_caches_alone() {
    let (model, _) = &MODELS[0];
    let (mut good, mut small) = (model.new_cache(8), model.new_cache(1));
    let mut logits = vec![1.0];
    for tokens in [&[1, 2][..], &[], &[300]] {
        let mut batch = [
            Sequence { cache: &mut good, tokens: &[1, 2, 3], logits: Logits::All },
            Sequence { cache: &mut small, tokens, logits: Logits::None },
        ];
        let error = model.forward_batch(&mut batch, &mut logits).unwrap_err();
        assert!(matches!(
            error,
            LlmError::ContextFull { .. } | LlmError::NoTokens | LlmError::UnknownToken { .. }
        ));
        assert_eq!((good.len(), small.len()), (0, 0));
    }
    model.forward_batch(&mut [], &mut logits).unwrap();
    assert!(logits.is_empty());
}
