//! The kernel, the live instances of its processes, and the effects still to perform.
//!
//! - [`Driver`]: applies inputs, keeps the steps and requests that follow, and runs steps. A live run and a replay are
//!   two loops over it: one takes what is next from the world, the other from a log.
//! - [`Recorder`]: sees every input before it is applied and every effect before it is performed.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use glasshouse_devices::{
    Context, DeviceInput, Host, MemoryDevice, ProcessMemory, Setup, StepCall, StepOutcome, StepReport,
    TrapKind,
};
use glasshouse_engine::{
    HostMachine, Instance, InstanceLimits, Interrupt, Interruption, Machine, Snapshot, StepLimits,
};
use glasshouse_kernel::{
    Capability, Effect, Exit, Input, Kernel, KernelConfig, ModuleHash, ProcessId, ProcessSummary, RequestId,
};
use glasshouse_protocol::ErrorData;

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
        ServiceCall {
            request: self.request,
            process: self.process,
            payload: &self.payload,
            grants: &self.grants,
            seed: self.seed,
        }
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

/// What the kernel asked to be done to a process before its next step.
enum Preparation {
    Start { module: ModuleHash, memory_bytes: u64, random_seed: [u8; 32], setup: Setup },
    Act(DeviceInput),
}

/// An instance between two steps.
pub(crate) type ProcessSnapshot = Snapshot<<HostMachine as Machine>::Image>;

/// How a call of a resident process ended.
pub(crate) type Returned = (ProcessId, Result<Vec<u8>, ErrorData>);

/// One process's instance and devices.
struct Live {
    instance: <HostMachine as Machine>::Instance,
    context: Context,
}

impl Live {
    /// Acts on the devices, or on the memory.
    fn act(&mut self, input: DeviceInput) -> Result<(), RuntimeError> {
        if let DeviceInput::WriteMemory { offset, bytes } = &input {
            let mut memory = MemoryDevice::new(self.instance.memory(), |_| ());
            memory.write(*offset, bytes)?;
        }
        Ok(self.context.act(input)?)
    }
}

/// One run.
pub(crate) struct Driver {
    kernel: Kernel,
    live: BTreeMap<ProcessId, Live>,
    /// In the order in which the kernel asked.
    tasks: VecDeque<Task>,
    /// By process, in the order in which the kernel asked; done right before whatever comes next of the process.
    preparations: BTreeMap<ProcessId, Vec<Preparation>>,
    /// The devices of the process that ended last.
    last: Option<(ProcessId, Context)>,
    released: Vec<ProcessId>,
    returned: Vec<Returned>,
    refused: Option<RuntimeError>,
    exits: BTreeMap<ProcessId, Exit>,
    /// What can stop steps from outside.
    interrupt: Interrupt,
    /// Who contributes to the first process that is prepared.
    host: Option<Box<dyn Host + Send>>,
    /// Whether what the host answers is kept for the log.
    keep_answers: bool,
}

impl Driver {
    pub(crate) fn new(configuration: KernelConfig) -> Self {
        Self {
            kernel: Kernel::new(configuration),
            live: BTreeMap::new(),
            tasks: VecDeque::new(),
            preparations: BTreeMap::new(),
            last: None,
            released: Vec::new(),
            returned: Vec::new(),
            refused: None,
            exits: BTreeMap::new(),
            interrupt: Interrupt::Never,
            host: None,
            keep_answers: true,
        }
    }

