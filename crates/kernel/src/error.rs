//! Why the kernel refuses an input.

use thiserror::Error;

use crate::{Bytes, ExitReason, Fuel, ProcessId, RequestId};

/// An input that makes no sense in the present state. The kernel is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// No process ever had this id.
    #[error("there is no process {0}")]
    UnknownProcess(ProcessId),
    /// A step is reported that was not asked for.
    #[error("process {0} is not running a step, so no step of it can finish")]
    NotStepping(ProcessId),
    /// A process can be called, and its devices acted on, only when it is idle.
    #[error("process {0} is not idle: it runs a call, or it is not a resident one")]
    NotIdle(ProcessId),
    /// A step of the process is running, and its devices are in use.
    #[error("process {0} is running a step; its devices can be acted on when it is done")]
    Busy(ProcessId),
    /// A request is answered that nobody waits for: it was never made, or it was answered before.
    #[error("nobody waits for an answer to request {0}")]
    NotWaiting(RequestId),
    /// A step reports more fuel than it was given.
    #[error("the step of process {process} reports {reported} units of fuel, but it was given {given}")]
    FuelOverdrawn {
        /// The process.
        process: ProcessId,
        /// What the step was given.
        given: Fuel,
        /// What the report says.
        reported: Fuel,
    },
    /// A host may not end a process for this reason.
    #[error("a process cannot be killed for the reason {0}; use killed, deadline or halted")]
    NotAKill(ExitReason),
    /// Two tools may not have one name.
    #[error("a tool named {0} is registered already")]
    DuplicateTool(String),
    /// A tool's name is what a model writes: `[a-z][a-z0-9_]*`, [`crate::MAX_NAME_BYTES`] at most.
    #[error("{0:?} cannot name a tool; use small letters, digits and underscores, a letter first")]
    BadToolName(String),
    /// The payload is longer than [`crate::MAX_MESSAGE_BYTES`].
    #[error("a payload of {length} bytes is more than the {limit} that a process may be given at once")]
    PayloadTooLarge {
        /// Its length.
        length: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// [`crate::KernelConfig::processes`] are living.
    #[error("{limit} processes are running, which is the limit; wait until one ends")]
    TooManyProcesses {
        /// The limit.
        limit: u32,
    },
    /// The bytes are no snapshot of this version.
    #[error("the snapshot cannot be read: {0}")]
    BadSnapshot(String),
}
