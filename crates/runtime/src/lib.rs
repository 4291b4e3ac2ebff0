//! What an embedder uses: wires the engine and the services into a kernel, runs agents, records and replays.
//!
//! - [`Runtime`]: modules, tools and services; [`Runtime::ask`] runs the agent, [`Runtime::call`] any module.
//! - [`RuntimeOptions`]: what to load, what to grant, how much to allow.
//! - [`Observer`]: watches a run while it happens.
//! - [`replay()`]: runs a recorded event log again and compares every byte.
//! - [`builtin`]: the agent, the tools and the model that are built in.
//!
//! What the host contributes to a run (time, files, memory, a stop) enters the kernel only as recorded inputs.

pub mod builtin;
mod driver;
mod error;
mod model;
mod modules;
mod observer;
mod replay;
mod runtime;
pub mod services;
mod trace;

pub use error::RuntimeError;
pub use model::ModelSource;
pub use modules::Modules;
pub use observer::{Observer, Unobserved};
pub use replay::{ReplayOptions, ReplayReport, replay};
pub use runtime::{AskOptions, Runtime, RuntimeOptions};
pub use services::{Clock, Mount};
