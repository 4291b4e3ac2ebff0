//! How a process ended.

use core::fmt;

use glasshouse_devices::TrapKind;
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, Serialize};

use crate::Fuel;

/// Why a process ended. The order of the variants is part of the trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitReason {
    /// It returned a result.
    Finished,
    /// It returned an error, broke the protocol, or used more than a limit that has no reason of its own.
    Failed,
    /// The host, or the end of the process that called it, stopped it.
    Killed,
    /// The engine stopped it.
    Trapped,
    /// Its fuel is used up.
    OutOfFuel,
    /// It needs more memory than it may have.
    OutOfMemory,
    /// The host stopped it because its time was over.
    Deadline,
    /// The guard stopped it.
    Halted,
    /// It ended itself with this exit code, which is not 0.
    Exited(i32),
}

impl ExitReason {
    /// The exit code: 0 for a result, 1 for a failure, and for the rest what a shell shows for the signal that is
    /// nearest in meaning.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Finished => 0,
            Self::Failed => 1,
            Self::Trapped => 134,     // SIGABRT
            Self::Killed => 137,      // SIGKILL
            Self::OutOfMemory => 139, // SIGSEGV
            Self::Deadline => 142,    // SIGALRM
            Self::Halted => 143,      // SIGTERM
            Self::OutOfFuel => 152,   // SIGXCPU
            Self::Exited(code) => code,
        }
    }

    /// A stable `snake_case` name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Trapped => "trapped",
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::Deadline => "deadline",
            Self::Halted => "halted",
            Self::Exited(_) => "exited",
        }
    }

    /// Whether a process that ends so is in the state `Error`; else it is `Stopped`.
    #[must_use]
    pub fn is_error(self) -> bool {
        match self {
            Self::Finished | Self::Killed | Self::Halted | Self::Exited(_) => false,
            Self::Failed | Self::Trapped | Self::OutOfFuel | Self::OutOfMemory | Self::Deadline => true,
        }
    }

    /// Whether a host may end a process for this reason.
    #[must_use]
    pub fn is_kill(self) -> bool {
        matches!(self, Self::Killed | Self::Deadline | Self::Halted)
    }

    /// The reason that a trap amounts to.
    #[must_use]
    pub fn of_trap(kind: TrapKind) -> Self {
        match kind {
            TrapKind::OutOfFuel => Self::OutOfFuel,
            TrapKind::OutOfMemory => Self::OutOfMemory,
            TrapKind::Interrupted => Self::Killed,
            TrapKind::Deadline => Self::Deadline,
            _ => Self::Trapped,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a process ended, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// See [`ExitReason::exit_code`].
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// The result as JSON if it finished, and else what went wrong.
    pub result: Result<Vec<u8>, ErrorData>,
    /// Fuel that it used, that of the tools it called included.
    pub fuel_used: u64,
}

impl Exit {
    pub(crate) fn finished(result: Vec<u8>, fuel_used: Fuel) -> Self {
        Self { code: 0, reason: ExitReason::Finished, result: Ok(result), fuel_used: fuel_used.0 }
    }

    pub(crate) fn failed(reason: ExitReason, error: ErrorData, fuel_used: Fuel) -> Self {
        Self { code: reason.exit_code(), reason, result: Err(error), fuel_used: fuel_used.0 }
    }
}
