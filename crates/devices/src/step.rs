//! The vocabulary of a step: what it runs and what became of it.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{DeviceEvent, FileReport, HostAnswer, OutputReport};

/// What one step of a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepCall {
    /// The first step: calls the exported function `entry`.
    Start {
        /// Name of the exported function.
        entry: String,
        /// The input, an encoded envelope.
        input: Vec<u8>,
    },
    /// Every later step: hands the answer of the last request to the guest's `gh_resume`.
    Resume {
        /// The answer, an encoded envelope.
        input: Vec<u8>,
    },
}

impl StepCall {
    /// The envelope that the step receives.
    pub fn input(&self) -> &[u8] {
        match self {
            Self::Start { input, .. } | Self::Resume { input } => input,
        }
    }
}

/// What a step did, in full: everything an observer may see of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepReport {
    /// How it ended.
    pub outcome: StepOutcome,
    /// Fuel that it used; never more than it was given. Exact and equal on every host, for trapped steps too.
    pub fuel_used: u64,
    /// Size of the process's linear memory after the step, in bytes.
    pub memory_bytes: u64,
    /// Lines that the step logged, in order.
    pub logs: Vec<LogLine>,
    /// Events that the step emitted, in order; JSON by convention, not checked here.
    pub events: Vec<Vec<u8>>,
    /// What else its devices did.
    pub devices: DeviceReport,
}

/// What the devices of a process did in one step, beside its log and its events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What happened, in order.
    pub events: Vec<DeviceEvent>,
    /// Events over [`crate::ContextLimits::device_events`], which are not among them.
    pub events_dropped: u64,
    /// What the host answered, in order: what [`Context::replay`](crate::Context::replay) answers from.
    pub answers: Vec<HostAnswer>,
    /// What was written to standard output.
    pub output: OutputReport,
    /// What was written to standard error.
    pub error: OutputReport,
    /// Which files were used.
    pub files: FileReport,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepOutcome {
    /// The guest returned these bytes. They are what lay at the returned location: an encoded envelope if the
    /// guest behaves, which the receiver checks.
    Returned(Vec<u8>),
    /// The step was stopped; the process cannot run another.
    Trapped {
        /// Why.
        kind: TrapKind,
        /// One sentence for a person. Equal on every host.
        message: String,
    },
    /// The guest ended its process by itself, with this exit code: 0 when a command's `_start` returned.
    Exited {
        /// The exit code; 0 when it ended as it should.
        code: u32,
    },
    /// The guest gave up and said why, as a panic does.
    Failed {
        /// An error object of the protocol as JSON; not checked here.
        error: Vec<u8>,
    },
}

/// Why a step was stopped. The order of the variants is part of the trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrapKind {
    /// The fuel of the step was used up.
    OutOfFuel,
    /// The module needs more memory, or larger tables, than the process may have. A `memory.grow` over the limit
    /// does not end here: it answers -1, as the specification says.
    OutOfMemory,
    /// `unreachable` was executed: in most guests a panic.
    Unreachable,
    /// A load, store, copy, fill or initialisation outside of memory or of a table; `call_indirect` outside of a table.
    OutOfBounds,
    /// More nested calls than a process may make.
    StackOverflow,
    /// An integer division by zero.
    DivideByZero,
    /// An integer division, or a conversion to an integer, whose result does not fit; a NaN fits none.
    IntegerOverflow,
    /// `call_indirect` through an empty table slot, or with the wrong signature.
    IndirectCall,
    /// The guest's `gh_allocate` or entry returned a location outside of its memory, or an output over the limit.
    MalformedResult,
    /// The module exports no such entry, or not with the signature `(i32, i32) -> i64`; for `_start` that is `() -> ()`.
    MissingEntry,
    /// A device was misused: a bad location, a bad log level, too many events.
    DeviceFailure,
    /// The process had trapped or ended before; nothing was run.
    Poisoned,
    /// The engine failed for a reason of its own.
    Engine,
    /// The host interrupted the step. The fuel that it had used tells where; a repetition can be stopped there again.
    Interrupted,
    /// The host interrupted the step because its time was over.
    Deadline,
}

impl TrapKind {
    /// A stable `snake_case` code.
    pub fn code(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out_of_bounds",
            Self::StackOverflow => "stack_overflow",
            Self::DivideByZero => "divide_by_zero",
            Self::IntegerOverflow => "integer_overflow",
            Self::IndirectCall => "indirect_call",
            Self::MalformedResult => "malformed_result",
            Self::MissingEntry => "missing_entry",
            Self::DeviceFailure => "device_failure",
            Self::Poisoned => "poisoned",
            Self::Engine => "engine",
            Self::Interrupted => "interrupted",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One line of a process's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogLine {
    /// 0 error, 1 warning, 2 information, 3 debug, 4 trace.
    pub level: u8,
    /// The text.
    pub text: String,
}
