//! The SDK for code that runs inside a process: async entries, typed requests, devices, tool descriptions.
//!
//! - [`entry!`]: exports an `async fn(Arguments) -> Result<Output, ErrorData>` as an entry of the module.
//! - [`host_args`], [`return_ok`], [`return_err`], [`raw`]: entries without the executor, typed and in bytes.
//! - [`tools!`]: exports such functions as tools, with the descriptions that hosts read from the module.
//! - [`model`], [`mod@tools`], [`files`], [`memory`], [`clock`]: the services, one `async fn` per request.
//! - [`devices`], [`clock_now`], [`random_fill`], [`emit`], [`log`](crate::log()): the process's own devices; they answer
//!   at once.
//! - [`host_externs!`]: declares functions that the embedder of the host adds.
//! - [`arena`]: memory for what lives within one step.
//! - `testing` (not on wasm): an in-memory host that drives an entry in ordinary tests.
//!
//! A whole tool module:
//!
//! ```
//! use glasshouse_guest::{ErrorData, tools};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Greet {
//!     name: String,
//! }
//!
//! async fn greet(arguments: Greet) -> Result<String, ErrorData> {
//!     Ok(format!("Hello, {}.", arguments.name))
//! }
//!
//! tools! {
//!     greet {
//!         description: "Greets a person.",
//!         parameters: r#"{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}"#,
//!         services: [],
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # How `.await` leaves the process
//!
//! A step runs from a call of the host to its return; between steps a process is only its memory. The executor keeps
//! the entry's future there. A request that is awaited is queued; when the future can get no further, the step returns
//! the oldest queued request, and `gh_resume` brings its answer with the next step.
//!
//! ```text
//! host                                   guest
//! gh_allocate(n)            ──────────▶  makes room in the call buffer
//! entry(pointer, n)         ──────────▶  decodes, polls ... awaits a request
//!                           ◀──────────  envelope with EXPECTS_RESPONSE
//! gh_allocate(m), gh_resume ──────────▶  delivers the answer, polls on ... done
//!                           ◀──────────  envelope with the result, or with ERROR
//! ```
//!
//! Invariant: one future at a time. An entry that is called while another waits answers with an error and leaves the
//! waiting one alone. Both call buffers and the arena are reused by every step, so calls do not grow the memory.
//!
//! A panic ends the step, and the host receives it as an error with the code `guest_panic`, the message, and the place in
//! the source.
//!
//! Feature `lz4`: what the guest says is compressed from 16 KiB on, where that makes it shorter. Feature `aead`:
//! [`envelope`] has what encrypts, for the byte level. A process is given its key like any input, by whoever it is to
//! speak with.

pub mod arena;
mod buffers;
pub mod devices;
mod executor;
mod externs;
mod levels;
mod macros;
mod panics;
mod services;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use devices::{Level, clock_now, emit, emit_bytes, log, random_fill};
pub use executor::request;
pub use levels::{host_args, raw, return_err, return_ok};
pub use services::{clock, files, memory, model, tools};

pub use glasshouse_envelope as envelope;
pub use glasshouse_protocol as protocol;
pub use glasshouse_protocol::ErrorData;

/// The version of the contract between a module and its host, which every module built with the SDK carries in its
/// custom section `glasshouse.abi`.
pub const ABI_VERSION: u32 = 1;

/// What the macros use; not for guests to call.
#[doc(hidden)]
pub mod internal {
    pub use crate::externs::call_host;

    #[cfg(target_arch = "wasm32")]
    pub use crate::buffers::begin;
}
