//! The processes of a kernel, for people.

use crate::{
    Bytes, Exit, Fuel, ModuleHash, ProcessId, RequestId,
    process::{Awaited, Ended, Living},
};

/// What a process is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// Its first step is running.
    Starting,
    /// A step is running.
    Stepping,
    /// It waits for an answer.
    Waiting {
        /// To which request.
        request: RequestId,
        /// The service, or `tool.` and the tool's name.
        service: String,
    },
    /// A resident process between two calls.
    Idle,
    /// It ended as it should, or by somebody's will.
    Stopped(Exit),
    /// It ended because something went wrong.
    Error(Exit),
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSummary {
    /// Its id.
    pub id: ProcessId,
    /// Its name.
    pub name: String,
    /// What it runs.
    pub module: ModuleHash,
    /// The process that called it as a tool.
    pub parent: Option<ProcessId>,
    /// What it is doing.
    pub state: ProcessState,
    /// Fuel used, that of its ended tools included.
    pub fuel_used: Fuel,
    /// Linear memory after its last step.
    pub memory: Bytes,
    /// Requests made.
    pub requests: u32,
}

impl ProcessSummary {
    pub(crate) fn of_living(id: ProcessId, process: &Living) -> Self {
        let state = match process {
            Living::Starting(_) => ProcessState::Starting,
            Living::Stepping(_) => ProcessState::Stepping,
            Living::Idle(_) => ProcessState::Idle,
            Living::Waiting(process) => {
                let awaited = process.awaited();
                let service = match &awaited.on {
                    Awaited::Service(service) => service.clone(),
                    Awaited::ServiceTool { name } | Awaited::GuestTool { name, .. } => format!("tool.{name}"),
                };
                ProcessState::Waiting { request: awaited.request, service }
            }
        };
        let (identity, account) = (process.identity(), process.account());
        Self {
            id,
            name: identity.name.clone(),
            module: identity.module,
            parent: identity.caller.map(|caller| caller.process),
            state,
            fuel_used: process.fuel_used(),
            memory: account.memory,
            requests: account.requests,
        }
    }

    pub(crate) fn of_ended(id: ProcessId, process: &Ended) -> Self {
        let (identity, account, exit) = (process.identity(), process.account(), process.exit().clone());
        Self {
            id,
            name: identity.name.clone(),
            module: identity.module,
            parent: identity.caller.map(|caller| caller.process),
            fuel_used: Fuel(exit.fuel_used),
            memory: account.memory,
            requests: account.requests,
            state: match process {
                Ended::Stopped(_) => ProcessState::Stopped(exit),
                Ended::Failed(_) => ProcessState::Error(exit),
            },
        }
    }
}
