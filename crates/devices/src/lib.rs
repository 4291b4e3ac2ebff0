//! What one process sees of the world, and the vocabulary of its steps.
//!
//! - [`Context`]: the private devices of a process: virtual clock, random stream, log, events. It lives as long as
//!   the process; whoever runs the process sets the clock before each step.
//! - [`ContextLimits`]: how much a step may log and emit.
//! - [`StepCall`]: what a step runs; [`StepReport`]: what became of it: [`StepOutcome`], fuel, memory, [`LogLine`]s, events.
//! - [`Setup`]: what the devices start with; [`DeviceInput`]: what a host does to them between steps.
//! - [`TrapKind`]: why a step was stopped.
//! - [`DeviceError`]: a misuse of a device by the guest.
//! - [`HostFunction`], [`functions`]: the functions that a guest may import, which every engine binds; [`Guest`], [`Call`] and
//!   [`Stop`] are what their code is written against.
//!
//! **Invariant:** nothing here reads a clock, an entropy source or a file of the host. Two contexts with the same
//! seed, clock and calls give the same bytes everywhere.
//!
//! Every data type is `serde`-encodable without maps, untagged enums or optional fields, so that a self-describing
//! format and a compact one such as postcard both carry it.

#![no_std]

extern crate alloc;

mod context;
mod import;
mod own;
mod setup;
mod step;

pub use context::{Context, ContextLimits, DeviceError, LOG_LEVEL_MAXIMUM, RandomSeed};
pub use import::{Call, FUEL_PER_BYTE, Guest, Handler, HostFunction, Stop, ValueType, find, functions};
pub use own::MODULE;
pub use setup::{DeviceInput, MountPoint, Setup};
pub use step::{DeviceReport, LogLine, StepCall, StepOutcome, StepReport, TrapKind};
