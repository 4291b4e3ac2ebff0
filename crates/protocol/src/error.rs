//! Errors as data: what crosses a process boundary when something failed.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

/// An error that crossed a process boundary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ErrorData {
    /// Stable, `snake_case`; programs match on it (`capability_denied`, `not_found`, …).
    pub code: String,
    /// One sentence that a person can act on.
    pub message: String,
    /// What caused it, outermost first; empty when there is nothing more to say.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The place in the source that failed, as `file:line:column`, where that is known.
    #[serde(default)]
    pub location: Option<String>,
}

impl ErrorData {
    /// An error with no source chain.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), sources: Vec::new(), location: None }
    }

    /// Wraps a Rust error: its message, and the messages of its `source()` chain.
    pub fn from_error(code: impl Into<String>, error: &dyn core::error::Error) -> Self {
        let mut sources = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            sources.push(alloc::format!("{error}"));
            cause = error.source();
        }
        Self { code: code.into(), message: alloc::format!("{error}"), sources, location: None }
    }
}

impl Serialize for ErrorData {
    /// In JSON, no location is no field. Formats that do not name fields have it always.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let located = self.location.is_some() || !serializer.is_human_readable();
        let mut fields = serializer.serialize_struct("ErrorData", 3 + usize::from(located))?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("sources", &self.sources)?;
        if located {
            fields.serialize_field("location", &self.location)?;
        }
        fields.end()
    }
}

impl fmt::Display for ErrorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.location {
            Some(location) => write!(f, " ({location})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for ErrorData {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_location_is_a_field_only_where_there_is_one() {
        let mut error = ErrorData::new("guest_panic", "index out of bounds");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"guest_panic","message":"index out of bounds","sources":[]}"#
        );
        error.location = Some("src/lib.rs:3:14".into());
        let json = serde_json::to_string(&error).unwrap();
        assert!(json.ends_with(r#""sources":[],"location":"src/lib.rs:3:14"}"#), "{json}");
        assert_eq!(serde_json::from_str::<ErrorData>(&json).unwrap(), error);
        assert_eq!(error.to_string(), "index out of bounds (src/lib.rs:3:14)");
    }

    #[test]
    fn a_format_without_field_names_carries_every_error() {
        for location in [None, Some("src/lib.rs:3:14".into())] {
            let error = ErrorData { location, ..ErrorData::new("guest_panic", "x") };
            let bytes = postcard::to_allocvec(&error).unwrap();
            assert_eq!(postcard::from_bytes::<ErrorData>(&bytes).unwrap(), error);
        }
    }
}
