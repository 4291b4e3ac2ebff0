//! Chooses the next token from logits, the same one on every platform.
//!
//! - [`Sampler`]: validated parameters and the state of the draw.
//! - [`TokenMask`]: which tokens a constraint allows.
//! - [`answer_seed`]: the seeds of several answers to one request.
//!
//! The steps, in this order: the mask, and tokens that are excluded. If one token is left, it is the choice: nothing
//! below changes it or is changed by it, but for the generator, which always moves on by one draw above temperature 0.
//! Then logit bias; repeat, frequency and presence penalties; DRY. At temperature 0 the best is chosen then. Else
//! top-k, typical, top-p, min-p, XTC and temperature come in this order or in that of the request, each on the
//! probabilities at temperature 1 until the temperature's own turn; or mirostat in place of the first five. Last, the
//! draw. Each step is a function of its own, with its source, in the file of its name.
//!
//! Equal logits are ordered by the lower token id. Exponentials are `libm`'s, sums are f64 in a fixed order, and the
//! generator is SplitMix64, so the choice is a function of logits, parameters and seed alone.

mod candidates;
mod dry;
mod logprobs;
mod mask;
mod mirostat;
mod parameters;
mod penalties;
mod random;
mod truncation;
mod typical;
mod xtc;

use glasshouse_protocol::{Sampling, SamplingStep};

use crate::LlmError;
use candidates::{Candidate, Weights, best};
pub(crate) use logprobs::{Logprob, logprobs};
pub use mask::TokenMask;
use mirostat::SurpriseLimit;
pub use parameters::MAXIMUM_REPEAT_LAST_N;
use random::SplitMix64;
pub use random::answer_seed;

