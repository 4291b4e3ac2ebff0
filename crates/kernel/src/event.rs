//! What the kernel tells observers.

use glasshouse_devices::{DeviceEvent, FileAccess};
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, Serialize};

use crate::{Capability, ExitReason, ModuleHash, ProcessId, RequestId};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position among all events of the kernel, from 0, without gaps.
    pub sequence: u64,
    /// Virtual time when it happened.
    pub clock_nanoseconds: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. The order of the variants is part of the trace format; names are stable ([`EventKind::name`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A process exists; its first step is about to run.
    ProcessStarted {
        /// The process.
        process: ProcessId,
        /// Its name: of the tool, if it runs one.
        name: String,
        /// What it runs.
        module: ModuleHash,
        /// The process that called it as a tool.
        parent: Option<ProcessId>,
    },
    /// A process ended. Follows [`EventKind::ProcessCrashed`] if it did not end as it should.
    ProcessStopped {
        /// The process.
        process: ProcessId,
        /// Why.
        reason: ExitReason,
        /// Exit code.
        code: i32,
        /// Fuel that it used, that of its tools included.
        fuel_used: u64,
    },
    /// A process is about to be ended because something went wrong.
    ProcessCrashed {
        /// The process.
        process: ProcessId,
        /// Why.
        reason: ExitReason,
        /// What went wrong.
        error: ErrorData,
    },
    /// A process called a tool that it may call.
    ToolCalled {
        /// The caller.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// The tool.
        name: String,
        /// The arguments object as JSON.
        arguments: Vec<u8>,
    },
    /// The tool answered, or could not be run.
    ToolFinished {
        /// The caller.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// The tool.
        name: String,
        /// The tool's result as JSON.
        result: Result<Vec<u8>, ErrorData>,
    },
    /// A process asked for a service other than files and memory.
    ServiceCalled {
        /// Who asks.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// Full name of the service: `model.generate`.
        service: String,
    },
    /// A process asked for a file or a directory.
    FileAccessed {
        /// Who asks.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// Full name of the service: `files.read`.
        service: String,
    },
    /// A process asked for long-term memory.
    MemoryAccessed {
        /// Who asks.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// Full name of the service: `memory.search`.
        service: String,
    },
    /// A process asked for something that it was not granted; the request was answered with an error.
    CapabilityDenied {
        /// Who asks.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// What it was not granted.
        capability: Capability,
    },
    /// A process emitted an event of its own.
    Emitted {
        /// The process.
        process: ProcessId,
        /// JSON by convention, not checked.
        payload: Vec<u8>,
    },
    /// A process wrote a line to its log.
    Logged {
        /// The process.
        process: ProcessId,
        /// 0 error, 1 warning, 2 information, 3 debug, 4 trace.
        level: u8,
        /// The line.
        text: String,
    },
    /// A call of a resident process is done.
    CallFinished {
        /// The process.
        process: ProcessId,
        /// Whether it has a result.
        succeeded: bool,
    },
    /// A device of a process did something: a frame was presented, audio was played, a timer fired, …
    Device {
        /// The process.
        process: ProcessId,
        /// What. The event's name is the device event's own.
        event: DeviceEvent,
    },
    /// A program used a file.
    FileUsed {
        /// The process.
        process: ProcessId,
        /// Which, how, and what came of it.
        access: FileAccess,
    },
    /// The host acted on a device of a process.
    DeviceInput {
        /// The process.
        process: ProcessId,
        /// The act's stable name: `StdinSent`, `InputSent`, …
        name: String,
    },
    /// An answer came for a process that had ended; it changed nothing.
    CompletionIgnored {
        /// The request.
        request: RequestId,
    },
    /// A step of a process that had ended was reported; it changed nothing.
    StepIgnored {
        /// The process.
        process: ProcessId,
    },
    /// The host's guard stopped the text that a process had asked for.
    GenerationHalted {
        /// Who asked.
        process: ProcessId,
        /// Its request.
        request: RequestId,
        /// Why, and what was judged before: a [`glasshouse_protocol::GuardHalt`] as JSON.
        halt: Vec<u8>,
    },
}

impl EventKind {
    /// The event's stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProcessStarted { .. } => "ProcessStarted",
            Self::ProcessStopped { .. } => "ProcessStopped",
            Self::ProcessCrashed { .. } => "ProcessCrashed",
            Self::ToolCalled { .. } => "ToolCalled",
            Self::ToolFinished { .. } => "ToolFinished",
            Self::ServiceCalled { .. } => "ServiceCalled",
            Self::FileAccessed { .. } => "FileAccessed",
            Self::MemoryAccessed { .. } => "MemoryAccessed",
            Self::CapabilityDenied { .. } => "CapabilityDenied",
            Self::Emitted { .. } => "Emitted",
            Self::Logged { .. } => "Logged",
            Self::Device { event, .. } => event.name(),
            Self::FileUsed { .. } => "FileUsed",
            Self::CallFinished { .. } => "CallFinished",
            Self::DeviceInput { .. } => "DeviceInput",
            Self::CompletionIgnored { .. } => "CompletionIgnored",
            Self::StepIgnored { .. } => "StepIgnored",
            Self::GenerationHalted { .. } => "GenerationHalted",
        }
    }

    /// The process that it is about, if it is about one.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        match self {
            Self::ProcessStarted { process, .. }
            | Self::ProcessStopped { process, .. }
            | Self::ProcessCrashed { process, .. }
            | Self::ToolCalled { process, .. }
            | Self::ToolFinished { process, .. }
            | Self::ServiceCalled { process, .. }
            | Self::FileAccessed { process, .. }
            | Self::MemoryAccessed { process, .. }
            | Self::CapabilityDenied { process, .. }
            | Self::Emitted { process, .. }
            | Self::Logged { process, .. }
            | Self::Device { process, .. }
            | Self::FileUsed { process, .. }
            | Self::CallFinished { process, .. }
            | Self::DeviceInput { process, .. }
            | Self::GenerationHalted { process, .. }
            | Self::StepIgnored { process } => Some(*process),
            Self::CompletionIgnored { .. } => None,
        }
    }
}
