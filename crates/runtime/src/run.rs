//! One run, advanced a piece at a time, so that a host with one thread stays responsive.
//!
//! - [`Run`]: a run in progress. [`crate::Runtime::advance`] does its next piece of work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use glasshouse_engine::{HostMachine, Interrupt};
use glasshouse_kernel::{Exit, ExitReason, Input, KernelConfig, RequestId};

use crate::{
    Modules, Observer, RuntimeError,
    driver::{Driver, Recorder, Task},
    services::{Generating, Performed, Services},
};

/// A run in progress. It ends early, without an exit, when it is dropped; its log is then cut off.
pub struct Run<'t> {
    driver: Driver,
    recorder: Box<dyn Recorder + 't>,
    /// The generation that is going on, and the request that it answers.
    generating: Option<(RequestId, Box<Generating>)>,
    /// Whether the stop was taken note of.
    stopped: bool,
}

impl<'t> Run<'t> {
    /// Applies the inputs that begin a run.
    pub(crate) fn start(
        configuration: KernelConfig,
        stop: Arc<AtomicBool>,
        start: Vec<Input>,
        recorder: Box<dyn Recorder + 't>,
        observer: &mut dyn Observer,
    ) -> Result<Self, RuntimeError> {
        let driver = Driver::new(configuration).interrupted_by(Interrupt::flag(stop));
        let mut run = Self { driver, recorder, generating: None, stopped: false };
        for input in start {
            run.driver.apply(input, &mut *run.recorder, observer)?;
        }
        Ok(run)
    }

    /// Does one piece of work: a step of a process, an answer of a service, a token, or a part of a prompt. The exit
    /// of the run's process once there is nothing left to do.
    pub(crate) fn advance(
        &mut self,
        modules: &Modules<HostMachine>,
        services: &mut Services,
        observer: &mut dyn Observer,
    ) -> Result<Option<Exit>, RuntimeError> {
        let stop = services.stop.load(Ordering::Relaxed);
        // What the model has said so far comes first: it is in the log before the stop.
        let input = if let Some((request, mut generating)) = self.generating.take() {
            match services.advance(&mut generating, observer) {
                Some(result) => Input::Completion { request, result },
                None => {
                    self.generating = Some((request, generating));
                    return Ok(None);
                }
            }
        } else if stop && !self.stopped {
            self.stopped = true;
            match self.driver.first_process() {
                Some(process) => Input::Kill { process, reason: ExitReason::Killed },
                None => return Ok(None),
            }
        } else {
            match self.driver.next_task() {
                None => {
                    self.recorder.finish()?;
                    let exit = self.driver.take_exits().into_iter().next();
                    return exit.map(Some).ok_or_else(RuntimeError::stuck);
                }
                Some(Task::Step(task)) => self.driver.run_step(task, modules)?,
                Some(Task::Request(task)) => match services.perform(&task.call()) {
                    Performed::Answer(result) => Input::Completion { request: task.request, result },
                    Performed::Generating(generating) => {
                        self.generating = Some((task.request, generating));
                        return Ok(None);
                    }
                },
            }
        };
        self.driver.apply(input, &mut *self.recorder, observer)?;
        for process in self.driver.take_released() {
            services.release(process);
        }
        Ok(None)
    }
}
