//! Reads small JSON objects field by field, so that an error names the field.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Map, Value};
use thiserror::Error;

/// What is wrong with a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// It is not JSON.
    #[error("not JSON: {message}")]
    NotJson {
        /// What the parser says, with line and column.
        message: String,
    },
    /// It is JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A field that must be there is not.
    #[error("the field `{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("the field `{field}` is not {expected}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A text is too long.
    #[error("the field `{field}` has more than {limit} bytes")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The limit, in bytes.
        limit: u32,
    },
    /// There is a field too many.
    #[error("the field `{field}` does not belong there")]
    Unknown {
        /// Its name, cut after 64 characters.
        field: String,
    },
}

/// The fields of an object that have not been taken.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses an object.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, FieldError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(FieldError::NotAnObject),
            Err(error) => Err(FieldError::NotJson { message: error.to_string() }),
        }
    }

    /// An object within another.
    pub(crate) fn of(value: Value, field: &'static str) -> Result<Self, FieldError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(FieldError::Wrong { field, expected: "an object" }),
        }
    }

    /// Whether there is such a field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Takes a field's value.
    pub(crate) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.0.remove(field)
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, field: &'static str) -> Result<Option<String>, FieldError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(FieldError::Wrong { field, expected: "a text" }),
        }
    }

    /// Takes a text of at most `limit` bytes.
    pub(crate) fn short_text(
        &mut self,
        field: &'static str,
        limit: u32,
    ) -> Result<Option<String>, FieldError> {
        let text = self.text(field)?;
        match text {
            Some(text) if text.len() as u64 > u64::from(limit) => Err(FieldError::TooLong { field, limit }),
            text => Ok(text),
        }
    }

    /// Takes a whole number of a type, which `expected` describes.
    pub(crate) fn number<T: TryFrom<i128>>(
        &mut self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, FieldError> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => number(&value).ok_or(FieldError::Wrong { field, expected }).map(Some),
        }
    }

    /// Takes a list.
    pub(crate) fn list(&mut self, field: &'static str) -> Result<Option<Vec<Value>>, FieldError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(FieldError::Wrong { field, expected: "a list" }),
        }
    }

    /// Takes a text that is one of some names.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        field: &'static str,
        names: &[(&str, T)],
        expected: &'static str,
    ) -> Result<Option<T>, FieldError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let found = value.as_str().and_then(|name| named(name, names));
        found.ok_or(FieldError::Wrong { field, expected }).map(Some)
    }

    /// Fails when a field was not taken: with the first by name, since the order of fields depends on how `serde_json` is
    /// built, and an error must be the same on every host.
    pub(crate) fn finish(self) -> Result<(), FieldError> {
        match self.0.into_iter().map(|(field, _)| field).min() {
            None => Ok(()),
            Some(field) => Err(FieldError::Unknown { field: field.chars().take(64).collect() }),
        }
    }
}

/// What a name stands for.
pub(crate) fn named<T: Copy>(name: &str, names: &[(&str, T)]) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// A whole number of a type.
pub(crate) fn number<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))?;
    T::try_from(number).ok()
}

/// The value of a field that must be there.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, FieldError> {
    value.ok_or(FieldError::Missing { field })
}
