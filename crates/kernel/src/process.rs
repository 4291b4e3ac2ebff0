//! A process and its states as types: a transition consumes one state and gives the next, so that there is no way
//! to write one that does not exist.
//!
//! ```text
//!                    first report            report of the last step, kill, limit
//!  Process<Starting> ───────────▶ Process<Running<Stepping>> ───────────▶ Process<Stopped>
//!                                      │ request   ▲ answer               Process<Failed>  (the state Error)
//!                                      ▼           │                          ▲
//!                                 Process<Running<Waiting>> ──────────────────┘ kill, out of fuel
//!
//!  a resident one: Process<Running<Stepping>> ── result ──▶ Process<Running<Idle>> ── call ──▶ Process<Running<Stepping>>
//! ```

use serde::{Deserialize, Serialize};

use crate::{Bytes, Capability, Exit, Fuel, Life, Limits, ModuleHash, ProcessId, RequestId};

/// A process in state `S`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process<S> {
    pub(crate) id: ProcessId,
    pub(crate) identity: Identity,
    pub(crate) account: Account,
    state: S,
}

/// What stays the same for the whole life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) module: ModuleHash,
    pub(crate) caller: Option<Caller>,
    pub(crate) grants: Vec<Capability>,
    pub(crate) limits: Limits,
    pub(crate) life: Life,
}

/// Who waits for the process's exit, in which request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) process: ProcessId,
    pub(crate) request: RequestId,
}

/// What has been used of the limits.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) fuel_left: Fuel,
    pub(crate) memory: Bytes,
    pub(crate) output: Bytes,
    pub(crate) requests: u32,
    pub(crate) children: u32,
}

/// The first step runs; whether the module can be run at all is not known yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Starting(());

/// At least one step was reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running<A> {
    activity: A,
}

/// A step runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stepping(());

/// The last step asked for something; the next one runs with the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) request: RequestId,
    pub(crate) on: Awaited,
}

/// No call is going on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Idle(());

/// What a process waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Awaited {
    /// An answer of a service.
    Service(String),
    /// An answer of a tool that is a service.
    ServiceTool { name: String },
    /// The exit of a tool's process.
    GuestTool { name: String, child: ProcessId },
}

/// Ended as it should, or by somebody's will.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stopped {
    exit: Exit,
}

/// Ended because something went wrong: the state `Error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failed {
    exit: Exit,
}

/// A process that can still do something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Living {
    Starting(Process<Starting>),
    Stepping(Process<Running<Stepping>>),
    Waiting(Process<Running<Waiting>>),
    Idle(Process<Running<Idle>>),
}

/// A process that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ended {
    Stopped(Process<Stopped>),
    Failed(Process<Failed>),
}

impl<S> Process<S> {
    fn into_state<T>(self, state: T) -> Process<T> {
        Process { id: self.id, identity: self.identity, account: self.account, state }
    }

    /// Fuel used so far.
    pub(crate) fn fuel_used(&self) -> Fuel {
        self.identity.limits.fuel.minus(self.account.fuel_left)
    }

    /// Whether `capability` was granted.
    pub(crate) fn may(&self, capability: &Capability) -> bool {
        self.identity.grants.contains(capability)
    }

    fn end(self, exit: Exit) -> Ended {
        if exit.reason.is_error() {
            Ended::Failed(self.into_state(Failed { exit }))
        } else {
            Ended::Stopped(self.into_state(Stopped { exit }))
        }
    }
}

impl Process<Starting> {
    pub(crate) fn new(id: ProcessId, identity: Identity) -> Self {
        let account = Account { fuel_left: identity.limits.fuel, ..Account::default() };
        Self { id, identity, account, state: Starting(()) }
    }

    /// It begins without a call.
    pub(crate) fn idle(self) -> Process<Running<Idle>> {
        self.into_state(Running { activity: Idle(()) })
    }

    /// The first step was reported.
    pub(crate) fn running(self) -> Process<Running<Stepping>> {
        self.into_state(Running { activity: Stepping(()) })
    }
}

impl Process<Running<Stepping>> {
    /// The step asked for something.
    pub(crate) fn wait(self, request: RequestId, on: Awaited) -> Process<Running<Waiting>> {
        self.into_state(Running { activity: Waiting { request, on } })
    }
}

impl Process<Running<Stepping>> {
    /// The call is done, and the process stays.
    pub(crate) fn rest(self) -> Process<Running<Idle>> {
        self.into_state(Running { activity: Idle(()) })
    }
}

impl Process<Running<Idle>> {
    /// The next call begins.
    pub(crate) fn call(self) -> Process<Running<Stepping>> {
        self.into_state(Running { activity: Stepping(()) })
    }
}

impl Process<Running<Waiting>> {
    pub(crate) fn awaited(&self) -> &Waiting {
        &self.state.activity
    }

    /// The answer is there; what was waited for goes with it.
    pub(crate) fn resume(self) -> (Process<Running<Stepping>>, Waiting) {
        let Self { id, identity, account, state } = self;
        (Process { id, identity, account, state: Running { activity: Stepping(()) } }, state.activity)
    }
}

impl Living {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Starting(process) => &process.identity,
            Self::Stepping(process) => &process.identity,
            Self::Waiting(process) => &process.identity,
            Self::Idle(process) => &process.identity,
        }
    }

    pub(crate) fn limits_mut(&mut self) -> &mut Limits {
        match self {
            Self::Starting(process) => &mut process.identity.limits,
            Self::Stepping(process) => &mut process.identity.limits,
            Self::Waiting(process) => &mut process.identity.limits,
            Self::Idle(process) => &mut process.identity.limits,
        }
    }

    pub(crate) fn account(&self) -> &Account {
        match self {
            Self::Starting(process) => &process.account,
            Self::Stepping(process) => &process.account,
            Self::Waiting(process) => &process.account,
            Self::Idle(process) => &process.account,
        }
    }

    pub(crate) fn account_mut(&mut self) -> &mut Account {
        match self {
            Self::Starting(process) => &mut process.account,
            Self::Stepping(process) => &mut process.account,
            Self::Waiting(process) => &mut process.account,
            Self::Idle(process) => &mut process.account,
        }
    }

    pub(crate) fn fuel_used(&self) -> Fuel {
        match self {
            Self::Starting(process) => process.fuel_used(),
            Self::Stepping(process) => process.fuel_used(),
            Self::Waiting(process) => process.fuel_used(),
            Self::Idle(process) => process.fuel_used(),
        }
    }

    /// The tool process that it waits for.
    pub(crate) fn child(&self) -> Option<ProcessId> {
        match self {
            Self::Waiting(process) => match process.awaited().on {
                Awaited::GuestTool { child, .. } => Some(child),
                Awaited::Service(_) | Awaited::ServiceTool { .. } => None,
            },
            Self::Starting(_) | Self::Stepping(_) | Self::Idle(_) => None,
        }
    }

    pub(crate) fn end(self, exit: Exit) -> Ended {
        match self {
            Self::Starting(process) => process.end(exit),
            Self::Stepping(process) => process.end(exit),
            Self::Waiting(process) => process.end(exit),
            Self::Idle(process) => process.end(exit),
        }
    }
}

impl Ended {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Stopped(process) => &process.identity,
            Self::Failed(process) => &process.identity,
        }
    }

    pub(crate) fn account(&self) -> &Account {
        match self {
            Self::Stopped(process) => &process.account,
            Self::Failed(process) => &process.account,
        }
    }

    pub(crate) fn exit(&self) -> &Exit {
        match self {
            Self::Stopped(process) => &process.state.exit,
            Self::Failed(process) => &process.state.exit,
        }
    }
}
