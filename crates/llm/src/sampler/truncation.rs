//! Leaving out what is improbable: top-k, top-p and min-p.

use super::candidates::{Candidate, Weights, by_logit, shortest_reaching, sort_first};

/// Keeps the `k` most probable candidates, sorted (Fan et al., "Hierarchical Neural Story Generation", 2018).
pub(super) fn top_k(candidates: &mut Vec<Candidate>, k: usize) {
    let count = k.min(candidates.len());
    sort_first(candidates, count, by_logit);
    candidates.truncate(count);
}

/// Keeps the shortest row of most probable candidates whose probabilities reach `p`, sorted (Holtzman et al., "The
/// Curious Case of Neural Text Degeneration", 2020). `is_sorted` says that they are sorted already.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f64, temperature: f64, is_sorted: bool) {
    let weights = Weights::new(candidates, temperature);
    let wanted = p * weights.total(candidates);
    let sorted = if is_sorted { candidates.len() } else { 0 };
    let count = shortest_reaching(candidates, sorted, wanted, by_logit, |candidate| weights.of(candidate));
    candidates.truncate(count);
}

/// Keeps the candidates that are at least `p` times as probable as the most probable one (Nguyen et al., "Min-p
/// Sampling", 2024).
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f64, temperature: f64) {
    let weights = Weights::new(candidates, temperature);
    candidates.retain(|candidate| weights.of(candidate) >= p);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::{candidates, ids, probabilities, sorted};

    proptest! {
        #[test]
        fn the_most_probable_are_kept(logits in proptest::collection::vec(-3.0f32..3.0, 1..300), k in 1usize..400) {
            let mut kept = candidates(&logits);
            top_k(&mut kept, k);
            prop_assert_eq!(ids(&kept), sorted(&logits).into_iter().take(k).collect::<Vec<_>>());
        }

        #[test]
        fn partial_sorting_changes_nothing(logits in proptest::collection::vec(-3.0f32..3.0, 1..500), p in 0.01f64..1.0, temperature in 0.2f64..3.0) {
            let mut kept = candidates(&logits);
            top_p(&mut kept, p, temperature, false);
            let weights = Weights::new(&candidates(&logits), temperature);
            let wanted = p * weights.total(&candidates(&logits));
            let mut sum = 0.0;
            let mut expected = Vec::new();
            for id in sorted(&logits) {
                expected.push(id);
                sum += weights.of(&Candidate { id, logit: logits[id as usize] });
                if sum >= wanted { break; }
            }
            prop_assert_eq!(ids(&kept), expected);
        }

        #[test]
        fn the_nucleus_is_the_smallest_set(logits in proptest::collection::vec(-3.0f32..3.0, 2..50), p in 0.01f64..0.99) {
            let probabilities = probabilities(&logits, 1.0);
            let mut kept = candidates(&logits);
            top_p(&mut kept, p, 1.0, false);
            let mass = |ids: &[u32]| ids.iter().map(|id| probabilities[*id as usize]).sum::<f64>();
            let kept = ids(&kept);
            prop_assert!(mass(&kept) >= p - 1e-9);
            prop_assert!(mass(&kept[..kept.len() - 1]) < p + 1e-9);
        }

        #[test]
        fn what_is_far_below_the_best_is_dropped(logits in proptest::collection::vec(-3.0f32..3.0, 1..100), p in 0.0f64..1.0, temperature in 0.2f64..3.0) {
            let probabilities = probabilities(&logits, temperature);
            let largest = probabilities.iter().copied().fold(0.0, f64::max);
            let mut kept = candidates(&logits);
            min_p(&mut kept, p, temperature);
            for (id, probability) in (0u32..).zip(probabilities) {
                // What rounding decides may be either.
                if (probability / largest - p).abs() > 1e-9 {
                    prop_assert_eq!(ids(&kept).contains(&id), probability / largest > p);
                }
            }
            prop_assert!(!kept.is_empty());
        }
    }
}
