//! The GGUF parser on good, damaged and hostile files.

use std::panic::catch_unwind;
use std::sync::Arc;

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::{Gguf, GgufWriter, I2sPacking, MetadataValue, TensorSpecification, TensorType};
use glasshouse_llm::{LlmError, Model};
use proptest::prelude::*;

/// A file with `metadata` and `tensors`, all tensor bytes zero.
fn file(metadata: &[(&str, MetadataValue)], tensors: Vec<TensorSpecification>) -> Vec<u8> {
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut writer = GgufWriter::new(Vec::new(), &metadata, tensors).unwrap();
    while let Some(tensor) = writer.next_tensor() {
        let bytes = tensor.bytes().unwrap() as usize;
        writer.tensor([vec![0; bytes]]).unwrap();
    }
    writer.finish().unwrap()
}

fn small() -> Vec<u8> {
    file(
        &[
            ("a.text", MetadataValue::String("hello".into())),
            ("a.number", MetadataValue::U32(7)),
            ("a.float", MetadataValue::F32(0.5)),
            ("a.flag", MetadataValue::Bool(true)),
            ("a.texts", MetadataValue::Strings(vec!["x".into(), String::new(), "ü".into()])),
            ("a.floats", MetadataValue::F32s(vec![1.0, -2.0])),
            ("a.integers", MetadataValue::I32s(vec![1, -2])),
        ],
        vec![
            TensorSpecification::new("first", &[32, 3], TensorType::Q8_0),
            TensorSpecification::new("second", &[5], TensorType::F32),
            TensorSpecification::new("third", &[256, 2], TensorType::I2S(I2sPacking::X86)),
        ],
    )
}

fn problem(bytes: Vec<u8>) -> String {
    Gguf::from_vec(bytes).expect_err("the file is bad").to_string()
}

