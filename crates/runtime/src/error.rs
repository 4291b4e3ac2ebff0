//! What can go wrong while a runtime is set up, runs or replays.

use std::path::PathBuf;

use glasshouse_devices::{ActError, MemoryError as MemoryAccessError};
use glasshouse_engine::{ModuleError, SnapshotError};
use glasshouse_kernel::{KernelError, ModuleHash, replay::Difference, trace::TraceError};
use glasshouse_llm::LlmError;
use glasshouse_memory::MemoryError;
use thiserror::Error;

/// Errors of this crate.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// A directory cannot be mounted.
    #[error("{} cannot be mounted: {source}; name a folder that exists and that you may read", directory.display())]
    Mount {
        /// The directory as it was given.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A module cannot run.
    #[error("the module {name} cannot run: {source}")]
    Module {
        /// The module's name.
        name: String,
        /// Why.
        source: ModuleError,
    },
    /// A module is needed that was not given.
    #[error("no module with the hash {hash} is known; give its file with --module")]
    UnknownModule {
        /// BLAKE3 of the module's bytes.
        hash: ModuleHash,
    },
    /// Two tools have one name.
    #[error("two tools are named {name}; every tool needs a name of its own")]
    DuplicateTool {
        /// The name.
        name: String,
    },
    /// A module given as a tool describes none.
    #[error("the module {name} describes no tool; build it with the guest SDK's tool! macro")]
    NoTools {
        /// The module's name.
        name: String,
    },
    /// The question is empty.
    #[error("the question is empty; ask something, as in: glasshouse ask \"What is 17 * 23?\"")]
    EmptyQuestion,
    /// The machine cannot be set up.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(#[source] ModuleError),
    /// The model cannot be loaded.
    #[error("the model cannot be loaded: {0}")]
    Model(#[source] LlmError),
    /// The memory file cannot be used.
    #[error("long-term memory cannot be opened: {0}")]
    Memory(#[source] MemoryError),
    /// The kernel refused an input: the driver and the kernel disagree.
    #[error("the kernel refused an input: {0}")]
    Kernel(#[from] KernelError),
    /// An act on a process's devices is not possible.
    #[error("the process's devices refuse it: {0}")]
    Device(#[from] ActError),
    /// A process cannot be snapshotted, or not be restored.
    #[error("the process's state: {0}")]
    Snapshot(#[from] SnapshotError),
    /// A saved process cannot be taken up.
    #[error("the saved process cannot be taken up: {reason}")]
    SavedProcess {
        /// Why.
        reason: String,
    },
    /// An access to a process's memory is not possible.
    #[error("the process's memory: {0}")]
    ProcessMemory(#[from] MemoryAccessError),
    /// The event log cannot be written.
    #[error("the event log cannot be written: {0}")]
    TraceWrite(#[source] std::io::Error),
    /// The event log cannot be read.
    #[error("the event log cannot be replayed: {0}")]
    Trace(#[from] TraceError),
    /// The log tells of a guard in words that this program does not know.
    #[error(
        "the event log was made under a guard that this program cannot read; replay it with the version that wrote it"
    )]
    RecordedGuard,
    /// The log was made with another model.
    #[error(
        "the event log was made with another model ({recorded}); give it with --model FILE, \
         or take the model's output from the log with --trust-model"
    )]
    OtherModel {
        /// Hash of the model that the log names, in hexadecimal.
        recorded: String,
    },
    /// The replay differs from the log.
    #[error("{0}")]
    Difference(Box<Difference>),
    /// The process failed, or ended without a result.
    #[error("the process failed: {message}")]
    Process {
        /// Stable code of the failure.
        code: String,
        /// What happened.
        message: String,
    },
}

impl RuntimeError {
    /// Nothing is left to do, and the process has not ended.
    pub(crate) fn stuck() -> Self {
        Self::Process {
            code: "no_exit".to_owned(),
            message: "the process waits for something that never comes".to_owned(),
        }
    }

    /// A stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Mount { .. } => "mount",
            Self::Module { .. } | Self::NoTools { .. } | Self::DuplicateTool { .. } => "invalid_module",
            Self::UnknownModule { .. } => "unknown_module",
            Self::EmptyQuestion => "empty_question",
            Self::Engine(_) => "engine",
            Self::Model(error) => error.code(),
            Self::Memory(error) => error.code(),
            Self::Kernel(_) => "kernel",
            Self::Device(_) => "device",
            Self::Snapshot(_) => "snapshot",
            Self::SavedProcess { .. } => "saved_process",
            Self::ProcessMemory(_) => "process_memory",
            Self::TraceWrite(_) => "trace_write",
            Self::Trace(_) => "trace_damaged",
            Self::OtherModel { .. } => "other_model",
            Self::RecordedGuard => "recorded_guard",
            Self::Difference(_) => "replay_differs",
            Self::Process { code, .. } => code,
        }
    }
}
