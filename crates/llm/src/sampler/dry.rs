//! DRY: "don't repeat yourself".

use std::collections::BTreeMap;

use glasshouse_protocol::Dry;

use super::{
    TokenMask,
    candidates::{Candidate, find},
};

/// No sequence is followed further: the penalty is beyond any logit there, and its power must not overflow.
const LONGEST_MATCH: usize = 50;

/// Lowers the logits of the tokens that would continue a sequence that occurred before: if the last `length` tokens stand
/// earlier too, what came behind them there loses `multiplier * base ^ (length - allowed_length)`, for the longest such
/// length, if it is at least the allowed one (the sampler "DRY" that p-e-w proposed for text-generation-webui in 2024).
/// Neither a sequence nor what continues it has a token of `breakers`. `candidates` are in ascending order of ids.
pub(super) fn penalize(
    candidates: &mut [Candidate],
    recent: &[u32],
    dry: &Dry,
    breakers: Option<&TokenMask>,
) {
    if dry.multiplier == 0.0 {
        return;
    }
    let recent = &recent[recent.len().saturating_sub(dry.last_n as usize)..];
    for (token, length) in matches(recent, breakers) {
        let (Some(beyond), Some(candidate)) =
            (length.checked_sub(dry.allowed_length as usize), find(candidates, token))
        else {
            continue;
        };
        let penalty = f64::from(dry.multiplier) * libm::pow(f64::from(dry.base), beyond as f64);
        candidate.logit = ((f64::from(candidate.logit) - penalty) as f32).clamp(f32::MIN, f32::MAX);
    }
}

/// For each token that would continue a repetition, the length of the longest repeated sequence before it.
fn matches(recent: &[u32], breakers: Option<&TokenMask>) -> BTreeMap<u32, usize> {
    let is_breaker = |token: u32| breakers.is_some_and(|breakers| breakers.allows(token));
    let mut longest = BTreeMap::new();
    let Some((&last, earlier)) = recent.split_last() else { return longest };
    if is_breaker(last) {
        return longest;
    }
    for end in (0..earlier.len()).filter(|end| earlier[*end] == last) {
        let next = recent[end + 1];
        if is_breaker(next) {
            continue;
        }
        let before = recent[..end].iter().rev().zip(earlier.iter().rev());
        let length = 1 + before
            .take(LONGEST_MATCH - 1)
            .take_while(|(there, here)| there == here && !is_breaker(**here))
            .count();
        let known = longest.entry(next).or_insert(0);
        *known = length.max(*known);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::testing::candidates;

    #[test]
    fn what_continues_a_repetition_is_lowered_by_a_power_of_its_length() {
        let dry = Dry { multiplier: 0.5, base: 2.0, allowed_length: 2, ..Dry::default() };
        let lowered = |recent: &[u32], breakers: &[u32]| -> Vec<f32> {
            let mut candidates = candidates(&[0.0; 6]);
            let breakers = TokenMask::from_tokens(breakers.iter().copied());
            penalize(&mut candidates, recent, &dry, Some(&breakers));
            candidates.iter().map(|candidate| -candidate.logit).collect()
        };
        // 1 2 3 was followed by 4 before; 3 alone by 5.
        assert_eq!(lowered(&[1, 2, 3, 4, 3, 5, 1, 2, 3], &[]), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(lowered(&[1, 2, 3, 4, 3, 5, 1, 2, 3], &[1]), [0.0, 0.0, 0.0, 0.0, 0.5, 0.0]);
        for breaker in [2, 3, 4] {
            assert_eq!(lowered(&[1, 2, 3, 4, 3, 5, 1, 2, 3], &[breaker]), [0.0; 6]);
        }
        assert_eq!(lowered(&[1, 1, 1, 1], &[]), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(lowered(&[], &[]), [0.0; 6]);
    }

    /// As it is defined: tries every length at every place.
    fn naive(recent: &[u32], breakers: &[u32]) -> BTreeMap<u32, usize> {
        let mut longest = BTreeMap::new();
        for length in 1..=recent.len().min(LONGEST_MATCH) {
            let sequence = &recent[recent.len() - length..];
            if sequence.iter().any(|token| breakers.contains(token)) {
                continue;
            }
            for start in 0..recent.len() - length {
                let next = recent[start + length];
                if recent[start..start + length] == *sequence && !breakers.contains(&next) {
                    longest.insert(next, length);
                }
            }
        }
        longest
    }

    proptest! {
        #[test]
        fn the_longest_repetitions_are_found(recent in proptest::collection::vec(0u32..4, 0..120), breakers in proptest::collection::vec(0u32..6, 0..2)) {
            let mask = TokenMask::from_tokens(breakers.iter().copied());
            prop_assert_eq!(matches(&recent, Some(&mask)), naive(&recent, &breakers));
        }
    }
}
