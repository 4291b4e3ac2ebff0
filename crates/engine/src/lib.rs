//! Rewrites modules so that every host runs them alike, and runs their steps.
//!
//! - [`rewrite::rewrite`]: the pass that every module goes through: validation, metering, bounded recursion and growth,
//!   settled NaNs.
//! - [`abi`]: the names and types that a module and a host agree on.
//! - [`Machine`]: compiles and instantiates modules; [`Instance`]: runs the steps of one process.
//! - [`InstanceLimits`]: how much one instance may use; [`StepLimits`] and [`Interrupt`]: how much one step.
//! - [`Snapshot`] and [`SavedProcess`]: a process between two steps, to be restored and forked, or to be kept.
//! - [`HostMachine`]: the machine of this host: `native::Wasmtime`, or `browser::BrowserMachine` on `wasm32`.
//! - [`HostConfig`]: how that is set up: `native::EngineConfig`, or [`rewrite::RewriteConfig`] on `wasm32`.
//! - [`inspect()`]: what a module is and needs, read without running it.
//! - [`describe_tools`]: what tools a module offers, read without running it.
//! - [`signature::verify`]: whether a module was signed with a key.
//! - [`ModuleError`]: why a module cannot run; [`SnapshotError`]: why a saved process cannot continue.
//!
//! What a step does (`step`), when it gets fuel (`budget`), what is kept of it (`snapshot`) and how a stopped one is
//! described (`trap`) is written once, as is what the functions do that a guest imports (`glasshouse_devices`); an engine
//! only gives calls, memory, tables and globals.
//!
//! **Invariant:** whatever a module does when it runs, a step ends with a report: never a panic, never a wait without
//! end. And the report (outcome, fuel, memory, log, events) depends on the module, the call and the context alone: not
//! on the machine that runs it.

pub mod abi;
mod budget;
mod error;
mod inspect;
mod machine;
pub mod rewrite;
pub mod signature;
pub mod snapshot;
mod step;
mod tools;
mod trap;

#[cfg(target_arch = "wasm32")]
pub mod browser;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;

#[cfg(target_arch = "wasm32")]
pub use browser::BrowserMachine as HostMachine;
pub use budget::{Interrupt, Interruption, SLICE, StepLimits};
pub use error::ModuleError;
pub use inspect::{Export, Import, Inspection, Memory, ModuleKind, inspect};
pub use machine::{DEFAULT_FUEL, Instance, InstanceLimits, Machine, PAGE_BYTES};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{EngineConfig as HostConfig, Wasmtime as HostMachine};
#[cfg(target_arch = "wasm32")]
pub use rewrite::RewriteConfig as HostConfig;
pub use snapshot::{SavedProcess, Snapshot, SnapshotError};
pub use tools::describe_tools;
