//! Single processes: any module, its devices, and nothing granted beyond them.
//!
//! - [`Sandbox`]: the modules, compiled once, of which processes are made.
//! - [`Process`]: one of them: called, watched, acted on between its steps.
//! - [`ProcessOptions`]: what it starts with.

use std::{borrow::Borrow, io::Write};

use glasshouse_devices::{Context, ContextLimits, DeviceInput, Host, ProcessMemory, SavedContext, Setup};
use glasshouse_engine::{HostMachine, InstanceLimits, Interrupt, Machine, SavedProcess};
use glasshouse_kernel::{
    Exit, ExitReason, Fuel, Input, Kernel, KernelConfig, Life, Limits, ModuleHash, ProcessId, ProcessState,
    ProcessSummary,
};
use glasshouse_protocol::ErrorData;
use serde::{Deserialize, Serialize};

use crate::{
    Modules, Observer, RuntimeError, Unobserved,
    driver::{Driver, Recorder, Task},
    trace::{self, NoTrace, TraceFile},
};

/// The one process of its kernel.
const PROCESS: ProcessId = ProcessId(1);

/// Compiled modules, of which processes are made. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Sandbox {
    modules: Modules<HostMachine>,
}

/// What a process starts with.
pub struct ProcessOptions<'t> {
    /// A name for people.
    pub name: String,
    /// The seed of everything random.
    pub seed: u64,
    /// How much it may use, over its whole life.
    pub limits: Limits,
    /// What its devices start with.
    pub setup: Setup,
    /// Who contributes standard input, mounted directories and host functions, and hears what is printed; none: nobody.
    pub host: Option<Box<dyn Host + Send>>,
    /// Stops its steps from outside.
    pub interrupt: Interrupt,
    /// Where the event log goes; none: nowhere.
    pub trace: Option<Box<dyn Write + 't>>,
    /// Who watches.
    pub observer: Box<dyn Observer + 't>,
}

impl Default for ProcessOptions<'_> {
    /// Seed 0, the kernel's default limits, empty devices, nobody watching.
    fn default() -> Self {
        Self {
            name: "process".to_owned(),
            seed: 0,
            limits: Limits::default(),
            setup: Setup::default(),
            host: None,
            interrupt: Interrupt::default(),
            trace: None,
            observer: Box::new(Unobserved),
        }
    }
}

/// One process, alone with its devices. Requests for services are denied: nothing is granted.
pub struct Process<'t> {
    modules: Modules<HostMachine>,
    driver: Driver,
    recorder: Box<dyn Recorder + 't>,
    observer: Box<dyn Observer + 't>,
    exit: Option<Exit>,
}

/// How a call of a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// With a result, as JSON.
    Returned(Vec<u8>),
    /// With an error that the process returned; it can be called again.
    Refused(ErrorData),
    /// With the end of the process.
    Ended(Exit),
}

/// A process between two calls: the kernel's view of it, its instance, its devices.
#[derive(Serialize, Deserialize)]
struct SavedState {
    kernel: Vec<u8>,
    process: Vec<u8>,
    devices: Vec<u8>,
}

/// The first bytes of a saved process, with the format's version at the end.
const SAVED_MAGIC: &[u8; 8] = b"GHSAVED\x01";

impl SavedState {
    /// Magic, BLAKE3 of what follows, the parts.
    fn encode(&self) -> Result<Vec<u8>, RuntimeError> {
        let parts = postcard::to_allocvec(self).map_err(|error| damaged(&error.to_string()))?;
        let mut bytes = SAVED_MAGIC.to_vec();
        bytes.extend_from_slice(blake3::hash(&parts).as_bytes());
        bytes.extend_from_slice(&parts);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, RuntimeError> {
        let rest = bytes
            .strip_prefix(SAVED_MAGIC)
            .ok_or_else(|| damaged("it is not a saved process of this version"))?;
        let (hash, parts) = rest.split_first_chunk::<32>().ok_or_else(|| damaged("it is cut off"))?;
        if blake3::hash(parts) != *hash {
            return Err(damaged("its content is not what its hash says"));
        }
        match postcard::take_from_bytes(parts) {
            Ok((saved, [])) => Ok(saved),
            _ => Err(damaged("its parts cannot be told apart")),
        }
    }
}

fn damaged(reason: &str) -> RuntimeError {
    RuntimeError::SavedProcess { reason: reason.to_owned() }
}

impl Sandbox {
    /// A sandbox on this machine.
    pub fn new(machine: HostMachine) -> Self {
        Self { modules: Modules::new(machine) }
    }

    /// Adds a module under a name for people; the same bytes are kept once.
    pub fn add(&mut self, name: &str, module: &[u8]) -> ModuleHash {
        self.modules.add(name, module)
    }

