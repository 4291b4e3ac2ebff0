//! A runtime: the modules, tools and services that runs share, and the runs of its agent.

use std::{
    io::Write,
    sync::{Arc, atomic::AtomicBool},
};

use glasshouse_agent::{ANSWER, AgentOutcome, AgentRequest};
use glasshouse_devices::Setup;
use glasshouse_engine::{HostConfig, HostMachine, describe_tools};
use glasshouse_kernel::{
    Bytes, Capability, Exit, Fuel, Input, KernelConfig, Life, Limits, ModuleHash, ToolTarget,
};
use glasshouse_llm::GuardConfig;
use glasshouse_memory::MemoryStore;
use glasshouse_protocol::{Message, Sampling, ToolDescription, services};

use crate::{
    Clock, FileSystem, ModelSource, Modules, Observer, Run, RuntimeError, builtin,
    driver::Recorder,
    services::{ModelService, NoFiles, Services},
    trace::{self, NoTrace, TraceFile},
};

/// The entry that an agent module exports.
const AGENT_ENTRY: &str = "run";

/// What to load, what to grant, how much to allow.
#[derive(Default)]
pub struct RuntimeOptions {
    /// The model.
    pub model: ModelSource,
    /// Threads for inference; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Files that tools may use; `None` grants none.
    pub files: Option<Box<dyn FileSystem>>,
    /// Long-term memory; `None` keeps it for this runtime only.
    pub memory: Option<MemoryStore>,
    /// Further tool modules: a name for people, and the bytes.
    pub tools: Vec<(String, Vec<u8>)>,
    /// What guards everything that the model generates; `None`: nothing.
    pub guard: Option<GuardConfig>,
    /// The agent to run instead of the default one.
    pub agent: Option<(String, Vec<u8>)>,
    /// How the engine is set up.
    pub engine: HostConfig,
}

/// What a run may spend unless it is told otherwise: the same on every host.
pub mod defaults {
    /// Fuel of each process: about one unit for each WebAssembly instruction; some seconds of computation.
    pub const FUEL: u64 = 1_000_000_000;
    /// Fuel of a program that a person runs: minutes of computation.
    pub const PROGRAM_FUEL: u64 = 100_000_000_000;
    /// Memory of each process, in MiB.
    pub const MEMORY_MEBIBYTES: u32 = 64;
    /// Steps of the agent.
    pub const STEPS: u32 = 8;
    /// Tokens that the model may generate.
    pub const TOKENS: u32 = 2048;
}

/// What each run may be given on its own.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Seed of everything random.
    pub seed: u64,
    /// Where the wall clock's time comes from.
    pub clock: Clock,
    /// What each process may use.
    pub limits: Limits,
}

impl Default for RunOptions {
    /// Seed 0, the host's clock, and [`defaults`].
    fn default() -> Self {
        Self {
            seed: 0,
            clock: Clock::Host,
            limits: process_limits(defaults::FUEL, defaults::MEMORY_MEBIBYTES),
        }
    }
}

/// Limits of a process with so much fuel and so many MiB of memory.
pub fn process_limits(fuel: u64, memory_mebibytes: u32) -> Limits {
    Limits { fuel: Fuel(fuel), memory: Bytes(u64::from(memory_mebibytes) << 20), ..Limits::default() }
}

/// Limits of an agent that may take so many steps and generate so many tokens.
pub fn agent_limits(steps: u32, tokens: u32) -> glasshouse_agent::Limits {
    let default = glasshouse_agent::Limits::default();
    glasshouse_agent::Limits {
        maximum_steps: steps,
        maximum_tokens: tokens,
        maximum_tokens_per_step: default.maximum_tokens_per_step.min(tokens),
    }
}

/// A question to an agent, and how much it may spend on it.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// The question.
    pub question: String,
    /// What was asked and answered before, in turns of person and agent.
    pub history: Vec<Message>,
    /// Instructions to the model, put before those of the agent's protocol.
    pub system: Option<String>,
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
    modules: Modules<HostMachine>,
    services: Services,
    tools: Vec<Tool>,
    agent: ModuleHash,
    model: ModelSource,
    guard: Option<GuardConfig>,
}

