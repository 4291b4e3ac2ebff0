//! How probable tokens are to the model itself.

use super::candidates::{Candidate, by_logit, sort_first};

/// A token and the natural logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Logprob {
    pub(crate) token: u32,
    pub(crate) logprob: f64,
}

/// The log-softmax of finite `logits` at `token`, and at the `count` most probable tokens, the most probable first and of
/// equals the lower id. Computed in f64 in ascending order of ids, so that it is the same everywhere.
pub(crate) fn logprobs(logits: &[f32], token: u32, count: usize) -> (Logprob, Vec<Logprob>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - f64::from(largest))).sum();
    let normalizer = f64::from(largest) + libm::log(sum);
    let of = |token: u32, logit: f32| Logprob { token, logprob: f64::from(logit) - normalizer };
    let mut candidates: Vec<Candidate> = Vec::new();
    if count > 0 {
        candidates.extend((0u32..).zip(logits).map(|(id, &logit)| Candidate { id, logit }));
        let count = count.min(candidates.len());
        sort_first(&mut candidates, count, by_logit);
        candidates.truncate(count);
    }
    let chosen = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    (of(token, chosen), candidates.iter().map(|candidate| of(candidate.id, candidate.logit)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::{probabilities, sorted};

    #[test]
    fn log_probabilities_are_pinned() {
        // The bits must be these on every platform.
        let logits: Vec<f32> = (0..1000u32).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
        let (chosen, top) = logprobs(&logits, 5, 2);
        let bits = [chosen, top[0], top[1]].map(|entry| entry.logprob.to_bits());
        let pinned = [13_846_454_935_932_193_880, 13_840_242_742_189_529_264, 13_840_254_001_446_295_728];
        assert_eq!(bits, pinned, "{chosen:?} {top:?}");
    }

    proptest! {
        #[test]
        fn they_are_the_logarithms_of_the_probabilities(logits in proptest::collection::vec(-30.0f32..30.0, 1..200), token: proptest::sample::Index, count in 0usize..30) {
            let token = token.index(logits.len()) as u32;
            let p = probabilities(&logits, 1.0);
            let (chosen, top) = logprobs(&logits, token, count);
            for entry in top.iter().chain([&chosen]) {
                prop_assert!((entry.logprob - p[entry.token as usize].ln()).abs() < 1e-9);
            }
            prop_assert_eq!(chosen.token, token);
            let expected: Vec<u32> = sorted(&logits).into_iter().take(count).collect();
            prop_assert_eq!(top.iter().map(|entry| entry.token).collect::<Vec<_>>(), expected);
        }
    }
}
