//! Who answers: a model, or the agent with what it is granted.

use std::{
    io::{IsTerminal, Write, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, anyhow, bail};
use glasshouse_llm::{LoadedModel, Session};
use glasshouse_memory::{MAX_RESULTS, MemoryStore, Record};
use glasshouse_protocol::{FinishReason, GenerateRequest, Message, Role, Sampling};
use glasshouse_runtime::{
    AskOptions, Files, ModelSource, Mount, RunOptions, Runtime, RuntimeError, RuntimeOptions, agent_limits,
    defaults,
};

use crate::{
    arguments::ChatArguments,
    commands::{engine_config, generate, model_source, read_module, sampling, threads},
    progress,
    screen::{Format, Screen, visible},
};

/// What an answer was.
pub struct Answer {
    /// What was said.
    pub text: String,
    /// Why it is not all, in words.
    pub cut: Option<&'static str>,
    /// Tokens of the conversation, of those that the model had evaluated before, and of the answer.
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub generated_tokens: u64,
    /// Tokens a second, behind the first one; of an agent, in the whole run.
    pub rate: Option<f64>,
}

impl Answer {
    /// None, since it was stopped before there was one.
    fn stopped() -> Self {
        Self {
            text: String::new(),
            cut: Some("stopped"),
            prompt_tokens: 0,
            cached_tokens: 0,
            generated_tokens: 0,
            rate: None,
        }
    }
}

/// Who answers.
pub enum Partner {
    /// A model, by its chat template.
    Model(Box<ModelPartner>),
    /// The agent, a run for each question.
    Agent(Box<AgentPartner>),
}

impl Partner {
    /// Loads whoever was asked for.
    pub fn new(arguments: &ChatArguments) -> Result<Self> {
        let is_granted =
            !arguments.mount.is_empty() || arguments.memory.is_some() || !arguments.tool.is_empty();
        let source = model_source(&arguments.model)?;
        if !is_granted {
            let model = generate::load(source.clone(), arguments.model.threads)?;
            if !model.description().knows_agent_protocol {
                return Ok(Self::Model(Box::new(ModelPartner::new(model, arguments))));
            }
        }
        Ok(Self::Agent(Box::new(AgentPartner::new(source, arguments)?)))
    }

    /// Set it to stop the answer that is being given.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        match self {
            Self::Model(partner) => Arc::clone(&partner.stop),
            Self::Agent(partner) => partner.runtime.stop_flag(),
        }
    }

    /// Answers the last of the messages, and shows it as it comes.
    pub fn answer(&mut self, messages: &[Message], turn: u64) -> Result<Answer> {
        self.stop_flag().store(false, Ordering::Relaxed);
        match self {
            Self::Model(partner) => partner.answer(messages, turn),
            Self::Agent(partner) => partner.answer(messages, turn),
        }
    }

    /// Forgets the conversation.
    pub fn clear(&mut self) {
        if let Self::Model(partner) = self {
            partner.session.clear();
        }
    }

    /// The tools that may be called: a name and a description each.
    pub fn tools(&self) -> Vec<(String, String)> {
        match self {
            Self::Model(_) => Vec::new(),
            Self::Agent(partner) => {
                partner.runtime.tools().map(|tool| (tool.name.clone(), tool.description.clone())).collect()
            }
        }
    }

    /// What is remembered; `None` if there is nobody to remember.
    pub fn memories(&mut self) -> Result<Option<Vec<Record>>> {
        match self {
            Self::Model(_) => Ok(None),
            Self::Agent(partner) => {
                let store = partner.runtime.memory();
                let mut records: Vec<Record> = Vec::new();
                loop {
                    let after = records.last().map_or(i64::MIN, |record| record.id);
                    let more = store.list(after, MAX_RESULTS)?;
                    if more.is_empty() {
                        return Ok(Some(records));
                    }
                    records.extend(more);
                }
            }
        }
    }
}

/// A model and the conversation that it has evaluated.
pub struct ModelPartner {
    session: Session,
    request: GenerateRequest,
    seed: u64,
    stop: Arc<AtomicBool>,
}

impl ModelPartner {
    fn new(model: Arc<LoadedModel>, arguments: &ChatArguments) -> Self {
        let request = GenerateRequest {
            sampling: arguments.further.apply(sampling(&arguments.sampling)),
            ..GenerateRequest::new(Vec::new(), arguments.max_tokens)
        };
        Self { session: Session::new(model), request, seed: arguments.sampling.seed, stop: Arc::default() }
    }

