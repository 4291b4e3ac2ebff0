//! What an embedder uses: wires the engine and the services into a kernel, runs agents, records and replays.
//!
//! - [`Runtime`]: modules, tools and services; [`Runtime::ask`] runs the agent.
//! - [`Sandbox`], [`Process`]: single processes of any module, and the host's hand on their devices.
//! - [`Run`]: a run that is advanced a piece at a time, for hosts with one thread.
//! - [`RuntimeOptions`]: what to load and what to grant; [`RunOptions`]: seed, clock and limits of one run.
//! - `NativeHost`: what a process is given of this machine: standard streams, directories, extra functions.
//! - [`Observer`]: watches a run while it happens.
//! - [`replay()`]: runs a recorded event log again and compares every byte.
//! - [`builtin`]: the agent and the tools that are built in.
//!
//! What the host contributes to a run (time, files, memory, a stop) enters the kernel only as recorded inputs.

pub mod builtin;
mod driver;
mod error;
mod host;
mod model;
mod modules;
mod observer;
mod replay;
mod run;
mod runtime;
mod sandbox;
pub mod services;
mod trace;

pub use error::RuntimeError;
pub use glasshouse_engine::HostConfig;
#[cfg(not(target_arch = "wasm32"))]
pub use host::{Files, HostCallback, Mount, NativeHost};
pub use model::{HashedModel, ModelSource};
pub use modules::Modules;
pub use observer::{Observer, Unobserved};
pub use replay::{ReplayOptions, ReplayReport, replay};
pub use run::Run;
pub use runtime::{
    AskOptions, RunOptions, Runtime, RuntimeOptions, agent_limits, agent_outcome, defaults, process_limits,
};
pub use sandbox::{CallEnd, Process, ProcessOptions, Sandbox};
pub use services::{Clock, FileSystem, NoFiles};
