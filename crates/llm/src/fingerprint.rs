//! One hash of what a model computes, so that two machines, or two kernels, can be compared.

use crate::{LlmError, Model};

/// Tokens of the prompts: one alone, fewer than any tile, more than one, several pieces.
const PROMPTS: [usize; 4] = [1, 5, 33, 150];
/// Tokens decoded behind each, always the most probable one.
const DECODED: usize = 8;

/// What a model computes over fixed prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// BLAKE3, in hexadecimal, of the logits (f32, little-endian) behind each prompt and each decoded token.
    pub hash: String,
    /// Tokens that were evaluated.
    pub tokens: usize,
    /// Logits that were hashed.
    pub logits: u64,
}

/// Evaluates the fixed prompts, whose tokens are numbers spread over the vocabulary, as far as the context holds them. The
/// same model gives the same fingerprint with any kernels and any number of threads, on any machine.
///
/// # Errors
/// [`LlmError`] when the model cannot evaluate them.
pub fn fingerprint(model: &Model) -> Result<Fingerprint, LlmError> {
    let config = model.config();
    let mut hasher = blake3::Hasher::new();
    let (mut tokens, mut count) = (0, 0);
    let mut logits = Vec::new();
    for (number, length) in PROMPTS.into_iter().enumerate() {
        let length = length.min(config.context_length.saturating_sub(DECODED)).max(1);
        let token = |place: usize| ((place * 7919 + number * 104_729) % config.vocabulary_size) as u32;
        let mut next: Vec<u32> = (0..length).map(token).collect();
        let mut cache = model.new_cache(length + DECODED);
        for _ in 0..=DECODED {
            if cache.len() + next.len() > cache.capacity() {
                break;
            }
            model.forward(&mut cache, &next, &mut logits)?;
            for logit in &logits {
                hasher.update(&logit.to_le_bytes());
            }
            tokens += next.len();
            count += logits.len() as u64;
            next = vec![most_probable(&logits)];
        }
    }
    Ok(Fingerprint { hash: hasher.finalize().to_hex().to_string(), tokens, logits: count })
}

/// The token with the largest logit, of equals the one with the lowest number.
pub(crate) fn most_probable(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}
