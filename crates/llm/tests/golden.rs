//! Logits held against independent implementations, for every format and architecture.
//!
//! `golden/logits.json` is made by `golden/logits.py`, which evaluates the same
//! random-weight models with llama.cpp and with a plain numpy transformer on dequantized weights.

#[path = "support/references.rs"]
mod references;

use std::sync::Arc;

use glasshouse_llm::Model;
use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::gguf::{Gguf, TensorType};
use references::{Golden, write_models};

fn presets() -> Vec<Preset> {
    let names = Preset::names();
    let is_tiny = |preset: &Preset| {
        matches!(preset, Preset::TinyLlama(_) | Preset::TinyBitNet(_) | Preset::TinyBitNetSilu(_))
    };
    names.iter().map(|name| name.parse().unwrap()).filter(is_tiny).collect()
}

/// The largest distance, relative to the reference's length, that `preset` may have from `implementation`.
///
/// The numpy transformer multiplies dequantized weights in double precision and rounds keys and values to f16; for
/// ternary BitNet models it quantizes activations as the architecture defines, so these and the float types agree to
/// the rounding of f32. For other quantized types, and ternary matrices in `llama` models, it does not round activations to
/// 8 bits, which moves each of the fourteen products by about half a percent. llama.cpp rounds them as well, in
/// blocks of its own, and for F16 and BF16 matrices to those types; its attention differs by an f16 rounding.
fn tolerance(preset: Preset, implementation: &str) -> f64 {
    let (Preset::TinyLlama(kind) | Preset::TinyBitNet(kind) | Preset::TinyBitNetSilu(kind)) = preset else {
        panic!("{preset:?} is not tiny");
    };
    let llama = matches!(preset, Preset::TinyLlama(_));
    match (kind, implementation) {
        (TensorType::Tq2_0 | TensorType::Tq1_0 | TensorType::I2S(_), "numpy") if !llama => 0.001,
        (TensorType::Tq2_0 | TensorType::Tq1_0 | TensorType::I2S(_), _) => 0.04,
        (TensorType::F32 | TensorType::F16 | TensorType::Bf16, "numpy") => 0.0002,
        (TensorType::Bf16, _) => 0.01,
        (TensorType::F32 | TensorType::F16, _) => 0.002,
        // Those that llama.cpp multiplies with activations in blocks of 256.
        (
            TensorType::Q6K
            | TensorType::Q5K
            | TensorType::Q4K
            | TensorType::Q3K
            | TensorType::Q2K
            | TensorType::Iq4Xs,
            "llama.cpp",
        ) => 0.04,
        _ => 0.03,
    }
}

#[test]
fn logits_agree_with_independent_implementations() {
    let golden = Golden::read("logits.json");
    let mut failures = Vec::new();
    for preset in presets() {
        if !golden.models.contains_key(&preset.name()) {
            // Of BitNet's models, those whose matrices are multiplied as in `llama` need no reference.
            assert!(!matches!(preset, Preset::TinyLlama(_)), "{preset:?} has no reference");
            continue;
        }
        let mut bytes = Vec::new();
        generate_random::write_to(&mut bytes, preset).unwrap();
        let model = Model::load(Arc::new(Gguf::from_vec(bytes).unwrap()), 1).unwrap();
        let logits = |prompt: &[u32]| {
            let (mut cache, mut logits) = (model.new_cache(256), Vec::new());
            model.forward(&mut cache, prompt, &mut logits).unwrap();
            logits
        };
        let tolerance = |implementation: &str| tolerance(preset, implementation);
        golden.compare(&preset.name(), logits, tolerance, &mut failures);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn generated_models_can_be_written_to_files() {
    write_models(presets());
}
