//! `glasshouse ask`: a question, the agent's steps, an answer; or several, each of an agent of its own.

use std::{io::Write, path::Path, process::ExitCode, sync::atomic::Ordering};

use anyhow::{Context, Result, bail};
use glasshouse_memory::MemoryStore;
use glasshouse_runtime::{
    AskOptions, Clock, Files, Mount, RunOptions, Runtime, RuntimeError, RuntimeOptions, agent_limits,
    process_limits,
};

use crate::{
    arguments::AskArguments,
    commands::{
        create_trace, engine_config, guard, is_typed, model_source, read_module, sampling, threads,
        typed_or_input,
    },
    progress,
    screen::Format,
    screens::Screens,
};

/// Runs the command.
pub fn run(arguments: AskArguments) -> Result<ExitCode> {
    let Some(question) = typed_or_input(arguments.question.as_deref(), "question")? else {
        bail!("there is no question; ask something, as in: glasshouse ask \"What is 17 * 23?\"");
    };
    let is_typed = is_typed(arguments.question.as_deref());
    let question = if is_typed { question } else { question.trim().to_owned() };
    if question.trim().is_empty() || arguments.also.iter().any(|question| question.trim().is_empty()) {
        return Err(RuntimeError::EmptyQuestion.into());
    }
    let format = match (arguments.json, arguments.quiet) {
        (true, _) => Format::Json,
        (_, true) => Format::Answer,
        _ => Format::Steps,
    };
    let mounts: Vec<Mount> = arguments.mount.iter().map(|mount| Mount::parse(mount)).collect();
    let memory = arguments.memory.map(MemoryStore::open).transpose().map_err(RuntimeError::Memory)?;
    let options = RuntimeOptions {
        model: model_source(&arguments.model)?,
        threads: threads(arguments.model.threads),
        files: Some(Box::new(Files::open(&mounts)?)),
        memory,
        guard: guard::config(arguments.guard.as_deref(), arguments.facts.as_deref())?,
        tools: arguments.tool.iter().map(|path| read_module(path)).collect::<Result<_>>()?,
        agent: arguments.agent.as_deref().map(read_module).transpose()?,
        engine: engine_config(),
    };
    let loading = progress::spinner("loading the model");
    let mut runtime = Runtime::new(options)?;
    loading.finish_and_clear();

    let stop = runtime.stop_flag();
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed)).context("Ctrl-C cannot be handled")?;

    let ask = |question: String| AskOptions {
        question,
        history: Vec::new(),
        system: None,
        sampling: sampling(&arguments.sampling),
        limits: agent_limits(arguments.limits.max_steps, arguments.limits.max_tokens),
    };
    let run = RunOptions {
        seed: arguments.sampling.seed,
        clock: arguments.limits.now.map_or(Clock::Host, |seconds| Clock::Fixed(seconds.saturating_mul(1000))),
        limits: process_limits(arguments.limits.fuel, arguments.limits.memory_limit),
    };
    let questions: Vec<String> = [question].into_iter().chain(arguments.also.iter().cloned()).collect();
    let mut screens = Screens::new(format, &questions);
    let mut trace = arguments.trace.as_deref().map(create_trace).transpose()?;
    let outcomes = runtime.ask_each(
        questions.into_iter().map(ask).collect(),
        run,
        trace.as_mut().map(|file| file as &mut dyn Write),
        &mut screens,
    );
    if let (Some(mut file), Some(path)) = (trace, &arguments.trace) {
        finish_trace(&mut file, path)?;
    }
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            screens.failure(error.code(), &error.to_string());
            return Err(error.into());
        }
    };
    let mut first_failure = None;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let failure = screens.finish(number, outcome).err();
        first_failure = first_failure.or(failure);
    }
    first_failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn finish_trace(file: &mut impl Write, path: &Path) -> Result<()> {
    file.flush().with_context(|| format!("the event log {} cannot be written", path.display()))
}
