//! What makes sense in the present state: every input is looked at here before it is applied.

use glasshouse_devices::StepReport;

use crate::{
    Bytes, Fuel, Input, Kernel, KernelError, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, ProcessId, process::Living,
};

impl Kernel {
    /// Refuses an input that is impossible now. Nothing is changed.
    pub(crate) fn admit(&self, input: &Input) -> Result<(), KernelError> {
        match input {
            Input::RegisterTool { name, .. } if !is_tool_name(name) => {
                Err(KernelError::BadToolName(name.clone()))
            }
            Input::RegisterTool { name, .. } if self.tools.contains_key(name) => {
                Err(KernelError::DuplicateTool(name.clone()))
            }
            Input::RegisterTool { .. } => Ok(()),
            Input::Spawn { payload, .. } | Input::Call { payload, .. }
                if payload.len() > MAX_MESSAGE_BYTES =>
            {
                Err(too_large(payload.len()))
            }
            Input::Device { input, .. } if input.size() > MAX_MESSAGE_BYTES => Err(too_large(input.size())),
            Input::Call { process, .. } => match self.living.get(process) {
                Some(Living::Idle(_)) => Ok(()),
                _ if self.existed(*process) => Err(KernelError::NotIdle(*process)),
                _ => Err(KernelError::UnknownProcess(*process)),
            },
            Input::Device { process, .. } => match self.living.get(process) {
                Some(Living::Idle(_) | Living::Waiting(_)) => Ok(()),
                Some(_) => Err(KernelError::Busy(*process)),
                None if self.existed(*process) => Err(KernelError::NotIdle(*process)),
                None => Err(KernelError::UnknownProcess(*process)),
            },
            Input::Refuel { process, .. } if !self.existed(*process) => {
                Err(KernelError::UnknownProcess(*process))
            }
            Input::Refuel { .. } => Ok(()),
            Input::Spawn { .. } if self.is_full(0) => {
                Err(KernelError::TooManyProcesses { limit: self.config.processes })
            }
            Input::Spawn { .. } => Ok(()),
            Input::StepFinished { process, report } => self.admit_step(*process, report),
            Input::Completion { request, .. } => {
                if self.performing.contains_key(request) || self.late_requests.contains(request) {
                    Ok(())
                } else {
                    Err(KernelError::NotWaiting(*request))
                }
            }
            Input::Kill { process, .. } if !self.existed(*process) => {
                Err(KernelError::UnknownProcess(*process))
            }
            Input::Kill { reason, .. } if !reason.is_kill() => Err(KernelError::NotAKill(*reason)),
            Input::Kill { .. } => Ok(()),
        }
    }

    fn admit_step(&self, id: ProcessId, report: &StepReport) -> Result<(), KernelError> {
        match self.living.get(&id) {
            Some(process @ (Living::Starting(_) | Living::Stepping(_))) => {
                let (given, reported) = (process.account().fuel_left, Fuel(report.fuel_used));
                if reported > given {
                    return Err(KernelError::FuelOverdrawn { process: id, given, reported });
                }
                Ok(())
            }
            Some(Living::Waiting(_) | Living::Idle(_)) => Err(KernelError::NotStepping(id)),
            None if self.late_steps.contains(&id) => Ok(()),
            None if self.existed(id) => Err(KernelError::NotStepping(id)),
            None => Err(KernelError::UnknownProcess(id)),
        }
    }
}

fn too_large(length: usize) -> KernelError {
    KernelError::PayloadTooLarge { length: Bytes::of(length), limit: Bytes::of(MAX_MESSAGE_BYTES) }
}

fn is_tool_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
