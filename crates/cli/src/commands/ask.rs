//! `glasshouse ask`: one question, the agent's steps, an answer.

use std::{
    io::{self, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
};

use anyhow::{Context, Result, bail};
use glasshouse_memory::MemoryStore;
use glasshouse_protocol::Sampling;
use glasshouse_runtime::{
    AskOptions, Clock, Files, Mount, RunOptions, Runtime, RuntimeError, RuntimeOptions, agent_limits,
    process_limits,
};

use crate::{
    arguments::{AskArguments, SamplingArguments},
    commands::{create_trace, engine_config, guard, model_source, read_module, threads},
    progress,
    screen::{Format, Screen},
};

/// A longer question than this fits no model's context; reading stops here.
const MAXIMUM_QUESTION_BYTES: u64 = 4 << 20;

/// Runs the command.
pub fn run(arguments: AskArguments) -> Result<ExitCode> {
    let question = question(arguments.question.as_deref())?;
    if question.trim().is_empty() {
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
        model: model_source(&arguments.model),
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

    let ask = AskOptions {
        question,
        sampling: sampling(&arguments.sampling),
        limits: agent_limits(arguments.limits.max_steps, arguments.limits.max_tokens),
        run: RunOptions {
            seed: arguments.sampling.seed,
            clock: arguments
                .limits
                .now
                .map_or(Clock::Host, |seconds| Clock::Fixed(seconds.saturating_mul(1000))),
            limits: process_limits(arguments.limits.fuel, arguments.limits.memory_limit),
        },
    };
    let mut screen = Screen::new(format);
    let mut trace = arguments.trace.as_deref().map(create_trace).transpose()?;
    let outcome = runtime.ask(ask, trace.as_mut().map(|file| file as &mut dyn Write), &mut screen);
    if let (Some(mut file), Some(path)) = (trace, &arguments.trace) {
        finish_trace(&mut file, path)?;
    }
    match outcome {
        Ok(outcome) => {
            screen.finish(&outcome);
            if let Some(explanation) = outcome.end.explanation() {
                screen.failure("no_answer", &explanation);
                bail!("{explanation}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            screen.failure(error.code(), &error.to_string());
            Err(error.into())
        }
    }
}

fn finish_trace(file: &mut impl Write, path: &Path) -> Result<()> {
    file.flush().with_context(|| format!("the event log {} cannot be written", path.display()))
}

/// The question from the command line or from standard input.
fn question(typed: Option<&str>) -> Result<String> {
    if let Some(typed) = typed.filter(|typed| *typed != "-") {
        return Ok(typed.to_owned());
    }
    if typed.is_none() && io::stdin().is_terminal() {
        bail!("there is no question; ask something, as in: glasshouse ask \"What is 17 * 23?\"");
    }
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAXIMUM_QUESTION_BYTES + 1)
        .read_to_end(&mut bytes)
        .context("the question cannot be read from standard input")?;
    if bytes.len() as u64 > MAXIMUM_QUESTION_BYTES {
        bail!(
            "the question on standard input is longer than {MAXIMUM_QUESTION_BYTES} bytes; ask a shorter one"
        );
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        anyhow::anyhow!(
            "the question on standard input is not UTF-8 text (byte {position}); convert it first"
        )
    })?;
    Ok(text.trim().to_owned())
}

fn sampling(arguments: &SamplingArguments) -> Sampling {
    Sampling {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        min_p: arguments.min_p,
        repeat_penalty: arguments.repeat_penalty,
        ..Sampling::default()
    }
}
