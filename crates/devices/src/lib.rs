//! What one process sees of the world, and the vocabulary of its steps.
//!
//! - [`Context`]: the private devices of a process: virtual clock, random stream, log, events. It lives as long as
//!   the process; whoever runs the process sets the clock before each step.
//! - [`ContextLimits`]: how much a step may log and emit.
//! - [`StepCall`]: what a step runs; [`StepReport`]: what became of it: [`StepOutcome`], fuel, memory, [`LogLine`]s, events.
//! - [`TrapKind`]: why a step was stopped.
//! - [`DeviceError`]: a misuse of a device by the guest.
//! - [`HostFunction`], [`functions`]: the functions that a guest may import, which every engine binds; [`Guest`], [`Call`] and
//!   [`Stop`] are what their code is written against.
//! - [`Host`]: what the host contributes during a step and observes: [`FileRequest`], [`FileAnswer`], [`OutputStream`];
//!   every [`HostAnswer`] is recorded, and a recording takes the host's place.
//! - [`FileLimits`], [`FileReport`], [`Metadata`], [`FileError`]: the files of a process; [`StdioLimits`], [`OutputReport`]: its
//!   standard streams. Programs use both through WASI preview 1.
//!
//! **Invariant:** nothing here reads a clock, an entropy source or a file of the host. Two contexts with the same
//! seed, clock and calls give the same bytes everywhere.
//!
//! Every data type is `serde`-encodable without maps, untagged enums or optional fields, so that a self-describing
//! format and a compact one such as postcard both carry it.

#![no_std]

extern crate alloc;

mod context;
mod files;
mod host;
mod import;
mod own;
mod stdio;
mod step;
mod wasi;

pub use context::{Context, ContextLimits, DeviceError, LOG_LEVEL_MAXIMUM, RandomSeed};
pub use files::{
    DirectoryItem, FileAccess, FileError, FileKind, FileLimits, FileOperation, FileReport, Metadata,
    SavedContent, SavedDescriptor, SavedFiles, SavedNode, SavedObject, TimeChange,
};
pub use host::{
    FileAnswer, FileRequest, HOST_MODULE, Host, HostAnswer, HostLimits, OpenOptions, OutputStream,
};
pub use import::{Call, FUEL_PER_BYTE, Guest, Handler, HostFunction, Stop, ValueType, find, functions};
pub use own::MODULE;
pub use stdio::{OutputReport, StdioLimits};
pub use step::{DeviceReport, LogLine, StepCall, StepOutcome, StepReport, TrapKind};
pub use wasi::WASI_MODULE;
