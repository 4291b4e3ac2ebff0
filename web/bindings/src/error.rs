//! Errors as JavaScript takes them.

use glasshouse_memory::MemoryError;
use glasshouse_runtime::RuntimeError;
use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// An `Error` with a `message` for people and a `code` for programs.
pub(crate) struct Thrown {
    code: String,
    message: String,
}

impl Thrown {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl From<RuntimeError> for Thrown {
    fn from(error: RuntimeError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<MemoryError> for Thrown {
    fn from(error: MemoryError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Thrown> for JsValue {
    fn from(thrown: Thrown) -> Self {
        let error = js_sys::Error::new(&thrown.message);
        // Setting a property of a fresh object cannot fail.
        let _ = Reflect::set(&error, &"code".into(), &thrown.code.into());
        error.into()
    }
}