impl Runtime {
    /// Loads the model and learns the tools.
    ///
    /// # Errors
    /// Whatever of it cannot be had; nothing has run then.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let machine = HostMachine::with_config(options.engine).map_err(RuntimeError::Engine)?;
        let mut modules = Modules::new(machine);
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
        let memory = match options.memory {
            Some(memory) => memory,
            None => MemoryStore::open_in_memory().map_err(RuntimeError::Memory)?,
        };
        let services = Services {
            model: None,
            files: options.files.unwrap_or_else(|| Box::new(NoFiles)),
            clock: Clock::default(),
            memory,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let mut guard = options.guard;
        if let (Some(guard), None) = (&mut guard, &options.agent) {
            // The default agent's model cannot answer without saying so. Its thoughts and calls state nothing.
            guard.facts_behind.get_or_insert_with(|| ANSWER.to_owned());
        }
        if let Some(guard) = &guard {
            guard.check().map_err(RuntimeError::Model)?;
        }
        let mut runtime = Self { modules, services, tools, agent, model: ModelSource::None, guard };
        runtime.load_model(options.model, options.threads)?;
        Ok(runtime)
    }

    /// Loads another model in place of the one that runs have used so far.
    ///
    /// # Errors
    /// [`RuntimeError::Model`]; the model is then the one that it was.
    pub fn load_model(&mut self, source: ModelSource, threads: Option<usize>) -> Result<(), RuntimeError> {
        let loaded = source.load(threads)?;
        self.services.model = loaded.map(|model| ModelService::new(model, self.guard.clone()));
        self.model = source;
        Ok(())
    }

