//! Errors as data: what crosses a process boundary when something failed.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

/// An error that crossed a process boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// Stable, `snake_case`; programs match on it (`capability_denied`, `not_found`, …).
    pub code: String,
    /// One sentence that a person can act on.
    pub message: String,
    /// What caused it, outermost first; empty when there is nothing more to say.
    #[serde(default)]
    pub sources: Vec<String>,
}

impl ErrorData {
    /// An error with no source chain.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), sources: Vec::new() }
    }

    /// Wraps a Rust error: its message, and the messages of its `source()` chain.
    pub fn from_error(code: impl Into<String>, error: &dyn core::error::Error) -> Self {
        let mut sources = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            sources.push(alloc::format!("{error}"));
            cause = error.source();
        }
        Self { code: code.into(), message: alloc::format!("{error}"), sources }
    }
}

impl fmt::Display for ErrorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ErrorData {}
