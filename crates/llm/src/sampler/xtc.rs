//! Exclude top choices.

use glasshouse_protocol::Xtc;

use super::candidates::{Candidate, Weights, by_logit};

/// With the probability of `xtc`, which `draw` in [0, 1) decides, drops all candidates that reach its threshold but the
/// least probable of them (the sampler "XTC" of text-generation-webui, proposed by p-e-w in 2024).
pub(super) fn exclude_top(candidates: &mut Vec<Candidate>, xtc: &Xtc, temperature: f64, draw: f64) {
    if draw >= f64::from(xtc.probability) {
        return;
    }
    let weights = Weights::new(candidates, temperature);
    let threshold = f64::from(xtc.threshold) * weights.total(candidates);
    let is_top = |candidate: &Candidate| weights.of(candidate) >= threshold;
    let Some(least) = candidates.iter().filter(|candidate| is_top(candidate)).max_by(|a, b| by_logit(a, b))
    else {
        return;
    };
    let least = least.id;
    candidates.retain(|candidate| candidate.id == least || !is_top(candidate));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::{candidates, ids, probabilities, sorted};

    proptest! {
        #[test]
        fn the_least_of_the_top_choices_and_what_is_below_stay(
            logits in proptest::collection::vec(-3.0f32..3.0, 1..40), probability in 0.0f32..=1.0, threshold in 0.0f32..0.6, draw in 0.0f64..1.0,
        ) {
            let mut kept = candidates(&logits);
            exclude_top(&mut kept, &Xtc { probability, threshold }, 1.0, draw);
            let p = probabilities(&logits, 1.0);
            prop_assume!(p.iter().all(|p| (p - f64::from(threshold)).abs() > 1e-9));
            let order = sorted(&logits);
            let top = order.iter().filter(|id| p[**id as usize] >= f64::from(threshold)).count();
            let dropped = if draw < f64::from(probability) { top.saturating_sub(1) } else { 0 };
            let mut expected = order[dropped..].to_vec();
            expected.sort_unstable();
            prop_assert_eq!(ids(&kept), expected);
        }
    }
}
