//! Logits held against independent implementations, for every format and architecture.
//!
//! `golden/logits.json` is made by `golden/logits.py`, which evaluates the same
//! random-weight models with llama.cpp and with a plain numpy transformer on dequantized weights.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use glasshouse_llm::Model;
use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::gguf::{Gguf, TensorType};

/// Where to leave the models for the script; without it they stay in memory.
const MODELS_DIRECTORY: &str = "GLASSHOUSE_GOLDEN_MODELS";

fn presets() -> Vec<Preset> {
    let names = Preset::names();
    let is_tiny = |preset: &Preset| {
        matches!(preset, Preset::TinyLlama(_) | Preset::TinyBitNet(_) | Preset::TinyBitNetSilu(_))
    };
    names.iter().map(|name| name.parse().unwrap()).filter(is_tiny).collect()
}

#[derive(serde::Deserialize)]
struct Golden {
    /// The prompt.
    tokens: Vec<u32>,
    /// Prompt lengths after which logits are recorded.
    positions: Vec<usize>,
    /// Preset → implementation → logits at each position.
    models: BTreeMap<String, BTreeMap<String, Vec<Vec<f32>>>>,
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
        (TensorType::Tq2_0 | TensorType::Tq1_0 | TensorType::I2S, "numpy") if !llama => 0.001,
        (TensorType::Tq2_0 | TensorType::Tq1_0 | TensorType::I2S, _) => 0.04,
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

fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let square =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = square(
        &mut actual.iter().zip(expected).map(|(actual, expected)| f64::from(*actual) - f64::from(*expected)),
    );
    difference / square(&mut expected.iter().map(|expected| f64::from(*expected)))
}

#[test]
fn logits_agree_with_independent_implementations() {
    // Read when the test runs, since the script that makes it needs the other test.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let path = std::path::Path::new(&package).join("tests/golden/logits.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut failures = Vec::new();
    for preset in presets() {
        let Some(references) = golden.models.get(&preset.name()) else {
            // Of BitNet's models, those whose matrices are multiplied as in `llama` need no reference.
            assert!(!matches!(preset, Preset::TinyLlama(_)), "{preset:?} has no reference");
            continue;
        };
        let mut bytes = Vec::new();
        generate_random::write_to(&mut bytes, preset).unwrap();
        let model = Model::load(Arc::new(Gguf::from_vec(bytes).unwrap()), 1).unwrap();
        for (implementation, expected) in references {
            let limit = tolerance(preset, implementation);
            for (&position, expected) in golden.positions.iter().zip(expected) {
                let (mut cache, mut logits) = (model.new_cache(256), Vec::new());
                model.forward(&mut cache, &golden.tokens[..position], &mut logits).unwrap();
                let distance = distance(&logits, expected);
                println!("{} {implementation} {position}: {distance:.6} (limit {limit})", preset.name());
                if distance.is_nan() || distance > limit {
                    failures
                        .push(format!("{} {implementation} {position}: {distance} > {limit}", preset.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn generated_models_can_be_written_to_files() {
    let kept = std::env::var_os(MODELS_DIRECTORY).map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let directory = kept.as_deref().unwrap_or(temporary.path());
    for preset in presets() {
        let path = directory.join(format!("{}.gguf", preset.name()));
        generate_random::write(&path, preset).unwrap();
        assert_eq!(
            Gguf::open(&path).unwrap().string("general.name").unwrap(),
            format!("random {}", preset.name())
        );
    }
}
