//! A runtime: the modules, tools and services that runs share, and the two kinds of run.

use std::{
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use glasshouse_agent::{AgentOutcome, AgentRequest};
use glasshouse_engine::{describe_tools, native::Wasmtime};
use glasshouse_kernel::{Capability, Exit, ExitReason, Input, KernelConfig, Limits, ModuleHash, ToolTarget};
use glasshouse_memory::MemoryStore;
use glasshouse_protocol::{Sampling, ToolDescription, services};

use crate::{
    Clock, ModelSource, Modules, Mount, Observer, RuntimeError, builtin,
    driver::{Driver, Recorder, Task},
    services::{Files, ModelService, Services},
    trace::{self, NoTrace, TraceFile},
};

/// The entry that an agent module exports.
const AGENT_ENTRY: &str = "run";

/// What to load, what to grant, how much to allow.
#[derive(Debug, Clone, Default)]
pub struct RuntimeOptions {
    /// The model.
    pub model: ModelSource,
    /// Threads for inference; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Directories that tools may use.
    pub mounts: Vec<Mount>,
    /// The file of long-term memory; `None` keeps it for this runtime only.
    pub memory: Option<PathBuf>,
    /// Where the wall clock's time comes from.
    pub clock: Clock,
    /// Seed of everything random.
    pub seed: u64,
    /// What each process may use.
    pub limits: Limits,
    /// Further tool modules: a name for people, and the bytes.
    pub tools: Vec<(String, Vec<u8>)>,
    /// The agent to run instead of the default one.
    pub agent: Option<(String, Vec<u8>)>,
}

/// A question, and how much the agent may spend on it.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// The question.
    pub question: String,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Steps and tokens.
    pub limits: glasshouse_agent::Limits,
}

struct Tool {
    description: ToolDescription,
    module: ModuleHash,
}

/// Modules, tools and services.
pub struct Runtime {
    modules: Modules<Wasmtime>,
    services: Services,
    tools: Vec<Tool>,
    agent: ModuleHash,
    model: ModelSource,
    seed: u64,
    limits: Limits,
    stop: Arc<AtomicBool>,
}

impl Runtime {
    /// Loads the model, opens the mounts and the memory, and learns the tools.
    ///
    /// # Errors
    /// Whatever of it cannot be had; nothing has run then.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let mut modules = Modules::new(Wasmtime::new().map_err(RuntimeError::Engine)?);
        let mut tools = Vec::new();
        for (name, bytes) in builtin::TOOLS {
            add_tools(&mut modules, &mut tools, name, bytes)?;
        }
        for (name, bytes) in &options.tools {
            let module = add_tools(&mut modules, &mut tools, name, bytes)?;
            // A module that cannot run is told now, not in the middle of a conversation.
            modules.compiled(&module)?;
        }
        let agent = match &options.agent {
            Some((name, bytes)) => modules.add(name, bytes),
            None => modules.add(builtin::REACT.0, builtin::REACT.1),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let model = options.model.load(options.threads)?;
        let memory = match &options.memory {
            Some(path) => MemoryStore::open(path),
            None => MemoryStore::open_in_memory(),
        };
        let services = Services {
            model: model.map(|model| ModelService::new(model, Arc::clone(&stop))),
            files: Files::open(&options.mounts)?,
            clock: options.clock,
            memory: memory.map_err(RuntimeError::Memory)?,
        };
        let limits = options.limits;
        Ok(Self { modules, services, tools, agent, model: options.model, seed: options.seed, limits, stop })
    }

    /// Set it to stop the run that is going on; the log then ends with the stop.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// The tools on offer: those whose services are granted.
    pub fn tools(&self) -> impl Iterator<Item = &ToolDescription> {
        self.granted_tools().map(|tool| &tool.description)
    }

    /// Runs the agent on a question, writing the event log to `trace` if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Process`] when the agent ended without an outcome; an exhausted limit is an outcome.
    pub fn ask(
        &mut self,
        options: AskOptions,
        trace: Option<&mut dyn Write>,
        observer: &mut dyn Observer,
    ) -> Result<AgentOutcome, RuntimeError> {
        if options.question.trim().is_empty() {
            return Err(RuntimeError::EmptyQuestion);
        }
        self.modules.compiled(&self.agent)?;
        let mut start = Vec::new();
        let mut grants = vec![Capability::Service(services::MODEL.to_owned())];
        let mut tools = Vec::new();
        for tool in self.granted_tools() {
            let name = tool.description.name.clone();
            grants.push(Capability::Tool(name.clone()));
            start.push(Input::RegisterTool { name, target: self.target(tool) });
            tools.push(tool.description.clone());
        }
        grants.extend_from_slice(self.services.files.capabilities());
        let request = AgentRequest {
            question: options.question,
            tools,
            limits: options.limits,
            sampling: options.sampling,
            system: None,
        };
        start.push(Input::Spawn {
            name: "agent".to_owned(),
            module: self.agent,
            entry: AGENT_ENTRY.to_owned(),
            payload: json(&request)?,
            grants,
            limits: self.limits,
        });
        let exit = self.drive(start, trace, observer)?;
        let result = succeeded(exit)?;
        serde_json::from_slice(&result).map_err(|error| RuntimeError::Process {
            code: "bad_outcome".to_owned(),
            message: format!("the agent module did not return an outcome: {error}"),
        })
    }

