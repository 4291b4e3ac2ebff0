//! A model's own confidence in the token that it chose.

/// What a model's distribution says of a choice, before temperature and other settings of the sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The probability of the chosen token, in (0, 1].
    pub probability: f64,
    /// The entropy of the whole distribution, in bits.
    pub entropy_bits: f64,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
}

/// A score in [0, 1]: how typical the choice is of the distribution, times how sure the distribution is.
///
/// With the surprisal `s = -log2(probability)`, whose expectation is the entropy `H`, and the entropy `log2(vocabulary)` of
/// knowing nothing:
///
/// ```text
/// score = 2^-max(0, s - H) · (1 - H / log2(vocabulary))
/// ```
///
/// | choice | score |
/// |---|---|
/// | certain | 1 |
/// | the likelier one of two equal ones, of 32,768 tokens | 1 · (1 - 1/15) = 0.93 |
/// | one bit more surprising than is to be expected | 0.5 times the second factor |
/// | any, where all of the vocabulary is equally likely | 0 |
///
/// The most likely token is never more surprising than is to be expected, so a greedy choice is scored by the entropy alone:
/// it falls below 0.5 where the model hesitates between more tokens than the square root of its vocabulary. Surprisal and
/// entropy are Shannon's (1948); that text which reads well keeps the one near the other is the finding behind locally
/// typical sampling (Meister et al. 2023).
///
/// Logarithm and power are those of `libm`, which gives the same bits on every host. A choice that is none scores NaN, which
/// no kernel takes for a score.
pub fn confidence(choice: &Choice) -> f64 {
    let Choice { probability, entropy_bits, vocabulary } = *choice;
    if !(probability > 0.0 && entropy_bits >= 0.0 && vocabulary > 1) {
        return f64::NAN;
    }
    let surprisal = -libm::log2(probability);
    let ignorance = libm::log2(vocabulary as f64);
    let typical = libm::exp2(-(surprisal - entropy_bits).max(0.0));
    (typical * (1.0 - entropy_bits / ignorance)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(probability: f64, entropy_bits: f64) -> f64 {
        confidence(&Choice { probability, entropy_bits, vocabulary: 32_768 })
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        assert_eq!(score(1.0, 0.0), 1.0);
        assert_eq!(score(0.5, 1.0), 1.0 - 1.0 / 15.0);
        assert_eq!(score(0.25, 1.0), 0.5 * (1.0 - 1.0 / 15.0));
        assert_eq!(score(1.0 / 32_768.0, 15.0), 0.0);
        assert_eq!(score(0.9, 7.5), 0.5);
    }

    #[test]
    fn every_choice_has_a_score_from_0_to_1_and_what_is_none_has_no_number() {
        for bits in 0..=150 {
            for step in 1..=100 {
                let score = score(f64::from(step) / 100.0, f64::from(bits) / 10.0);
                assert!((0.0..=1.0).contains(&score), "{step} {bits} {score}");
            }
        }
        for (probability, bits) in [(0.0, 1.0), (f64::NAN, 1.0), (0.5, f64::NAN), (0.5, -1.0), (-0.5, 1.0)] {
            assert!(score(probability, bits).is_nan());
        }
        assert!(confidence(&Choice { probability: 1.0, entropy_bits: 0.0, vocabulary: 1 }).is_nan());
    }
}
