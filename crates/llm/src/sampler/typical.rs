//! Locally typical sampling.

use super::candidates::{Candidate, Weights, shortest_reaching};

/// Keeps the candidates whose surprise is nearest to the expected surprise, the entropy, until their probabilities reach
/// `p`; they stay in their order (Meister et al., "Locally Typical Sampling", 2022). Of equally near ones, those that
/// stand first.
pub(super) fn typical(candidates: &mut Vec<Candidate>, p: f64, temperature: f64) {
    let weights = Weights::new(candidates, temperature);
    let total = weights.total(candidates);
    let logarithm = libm::log(total);
    // H = -Σ p ln p, with ln p = ln w - ln Σw.
    let entropy: f64 = candidates
        .iter()
        .map(|candidate| weights.of(candidate) / total * (logarithm - weights.logarithm(candidate)))
        .sum();
    let mut by_distance: Vec<(f64, usize)> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| ((logarithm - weights.logarithm(candidate) - entropy).abs(), index))
        .collect();
    let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let count =
        shortest_reaching(&mut by_distance, 0, p * total, order, |item| weights.of(&candidates[item.1]));
    let mut kept: Vec<usize> = by_distance[..count].iter().map(|item| item.1).collect();
    kept.sort_unstable();
    *candidates = kept.into_iter().map(|index| candidates[index]).collect();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::{candidates, ids, probabilities};

    #[test]
    fn the_most_probable_token_may_be_too_expected() {
        // Surprises 0.36, 1.9, 1.9 nats around an entropy of 0.8: the first is nearest; of an even spread, the middle.
        let logits = [0.7f32, 0.15, 0.15].map(f32::ln);
        let mut kept = candidates(&logits);
        typical(&mut kept, 0.5, 1.0);
        assert_eq!(ids(&kept), [0]);
        let logits = [0.5f32, 0.2, 0.1, 0.1, 0.1].map(f32::ln);
        let mut kept = candidates(&logits);
        typical(&mut kept, 0.15, 1.0);
        assert_eq!(ids(&kept), [1]);
    }

    proptest! {
        #[test]
        fn the_nearest_to_the_entropy_are_kept(logits in proptest::collection::vec(-4.0f32..4.0, 1..300), p in 0.01f64..0.99, temperature in 0.3f64..3.0) {
            let probabilities = probabilities(&logits, temperature);
            let entropy: f64 = probabilities.iter().map(|p| -p * p.ln()).sum();
            let distance = |id: u32| (-probabilities[id as usize].ln() - entropy).abs();
            let mut kept = candidates(&logits);
            typical(&mut kept, p, temperature);
            let kept = ids(&kept);
            prop_assert!(kept.is_sorted());
            let mass: f64 = kept.iter().map(|id| probabilities[*id as usize]).sum();
            prop_assert!(mass >= p - 1e-9);
            let farthest = kept.iter().copied().max_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap();
            for id in (0..logits.len() as u32).filter(|id| !kept.contains(id)) {
                prop_assert!(distance(id) >= distance(farthest) - 1e-9);
            }
            // Without the farthest, there would be too little.
            let ties: f64 = kept.iter().filter(|id| distance(**id) >= distance(farthest) - 1e-9).map(|id| probabilities[*id as usize]).sum();
            prop_assert!(mass - ties < p + 1e-9);
        }
    }
}