/// Replaces the first occurrence of `old`.
fn patched(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn what_was_written_is_read() {
    let gguf = Gguf::from_vec(small()).unwrap();
    assert_eq!(gguf.string("a.text").unwrap(), "hello");
    assert_eq!(gguf.u32("a.number").unwrap(), 7);
    assert_eq!(gguf.f32("a.float").unwrap(), 0.5);
    assert!(gguf.bool("a.flag").unwrap());
    assert_eq!(gguf.strings("a.texts").unwrap(), ["x", "", "ü"]);
    assert_eq!(gguf.f32s("a.floats").unwrap(), [1.0, -2.0]);
    assert_eq!(gguf.i32s("a.integers").unwrap(), [1, -2]);
    assert_eq!(gguf.keys().count(), 7);
    let sizes: Vec<u64> = gguf.tensors().iter().map(|tensor| tensor.bytes).collect();
    assert_eq!(sizes, [3 * 34, 20, 128 + 32]);
    let tensor = gguf.tensor("first").unwrap();
    assert_eq!((tensor.columns(), tensor.rows(), gguf.tensor_bytes(tensor).len()), (32, 3, 102));
}

#[test]
fn version_2_is_read_like_version_3() {
    let mut bytes = small();
    bytes[4] = 2;
    let (two, three) = (Gguf::from_vec(bytes).unwrap(), Gguf::from_vec(small()).unwrap());
    assert_eq!(two.tensors(), three.tensors());
    assert_eq!(two.strings("a.texts").unwrap(), three.strings("a.texts").unwrap());
}

#[test]
fn absent_keys_and_wrong_types_are_named() {
    let gguf = Gguf::from_vec(small()).unwrap();
    assert!(gguf.get_u32("a.other").unwrap().is_none());
    assert!(gguf.u32("a.other").unwrap_err().to_string().contains("`a.other`"));
    assert!(gguf.u32("a.text").unwrap_err().to_string().contains("a string"));
    assert!(gguf.strings("a.floats").unwrap_err().to_string().contains("an array of 2 elements"));
    assert!(
        gguf.i32s("a.floats").is_err() && gguf.f32s("a.texts").is_err() && gguf.bool("a.number").is_err()
    );
    assert!(gguf.tensor("fourth").unwrap_err().to_string().contains("`fourth`"));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small();
    // The last tensor's padding is no part of it, nor is the padding of its scale.
    for length in 0..bytes.len() - 31 {
        assert!(Gguf::from_vec(bytes[..length].to_vec()).is_err(), "{length} bytes");
    }
}

#[test]
fn other_files_and_versions_are_refused_with_a_reason() {
    assert!(problem(b"PK\x03\x04....".to_vec()).contains("does not start with `GGUF`"));
    assert!(problem(Vec::new()).contains("magic"));
    let mut bytes = small();
    for version in [1, 4] {
        bytes[4] = version;
        assert!(problem(bytes.clone()).contains(&format!("version {version}, and only 2 to 3")));
    }
    for version in [2, 3] {
        bytes[4..8].copy_from_slice(&[0, 0, 0, version]);
        assert!(problem(bytes.clone()).contains("big-endian"));
    }
    let error = Gguf::open("/nonexistent/model.gguf").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/model.gguf") && error.contains("check the path"), "{error}");
    assert!(Gguf::open(std::env::temp_dir()).unwrap_err().to_string().contains("directory"));
}

#[test]
fn hostile_counts_and_lengths_are_refused_before_any_allocation() {
    for value in [u64::MAX, 1 << 40, 70_000, 60_000] {
        for at in [8, 16] {
            let mut bytes = small();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            assert!(Gguf::from_vec(bytes).is_err(), "{value} at {at}");
        }
        // The length of the first key, of a string value, and the count of a string array.
        let length = |length: u64| length.to_le_bytes();
        for (text, old) in [("a.text", 6), ("hello", 5)] {
            let old = [&length(old)[..], text.as_bytes()].concat();
            assert!(Gguf::from_vec(patched(small(), &old, &length(value))).is_err(), "{text} {value}");
        }
        let old = [&[9, 0, 0, 0, 8, 0, 0, 0][..], &length(3)].concat();
        let new = [&[9, 0, 0, 0, 8, 0, 0, 0][..], &length(value)].concat();
        assert!(problem(patched(small(), &old, &new)).contains("a.texts"), "{value}");
    }
}

#[test]
fn nested_arrays_and_unknown_types_are_refused() {
    let old = [9, 0, 0, 0, 8, 0, 0, 0, 3];
    assert!(problem(patched(small(), &old, &[9, 0, 0, 0, 9, 0, 0, 0, 3])).contains("nested arrays"));
    assert!(problem(patched(small(), &old, &[9, 0, 0, 0, 77, 0, 0, 0, 3])).contains("type 77"));
    let key = [b"a.flag".as_slice(), &[7, 0, 0, 0, 1]].concat();
    let with = |tail: &[u8]| patched(small(), &key, &[b"a.flag".as_slice(), tail].concat());
    assert!(problem(with(&[99, 0, 0, 0, 1])).contains("unknown value type 99"));
    assert!(problem(with(&[7, 0, 0, 0, 2])).contains("boolean"));
}

#[test]
fn duplicate_names_are_refused() {
    let twice = file(&[("k", MetadataValue::U32(1)), ("k", MetadataValue::U32(2))], Vec::new());
    assert!(problem(twice).contains("the key `k` occurs twice"));
    let tensor = || TensorSpecification::new("t", &[1], TensorType::F32);
    assert!(problem(file(&[], vec![tensor(), tensor()])).contains("the tensor `t` occurs twice"));
}

/// The bytes of a one-tensor file whose description ends in `shape`, type and offset as given.
fn with_tensor(shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0t".to_vec();
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|extent| bytes.extend(extent.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(1024, 0);
    bytes
}

#[test]
fn impossible_tensors_are_refused() {
    assert!(Gguf::from_vec(with_tensor(&[8, 2], 0, 32)).is_ok());
    assert!(problem(with_tensor(&[], 0, 0)).contains("0 dimensions"));
    assert!(problem(with_tensor(&[1; 5], 0, 0)).contains("5 dimensions"));
    assert!(problem(with_tensor(&[8, 0], 0, 0)).contains("impossible shape"));
    assert!(problem(with_tensor(&[1 << 32, 1 << 32], 0, 0)).contains("impossible shape"));
    assert!(problem(with_tensor(&[u64::MAX, 1], 0, 0)).contains("impossible shape"));
    assert!(problem(with_tensor(&[33], 8, 0)).contains("whole number of blocks"));
    assert!(problem(with_tensor(&[8], 9999, 0)).contains("unknown type 9999"));
    assert!(problem(with_tensor(&[8], 0, 4)).contains("multiple of 32"));
    assert!(problem(with_tensor(&[8], 0, 4096)).contains("outside the file"));
    assert!(problem(with_tensor(&[8], 0, u64::MAX - 31)).contains("outside the file"));
    assert!(problem(with_tensor(&[1 << 40], 0, 0)).contains("outside the file"));
}

#[test]
fn overlapping_tensors_are_refused() {
    let tensor = |name: &str| TensorSpecification::new(name, &[16], TensorType::F32);
    let bytes = file(&[], vec![tensor("left"), tensor("right")]);
    // The second tensor's offset is 64; 32 lies inside the first.
    let old = [&0u32.to_le_bytes()[..], &64u64.to_le_bytes()].concat();
    let new = [&0u32.to_le_bytes()[..], &32u64.to_le_bytes()].concat();
    assert!(problem(patched(bytes, &old, &new)).contains("`left` and `right` overlap"));
}

#[test]
fn type_numbers_that_bitnet_took_mean_what_the_file_is() {
    let types = |architecture: &str, file_type: Option<u32>, id: u32| {
        let mut metadata = vec![("general.architecture", MetadataValue::String(architecture.into()))];
        metadata.extend(file_type.map(|kind| ("general.file_type", MetadataValue::U32(kind))));
        let tensor = TensorSpecification::new("t", &[256], TensorType::F32);
        let bytes = file(&metadata, vec![tensor]);
        let old = [&b"t\x01\0\0\0"[..], &256u64.to_le_bytes(), &0u32.to_le_bytes()].concat();
        let new = [&b"t\x01\0\0\0"[..], &256u64.to_le_bytes(), &id.to_le_bytes()].concat();
        Gguf::from_vec(patched(bytes, &old, &new)).unwrap().tensors()[0].tensor_type
    };
    let i2s = TensorType::I2S(I2sPacking::X86);
    assert_eq!(types("bitnet-b1.58", Some(40), 36), i2s);
    assert_eq!(types("bitnet-b1.58", Some(1), 36), i2s);
    assert_eq!(types("llama", Some(40), 36), i2s);
    assert_eq!(types("llama", None, 36), i2s);
    assert_eq!(types("llama", Some(25), 36), TensorType::Other(36));
    assert_eq!(types("llama", Some(38), 39), TensorType::Mxfp4);
    assert_eq!(types("bitnet-b1.58", Some(39), 39), TensorType::Other(39));
    assert_eq!(types("llama", Some(40), 38), TensorType::Other(38));
}

#[test]
fn the_packing_of_i2_s_is_what_the_metadata_says_or_the_caller() {
    let packed = |stated: Option<&str>| {
        let metadata: Vec<_> =
            stated.map(|name| (I2sPacking::KEY, MetadataValue::String(name.into()))).into_iter().collect();
        let tensor = TensorSpecification::new("t", &[128], TensorType::I2S(I2sPacking::X86));
        let mut bytes = file(&metadata, vec![tensor]);
        bytes.resize(bytes.len() + 64, 0);
        Gguf::from_vec(bytes)
    };
    assert_eq!(packed(None).unwrap().i2s_packing(), Some((I2sPacking::X86, false)));
    assert_eq!(packed(Some("x86")).unwrap().i2s_packing(), Some((I2sPacking::X86, true)));
    assert_eq!(packed(Some("arm")).unwrap().i2s_packing(), Some((I2sPacking::Arm, true)));
    let error = packed(Some("vax")).unwrap_err().to_string();
    assert!(error.contains("`x86` or `arm`") && error.contains("`vax`"), "{error}");
    let mut gguf = packed(None).unwrap();
    gguf.set_i2s_packing(I2sPacking::Arm);
    assert_eq!(gguf.tensors()[0].tensor_type, TensorType::I2S(I2sPacking::Arm));
    assert_eq!(Gguf::from_vec(small()).unwrap().i2s_packing(), Some((I2sPacking::X86, false)));
}

#[test]
fn alignment_is_followed_and_checked() {
    for (alignment, good) in [(64, true), (8, true), (0, false), (4, false), (48, false), (1 << 30, false)] {
        let mut bytes = file(&[("general.alignment", MetadataValue::U32(alignment))], Vec::new());
        bytes.resize(256, 0);
        assert_eq!(Gguf::from_vec(bytes).is_ok(), good, "{alignment}");
    }
}

/// A tiny model's file with one setting replaced.
fn model_with(key: &str, value: u32) -> Result<Model, LlmError> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, Preset::TinyLlama(TensorType::F16)).unwrap();
    let start = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap() + key.len() + 4;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    Model::load(Arc::new(Gguf::from_vec(bytes)?), 1)
}