    /// Set it to stop the run that is going on; the log then ends with the stop.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.services.stop)
    }

    /// The tools on offer: those whose services are granted.
    pub fn tools(&self) -> impl Iterator<Item = &ToolDescription> {
        self.granted_tools().map(|tool| &tool.description)
    }

    /// Runs an agent on a question, writing the event log to `trace` if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Process`] when the agent ended without an outcome; an exhausted limit is an outcome.
    pub fn ask(
        &mut self,
        options: AskOptions,
        run: RunOptions,
        trace: Option<&mut dyn Write>,
        observer: &mut dyn Observer,
    ) -> Result<AgentOutcome, RuntimeError> {
        let mut outcomes = self.ask_each(vec![options], run, trace, observer)?;
        outcomes.pop().ok_or_else(RuntimeError::stuck)?
    }

    /// Runs an agent on each question, all in one run and with one log. They know nothing of each other; what they ask of the
    /// model is computed together.
    ///
    /// # Errors
    /// When the run cannot begin, or go on. How each agent fared is in the answer, in the order of the questions.
    pub fn ask_each(
        &mut self,
        asks: Vec<AskOptions>,
        run: RunOptions,
        trace: Option<&mut dyn Write>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Result<AgentOutcome, RuntimeError>>, RuntimeError> {
        let mut run = self.start(asks, run, trace, observer)?;
        loop {
            if let Some(exits) = self.advance(&mut run, observer)? {
                return Ok(exits.into_iter().map(agent_outcome).collect());
            }
        }
    }

    /// Begins to run an agent on each question; [`Runtime::advance`] goes on with them, and [`agent_outcome`] reads their
    /// exits. One run at a time: runs share the stop.
    ///
    /// # Errors
    /// [`RuntimeError::EmptyQuestion`], and those of the agent's module and of `trace`.
    pub fn start<'t, W: Write + 't>(
        &mut self,
        asks: Vec<AskOptions>,
        run: RunOptions,
        trace: Option<W>,
        observer: &mut dyn Observer,
    ) -> Result<Run<'t>, RuntimeError> {
        if asks.is_empty() || asks.iter().any(|ask| ask.question.trim().is_empty()) {
            return Err(RuntimeError::EmptyQuestion);
        }
        self.modules.compiled(&self.agent)?;
        // In which order agents get their answers depends on how much of their prompts is evaluated already, and must not
        // depend on other runs.
        if let Some(model) = &mut self.services.model {
            model.share(asks.len() > 1);
        }
        let mut inputs = Vec::new();
        let mut grants = vec![Capability::Service(services::MODEL.to_owned())];
        let mut tools = Vec::new();
        for tool in self.granted_tools() {
            let name = tool.description.name.clone();
            grants.push(Capability::Tool(name.clone()));
            inputs.push(Input::RegisterTool { name, target: target(tool, run.limits) });
            tools.push(tool.description.clone());
        }
        grants.extend_from_slice(self.services.files.capabilities());
        for ask in asks {
            let request = AgentRequest {
                question: ask.question,
                tools: tools.clone(),
                limits: ask.limits,
                sampling: ask.sampling,
                system: ask.system,
                history: ask.history,
            };
            inputs.push(Input::Spawn {
                name: "agent".to_owned(),
                module: self.agent,
                entry: AGENT_ENTRY.to_owned(),
                payload: json(&request)?,
                grants: grants.clone(),
                limits: run.limits,
                setup: Setup::default(),
                life: Life::Once,
            });
        }
        self.begin(run, inputs, trace, observer)
    }

    /// Does one piece of a run's work: a step of a process, an answer of a service, or a token or a part of a prompt of
    /// each agent that waits for the model. How the agents ended, in the order of the questions, once there is nothing left
    /// to do; nothing may be advanced after that.
    ///
    /// # Errors
    /// [`RuntimeError`] when the run cannot go on. What a process did wrong is in its exit.
    pub fn advance(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Exit>>, RuntimeError> {
        run.advance(&self.modules, &mut self.services, observer)
    }

    /// Long-term memory, for people to look at and to change.
    pub fn memory(&mut self) -> &mut MemoryStore {
        &mut self.services.memory
    }

    fn begin<'t, W: Write + 't>(
        &mut self,
        options: RunOptions,
        start: Vec<Input>,
        trace: Option<W>,
        observer: &mut dyn Observer,
    ) -> Result<Run<'t>, RuntimeError> {
        self.services.release_all();
        self.services.clock = options.clock;
        let configuration = KernelConfig { seed: options.seed, ..KernelConfig::default() };
        let recorder: Box<dyn Recorder + 't> = match trace {
            None => Box::new(NoTrace),
            Some(file) => {
                let mut header = trace::header(configuration, &self.modules, self.model.hash()?);
                if let Some(guard) = &self.guard {
                    header.extra.push((trace::GUARD.to_owned(), trace::guard_text(guard)?));
                }
                Box::new(TraceFile::new(file, &header)?)
            }
        };
        Run::start(configuration, self.stop_flag(), start, recorder, observer)
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
}

fn target(tool: &Tool, limits: Limits) -> ToolTarget {
    ToolTarget::Guest {
        module: tool.module,
        entry: tool.description.entry.clone(),
        grants: tool.description.services.iter().cloned().map(Capability::Service).collect(),
        limits,
    }
}

/// The tool that needs a writable mount.
const WRITE_FILE: &str = "write_file";

fn add_tools(
    modules: &mut Modules<HostMachine>,
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

/// The outcome that an agent's process ended with.
///
/// # Errors
/// [`RuntimeError::Process`] when it ended without one.
pub fn agent_outcome(exit: Exit) -> Result<AgentOutcome, RuntimeError> {
    let result = succeeded(exit)?;
    serde_json::from_slice(&result).map_err(|error| RuntimeError::Process {
        code: "bad_outcome".to_owned(),
        message: format!("the agent module did not return an outcome: {error}"),
    })
}

fn succeeded(exit: Exit) -> Result<Vec<u8>, RuntimeError> {
    exit.result.map_err(|error| RuntimeError::Process { code: error.code, message: error.message })
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, RuntimeError> {
    serde_json::to_vec(value)
        .map_err(|error| RuntimeError::Process { code: "bad_request".to_owned(), message: error.to_string() })
}