    fn answer(&mut self, messages: &[Message], turn: u64) -> Result<Answer> {
        self.request.messages = messages.to_vec();
        let escape = stdout().is_terminal();
        let mut out = anstream::stdout();
        let mut first = None;
        let response = generate::speak(
            &mut self.session,
            |session| session.start(&self.request, self.seed.wrapping_add(turn)),
            &self.stop,
            &mut |text| {
                first.get_or_insert_with(Instant::now);
                out.write_all(visible(text, escape).as_bytes()).and_then(|()| out.flush()).is_ok()
            },
        )?;
        anstream::println!();
        let usage = response.usage;
        Ok(Answer {
            text: response.text,
            cut: match response.finish {
                FinishReason::Length => {
                    Some("cut off at the most tokens of an answer; --max-tokens raises it")
                }
                FinishReason::Context => Some("cut off, the context is full; /clear begins anew"),
                FinishReason::Cancelled => Some("stopped"),
                _ => None,
            },
            prompt_tokens: usage.prompt_tokens.into(),
            cached_tokens: usage.cached_tokens.into(),
            generated_tokens: usage.generated_tokens.into(),
            rate: first.and_then(|first| rate(usage.generated_tokens.saturating_sub(1).into(), first)),
        })
    }
}

/// So many tokens since then, for each second; none for none.
fn rate(tokens: u64, since: Instant) -> Option<f64> {
    (tokens > 0).then(|| tokens as f64 / since.elapsed().as_secs_f64().max(1e-9))
}

/// The agent, and how it is run.
pub struct AgentPartner {
    runtime: Runtime,
    sampling: Sampling,
    seed: u64,
    maximum_tokens: u32,
    system: Option<String>,
}

impl AgentPartner {
    fn new(model: ModelSource, arguments: &ChatArguments) -> Result<Self> {
        let mounts: Vec<Mount> = arguments.mount.iter().map(|mount| Mount::parse(mount)).collect();
        let memory = arguments.memory.clone().map(MemoryStore::open).transpose();
        let options = RuntimeOptions {
            model,
            threads: threads(arguments.model.threads),
            files: Some(Box::new(Files::open(&mounts)?)),
            memory: memory.map_err(RuntimeError::Memory)?,
            tools: arguments.tool.iter().map(|path| read_module(path)).collect::<Result<_>>()?,
            engine: engine_config(),
            ..RuntimeOptions::default()
        };
        let loading = progress::spinner("loading the model");
        let runtime = Runtime::new(options)?;
        loading.finish_and_clear();
        Ok(Self {
            runtime,
            sampling: arguments.further.apply(sampling(&arguments.sampling)),
            seed: arguments.sampling.seed,
            maximum_tokens: arguments.max_tokens,
            system: arguments.system.clone(),
        })
    }

    fn answer(&mut self, messages: &[Message], turn: u64) -> Result<Answer> {
        let Some((question, history)) = messages.split_last() else { bail!("there is no question") };
        let history = history.iter().filter(|message| message.role != Role::System).cloned();
        let ask = AskOptions {
            question: question.content.clone(),
            history: history.collect(),
            system: self.system.clone(),
            sampling: self.sampling.clone(),
            limits: agent_limits(defaults::STEPS, self.maximum_tokens),
        };
        let run = RunOptions { seed: self.seed.wrapping_add(turn), ..RunOptions::default() };
        let format = if stdout().is_terminal() { Format::Steps } else { Format::Answer };
        let mut screen = Screen::new(format);
        let begin = Instant::now();
        let outcome = self.runtime.ask(ask, run, None, &mut screen);
        let is_stopped = self.runtime.stop_flag().load(Ordering::Relaxed);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                screen.failure(error.code(), &error.to_string());
                return if is_stopped { Ok(Answer::stopped()) } else { Err(error.into()) };
            }
        };
        screen.finish(&outcome);
        let Some(text) = outcome.answer() else {
            return match outcome.end.explanation() {
                Some(explanation) if !is_stopped => Err(anyhow!(explanation)),
                _ => Ok(Answer::stopped()),
            };
        };
        Ok(Answer {
            text: text.to_owned(),
            cut: None,
            prompt_tokens: outcome.usage.prompt_tokens,
            cached_tokens: outcome.usage.cached_tokens,
            generated_tokens: outcome.usage.generated_tokens,
            rate: rate(outcome.usage.generated_tokens, begin),
        })
    }
}
