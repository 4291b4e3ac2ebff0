//! What differs between a native host and a browser's tab; everything else in this crate is one source for both.
//!
//! Each side gives the same names:
//! - `BUILT_IN_MODEL`: the model that travels with the program, if there is one.
//! - `unix_milliseconds`: the wall clock.
//!
//! The native side has [`Files`] and [`Mount`] as well: directories of the host that processes may be granted;
//! and [`NativeHost`]: what a process is given of this machine while it computes.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{BUILT_IN_MODEL, unix_milliseconds};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{BUILT_IN_MODEL, unix_milliseconds};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{Files, HostCallback, Mount, NativeHost};