    /// Whether a module is a program, whose entry is `_start`.
    ///
    /// # Errors
    /// [`RuntimeError::Module`] when the module cannot run, [`RuntimeError::UnknownModule`] when it was not added.
    pub fn is_command(&self, module: ModuleHash) -> Result<bool, RuntimeError> {
        let (_, compiled) = self.modules.compiled(&module)?;
        Ok(self.modules.machine().needs(compiled.borrow()).is_command())
    }

    /// Makes a process that goes on where the saved one was, of the same module, which was added before. All of it is
    /// checked before anything is taken over. It has no event log: what came before is in the other's.
    ///
    /// # Errors
    /// [`RuntimeError::Snapshot`], [`RuntimeError::UnknownModule`].
    pub fn restore<'t>(
        &self,
        saved: &[u8],
        host: Option<Box<dyn Host + Send>>,
        observer: Box<dyn Observer + 't>,
    ) -> Result<Process<'t>, RuntimeError> {
        let SavedState { kernel, process, devices } = SavedState::decode(saved)?;
        let kernel = Kernel::restore(&kernel)?;
        let process = SavedProcess::from_bytes(&process)?;
        let summary = kernel.processes().find(|summary| summary.id == PROCESS);
        let summary = summary.ok_or_else(|| damaged("it holds no process"))?;
        let ProcessState::Idle = summary.state else {
            return Err(damaged("its process was not between two calls"));
        };
        if summary.module.0 != *process.module_hash() {
            return Err(damaged("its process and its memory are of different modules"));
        }
        let devices = SavedContext::decode(&devices).map_err(|error| damaged(&error.to_string()))?;
        let mut context = Context::restore(devices, &ContextLimits::default())
            .map_err(|error| damaged(&error.to_string()))?;
        if let Some(host) = host {
            context.attach(host);
        }
        let (_, compiled) = self.modules.compiled(&summary.module)?;
        let memory_bytes = kernel.limits(PROCESS).map_or(0, |limits| limits.memory.0);
        let limits = InstanceLimits { memory_bytes, ..InstanceLimits::default() };
        let instance = self.modules.machine().restore_saved(compiled.borrow(), &process, limits)?;
        let driver = Driver::going_on(kernel, PROCESS, instance, context);
        let modules = self.modules.clone();
        Ok(Process { modules, driver, recorder: Box::new(NoTrace), observer, exit: None })
    }

    /// Starts a process of a module that was added. It is idle: nothing of the module has run.
    ///
    /// # Errors
    /// [`RuntimeError::Module`] when the module cannot run, [`RuntimeError::UnknownModule`] when it was not added,
    /// [`RuntimeError::TraceWrite`].
    pub fn spawn<'t>(
        &self,
        module: ModuleHash,
        options: ProcessOptions<'t>,
    ) -> Result<Process<'t>, RuntimeError> {
        self.modules.compiled(&module)?;
        let ProcessOptions { name, seed, limits, mut setup, host, interrupt, trace, observer } = options;
        let configuration = KernelConfig { seed, ..KernelConfig::default() };
        setup.hosted = host.is_some();
        let keep_answers = trace.is_some();
        let recorder: Box<dyn Recorder + 't> = match trace {
            None => Box::new(NoTrace),
            Some(file) => Box::new(TraceFile::new(file, &trace::header(configuration, &self.modules, None))?),
        };
        let driver = Driver::new(configuration).interrupted_by(interrupt).with_host(host, keep_answers);
        let modules = self.modules.clone();
        let mut process = Process { modules, driver, recorder, observer, exit: None };
        process.apply(Input::Spawn {
            name,
            module,
            entry: String::new(),
            payload: Vec::new(),
            grants: Vec::new(),
            limits,
            setup,
            life: Life::Resident,
        })?;
        process.driver.prepare(PROCESS, &process.modules)?;
        Ok(process)
    }
}

