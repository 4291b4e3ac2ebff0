//! The kernel, the live instances of its processes, and the effects still to perform.
//!
//! - [`Driver`]: applies inputs, keeps the steps and requests that follow, and runs steps. A live run and a replay are
//!   two loops over it: one takes what is next from the world, the other from a log.
//! - [`Recorder`]: sees every input before it is applied and every effect before it is performed.

use std::collections::{BTreeMap, VecDeque};

use glasshouse_devices::{Context, StepCall};
use glasshouse_engine::{HostMachine, Instance, InstanceLimits, Machine};
use glasshouse_kernel::{
    Capability, Effect, Exit, Input, Kernel, KernelConfig, ModuleHash, ProcessId, RequestId,
};

use crate::{Modules, Observer, RuntimeError, services::ServiceCall};

/// Sees all that goes into the kernel and all that comes out.
pub(crate) trait Recorder {
    /// Called before `input` is applied.
    fn input(&mut self, input: &Input) -> Result<(), RuntimeError>;
    /// Called for each effect of the last input, in order.
    fn effect(&mut self, effect: &Effect) -> Result<(), RuntimeError>;
    /// Called once, after the run.
    fn finish(&mut self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// A step to run.
pub(crate) struct StepTask {
    pub(crate) process: ProcessId,
    module: ModuleHash,
    call: StepCall,
    fuel: u64,
    memory_bytes: u64,
    clock_nanoseconds: u64,
    random_seed: [u8; 32],
}

/// A request to answer.
pub(crate) struct RequestTask {
    pub(crate) request: RequestId,
    process: ProcessId,
    payload: Vec<u8>,
    grants: Vec<Capability>,
    seed: u64,
}

impl RequestTask {
    /// The request as services take it.
    pub(crate) fn call(&self) -> ServiceCall<'_> {
        ServiceCall { process: self.process, payload: &self.payload, grants: &self.grants, seed: self.seed }
    }
}

/// What the kernel asked the host to do.
pub(crate) enum Task {
    Step(StepTask),
    Request(RequestTask),
}

impl Task {
    fn process(&self) -> ProcessId {
        match self {
            Self::Step(task) => task.process,
            Self::Request(task) => task.process,
        }
    }
}

/// One process's instance and devices.
struct Live {
    instance: <HostMachine as Machine>::Instance,
    context: Context,
}

/// One run.
pub(crate) struct Driver {
    kernel: Kernel,
    live: BTreeMap<ProcessId, Live>,
    /// In the order in which the kernel asked.
    tasks: VecDeque<Task>,
    released: Vec<ProcessId>,
    exits: Vec<Exit>,
}

impl Driver {
    pub(crate) fn new(configuration: KernelConfig) -> Self {
        Self {
            kernel: Kernel::new(configuration),
            live: BTreeMap::new(),
            tasks: VecDeque::new(),
            released: Vec::new(),
            exits: Vec::new(),
        }
    }

    /// Applies an input; what it asks for waits among the tasks.
    pub(crate) fn apply(
        &mut self,
        input: Input,
        recorder: &mut dyn Recorder,
        observer: &mut dyn Observer,
    ) -> Result<(), RuntimeError> {
        recorder.input(&input)?;
        for effect in self.kernel.apply(input)? {
            recorder.effect(&effect)?;
            match effect {
                Effect::Publish(event) => observer.event(&event),
                Effect::Exited { exit, .. } => self.exits.push(exit),
                Effect::Release { process } => {
                    self.live.remove(&process);
                    self.tasks.retain(|task| task.process() != process);
                    self.released.push(process);
                }
                Effect::RunStep {
                    process,
                    module,
                    call,
                    fuel,
                    memory_bytes,
                    clock_nanoseconds,
                    random_seed,
                } => {
                    self.tasks.push_back(Task::Step(StepTask {
                        process,
                        module,
                        call,
                        fuel,
                        memory_bytes,
                        clock_nanoseconds,
                        random_seed,
                    }));
                }
                Effect::Perform { request, process, service: _, payload, grants, seed } => {
                    self.tasks.push_back(Task::Request(RequestTask {
                        request,
                        process,
                        payload,
                        grants,
                        seed,
                    }));
                }
            }
        }
        Ok(())
    }

    /// The task that was asked for first.
    pub(crate) fn next_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    /// The first task that `wanted` accepts.
    pub(crate) fn take_task(&mut self, wanted: impl FnMut(&Task) -> bool) -> Option<Task> {
        let index = self.tasks.iter().position(wanted)?;
        self.tasks.remove(index)
    }

    /// The process without a parent that has run longest; killing it ends what it called as well.
    pub(crate) fn first_process(&self) -> Option<ProcessId> {
        self.live.keys().next().copied()
    }

    /// Processes that ended since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<ProcessId> {
        std::mem::take(&mut self.released)
    }

    /// How the processes without a parent ended, so far.
    pub(crate) fn take_exits(&mut self) -> Vec<Exit> {
        std::mem::take(&mut self.exits)
    }

    /// Runs a step of one of `modules`: the input that reports it.
    pub(crate) fn run_step(
        &mut self,
        task: StepTask,
        modules: &Modules<HostMachine>,
    ) -> Result<Input, RuntimeError> {
        let process = task.process;
        let live = match self.live.entry(process) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let (name, module) = modules.compiled(&task.module)?;
                let limits = InstanceLimits { memory_bytes: task.memory_bytes, ..InstanceLimits::default() };
                let instance = modules
                    .machine()
                    .instantiate(&module, limits)
                    .map_err(|source| RuntimeError::Module { name: name.to_owned(), source })?;
                entry.insert(Live {
                    instance,
                    context: Context::new(task.clock_nanoseconds, task.random_seed),
                })
            }
        };
        live.context.set_clock(task.clock_nanoseconds);
        let report = live.instance.step(&task.call, &mut live.context, task.fuel);
        Ok(Input::StepFinished { process, report })
    }
}
