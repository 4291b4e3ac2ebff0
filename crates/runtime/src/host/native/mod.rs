//! A native host: the pocket model is part of the program, models are mapped, directories can be mounted.

mod directories;
mod files;
mod process;

use std::time::{SystemTime, UNIX_EPOCH};

pub use files::{Files, Mount};
pub use process::{HostCallback, NativeHost};

/// The pocket model, a GGUF file; see `models/pocket`.
pub(crate) const BUILT_IN_MODEL: Option<&[u8]> =
    Some(include_bytes!("../../../../../models/pocket/pocket.gguf"));

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn unix_milliseconds() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |before| -before),
    }
}
