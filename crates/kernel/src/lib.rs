//! Processes, capabilities and the event log as a state machine that does no I/O.
//!
//! - [`Kernel`]: the state. [`Kernel::apply`] takes an [`Input`] and gives the [`Effect`]s that the host performs.
//! - [`Capability`], [`Limits`], [`ToolTarget`]: what a process may use, and how much.
//! - [`Event`], [`EventKind`]: what observers are told. [`Exit`], [`ExitReason`]: how a process ended.
//! - [`ProcessSummary`], [`ProcessState`]: the processes, for people.
//! - [`trace`]: the event log file. [`replay`]: runs one again and finds the first difference.
//!
//! Invariants:
//! - The same configuration and inputs give the same effects and the same state, on every host: nothing here reads
//!   a clock, an entropy source or the order of a hash table.
//! - An input that is refused leaves the state as it was.
//! - An effect names a living process, but for [`Effect::Release`], [`Effect::Exited`] and events, which end one.
//! - A process never uses more fuel than its limit, the processes of its tools included.
//!
//! A process goes from `Starting` to running, where it steps, waits for one request or is idle, to `Stopped` or `Error`.
//! The states are types (`process.rs`); transitions that do not exist do not compile.
//!
//! A host is a loop around it, here with a guest that echoes its input:
//!
//! ```
//! use glasshouse_devices::{Setup, StepOutcome, StepReport};
//! use glasshouse_kernel::{Effect, Exit, Input, Kernel, KernelConfig, KernelError, Life, Limits, ModuleHash};
//!
//! fn run(kernel: &mut Kernel, start: Input) -> Result<Option<Exit>, KernelError> {
//!     let mut inputs = vec![start];
//!     while let Some(input) = inputs.pop() {
//!         for effect in kernel.apply(input)? {
//!             match effect {
//!                 Effect::RunStep { process, call, .. } => {
//!                     let outcome = StepOutcome::Returned(call.input().to_vec());
//!                     let (logs, events, devices) = Default::default();
//!                     let report = StepReport { outcome, fuel_used: 1, memory_bytes: 0, logs, events, devices };
//!                     inputs.push(Input::StepFinished { process, report });
//!                 }
//!                 Effect::Perform { request, .. } => {
//!                     inputs.push(Input::Completion { request, result: Ok(b"null".to_vec()) });
//!                 }
//!                 Effect::Exited { exit, .. } => return Ok(Some(exit)),
//!                 _ => {}
//!             }
//!         }
//!     }
//!     Ok(None)
//! }
//!
//! let start = Input::Spawn {
//!     name: "echo".into(),
//!     module: ModuleHash([0; 32]),
//!     entry: "run".into(),
//!     payload: b"\"hello\"".to_vec(),
//!     grants: vec![],
//!     limits: Limits::default(),
//!     setup: Setup::default(),
//!     life: Life::Once,
//! };
//! let exit = run(&mut Kernel::new(KernelConfig::with_seed(7)), start)?;
//! assert_eq!(exit.and_then(|exit| exit.result.ok()), Some(b"\"hello\"".to_vec()));
//! # Ok::<(), KernelError>(())
//! ```

mod admit;
mod error;
mod event;
mod exit;
mod grant;
mod ids;
mod kernel;
mod message;
mod process;
pub mod replay;
mod route;
mod seed;
mod summary;
pub mod trace;

use glasshouse_devices::{DeviceInput, Setup, StepCall, StepReport};
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, Serialize};

pub use error::KernelError;
pub use event::{Event, EventKind};
pub use exit::{Exit, ExitReason};
pub use grant::{Capability, Limits, ToolTarget};
pub use ids::{Bytes, Fuel, ModelHash, ModuleHash, ProcessId, RequestId, Ticks};
pub use kernel::{Kernel, KernelConfig};
pub use summary::{ProcessState, ProcessSummary};

/// The longest payload that a process is given at once: its input, or an answer. It is held by the kernel, the log
/// and the guest at the same time.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The longest name of a tool or of a service. Names go into events and error messages.
pub const MAX_NAME_BYTES: usize = 128;

