//! What the tests of the steps share.

use super::candidates::{Candidate, by_logit};

pub(super) fn candidates(logits: &[f32]) -> Vec<Candidate> {
    (0u32..).zip(logits).map(|(id, &logit)| Candidate { id, logit }).collect()
}

pub(super) fn ids(candidates: &[Candidate]) -> Vec<u32> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

/// All ids, the most probable first.
pub(super) fn sorted(logits: &[f32]) -> Vec<u32> {
    let mut all = candidates(logits);
    all.sort_by(by_logit);
    ids(&all)
}

/// The softmax of the logits, as one would write it down.
pub(super) fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> =
        logits.iter().map(|logit| ((f64::from(*logit) - f64::from(largest)) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}
