//! A browser's worker: the page fetches the model, there are no paths, and the clock is JavaScript's.

use std::path::Path;

use glasshouse_llm::{LlmError, gguf::Gguf};

/// None: the page fetches the pocket model like any other, so that it is kept once.
pub(crate) const BUILT_IN_MODEL: Option<&[u8]> = None;

pub(crate) fn open_model(path: &Path) -> Result<Gguf, LlmError> {
    let source = std::io::Error::other("a browser has no files by path; load the file's bytes");
    Err(LlmError::Open { path: path.to_owned(), source })
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn unix_milliseconds() -> i64 {
    js_sys::Date::now() as i64
}