    /// The same, with steps that can be stopped from outside.
    pub(crate) fn interrupted_by(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// The same, with a host for the first process that is prepared.
    pub(crate) fn with_host(self, host: Option<Box<dyn Host + Send>>, keep_answers: bool) -> Self {
        Self { host, keep_answers, ..self }
    }

    /// A kernel with one process that goes on where it was, without a log.
    pub(crate) fn going_on(
        kernel: Kernel,
        process: ProcessId,
        instance: <HostMachine as Machine>::Instance,
        mut context: Context,
    ) -> Self {
        context.keep_answers(false);
        let mut driver = Self::new(kernel.config());
        driver.kernel = kernel;
        driver.live.insert(process, Live { instance, context });
        driver
    }

    /// The kernel.
    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What a living process's instance is, and its devices.
    pub(crate) fn snapshot(
        &mut self,
        process: ProcessId,
    ) -> Result<Option<(ProcessSnapshot, &Context)>, RuntimeError> {
        let Some(live) = self.live.get_mut(&process) else { return Ok(None) };
        Ok(Some((live.instance.snapshot()?, &live.context)))
    }

    /// A living process's linear memory.
    pub(crate) fn memory(&mut self, process: ProcessId) -> Option<&mut dyn ProcessMemory> {
        self.live.get_mut(&process).map(|live| live.instance.memory())
    }

    /// What a process is doing.
    pub(crate) fn summary(&self, process: ProcessId) -> Option<ProcessSummary> {
        self.kernel.processes().find(|summary| summary.id == process)
    }

    /// The devices of a process that lives, or that ended last.
    pub(crate) fn context(&self, process: ProcessId) -> Option<&Context> {
        let last = self.last.as_ref().filter(|(ended, _)| *ended == process).map(|(_, context)| context);
        self.live.get(&process).map(|live| &live.context).or(last)
    }

    /// The devices of a process that lives, or that ended last.
    pub(crate) fn context_mut(&mut self, process: ProcessId) -> Option<&mut Context> {
        let last = self.last.as_mut().filter(|(ended, _)| *ended == process).map(|(_, context)| context);
        self.live.get_mut(&process).map(|live| &mut live.context).or(last)
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
                Effect::Exited { process, exit } => {
                    self.exits.insert(process, exit);
                }
                Effect::Release { process } => {
                    if let Some(live) = self.live.remove(&process) {
                        self.last = Some((process, live.context));
                    }
                    self.preparations.remove(&process);
                    self.tasks.retain(|task| task.process() != process);
                    self.released.push(process);
                }
                Effect::Prepare { process, module, memory_bytes, random_seed, setup } => {
                    let start = Preparation::Start { module, memory_bytes, random_seed, setup };
                    self.preparations.entry(process).or_default().push(start);
                }
                Effect::Device { process, input } => {
                    self.preparations.entry(process).or_default().push(Preparation::Act(input));
                }
                Effect::Returned { process, result } => self.returned.push((process, result)),
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

    /// Tasks that nobody has taken yet.
    pub(crate) fn waiting_tasks(&self) -> usize {
        self.tasks.len()
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

    /// How the processes without a parent ended, so far, in the order in which they were spawned.
    pub(crate) fn take_exits(&mut self) -> Vec<Exit> {
        std::mem::take(&mut self.exits).into_values().collect()
    }

    /// Why an act on a process was refused, if one was since the last call.
    pub(crate) fn take_refused(&mut self) -> Option<RuntimeError> {
        self.refused.take()
    }

    /// Calls of resident processes that are done.
    pub(crate) fn take_returned(&mut self) -> Vec<Returned> {
        std::mem::take(&mut self.returned)
    }

    /// Runs a step of one of `modules` as it was recorded: the host's answers, and where it was interrupted, are those of
    /// the recording.
    pub(crate) fn run_step_again(
        &mut self,
        task: StepTask,
        modules: &Modules<HostMachine>,
        recorded: &StepReport,
    ) -> Result<Input, RuntimeError> {
        self.prepare(task.process, modules)?;
        if let Some(live) = self.live.get_mut(&task.process).filter(|live| live.context.has_host()) {
            live.context.replay(recorded.devices.answers.clone());
        }
        self.interrupt = match &recorded.outcome {
            StepOutcome::Trapped { kind: TrapKind::Interrupted, .. } => {
                Interrupt::At(recorded.fuel_used, Interruption::Asked)
            }
            StepOutcome::Trapped { kind: TrapKind::Deadline, .. } => {
                Interrupt::At(recorded.fuel_used, Interruption::Deadline)
            }
            _ => Interrupt::Never,
        };
        self.run_step(task, modules)
    }

    /// Runs a step of one of `modules`: the input that reports it.
    pub(crate) fn run_step(
        &mut self,
        task: StepTask,
        modules: &Modules<HostMachine>,
    ) -> Result<Input, RuntimeError> {
        let process = task.process;
        self.prepare(process, modules)?;
        let live = match self.live.entry(process) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let instance = instantiate(modules, &task.module, task.memory_bytes)?;
                let context = Context::new(task.clock_nanoseconds, task.random_seed);
                entry.insert(Live { instance, context })
            }
        };
        live.context.set_clock(task.clock_nanoseconds);
        let limits = StepLimits::new(task.fuel).interrupted_by(self.interrupt.clone());
        let report = live.instance.step(&task.call, &mut live.context, limits);
        Ok(Input::StepFinished { process, report })
    }

    /// Does what the kernel asked to be done to a process before its next step. An act that its devices refuse changes
    /// nothing, then as in a replay; [`Driver::take_refused`] tells of it.
    pub(crate) fn prepare(
        &mut self,
        process: ProcessId,
        modules: &Modules<HostMachine>,
    ) -> Result<(), RuntimeError> {
        for preparation in self.preparations.remove(&process).unwrap_or_default() {
            match preparation {
                Preparation::Start { module, memory_bytes, random_seed, setup } => {
                    let instance = instantiate(modules, &module, memory_bytes)?;
                    let mut context = Context::new(0, random_seed);
                    let hosted = setup.hosted;
                    context.set_up(setup)?;
                    context.keep_answers(self.keep_answers);
                    match self.host.take() {
                        Some(host) => context.attach(host),
                        // Each step brings its own answers.
                        None if hosted => context.replay(Vec::new()),
                        None => {}
                    }
                    self.live.insert(process, Live { instance, context });
                }
                Preparation::Act(input) => {
                    let acted = self.live.get_mut(&process).map_or(Ok(()), |live| live.act(input));
                    self.refused = acted.err().or(self.refused.take());
                }
            }
        }
        Ok(())
    }
}

fn instantiate(
    modules: &Modules<HostMachine>,
    module: &ModuleHash,
    memory_bytes: u64,
) -> Result<<HostMachine as Machine>::Instance, RuntimeError> {
    let (name, module) = modules.compiled(module)?;
    let limits = InstanceLimits { memory_bytes, ..InstanceLimits::default() };
    let instance = modules.machine().instantiate(&module, limits);
    instance.map_err(|source| RuntimeError::Module { name: name.to_owned(), source })
}
