//! Files whose rows are interleaved: the same bits without a copy, and what cannot be is refused.

use std::fs;
use std::sync::Arc;

use glasshouse_llm::generate_random::{self, Preset};
use glasshouse_llm::gguf::{Gguf, TensorType};
use glasshouse_llm::{LlmError, Model, Prepared, fingerprint};

fn generated(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    generate_random::write_to(&mut bytes, name.parse::<Preset>().unwrap()).unwrap();
    bytes
}

fn prepared(bytes: &[u8]) -> Result<Vec<u8>, LlmError> {
    let mut out = Vec::new();
    Prepared::of(&Gguf::from_vec(bytes.to_vec())?)?.write_to(&mut out).unwrap();
    Ok(out)
}

fn hash(gguf: Gguf) -> String {
    let model = Model::load(Arc::new(gguf), 1).unwrap();
    fingerprint(&model).unwrap().hash
}

#[test]
fn a_prepared_model_of_every_kind_has_the_same_bits_and_the_same_length() {
    // Encoders have no logits to compare.
    let has_logits = |name: &String| !name.contains("bert") && !name.contains("embedding");
    for name in Preset::names().into_iter().filter(|name| name.starts_with("tiny-") && has_logits(name)) {
        let bytes = generated(&name);
        let prepared = prepared(&bytes).unwrap();
        assert_eq!(prepared.len(), bytes.len(), "{name}");
        let gguf = Gguf::from_vec(prepared.clone()).unwrap();
        let types: Vec<TensorType> = gguf
            .tensors()
            .iter()
            .filter(|tensor| tensor.interleaved)
            .map(|tensor| tensor.tensor_type)
            .collect();
        let can_be = !["f32", "f16", "bf16", "tq1_0"].iter().any(|kind| name.ends_with(kind));
        assert_eq!(!types.is_empty(), can_be, "{name}: {types:?}");
        let expected = hash(Gguf::from_vec(bytes).unwrap());
        assert_eq!(hash(gguf), expected, "{name}");

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.gguf");
        fs::write(&path, prepared).unwrap();
        assert_eq!(hash(Gguf::open(&path).unwrap()), expected, "{name}, mapped");
    }
}

#[test]
fn what_is_prepared_already_is_refused() {
    let once = prepared(&generated("tiny-llama-q4_0")).unwrap();
    let Err(LlmError::Unsupported(why)) = prepared(&once) else { panic!("it was prepared twice") };
    assert!(why.contains("already"), "{why}");
}

#[test]
fn a_file_that_lies_about_interleaved_rows_is_refused() {
    let bytes = generated("tiny-llama-q4_0");
    let gguf = Gguf::from_vec(bytes.clone()).unwrap();
    // Its rows are floats.
    let name = "output_norm.weight";
    let info = gguf.tensor(name).unwrap();
    let name_at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let at = name_at + name.len() + 4 + 8 * info.shape.len();
    let mut changed = bytes.clone();
    assert_eq!(u32::from_le_bytes(changed[at..at + 4].try_into().unwrap()), info.tensor_type.id());
    changed[at + 2] |= 1;
    let refused = Gguf::from_vec(changed).unwrap_err().to_string();
    assert!(refused.contains("cannot be interleaved"), "{refused}");
}

#[test]
fn ternary_codes_that_no_writer_produces_are_refused() {
    for kind in ["tq2_0", "i2_s"] {
        let good = prepared(&generated(&format!("tiny-bitnet-{kind}"))).unwrap();
        let gguf = Gguf::from_vec(good.clone()).unwrap();
        let ternary = |tensor: &TensorType| matches!(tensor, TensorType::Tq2_0 | TensorType::I2S(_));
        let info = gguf.tensors().iter().find(|info| info.interleaved && ternary(&info.tensor_type)).unwrap();
        // Behind the scales, if there are any.
        let mut changed = good.clone();
        changed[info.offset as usize + 100] |= 0b1100;
        let refused = Model::load(Arc::new(Gguf::from_vec(changed).unwrap()), 1).unwrap_err().to_string();
        assert!(refused.contains("mean nothing"), "{refused}");
    }
}
