//! One run, advanced a piece at a time, so that a host with one thread stays responsive.
//!
//! - [`Run`]: a run in progress. [`crate::Runtime::advance`] does its next piece of work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use glasshouse_engine::{HostMachine, Interrupt};
use glasshouse_kernel::{Exit, ExitReason, Input, KernelConfig};

use crate::{
    Modules, Observer, RuntimeError,
    driver::{Driver, Recorder, Task},
    services::{Performed, Services},
};

/// A run in progress. It ends early, without an exit, when it is dropped; its log is then cut off.
pub struct Run<'t> {
    driver: Driver,
    recorder: Box<dyn Recorder + 't>,
    /// Tasks to do before the model goes on: those that waited when it did so last. What they ask of the model joins the
    /// generations that are going on.
    before_model: usize,
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
        let mut run = Self { driver, recorder, before_model: 0 };
        for input in start {
            run.driver.apply(input, &mut *run.recorder, observer)?;
        }
        Ok(run)
    }

    /// Does one piece of work: a step of a process, an answer of a service, or a token or a part of a prompt of each
    /// generation. The exits of the processes that began the run, in their order, once there is nothing left to do.
    pub(crate) fn advance(
        &mut self,
        modules: &Modules<HostMachine>,
        services: &mut Services,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Exit>>, RuntimeError> {
        let stop = services.stop.load(Ordering::Relaxed);
        // What the model has said so far comes first: it is in the log before the stop.
        let waiting = self.driver.waiting_tasks();
        if services.is_generating() && (stop || self.before_model == 0 || waiting == 0) {
            for (request, result) in services.advance(observer) {
                self.apply(Input::Completion { request, result }, services, observer)?;
            }
            self.before_model = self.driver.waiting_tasks();
            return Ok(None);
        }
        self.before_model = self.before_model.saturating_sub(1);
        if stop && let Some(process) = self.driver.first_process() {
            self.apply(Input::Kill { process, reason: ExitReason::Killed }, services, observer)?;
            return Ok(None);
        }
        let input = match self.driver.next_task() {
            None => {
                self.recorder.finish()?;
                let exits = self.driver.take_exits();
                return if exits.is_empty() { Err(RuntimeError::stuck()) } else { Ok(Some(exits)) };
            }
            Some(Task::Step(task)) => self.driver.run_step(task, modules)?,
            Some(Task::Request(task)) => match services.perform(&task.call()) {
                Performed::Answer(result) => Input::Completion { request: task.request, result },
                Performed::Begun => return Ok(None),
            },
        };
        self.apply(input, services, observer)?;
        Ok(None)
    }

    fn apply(
        &mut self,
        input: Input,
        services: &mut Services,
        observer: &mut dyn Observer,
    ) -> Result<(), RuntimeError> {
        self.driver.apply(input, &mut *self.recorder, observer)?;
        for process in self.driver.take_released() {
            services.release(process);
        }
        Ok(())
    }
}
