//! What differs between the hosts of this crate, each under one name:
//!
//! - [`FileMap`]: a model file that the host reads as it is touched; [`PackedBytes`]: memory for repacked weights.
//! - [`Half`]: a number in half precision, as the host computes with it best.
//! - [`cores`]: how many threads are worth starting.
//! - [`with_deep_stack`], [`GRAMMAR_LIMITS`]: where the grammar compiler runs, and what that place bears.

#[cfg_attr(target_family = "wasm", path = "browser.rs")]
#[cfg_attr(not(target_family = "wasm"), path = "native.rs")]
mod this;

pub(crate) use this::{FileMap, GRAMMAR_LIMITS, Half, PackedBytes, cores, with_deep_stack};

/// How far a grammar may make its compiler recurse: stack is what it would run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrammarLimits {
    /// The deepest nesting of brackets.
    pub nesting: usize,
    /// The most rules: a rule that names a rule is a recursion too.
    pub rules: usize,
    /// The most references to definitions in a schema, for the same reason.
    pub references: usize,
}