/// What happened outside of the kernel. The order of the variants is part of the trace format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// From now on there is a tool of this name.
    RegisterTool {
        /// What callers and grants name it: `[a-z][a-z0-9_]*`.
        name: String,
        /// What runs.
        target: ToolTarget,
    },
    /// Start a process without a caller. Its id is in the events and effects that follow.
    Spawn {
        /// A name for people.
        name: String,
        /// The module to run.
        module: ModuleHash,
        /// The exported function to call.
        entry: String,
        /// The argument as JSON; [`MAX_MESSAGE_BYTES`] at most.
        payload: Vec<u8>,
        /// What it may use.
        grants: Vec<Capability>,
        /// How much it may use.
        limits: Limits,
        /// What its devices start with.
        setup: Setup,
        /// When it ends by itself.
        life: Life,
    },
    /// Call a function of a resident process that is idle; answered with [`Effect::Returned`].
    Call {
        /// Which one.
        process: ProcessId,
        /// The exported function.
        entry: String,
        /// The argument as JSON; [`MAX_MESSAGE_BYTES`] at most.
        payload: Vec<u8>,
    },
    /// Act on the devices of a process that runs no step.
    Device {
        /// Which one.
        process: ProcessId,
        /// The act.
        input: DeviceInput,
    },
    /// Give a process more fuel than it had.
    Refuel {
        /// Which one.
        process: ProcessId,
        /// How much more.
        fuel: Fuel,
    },
    /// A step that an [`Effect::RunStep`] asked for is done. For a process that has ended meanwhile it is ignored.
    StepFinished {
        /// Whose step.
        process: ProcessId,
        /// What it did.
        report: StepReport,
    },
    /// The answer to an [`Effect::Perform`]. For a process that has ended meanwhile it is ignored.
    Completion {
        /// Which request.
        request: RequestId,
        /// The answer as JSON.
        result: Result<Vec<u8>, ErrorData>,
    },
    /// End a process and the tools it called. Ignored if it has ended.
    Kill {
        /// Which one.
        process: ProcessId,
        /// [`ExitReason::Killed`], [`ExitReason::Deadline`] or [`ExitReason::Halted`].
        reason: ExitReason,
    },
}

/// When a process ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Life {
    /// When its entry has returned.
    #[default]
    Once,
    /// Never: between calls it is idle. An entry that returns an error fails that call only; a trap ends the process.
    /// With an empty entry it is idle from the start.
    Resident,
}

/// What the host has to do. The order of the variants is part of the trace format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Run one step; report it with [`Input::StepFinished`]. The first of a process makes its instance.
    RunStep {
        /// Whose step.
        process: ProcessId,
        /// The module of its instance.
        module: ModuleHash,
        /// What to call.
        call: StepCall,
        /// The most fuel that the step may use; never 0.
        fuel: u64,
        /// The most linear memory of the instance, in bytes; the same in all steps of a process.
        memory_bytes: u64,
        /// What the guest's clock shows during the step.
        clock_nanoseconds: u64,
        /// The seed of the process's random stream; the same in all steps of a process.
        random_seed: [u8; 32],
    },
    /// Make the process's instance and its devices now. Without it, its first step makes them, with nothing set up.
    Prepare {
        /// Which one.
        process: ProcessId,
        /// The module of its instance.
        module: ModuleHash,
        /// The most linear memory of the instance, in bytes.
        memory_bytes: u64,
        /// The seed of the process's random stream.
        random_seed: [u8; 32],
        /// What its devices start with.
        setup: Setup,
    },
    /// Act on a process's devices.
    Device {
        /// Whose.
        process: ProcessId,
        /// The act.
        input: DeviceInput,
    },
    /// A call of a resident process is done; it is idle.
    Returned {
        /// Which one.
        process: ProcessId,
        /// The result as JSON.
        result: Result<Vec<u8>, ErrorData>,
    },
    /// Ask a service; give its answer with [`Input::Completion`], once.
    Perform {
        /// Names the answer.
        request: RequestId,
        /// Who asks.
        process: ProcessId,
        /// Full name of the service, as in `model.generate`, or the target of a tool that is a service.
        service: String,
        /// The request as the process wrote it, JSON. Only its field `service` has been looked at.
        payload: Vec<u8>,
        /// What the process may use.
        grants: Vec<Capability>,
        /// A seed for whatever the service draws.
        seed: u64,
    },
    /// The process has ended: drop its instance and whatever is kept for it. A step or request of it that has not
    /// been performed yet need not be.
    Release {
        /// Which one.
        process: ProcessId,
    },
    /// Tell the observers.
    Publish(Event),
    /// A process without a caller has ended.
    Exited {
        /// Which one.
        process: ProcessId,
        /// How.
        exit: Exit,
    },
}