    /// Calls one exported function of a module that is granted nothing: its result as JSON.
    ///
    /// # Errors
    /// [`RuntimeError::Module`] when the module cannot run, [`RuntimeError::Process`] when the call failed.
    pub fn call(
        &mut self,
        name: &str,
        module: &[u8],
        entry: &str,
        payload: &[u8],
        trace: Option<&mut dyn Write>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<u8>, RuntimeError> {
        let hash = self.modules.add(name, module);
        self.modules.compiled(&hash)?;
        let spawn = Input::Spawn {
            name: name.to_owned(),
            module: hash,
            entry: entry.to_owned(),
            payload: payload.to_vec(),
            grants: Vec::new(),
            limits: self.limits,
        };
        succeeded(self.drive(vec![spawn], trace, observer)?)
    }

    fn drive(
        &mut self,
        start: Vec<Input>,
        trace: Option<&mut dyn Write>,
        observer: &mut dyn Observer,
    ) -> Result<Exit, RuntimeError> {
        let configuration = KernelConfig { seed: self.seed, ..KernelConfig::default() };
        let exits = match trace {
            None => self.run(configuration, start, &mut NoTrace, observer)?,
            Some(file) => {
                let header = trace::header(configuration, &self.modules, self.model.hash()?);
                let mut recorder = TraceFile::new(file, &header)?;
                let exits = self.run(configuration, start, &mut recorder, observer)?;
                recorder.finish()?;
                exits
            }
        };
        exits.into_iter().next().ok_or_else(|| RuntimeError::Process {
            code: "no_exit".to_owned(),
            message: "the process waits for something that never comes".to_owned(),
        })
    }

    /// Applies `start`, then performs one task after another until there are none left.
    fn run(
        &mut self,
        configuration: KernelConfig,
        start: Vec<Input>,
        recorder: &mut dyn Recorder,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Exit>, RuntimeError> {
        let mut driver = Driver::new(configuration, &self.modules);
        for input in start {
            driver.apply(input, recorder, observer)?;
        }
        let mut stopped = false;
        loop {
            if !stopped && self.stop.load(Ordering::Relaxed) {
                stopped = true;
                if let Some(process) = driver.first_process() {
                    driver.apply(Input::Kill { process, reason: ExitReason::Killed }, recorder, observer)?;
                }
            }
            let input = match driver.next_task() {
                None => return Ok(driver.take_exits()),
                Some(Task::Step(task)) => driver.run_step(task)?,
                Some(Task::Request(task)) => {
                    let call = task.call();
                    let result = self.services.perform(&call, observer);
                    Input::Completion { request: task.request, result }
                }
            };
            driver.apply(input, recorder, observer)?;
            for process in driver.take_released() {
                self.services.release(process);
            }
        }
    }

    fn granted_tools(&self) -> impl Iterator<Item = &Tool> {
        let mounted = !self.services.files.capabilities().is_empty();
        let is_writable = |grant: &Capability| matches!(grant, Capability::Mount { writable: true, .. });
        let writable = self.services.files.capabilities().iter().any(is_writable);
        self.tools.iter().filter(move |tool| {
            let uses_files = tool.description.services.iter().any(|service| service == services::FILES);
            !uses_files || if tool.description.name == WRITE_FILE { writable } else { mounted }
        })
    }

    fn target(&self, tool: &Tool) -> ToolTarget {
        ToolTarget::Guest {
            module: tool.module,
            entry: tool.description.entry.clone(),
            grants: tool.description.services.iter().cloned().map(Capability::Service).collect(),
            limits: self.limits,
        }
    }
}

/// The tool that needs a writable mount.
const WRITE_FILE: &str = "write_file";

fn add_tools(
    modules: &mut Modules<Wasmtime>,
    tools: &mut Vec<Tool>,
    name: &str,
    bytes: &[u8],
) -> Result<ModuleHash, RuntimeError> {
    let describe = |source| RuntimeError::Module { name: name.to_owned(), source };
    let descriptions = describe_tools(bytes).map_err(describe)?;
    if descriptions.is_empty() {
        return Err(RuntimeError::NoTools { name: name.to_owned() });
    }
    let module = modules.add(name, bytes);
    for description in descriptions {
        if tools.iter().any(|tool| tool.description.name == description.name) {
            return Err(RuntimeError::DuplicateTool { name: description.name });
        }
        tools.push(Tool { description, module });
    }
    Ok(module)
}

fn succeeded(exit: Exit) -> Result<Vec<u8>, RuntimeError> {
    exit.result.map_err(|error| RuntimeError::Process { code: error.code, message: error.message })
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, RuntimeError> {
    serde_json::to_vec(value)
        .map_err(|error| RuntimeError::Process { code: "bad_request".to_owned(), message: error.to_string() })
}
