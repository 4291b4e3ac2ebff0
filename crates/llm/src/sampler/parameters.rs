//! Which parameters can be used.

use glasshouse_protocol::{Dry, Mirostat, Sampling, SamplingStep, Xtc};

use crate::LlmError;

/// The largest number of recent tokens that penalties may look at: each choice sorts them once.
pub const MAXIMUM_REPEAT_LAST_N: u32 = 65_536;

/// The most biases: each is looked up at every choice.
const MAXIMUM_BIASES: usize = 4096;

/// The most sequence breakers, and the longest: each is searched for in every text of the vocabulary.
const MAXIMUM_BREAKERS: usize = 64;
const MAXIMUM_BREAKER_BYTES: usize = 256;

/// Fails when a parameter is outside its range.
pub(super) fn validate(parameters: &Sampling) -> Result<(), LlmError> {
    let Sampling { temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty, .. } =
        *parameters;
    // Written so that NaN fails each of them.
    let mut checks = vec![
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
    let typical_p = parameters.typical_p;
    checks.push(("typical_p", typical_p, typical_p > 0.0 && typical_p <= 1.0, "above 0 and at most 1"));
    if let Some(Xtc { probability, threshold }) = parameters.xtc {
        let unit = 0.0..=1.0;
        checks.push(("xtc.probability", probability, unit.contains(&probability), "between 0 and 1"));
        checks.push(("xtc.threshold", threshold, unit.contains(&threshold), "between 0 and 1"));
    }
    if let Some(Mirostat { tau, eta }) = parameters.mirostat {
        checks.push(("mirostat.tau", tau, tau > 0.0 && tau <= 100.0, "above 0 and at most 100"));
        checks.push(("mirostat.eta", eta, eta > 0.0 && eta <= 10.0, "above 0 and at most 10"));
    }
    if let Some(Dry { multiplier, base, .. }) = parameters.dry {
        checks.push((
            "dry.multiplier",
            multiplier,
            (0.0..=100.0).contains(&multiplier),
            "between 0 and 100; 0 turns it off",
        ));
        checks.push(("dry.base", base, (1.0..=10.0).contains(&base), "between 1 and 10"));
    }
    for bias in &parameters.logit_bias {
        let valid = (-100.0..=100.0).contains(&bias.bias);
        checks.push(("a logit bias", bias.bias, valid, "between -100 and 100"));
    }
    for (name, value, valid, range) in checks {
        if !valid {
            return refused(format!("{name} is {value}, but must be {range}"));
        }
    }
    validate_counts(parameters)
}

fn validate_counts(parameters: &Sampling) -> Result<(), LlmError> {
    let Sampling { repeat_last_n, logit_bias, order, .. } = parameters;
    let mut lengths = vec![("repeat_last_n", *repeat_last_n)];
    if let Some(dry) = &parameters.dry {
        lengths.push(("dry.last_n", dry.last_n));
        if dry.allowed_length == 0 {
            return refused("dry.allowed_length is 0, but must be at least 1".to_string());
        }
        let breakers = &dry.sequence_breakers;
        let too_long = |text: &String| text.is_empty() || text.len() > MAXIMUM_BREAKER_BYTES;
        if breakers.len() > MAXIMUM_BREAKERS || breakers.iter().any(too_long) {
            return refused(format!(
                "dry.sequence_breakers must be at most {MAXIMUM_BREAKERS} texts of 1 to {MAXIMUM_BREAKER_BYTES} bytes"
            ));
        }
    }
    for (name, length) in lengths {
        if length > MAXIMUM_REPEAT_LAST_N {
            return refused(format!("{name} is {length}, but must be at most {MAXIMUM_REPEAT_LAST_N}"));
        }
    }
    if logit_bias.len() > MAXIMUM_BIASES {
        return refused(format!(
            "there are {} logit biases, but at most {MAXIMUM_BIASES} are allowed",
            logit_bias.len()
        ));
    }
    let mut named: Vec<SamplingStep> = order.clone();
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("the sampling order names a step twice; name each at most once".to_string());
    }
    Ok(())
}

fn refused(message: String) -> Result<(), LlmError> {
    Err(LlmError::InvalidRequest { message })
}
