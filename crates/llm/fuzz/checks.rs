//! What holds for any bytes that are given as a model file. Each function panics when it does not.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::Gguf;
use glasshouse_llm::{LlmError, LoadedModel, Prepared, Session};
use glasshouse_protocol::GenerateRequest;

/// Numbers that are at the edges of what fields hold.
const EDGES: [u64; 12] = [
    0,
    1,
    31,
    255,
    256,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Bytes as a model file: it is refused, or it loads and says something; nothing panics.
pub fn model(bytes: Vec<u8>) {
    if let Err(error) = speak(bytes) {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
}

fn speak(bytes: Vec<u8>) -> Result<(), LlmError> {
    let gguf = Gguf::from_vec(bytes)?;
    for tensor in gguf.tensors() {
        assert_eq!(gguf.tensor_bytes(tensor).len() as u64, tensor.bytes, "a tensor lies in the file");
    }
    let model = Arc::new(LoadedModel::load(Arc::new(gguf), 1)?);
    let request = serde_json::json!({
        "messages": [{"role": "user", "content": "Hi, 1 + 1 = ?\n\u{1f98a}"}],
        "maximum_tokens": 2,
    });
    let request: GenerateRequest = serde_json::from_value(request).expect("what has no default is given");
    Session::new(model).generate(&request, 1, &mut |_| ControlFlow::Continue(()))?;
    Ok(())
}

/// Models of all families, whole and good.
fn originals() -> &'static [Vec<u8>] {
    static MODELS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let tiny = Preset::names().into_iter().filter(|name| name.starts_with("tiny-"));
        // Every architecture once, and every type once: the product is large, and finds nothing more.
        let chosen = tiny.filter(|name| name.starts_with("tiny-llama-") || name.ends_with("-q8_0"));
        let models = chosen.flat_map(|name| {
            let preset: Preset = name.parse().expect("a listed name is a preset");
            let mut bytes = Vec::new();
            write_to(&mut bytes, preset).expect("a preset can be written");
            let mut models = vec![bytes];
            if name == "tiny-llama-q4_k" {
                let original = Gguf::from_vec(models[0].clone()).expect("a preset can be read");
                let mut prepared = Vec::new();
                let writing =
                    Prepared::of(&original).expect("a preset can be prepared").write_to(&mut prepared);
                writing.expect("there is room");
                models.push(prepared);
            }
            models
        });
        models.collect()
    })
}

/// Reads a description of changes from bytes.
struct Changes<'a>(&'a [u8]);

impl Changes<'_> {
    fn number(&mut self) -> Option<usize> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word) as usize)
    }
}

/// A good model with changes that `description` names: bytes of its header are replaced, moved, doubled or cut.
pub fn changed(description: &[u8]) {
    let models = originals();
    let mut changes = Changes(description);
    let Some(which) = changes.number() else { return };
    let mut bytes = models[which % models.len()].clone();
    let header = bytes.len().min(64 << 10);
    while let (Some(kind), Some(at)) = (changes.number(), changes.number()) {
        // Most of what a reader believes stands near the beginning; a change in the weights comes now and then.
        let at = if kind & 0x100 == 0 { at % header } else { at } % bytes.len().max(1);
        let value = changes.number().unwrap_or_default();
        let edge = EDGES[value % EDGES.len()].to_le_bytes();
        match kind % 8 {
            0 => bytes[at] ^= 1 << (value % 8),
            1 => bytes[at] = value as u8,
            2 | 3 => overwrite(&mut bytes, at, &edge[..4]),
            4 => overwrite(&mut bytes, at, &edge),
            5 => {
                let end = (at + value % 64).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let end = (at + value % 64).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                // Numbers of metadata and shapes lie behind names; a small one is often a length or a count.
                let small = (value % 4096) as u32;
                overwrite(&mut bytes, at, &small.to_le_bytes());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    model(bytes);
}

fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (byte, new) in bytes[at..].iter_mut().zip(value) {
        *byte = *new;
    }
}
