//! How much is tried: little by default, more for whoever asks.

use std::env;

/// The seeds of a run: from `GLASSHOUSE_PROOF_SEED` on (0), `usual` times `GLASSHOUSE_PROOF_EFFORT` (1) of them.
///
/// # Panics
/// When one of the two is set, but not to a number.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str, otherwise: u64| match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; it must be a whole number")),
        Err(_) => otherwise,
    };
    let first = number("GLASSHOUSE_PROOF_SEED", 0);
    first..first + usual * number("GLASSHOUSE_PROOF_EFFORT", 1)
}
