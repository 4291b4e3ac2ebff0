//! SQLite on a browser's origin-private file system: its files live in a pool of synchronous access handles.

use js_sys::Reflect;
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, install};
use wasm_bindgen::JsValue;

use crate::MemoryError;

/// The folder of the pool, beneath the origin's root.
const DIRECTORY: &str = "glasshouse/memory";
/// The database in the pool.
const FILE: &str = "memory.db";

/// Registers the pool as SQLite's default file system: the path of the database in it.
pub(crate) async fn prepare() -> Result<&'static str, MemoryError> {
    let configuration = OpfsSAHPoolCfgBuilder::new().directory(DIRECTORY).build();
    install::<WasmOsCallback>(&configuration, true)
        .await
        .map(|_| FILE)
        .map_err(|error| MemoryError::NoStorage { reason: reason(&error) })
}

fn reason(error: &OpfsSAHError) -> String {
    match error {
        OpfsSAHError::NotSupported => {
            "it offers no private files here (a private window, or a page that came neither over HTTPS nor from this \
             machine)"
                .into()
        }
        OpfsSAHError::Opfs { value, .. } => match name(value).as_deref() {
            Some("NoModificationAllowedError") => {
                "another tab has it open; close that tab and load this page again".into()
            }
            Some("QuotaExceededError") => {
                "the storage that it allows this page is used up; free some and load this page again".into()
            }
            Some("SecurityError" | "NotAllowedError") => "it does not allow this page to keep files".into(),
            _ => error.to_string(),
        },
        other => other.to_string(),
    }
}

/// The name of a JavaScript error.
fn name(error: &JsValue) -> Option<String> {
    Reflect::get(error, &JsValue::from_str("name")).ok()?.as_string()
}
