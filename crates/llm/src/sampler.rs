//! Chooses the next token from logits, the same one on every platform.
//!
//! - [`Sampler`]: validated parameters and the state of the draw.
//! - [`TokenMask`]: which tokens a constraint allows.
//!
//! The steps, in this order: the mask; repeat, frequency and presence penalties; then greedy choice, or top-k,
//! top-p, min-p (each on the probabilities at temperature 1), temperature and the draw. Equal logits are ordered
//! by the lower token id. Exponentials are `libm`'s, sums are f64 in a fixed order, and the generator is
//! SplitMix64, so the choice is a function of logits, parameters and seed alone.

use std::cmp::Ordering;

use glasshouse_protocol::Sampling;

use crate::LlmError;

/// The largest number of recent tokens that penalties may look at: each choice sorts them once.
pub const MAXIMUM_REPEAT_LAST_N: u32 = 65_536;

/// A set of allowed tokens, one bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    /// Bit `id % 32` of word `id / 32`.
    words: Vec<u32>,
}

impl TokenMask {
    /// A mask from its words: bit `id % 32` of word `id / 32` says whether token `id` is allowed. What lies
    /// beyond the last word is not.
    pub fn from_words(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// Appends the logits of the allowed tokens to `allowed`, in order.
    pub(crate) fn select(&self, logits: &[f32], allowed: &mut Vec<f32>) {
        for (word, logits) in self.words.iter().zip(logits.chunks(32)) {
            // Grammars mostly allow nearly everything or nearly nothing.
            if *word == u32::MAX {
                allowed.extend_from_slice(logits);
                continue;
            }
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                allowed.extend(logits.get(bit));
                left &= left - 1;
            }
        }
    }

    /// Whether token `id` is allowed.
    pub fn allows(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }
}

/// A pseudo-random generator with 64 bits of state (SplitMix64: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// A token that may be chosen.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
}

/// The more probable first; of equals, the lower id.
fn by_logit(a: &Candidate, b: &Candidate) -> Ordering {
    // Logits were checked to be numbers, so the comparison is total; -0.0 and 0.0 count as equal.
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// Chooses tokens by one request's parameters.
#[derive(Debug, Clone)]
pub struct Sampler {
    parameters: Sampling,
    random: SplitMix64,
    /// Kept between choices to save the allocation; empty or stale.
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for `parameters`; `seed` counts when they carry none.
    ///
    /// # Errors
    /// [`LlmError::InvalidRequest`] for a parameter outside its range.
    pub fn new(parameters: &Sampling, seed: u64) -> Result<Self, LlmError> {
        validate(parameters)?;
        let random = SplitMix64(parameters.seed.unwrap_or(seed));
        Ok(Self { parameters: parameters.clone(), random, candidates: Vec::new() })
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
        self.penalize(&mut candidates, recent);
        let chosen = match candidates.iter().min_by(|a, b| by_logit(a, b)).copied() {
            None => Err(LlmError::NothingAllowed),
            Some(best) if self.parameters.temperature == 0.0 => Ok(best.id),
            Some(best) => {
                self.truncate(&mut candidates, best.logit);
                Ok(self.draw(&candidates, best))
            }
        };
        self.candidates = candidates;
        chosen
    }

    /// Lowers the logits of recent tokens. `candidates` are in ascending order of ids.
    fn penalize(&self, candidates: &mut [Candidate], recent: &[u32]) {
        let Sampling { repeat_penalty, frequency_penalty, presence_penalty, repeat_last_n, .. } =
            self.parameters;
        if (repeat_penalty, frequency_penalty, presence_penalty) == (1.0, 0.0, 0.0) {
            return;
        }
        let mut recent = recent[recent.len().saturating_sub(repeat_last_n as usize)..].to_vec();
        recent.sort_unstable();
        for occurrences in recent.chunk_by(|a, b| a == b) {
            let Ok(position) = candidates.binary_search_by_key(&occurrences[0], |candidate| candidate.id)
            else {
                continue;
            };
            let logit = &mut candidates[position].logit;
            *logit = if *logit > 0.0 { *logit / repeat_penalty } else { *logit * repeat_penalty };
            *logit -= occurrences.len() as f32 * frequency_penalty;
            *logit -= presence_penalty;
            // Extreme penalties overflow; the order of tokens is all that must remain.
            *logit = logit.clamp(f32::MIN, f32::MAX);
        }
    }

    /// Top-k, top-p and min-p. What remains is sorted by probability if top-k or top-p took part.
    fn truncate(&self, candidates: &mut Vec<Candidate>, best: f32) {
        let Sampling { top_k, top_p, min_p, .. } = self.parameters;
        if top_k > 0 {
            let count = (top_k as usize).min(candidates.len());
            sort_first(candidates, count);
            candidates.truncate(count);
        }
        if top_p < 1.0 {
            // The sum runs over the candidates in ascending id order when top-k is off, sorted when it is on.
            let total: f64 = candidates.iter().map(|candidate| weight(candidate.logit, best, 1.0)).sum();
            let wanted = f64::from(top_p) * total;
            let mut sorted = if top_k > 0 { candidates.len() } else { 0 };
            let mut sum = 0.0;
            let mut count = 0;
            while count < candidates.len() {
                if count == sorted {
                    // Doubling keeps the work near the size of the result instead of the vocabulary's.
                    sorted = (2 * sorted).max(64).min(candidates.len());
                    sort_first(candidates, sorted);
                }
                sum += weight(candidates[count].logit, best, 1.0);
                count += 1;
                if sum >= wanted {
                    break;
                }
            }
            candidates.truncate(count);
        }
        if min_p > 0.0 {
            candidates.retain(|candidate| weight(candidate.logit, best, 1.0) >= f64::from(min_p));
        }
    }

    /// Draws one of `candidates`, which hold `best`, with probabilities at the temperature.
    fn draw(&mut self, candidates: &[Candidate], best: Candidate) -> u32 {
        let temperature = f64::from(self.parameters.temperature);
        let total: f64 =
            candidates.iter().map(|candidate| weight(candidate.logit, best.logit, temperature)).sum();
        let target = self.random.unit() * total;
        let mut sum = 0.0;
        for candidate in candidates {
            sum += weight(candidate.logit, best.logit, temperature);
            if target < sum {
                return candidate.id;
            }
        }
        // `target < total` and `total` is the same sum, so this is reached only if rounding made them equal.
        best.id
    }
}

/// Brings the `count` most probable candidates to the front, sorted.
fn sort_first(candidates: &mut [Candidate], count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_logit);
    }
    candidates[..count].sort_unstable_by(by_logit);
}

