//! Mirostat: keeps the surprise of a text at a target.

use glasshouse_protocol::Mirostat;

use super::candidates::{Candidate, Weights};

/// The largest surprise that is allowed now, in bits, and how it follows what is observed.
#[derive(Debug, Clone)]
pub(super) struct SurpriseLimit {
    limit: f64,
    target: f64,
    rate: f64,
}

impl SurpriseLimit {
    /// It begins at twice the target.
    pub(super) fn new(mirostat: &Mirostat) -> Self {
        let target = f64::from(mirostat.tau);
        Self { limit: 2.0 * target, target, rate: f64::from(mirostat.eta) }
    }

    /// Keeps the candidates whose surprise is within the limit, and the most probable in any case (Basu et al.,
    /// "Mirostat", 2020; version 2 of its authors, which cuts at the surprise itself).
    pub(super) fn truncate(&self, candidates: &mut Vec<Candidate>, temperature: f64) {
        let weights = Weights::new(candidates, temperature);
        let total = libm::log2(weights.total(candidates));
        let surprise =
            |candidate: &Candidate| total - weights.logarithm(candidate) * std::f64::consts::LOG2_E;
        candidates.retain(|candidate| candidate.logit == weights.best || surprise(candidate) <= self.limit);
    }

    /// Follows the surprise of the chosen one of `candidates`, which is what the truncation left.
    pub(super) fn observe(&mut self, candidates: &[Candidate], temperature: f64, chosen: &Candidate) {
        let weights = Weights::new(candidates, temperature);
        let surprise =
            libm::log2(weights.total(candidates)) - weights.logarithm(chosen) * std::f64::consts::LOG2_E;
        self.limit -= self.rate * (surprise - self.target);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::{candidates, ids, probabilities};

    proptest! {
        #[test]
        fn what_surprises_too_much_is_dropped_and_the_limit_follows(
            logits in proptest::collection::vec(-6.0f32..6.0, 1..60), tau in 0.1f32..8.0, eta in 0.01f32..1.0, temperature in 0.3f64..3.0, chosen: proptest::sample::Index,
        ) {
            let mut limit = SurpriseLimit::new(&Mirostat { tau, eta });
            let p = probabilities(&logits, temperature);
            prop_assume!(p.iter().all(|p| (-p.log2() - 2.0 * f64::from(tau)).abs() > 1e-9));
            let largest = p.iter().copied().fold(0.0, f64::max);
            let expected: Vec<u32> =
                (0u32..).zip(&p).filter(|(_, p)| **p == largest || -p.log2() <= 2.0 * f64::from(tau)).map(|(id, _)| id).collect();
            let mut kept = candidates(&logits);
            limit.truncate(&mut kept, temperature);
            prop_assert_eq!(ids(&kept), expected.clone());
            let chosen = kept[chosen.index(kept.len())];
            limit.observe(&kept, temperature, &chosen);
            let mass: f64 = expected.iter().map(|id| p[*id as usize]).sum();
            let surprise = -(p[chosen.id as usize] / mass).log2();
            let next = 2.0 * f64::from(tau) - f64::from(eta) * (surprise - f64::from(tau));
            prop_assert!((limit.limit - next).abs() < 1e-9, "{} {next}", limit.limit);
        }
    }
}
