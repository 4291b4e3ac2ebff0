//! What is added to logits before anything is left out. Candidates are in ascending order of ids.

use glasshouse_protocol::{Sampling, TokenBias};

use super::candidates::{Candidate, find};

/// Adds its bias to the logit of each token that has one (OpenAI's `logit_bias`).
pub(super) fn add_bias(candidates: &mut [Candidate], biases: &[TokenBias]) {
    for bias in biases {
        if let Some(candidate) = find(candidates, bias.token) {
            candidate.logit = (candidate.logit + bias.bias).clamp(f32::MIN, f32::MAX);
        }
    }
}

/// Lowers the logits of recent tokens: by a factor (Keskar et al., "CTRL", 2019, as llama.cpp applies it to logits of
/// either sign), and by OpenAI's frequency and presence penalties.
pub(super) fn penalize(candidates: &mut [Candidate], recent: &[u32], parameters: &Sampling) {
    let Sampling { repeat_penalty, frequency_penalty, presence_penalty, repeat_last_n, .. } = *parameters;
    if (repeat_penalty, frequency_penalty, presence_penalty) == (1.0, 0.0, 0.0) {
        return;
    }
    let mut recent = recent[recent.len().saturating_sub(repeat_last_n as usize)..].to_vec();
    recent.sort_unstable();
    for occurrences in recent.chunk_by(|a, b| a == b) {
        let Some(candidate) = find(candidates, occurrences[0]) else { continue };
        let logit = &mut candidate.logit;
        *logit = if *logit > 0.0 { *logit / repeat_penalty } else { *logit * repeat_penalty };
        *logit -= occurrences.len() as f32 * frequency_penalty;
        *logit -= presence_penalty;
        // Extreme penalties overflow; the order of tokens is all that must remain.
        *logit = logit.clamp(f32::MIN, f32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::candidates;

    proptest! {
        #[test]
        fn each_token_is_lowered_by_its_own_count(
            logits in proptest::collection::vec(-9.0f32..9.0, 1..20), recent in proptest::collection::vec(0u32..25, 0..40),
            repeat_penalty in 0.5f32..2.0, frequency_penalty in -1.0f32..1.0, presence_penalty in -1.0f32..1.0, last in 0u32..50,
            bias in proptest::collection::vec((0u32..25, -5.0f32..5.0), 0..5),
        ) {
            let parameters = Sampling { repeat_penalty, frequency_penalty, presence_penalty, repeat_last_n: last, ..Sampling::default() };
            let biases: Vec<TokenBias> = bias.iter().map(|&(token, bias)| TokenBias { token, bias }).collect();
            let mut changed = candidates(&logits);
            add_bias(&mut changed, &biases);
            penalize(&mut changed, &recent, &parameters);
            let looked_at = &recent[recent.len() - recent.len().min(last as usize)..];
            for (id, mut logit) in logits.into_iter().enumerate() {
                for bias in biases.iter().filter(|bias| bias.token as usize == id) { logit += bias.bias; }
                let count = looked_at.iter().filter(|token| **token as usize == id).count();
                if count > 0 {
                    logit = if logit > 0.0 { logit / repeat_penalty } else { logit * repeat_penalty };
                    logit -= count as f32 * frequency_penalty;
                    logit -= presence_penalty;
                }
                prop_assert_eq!(changed[id].logit, logit);
            }
        }
    }
}
