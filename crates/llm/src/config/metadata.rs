//! Numbers of a model's metadata, each checked when it is read.

use std::fmt::Display;

use crate::LlmError;
use crate::architecture::Architecture;
use crate::gguf::Gguf;

/// The metadata of one model, whose keys begin with its architecture's name.
pub(super) struct Metadata<'a> {
    pub gguf: &'a Gguf,
    pub architecture: &'static Architecture,
}

impl Metadata<'_> {
    /// The whole key that ends in `suffix`.
    pub fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture.name)
    }

    /// The error for a value that cannot be.
    pub fn wrong(&self, suffix: &str, expected: impl Into<String>, found: impl Display) -> LlmError {
        LlmError::WrongValue { key: self.key(suffix), expected: expected.into(), found: found.to_string() }
    }

    fn bounded(&self, suffix: &str, value: u32, maximum: u32) -> Result<usize, LlmError> {
        if value == 0 || value > maximum {
            return Err(self.wrong(suffix, format!("a number from 1 to {maximum}"), value));
        }
        Ok(value as usize)
    }

    /// A number from 1 to `maximum`.
    pub fn count(&self, suffix: &str, maximum: u32) -> Result<usize, LlmError> {
        self.bounded(suffix, self.gguf.u32(&self.key(suffix))?, maximum)
    }

    /// A number from 1 to `maximum`, if there is one.
    pub fn optional_count(&self, suffix: &str, maximum: u32) -> Result<Option<usize>, LlmError> {
        let value = self.gguf.get_u32(&self.key(suffix))?;
        value.map(|value| self.bounded(suffix, value, maximum)).transpose()
    }

    /// A number from 1 to `maximum` that is the same for all of `layers`; files may have it once or for each layer.
    pub fn layer_count(&self, suffix: &str, maximum: u32, layers: usize) -> Result<Option<usize>, LlmError> {
        let key = self.key(suffix);
        if !self.gguf.is_array(&key) {
            return self.optional_count(suffix, maximum);
        }
        let values = self.gguf.i32s(&key)?;
        if values.len() != layers {
            return Err(self.wrong(
                suffix,
                format!("a number for each of the {layers} layers"),
                values.len(),
            ));
        }
        let first = values[0];
        if let Some(other) = values.iter().find(|value| **value != first) {
            return Err(LlmError::Unsupported(format!(
                "the model has layers of different shape (`{key}` is {first} for one and {other} for another), which is \
                 not supported"
            )));
        }
        self.bounded(suffix, u32::try_from(first).unwrap_or(0), maximum).map(Some)
    }

    /// A number that is finite and more than 0, if there is one.
    pub fn positive(&self, suffix: &str) -> Result<Option<f32>, LlmError> {
        self.finite(suffix, "a positive number", |value| value > 0.0)
    }

    /// A number that is finite and not negative; 0 means that there is none.
    pub fn positive_unless_zero(&self, suffix: &str) -> Result<Option<f32>, LlmError> {
        let value = self.finite(suffix, "a positive number, or 0 for none", |value| value >= 0.0)?;
        Ok(value.filter(|value| *value > 0.0))
    }

    fn finite(
        &self,
        suffix: &str,
        expected: &str,
        is_expected: impl Fn(f32) -> bool,
    ) -> Result<Option<f32>, LlmError> {
        match self.gguf.get_f32(&self.key(suffix))? {
            Some(value) if !(value.is_finite() && is_expected(value)) => {
                Err(self.wrong(suffix, expected, value))
            }
            value => Ok(value),
        }
    }
}