#[test]
fn hostile_settings_are_refused_by_name() {
    for (key, values) in [
        ("llama.attention.head_count_kv", &[0, 3, u32::MAX][..]),
        ("llama.attention.head_count", &[0, 3, 256, u32::MAX]),
        ("llama.embedding_length", &[0, 128, u32::MAX]),
        ("llama.block_count", &[0, 1, 3, u32::MAX]),
        ("llama.feed_forward_length", &[0, 511, u32::MAX]),
        ("llama.context_length", &[0, u32::MAX]),
        ("llama.rope.dimension_count", &[0, 3, 66, u32::MAX]),
        ("llama.vocab_size", &[0, 299, u32::MAX]),
        ("llama.rope.freq_base", &[0, 0x7fc0_0000, 0xbf80_0000]),
        ("llama.attention.layer_norm_rms_epsilon", &[0, 0x7f80_0000]),
    ] {
        for value in values {
            let error = model_with(key, *value).expect_err(key).to_string();
            assert!(!error.is_empty(), "{key} {value}");
        }
    }
}

#[test]
fn models_that_would_be_computed_wrongly_are_refused() {
    let load =
        |bytes: Vec<u8>| Model::load(Arc::new(Gguf::from_vec(bytes).unwrap()), 1).unwrap_err().to_string();
    let mut bytes = Vec::new();
    write_to(&mut bytes, Preset::TinyLlama(TensorType::F16)).unwrap();
    assert!(
        load(patched(bytes.clone(), b"blk.1.attn_q.weight", b"blk.1.attn_x.weight"))
            .contains("`blk.1.attn_q.weight`")
    );
    assert!(
        load(patched(bytes.clone(), b"rope_freqs.weight", b"rope_freqz.weight"))
            .contains("`rope_freqz.weight`")
    );
    // The type of a matrix, F16, becomes IQ2_XXS; its blocks are unknown, so only the model refuses it.
    let old = [
        b"blk.0.attn_k.weight".as_slice(),
        &2u32.to_le_bytes(),
        &256u64.to_le_bytes(),
        &128u64.to_le_bytes(),
    ];
    let (old, kind) = (old.concat(), 16u32.to_le_bytes());
    assert!(load(patched(bytes.clone(), &old, &[&old[..], &kind].concat())).contains("IQ2_XXS"));
    let renamed = patched(bytes, b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba");
    let error = load(renamed);
    assert!(error.contains("`mamba`") && error.contains("qwen3, gemma, gemma2"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Gguf::from_vec(bytes.clone());
        let _ = Gguf::from_vec([b"GGUF\x03\0\0\0".to_vec(), bytes].concat());
    }

    #[test]
    fn damaged_files_never_panic(changes in proptest::collection::vec((0usize..600, any::<u8>()), 1..6)) {
        let mut bytes = small();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(gguf) = Gguf::from_vec(bytes) {
            for tensor in gguf.tensors() {
                prop_assert_eq!(gguf.tensor_bytes(tensor).len() as u64, tensor.bytes);
            }
            let keys: Vec<String> = gguf.keys().map(str::to_owned).collect();
            for key in &keys {
                let _ = (gguf.get_string(key), gguf.get_u32(key), gguf.get_f32(key), gguf.get_bool(key));
                let _ = (gguf.get_strings(key), gguf.get_f32s(key), gguf.get_i32s(key));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_models_load_with_an_error_or_run(changes in proptest::collection::vec((0usize..30_000, any::<u8>()), 1..4)) {
        let mut bytes = Vec::new();
        write_to(&mut bytes, Preset::TinyBitNet(TensorType::Tq2_0)).unwrap();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let outcome = catch_unwind(|| {
            let Ok(gguf) = Gguf::from_vec(bytes) else { return };
            if let Ok(model) = Model::load(Arc::new(gguf), 1) {
                let mut logits = Vec::new();
                let _ = model.forward(&mut model.new_cache(4), &[1, 2], &mut logits);
            }
        });
        prop_assert!(outcome.is_ok());
    }
}