/// Chooses tokens by one request's parameters.
#[derive(Debug, Clone)]
pub struct Sampler {
    parameters: Sampling,
    random: SplitMix64,
    mirostat: Option<SurpriseLimit>,
    /// Tokens over which no repetition is followed.
    breakers: Option<TokenMask>,
    /// Tokens that are not chosen, unless nothing else is allowed.
    excluded: Vec<u32>,
    /// Kept between choices to save the allocation; empty or stale.
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for `parameters`; `seed` counts when they carry none.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] for a parameter outside its range.
    pub fn new(parameters: &Sampling, seed: u64) -> Result<Self, LlmError> {
        parameters::validate(parameters)?;
        Ok(Self {
            random: SplitMix64(parameters.seed.unwrap_or(seed)),
            mirostat: parameters.mirostat.as_ref().map(SurpriseLimit::new),
            parameters: parameters.clone(),
            breakers: None,
            excluded: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// The same, with the tokens whose text holds a sequence breaker of DRY.
    #[must_use]
    pub fn with_breakers(self, breakers: TokenMask) -> Self {
        Self { breakers: Some(breakers), ..self }
    }

    /// The same, which chooses none of these tokens unless nothing else is allowed.
    #[must_use]
    pub fn excluding(self, excluded: Vec<u32>) -> Self {
        Self { excluded, ..self }
    }

    /// The same from its beginning, with another seed.
    #[must_use]
    pub fn reseeded(&self, seed: u64) -> Self {
        let mirostat = self.parameters.mirostat.as_ref().map(SurpriseLimit::new);
        Self { random: SplitMix64(seed), mirostat, ..self.clone() }
    }

    /// Chooses one of the tokens that `mask` allows (all, without a mask). `recent` are the tokens so far, the
    /// last one last; the penalties look at its end.
    ///
    /// # Errors
    /// [`LlmError::InvalidLogits`] when a logit is not a finite number; [`LlmError::NothingAllowed`] when the
    /// mask allows no token.
    pub fn choose(
        &mut self,
        logits: &[f32],
        recent: &[u32],
        mask: Option<&TokenMask>,
    ) -> Result<u32, LlmError> {
        if let Some(position) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(LlmError::InvalidLogits { token: position as u32 });
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let all = (0u32..).zip(logits).map(|(id, &logit)| Candidate { id, logit });
        match mask {
            Some(mask) => candidates.extend(all.filter(|candidate| mask.allows(candidate.id))),
            None => candidates.extend(all),
        }
        let is_excluded = |candidate: &Candidate| self.excluded.contains(&candidate.id);
        if !self.excluded.is_empty() && !candidates.iter().all(is_excluded) {
            candidates.retain(|candidate| !is_excluded(candidate));
        }
        let chosen = match candidates[..] {
            [] => Err(LlmError::NothingAllowed),
            [only] => {
                if self.parameters.temperature > 0.0 {
                    self.random.next();
                }
                Ok(only.id)
            }
            _ => Ok(self.choose_among(&mut candidates, recent)),
        };
        self.candidates = candidates;
        chosen
    }

    /// Chooses one of at least two candidates, which are in ascending order of ids.
    fn choose_among(&mut self, candidates: &mut Vec<Candidate>, recent: &[u32]) -> u32 {
        let parameters = &self.parameters;
        penalties::add_bias(candidates, &parameters.logit_bias);
        penalties::penalize(candidates, recent, parameters);
        if let Some(dry) = &parameters.dry {
            dry::penalize(candidates, recent, dry, self.breakers.as_ref());
        }
        if parameters.temperature == 0.0 {
            return best(candidates).map_or(0, |best| best.id);
        }
        let Some(limit) = &mut self.mirostat else {
            let temperature = self.truncate(candidates);
            return draw(candidates, temperature, &mut self.random).id;
        };
        let temperature = f64::from(parameters.temperature);
        limit.truncate(candidates, temperature);
        let chosen = draw(candidates, temperature, &mut self.random);
        limit.observe(candidates, temperature, &chosen);
        chosen.id
    }

    /// Takes the steps that leave candidates out; answers the temperature of the draw.
    fn truncate(&mut self, candidates: &mut Vec<Candidate>) -> f64 {
        let Sampling { top_k, typical_p, top_p, min_p, xtc, order, .. } = &self.parameters;
        let order = if order.is_empty() { &SamplingStep::USUAL } else { order.as_slice() };
        let mut temperature = 1.0;
        // Without top-k, sums run over the candidates in ascending order of ids.
        let mut is_sorted = false;
        for step in order {
            match step {
                SamplingStep::TopK if *top_k > 0 => {
                    truncation::top_k(candidates, *top_k as usize);
                    is_sorted = true;
                }
                SamplingStep::Typical if *typical_p < 1.0 => {
                    typical::typical(candidates, f64::from(*typical_p), temperature);
                }
                SamplingStep::TopP if *top_p < 1.0 => {
                    truncation::top_p(candidates, f64::from(*top_p), temperature, is_sorted);
                    is_sorted = true;
                }
                SamplingStep::MinP if *min_p > 0.0 => {
                    truncation::min_p(candidates, f64::from(*min_p), temperature);
                }
                SamplingStep::Xtc => {
                    if let Some(xtc) = xtc {
                        let draw = self.random.unit();
                        xtc::exclude_top(candidates, xtc, temperature, draw);
                    }
                }
                SamplingStep::Temperature => temperature = f64::from(self.parameters.temperature),
                SamplingStep::TopK | SamplingStep::Typical | SamplingStep::TopP | SamplingStep::MinP => {}
            }
        }
        temperature
    }
}

/// Draws one of `candidates`, of which there is at least one, with probabilities at the temperature.
fn draw(candidates: &[Candidate], temperature: f64, random: &mut SplitMix64) -> Candidate {
    let weights = Weights::new(candidates, temperature);
    let target = random.unit() * weights.total(candidates);
    let mut sum = 0.0;
    for candidate in candidates {
        sum += weights.of(candidate);
        if target < sum {
            return *candidate;
        }
    }
    // The target is below the total, and the total is the same sum, so this is reached only if rounding made them equal.
    best(candidates).unwrap_or(Candidate { id: 0, logit: 0.0 })
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use glasshouse_protocol::{Dry, Mirostat, TokenBias, Xtc};
    use proptest::prelude::*;

    use super::*;

    fn choose(parameters: Sampling, logits: &[f32], recent: &[u32]) -> u32 {
        Sampler::new(&parameters, 7).unwrap().choose(logits, recent, None).unwrap()
    }

    fn mask(ids: &[u32]) -> TokenMask {
        TokenMask::from_tokens(ids.iter().copied())
    }

    #[test]
    fn greedy_takes_the_best_and_the_lowest_id_of_equals() {
        assert_eq!(choose(Sampling::default(), &[0.5, 2.0, 2.0, -1.0], &[]), 1);
        assert_eq!(choose(Sampling::default(), &[-0.0, 0.0], &[]), 0);
    }

    #[test]
    fn masked_tokens_are_never_chosen() {
        let mut sampler = Sampler::new(&Sampling::default(), 0).unwrap();
        let logits = [9.0, 8.0, 1.0, 2.0];
        assert_eq!(sampler.choose(&logits, &[], Some(&mask(&[2, 3]))).unwrap(), 3);
        assert!(matches!(sampler.choose(&logits, &[], Some(&mask(&[90]))), Err(LlmError::NothingAllowed)));
    }

    #[test]
    fn logits_that_are_not_numbers_are_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let outcome = Sampler::new(&Sampling::default(), 0).unwrap().choose(&[0.0, bad], &[], None);
            assert!(matches!(outcome, Err(LlmError::InvalidLogits { token: 1 })));
        }
    }

    #[test]
    fn parameters_out_of_range_are_errors() {
        let default = Sampling::default;
        for parameters in [
            Sampling { temperature: -1.0, ..default() },
            Sampling { temperature: f32::NAN, ..default() },
            Sampling { temperature: f32::INFINITY, ..default() },
            Sampling { top_p: 0.0, ..default() },
            Sampling { top_p: 1.5, ..default() },
            Sampling { min_p: -0.1, ..default() },
            Sampling { repeat_penalty: 0.0, ..default() },
            Sampling { frequency_penalty: f32::NAN, ..default() },
            Sampling { presence_penalty: 1e9, ..default() },
            Sampling { repeat_last_n: u32::MAX, ..default() },
            Sampling { typical_p: 0.0, ..default() },
            Sampling { xtc: Some(Xtc { probability: 1.1, threshold: 0.1 }), ..default() },
            Sampling { xtc: Some(Xtc { probability: 0.1, threshold: f32::NAN }), ..default() },
            Sampling { mirostat: Some(Mirostat { tau: 0.0, eta: 0.1 }), ..default() },
            Sampling { mirostat: Some(Mirostat { tau: 5.0, eta: f32::INFINITY }), ..default() },
            Sampling { dry: Some(Dry { multiplier: -1.0, ..Dry::default() }), ..default() },
            Sampling { dry: Some(Dry { base: 0.5, ..Dry::default() }), ..default() },
            Sampling { dry: Some(Dry { allowed_length: 0, ..Dry::default() }), ..default() },
            Sampling { dry: Some(Dry { last_n: u32::MAX, ..Dry::default() }), ..default() },
            Sampling {
                dry: Some(Dry { sequence_breakers: vec![String::new()], ..Dry::default() }),
                ..default()
            },
            Sampling { logit_bias: vec![TokenBias { token: 0, bias: f32::NAN }], ..default() },
            Sampling { logit_bias: vec![TokenBias { token: 0, bias: 1.0 }; 10_000], ..default() },
            Sampling { order: vec![SamplingStep::TopK, SamplingStep::MinP, SamplingStep::TopK], ..default() },
        ] {
            assert!(
                matches!(Sampler::new(&parameters, 0), Err(LlmError::InvalidRequest { .. })),
                "{parameters:?}"
            );
        }
    }

    #[test]
    fn penalties_lower_recent_tokens() {
        let logits = [1.0, 1.5, -1.0];
        let repeat = Sampling { repeat_penalty: 2.0, ..Sampling::default() };
        assert_eq!(choose(repeat.clone(), &logits, &[1]), 0);
        assert_eq!(choose(Sampling { repeat_last_n: 1, ..repeat }, &logits, &[1, 0]), 1);
        let frequency = Sampling { frequency_penalty: 0.3, ..Sampling::default() };
        assert_eq!(choose(frequency.clone(), &logits, &[1]), 1);
        assert_eq!(choose(frequency, &logits, &[1, 1]), 0);
        let presence = Sampling { presence_penalty: 0.6, ..Sampling::default() };
        assert_eq!(choose(presence, &logits, &[1, 1]), 0);
    }

    #[test]
    fn truncation_keeps_what_it_should() {
        // Probabilities: 0.5, 0.25, 0.125, 0.125.
        let logits = [0.5f32, 0.25, 0.125, 0.125].map(|p| p.ln());
        let drawn = |parameters: Sampling| {
            let mut seen = [0usize; 4];
            for seed in 0..400 {
                let id = Sampler::new(&parameters, seed).unwrap().choose(&logits, &[], None).unwrap();
                seen[id as usize] += 1;
            }
            seen.map(|count| count > 0)
        };
        let hot = Sampling { temperature: 1.0, ..Sampling::default() };
        assert_eq!(drawn(hot.clone()), [true; 4]);
        assert_eq!(drawn(Sampling { top_k: 3, ..hot.clone() }), [true, true, true, false]);
        assert_eq!(drawn(Sampling { top_p: 0.6, ..hot.clone() }), [true, true, false, false]);
        assert_eq!(drawn(Sampling { top_p: 0.01, ..hot.clone() }), [true, false, false, false]);
        assert_eq!(drawn(Sampling { min_p: 0.4, ..hot.clone() }), [true, true, false, false]);
        assert_eq!(drawn(Sampling { top_k: 3, top_p: 0.7, min_p: 0.6, ..hot }), [true, false, false, false]);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let logits = [0.7f32.ln(), 0.3f32.ln()];
        let parameters = Sampling { temperature: 1.0, ..Sampling::default() };
        let draw = |seed| {
            let mut sampler = Sampler::new(&parameters, seed).unwrap();
            (0..1000).map(|_| sampler.choose(&logits, &[], None).unwrap()).collect::<Vec<_>>()
        };
        let ones = draw(1).iter().filter(|id| **id == 1).count();
        assert!((250..350).contains(&ones), "{ones}");
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let seeded = Sampling { seed: Some(1), ..parameters.clone() };
        let mut sampler = Sampler::new(&seeded, 99).unwrap();
        assert_eq!(sampler.choose(&logits, &[], None).unwrap(), draw(1)[0]);
    }

    #[test]
    fn what_a_mask_forces_is_chosen_whatever_the_parameters_say() {
        let hard = Sampling {
            temperature: 1.0,
            repeat_penalty: 100.0,
            frequency_penalty: 100.0,
            presence_penalty: 100.0,
            dry: Some(Dry { multiplier: 100.0, ..Dry::default() }),
            logit_bias: vec![TokenBias { token: 3, bias: -100.0 }],
            xtc: Some(Xtc { probability: 1.0, threshold: 0.0 }),
            mirostat: Some(Mirostat { tau: 0.1, eta: 1.0 }),
            ..Sampling::default()
        };
        let logits = [9.0, 8.0, 7.0, -9.0];
        let mut forced = Sampler::new(&hard, 3).unwrap();
        let mut free = Sampler::new(&hard, 3).unwrap();
        for _ in 0..50 {
            assert_eq!(forced.choose(&logits, &[3; 50], Some(&mask(&[3]))).unwrap(), 3);
            free.random.next();
        }
        // Neither does it change what is chosen later: only the draws were spent.
        for _ in 0..50 {
            assert_eq!(forced.choose(&logits, &[], None).unwrap(), free.choose(&logits, &[], None).unwrap());
        }
    }

    #[test]
    fn excluded_tokens_come_only_when_nothing_else_may() {
        let mut sampler = Sampler::new(&Sampling::default(), 0).unwrap().excluding(vec![0, 3]);
        let logits = [9.0, 1.0, 2.0, 8.0];
        assert_eq!(sampler.choose(&logits, &[], None).unwrap(), 2);
        assert_eq!(sampler.choose(&logits, &[], Some(&mask(&[0, 1]))).unwrap(), 1);
        assert_eq!(sampler.choose(&logits, &[], Some(&mask(&[0, 3]))).unwrap(), 0);
    }

    #[test]
    fn biases_and_repetitions_change_the_greedy_choice_too() {
        let logits = [1.0, 1.5, -1.0];
        let bias =
            |token, bias| Sampling { logit_bias: vec![TokenBias { token, bias }], ..Sampling::default() };
        assert_eq!(choose(bias(2, 3.0), &logits, &[]), 2);
        assert_eq!(choose(bias(1, -1.0), &logits, &[]), 0);
        assert_eq!(choose(bias(9, 1.0), &logits, &[]), 1);
        let dry = Sampling { dry: Some(Dry::default()), ..Sampling::default() };
        assert_eq!(choose(dry, &logits, &[0, 2, 1, 0, 2]), 0);
    }

    #[test]
    fn steps_follow_the_order_of_the_request() {
        // At temperature 4 the probabilities 0.8, 0.15, 0.05 are nearly even: then top-p keeps more of them.
        let logits = [0.8f32, 0.15, 0.05].map(f32::ln);
        let drawn = |order: &[SamplingStep]| {
            let parameters =
                Sampling { temperature: 4.0, top_p: 0.7, order: order.to_vec(), ..Sampling::default() };
            let mut sampler = Sampler::new(&parameters, 1).unwrap();
            let mut seen = [false; 3];
            for _ in 0..300 {
                seen[sampler.choose(&logits, &[], None).unwrap() as usize] = true;
            }
            seen
        };
        assert_eq!(drawn(&[]), [true, false, false]);
        assert_eq!(drawn(&SamplingStep::USUAL), [true, false, false]);
        assert_eq!(drawn(&[SamplingStep::Temperature, SamplingStep::TopP]), [true, true, false]);
        assert_eq!(drawn(&[SamplingStep::Temperature]), [true; 3]);
    }

    #[test]
    fn mirostat_holds_the_surprise_at_its_target() {
        let logits: Vec<f32> = (0..2000u32).map(|i| -libm::logf(1.0 + i as f32)).collect();
        let p = testing::probabilities(&logits, 1.0);
        let mean = |tau: f32| {
            let mirostat = Some(Mirostat { tau, eta: 0.1 });
            let parameters = Sampling { temperature: 1.0, mirostat, ..Sampling::default() };
            let mut sampler = Sampler::new(&parameters, 5).unwrap();
            let tokens: Vec<u32> = (0..3000).map(|_| sampler.choose(&logits, &[], None).unwrap()).collect();
            // What is left of the distribution is renormalized: the surprise within it is a little less.
            tokens[500..].iter().map(|token| -p[*token as usize].log2()).sum::<f64>() / 2500.0
        };
        let (low, high) = (mean(2.0), mean(4.0));
        assert!((2.0..4.5).contains(&low) && (4.0..6.0).contains(&high) && low < high, "{low} {high}");
    }

    #[test]
    fn choices_of_every_step_are_pinned() {
        let logits: Vec<f32> = (0..1000u32).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
        let base = Sampling {
            temperature: 0.8,
            top_k: 200,
            typical_p: 0.9,
            top_p: 0.97,
            dry: Some(Dry { allowed_length: 1, ..Dry::default() }),
            logit_bias: vec![TokenBias { token: 930, bias: 2.0 }],
            ..Sampling::default()
        };
        let run = |parameters: &Sampling| {
            let mut sampler = Sampler::new(parameters, 42).unwrap();
            let mut tokens = Vec::new();
            for _ in 0..6 {
                tokens.push(sampler.choose(&logits, &tokens, None).unwrap());
            }
            tokens
        };
        let xtc = Sampling { xtc: Some(Xtc { probability: 0.5, threshold: 0.01 }), ..base.clone() };
        let mirostat = Sampling { mirostat: Some(Mirostat { tau: 5.0, eta: 0.1 }), ..base };
        assert_eq!(
            [run(&xtc), run(&mirostat)],
            [[99, 152, 535, 159, 904, 528], [825, 172, 310, 383, 40, 930]]
        );
    }

    #[test]
    fn choices_are_pinned() {
        // A change of any step shows here: the same input must give these on every platform.
        let logits: Vec<f32> = (0..1000u32).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
        let parameters = Sampling {
            temperature: 1.3,
            top_p: 0.95,
            min_p: 0.01,
            repeat_penalty: 1.1,
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(&parameters, 42).unwrap();
        let mut tokens = Vec::new();
        for _ in 0..8 {
            tokens.push(sampler.choose(&logits, &tokens, None).unwrap());
        }
        assert_eq!(tokens, [179, 930, 574, 917, 798, 397, 508, 133]);
    }

    proptest! {
        #[test]
        fn only_allowed_tokens_are_chosen(
            logits in proptest::collection::vec(-20.0f32..20.0, 1..100),
            allowed in proptest::collection::vec(0u32..100, 0..20),
            recent in proptest::collection::vec(0u32..120, 0..20),
            temperature in prop_oneof![Just(0.0f32), 0.01f32..5.0],
            top_k in 0u32..20, top_p in 0.01f32..=1.0, min_p in 0.0f32..=1.0, repeat_penalty in 0.5f32..2.0,
            typical_p in 0.01f32..=1.0, xtc in proptest::option::of((0.0f32..=1.0, 0.0f32..=1.0)),
            mirostat in proptest::option::of((0.1f32..10.0, 0.01f32..1.0)), dry in proptest::option::of(0.0f32..100.0),
            seed: u64,
        ) {
            let parameters = Sampling {
                temperature, top_k, top_p, min_p, repeat_penalty, typical_p,
                xtc: xtc.map(|(probability, threshold)| Xtc { probability, threshold }),
                mirostat: mirostat.map(|(tau, eta)| Mirostat { tau, eta }),
                dry: dry.map(|multiplier| Dry { multiplier, ..Dry::default() }),
                ..Sampling::default()
            };
            let outcome = Sampler::new(&parameters, seed).unwrap().choose(&logits, &recent, Some(&mask(&allowed)));
            match outcome {
                Ok(id) => prop_assert!(allowed.contains(&id) && (id as usize) < logits.len()),
                Err(_) => prop_assert!(allowed.iter().all(|id| *id as usize >= logits.len())),
            }
        }
    }
}