impl Process<'_> {
    /// Calls an exported function with a payload of JSON, and runs it to its end. `_start`, of a program, takes none.
    ///
    /// # Errors
    /// [`RuntimeError`] when the run cannot go on: the log cannot be written, or the process has ended. What the process
    /// did wrong is in the [`CallEnd`].
    pub fn call(&mut self, entry: &str, payload: &[u8]) -> Result<CallEnd, RuntimeError> {
        let (entry, payload) = (entry.to_owned(), payload.to_vec());
        self.apply(Input::Call { process: PROCESS, entry, payload })?;
        loop {
            if let Some(exit) = self.exit.clone() {
                return Ok(CallEnd::Ended(exit));
            }
            if let Some((_, result)) = self.driver.take_returned().pop() {
                return Ok(match result {
                    Ok(result) => CallEnd::Returned(result),
                    Err(error) => CallEnd::Refused(error),
                });
            }
            match self.driver.next_task() {
                Some(Task::Step(step)) => {
                    let input = self.driver.run_step(step, &self.modules)?;
                    self.apply(input)?;
                }
                // Nothing is granted, so the kernel answers every request itself.
                Some(Task::Request(_)) | None => return Err(RuntimeError::stuck()),
            }
        }
    }

    /// Puts bytes behind what waits on the process's standard input.
    ///
    /// # Errors
    /// As [`Process::act`].
    pub fn send_stdin(&mut self, bytes: &[u8]) -> Result<(), RuntimeError> {
        self.act(DeviceInput::Stdin(bytes.to_vec()))
    }

    /// Acts on the process's devices, between two calls. It is in the event log, refused or not.
    ///
    /// # Errors
    /// [`RuntimeError::Kernel`] when the process has ended; [`RuntimeError::Device`] and
    /// [`RuntimeError::ProcessMemory`] when the act is not possible, and has changed nothing.
    pub fn act(&mut self, input: DeviceInput) -> Result<(), RuntimeError> {
        self.apply(Input::Device { process: PROCESS, input })?;
        self.driver.prepare(PROCESS, &self.modules)?;
        self.driver.take_refused().map_or(Ok(()), Err)
    }

    /// Gives the process more fuel.
    ///
    /// # Errors
    /// [`RuntimeError::TraceWrite`].
    pub fn refuel(&mut self, fuel: Fuel) -> Result<(), RuntimeError> {
        self.apply(Input::Refuel { process: PROCESS, fuel })
    }

    /// Ends the process: killed, halted, or at its deadline.
    ///
    /// # Errors
    /// [`RuntimeError::Kernel`] when no process can be ended for this reason.
    pub fn kill(&mut self, reason: ExitReason) -> Result<(), RuntimeError> {
        self.apply(Input::Kill { process: PROCESS, reason })
    }

    /// What it is doing, and what it has used.
    pub fn summary(&self) -> Option<ProcessSummary> {
        self.driver.summary(PROCESS)
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Its devices, to look at, when it has ended as well.
    pub fn devices(&self) -> Option<&Context> {
        self.driver.context(PROCESS)
    }

    /// Its devices, to watch: to read its frames, to record what it plays. Whatever else is done to them so is not in the
    /// event log, and a replay will differ; [`Process::act`] is for that.
    pub fn devices_mut(&mut self) -> Option<&mut Context> {
        self.driver.context_mut(PROCESS)
    }

    /// Its linear memory, to look at and to write; none when it has ended. What is written so is not in the event log:
    /// [`DeviceInput::WriteMemory`] is.
    pub fn memory(&mut self) -> Option<&mut dyn ProcessMemory> {
        self.driver.memory(PROCESS)
    }

    /// Everything of the process, between two calls, as bytes: for a file, or for another host.
    ///
    /// # Errors
    /// [`RuntimeError::Snapshot`] when it has ended, or its engine does not give it away.
    pub fn save(&mut self) -> Result<Vec<u8>, RuntimeError> {
        let kernel = self.driver.kernel().snapshot()?;
        let (snapshot, context) =
            self.driver.snapshot(PROCESS)?.ok_or_else(|| damaged("the process has ended"))?;
        let process = SavedProcess::new(&snapshot).to_bytes()?;
        SavedState { kernel, process, devices: context.save().encode() }.encode()
    }

    /// A second process that is in all what this one is now. Their memories share what neither writes. It has no host,
    /// no event log and nobody watching.
    ///
    /// # Errors
    /// [`RuntimeError::Snapshot`] when the process has ended, or its engine does not give it away.
    pub fn fork(&mut self) -> Result<Process<'static>, RuntimeError> {
        let limits = self.driver.kernel().limits(PROCESS).ok_or_else(|| damaged("the process has ended"))?;
        let (snapshot, context) =
            self.driver.snapshot(PROCESS)?.ok_or_else(|| damaged("the process has ended"))?;
        let context = context.clone();
        let (_, compiled) = self.modules.compiled(&ModuleHash(*snapshot.module_hash()))?;
        let limits = InstanceLimits { memory_bytes: limits.memory.0, ..InstanceLimits::default() };
        let instance = self.modules.machine().restore(compiled.borrow(), &snapshot, limits)?;
        let driver = Driver::going_on(self.driver.kernel().clone(), PROCESS, instance, context);
        let (recorder, observer) = (Box::new(NoTrace), Box::new(Unobserved));
        Ok(Process { modules: self.modules.clone(), driver, recorder, observer, exit: self.exit.clone() })
    }

    /// Ends the event log. Without it, whoever reads the log takes it for cut off.
    ///
    /// # Errors
    /// [`RuntimeError::TraceWrite`].
    pub fn finish(&mut self) -> Result<(), RuntimeError> {
        self.recorder.finish()
    }

    fn apply(&mut self, input: Input) -> Result<(), RuntimeError> {
        self.driver.apply(input, &mut *self.recorder, &mut *self.observer)?;
        if let Some(exit) = self.driver.take_exits().pop() {
            self.exit = Some(exit);
        }
        Ok(())
    }
}