/// The probability relative to that of a token with logit `best`, which is 1.
fn weight(logit: f32, best: f32, temperature: f64) -> f64 {
    libm::exp((f64::from(logit) - f64::from(best)) / temperature)
}

fn validate(parameters: &Sampling) -> Result<(), LlmError> {
    let Sampling { temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty, .. } =
        *parameters;
    // Written so that NaN fails each of them.
    let checks = [
        ("temperature", temperature, (0.0..=100.0).contains(&temperature), "between 0 and 100"),
        ("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"),
        ("min_p", min_p, (0.0..=1.0).contains(&min_p), "between 0 and 1"),
        (
            "repeat_penalty",
            repeat_penalty,
            (0.01..=100.0).contains(&repeat_penalty),
            "between 0.01 and 100; 1 turns it off",
        ),
        (
            "frequency_penalty",
            frequency_penalty,
            (-100.0..=100.0).contains(&frequency_penalty),
            "between -100 and 100; 0 turns it off",
        ),
        (
            "presence_penalty",
            presence_penalty,
            (-100.0..=100.0).contains(&presence_penalty),
            "between -100 and 100; 0 turns it off",
        ),
    ];
    for (name, value, valid, range) in checks {
        if !valid {
            return Err(LlmError::InvalidRequest {
                message: format!("{name} is {value}, but must be {range}"),
            });
        }
    }
    if parameters.repeat_last_n > MAXIMUM_REPEAT_LAST_N {
        return Err(LlmError::InvalidRequest {
            message: format!(
                "repeat_last_n is {}, but must be at most {MAXIMUM_REPEAT_LAST_N}",
                parameters.repeat_last_n
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(parameters: Sampling, logits: &[f32], recent: &[u32]) -> u32 {
        Sampler::new(&parameters, 7).unwrap().choose(logits, recent, None).unwrap()
    }

    fn mask(ids: &[u32]) -> TokenMask {
        let mut words = vec![0u32; 4];
        for id in ids {
            words[*id as usize / 32] |= 1 << (id % 32);
        }
        TokenMask::from_words(words)
    }

    #[test]
    fn greedy_takes_the_best_and_the_lowest_id_of_equals() {
        assert_eq!(choose(Sampling::default(), &[0.5, 2.0, 2.0, -1.0], &[]), 1);
        assert_eq!(choose(Sampling::default(), &[-0.0, 0.0], &[]), 0);
    }

    #[test]
    fn the_logits_of_allowed_tokens_are_selected_in_order() {
        let logits: Vec<f32> = (0..100).map(|id| id as f32).collect();
        for words in
            [vec![], vec![u32::MAX; 4], vec![u32::MAX], vec![0x8000_0001, 0, u32::MAX, 0xf], vec![6; 9]]
        {
            let mask = TokenMask::from_words(words);
            let mut allowed = Vec::new();
            mask.select(&logits, &mut allowed);
            let expected: Vec<f32> = (0..100).filter(|id| mask.allows(*id)).map(|id| id as f32).collect();
            assert_eq!(allowed, expected);
        }
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
    fn the_generator_is_splitmix64() {
        // First outputs for seed 1234567 of the reference implementation.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
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
            seed: u64,
        ) {
            let parameters = Sampling { temperature, top_k, top_p, min_p, repeat_penalty, ..Sampling::default() };
            let outcome = Sampler::new(&parameters, seed).unwrap().choose(&logits, &recent, Some(&mask(&allowed)));
            match outcome {
                Ok(id) => prop_assert!(allowed.contains(&id) && (id as usize) < logits.len()),
                Err(_) => prop_assert!(allowed.iter().all(|id| *id as usize >= logits.len())),
            }
        }

        #[test]
        fn partial_sorting_changes_nothing(logits in proptest::collection::vec(-3.0f32..3.0, 1..500), top_p in 0.01f32..1.0) {
            let parameters = Sampling { temperature: 1.0, top_p, ..Sampling::default() };
            let sampler = Sampler::new(&parameters, 0).unwrap();
            let mut candidates: Vec<Candidate> = (0u32..).zip(&logits).map(|(id, &logit)| Candidate { id, logit }).collect();
            let best = candidates.iter().min_by(|a, b| by_logit(a, b)).unwrap().logit;
            let total: f64 = candidates.iter().map(|candidate| weight(candidate.logit, best, 1.0)).sum();
            let mut sorted = candidates.clone();
            sorted.sort_by(by_logit);
            let mut sum = 0.0;
            let mut expected = Vec::new();
            for candidate in sorted {
                expected.push(candidate.id);
                sum += weight(candidate.logit, best, 1.0);
                if sum >= f64::from(top_p) * total { break; }
            }
            sampler.truncate(&mut candidates, best);
            prop_assert_eq!(candidates.iter().map(|candidate| candidate.id).collect::<Vec<_>>(), expected);
        }
    }
}
