//! Rewrites modules so that every host runs them alike, and runs their steps.
//!
//! - [`rewrite::rewrite`]: the pass that every module goes through: validation, metering, bounded recursion.
//! - [`abi`]: the names and types that a module and a host agree on.
//! - [`Machine`]: compiles and instantiates modules; [`Instance`]: runs the steps of one process.
//! - [`InstanceLimits`]: how much one instance may use.
//! - `native::Wasmtime`: the machine of native hosts.
//! - [`describe_tools`]: what tools a module offers, read without running it.
//! - [`ModuleError`]: why a module cannot run.
//!
//! **Invariant:** whatever a module does when it runs, a step ends with a report: never a panic, never a wait without
//! end. And the report (outcome, fuel, memory, log, events) depends on the module, the call and the context alone.
//!
//! Everything but `native` also builds for `wasm32`, where the browser's own engine runs the rewritten bytes.

pub mod abi;
mod error;
mod machine;
pub mod rewrite;
mod tools;

#[cfg(not(target_arch = "wasm32"))]
pub mod native;

pub use error::ModuleError;
pub use machine::{Instance, InstanceLimits, Machine, PAGE_BYTES};
pub use tools::describe_tools;
