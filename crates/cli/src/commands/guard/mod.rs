//! `glasshouse guard`: the halt kernel on recorded scores; and the guard's file, for `glasshouse ask`.

mod lines;
mod plot;

use std::{
    fs,
    io::{self, BufRead, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use glasshouse_halt::{Cause, Config, Halt, Kernel, Token};
use glasshouse_llm::{GuardConfig, MAXIMUM_FACTS_BYTES, Scorer};
use serde_json::{Map, Value, json};

use crate::{
    arguments::{GuardCheckArguments, GuardCommand},
    commands::read,
};

/// A line with a token and its score is not longer.
const MAXIMUM_LINE_BYTES: usize = 1 << 20;

/// Runs the command.
pub fn run(command: GuardCommand) -> Result<ExitCode> {
    match command {
        GuardCommand::Check(arguments) => check(&arguments),
        GuardCommand::Schema => {
            anstream::println!("{}", Config::json_schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What guards a run, if either file is given.
pub fn config(guard: Option<&Path>, facts: Option<&Path>) -> Result<Option<GuardConfig>> {
    if guard.is_none() && facts.is_none() {
        return Ok(None);
    }
    let mut config = guard.map(read_config).transpose()?.unwrap_or_default();
    if let Some(file) = facts {
        let facts = String::from_utf8(read(file, "file of facts")?)
            .with_context(|| format!("the facts in {} are not UTF-8 text", file.display()))?;
        if facts.len() > MAXIMUM_FACTS_BYTES {
            bail!("the facts in {} have more than {MAXIMUM_FACTS_BYTES} bytes", file.display());
        }
        config.facts = Some(facts);
    }
    config.check()?;
    Ok(Some(config))
}

/// A guard's file: the fields of the limits, and `scorer`, as TOML or JSON.
fn read_config(file: &Path) -> Result<GuardConfig> {
    let text = String::from_utf8(read(file, "guard's file")?).context("it is not UTF-8 text");
    let wrong = || format!("the guard's file {} cannot be used", file.display());
    let fields = text.and_then(|text| fields(&text)).with_context(wrong)?;
    guard_of(fields).with_context(wrong)
}

fn fields(text: &str) -> Result<Map<String, Value>> {
    if text.trim_start().starts_with('{') {
        Ok(serde_json::from_str(text)?)
    } else {
        Ok(toml::from_str(text)?)
    }
}

fn guard_of(mut fields: Map<String, Value>) -> Result<GuardConfig> {
    let scorer = match fields.remove("scorer") {
        None => Scorer::default(),
        Some(name) => serde_json::from_value(name.clone()).ok().with_context(|| {
            format!("`scorer` is {name}; it must be \"combined\", \"confidence\" or \"grounding\"")
        })?,
    };
    let has_deadline = fields.contains_key("deadline_ms");
    let limits = serde_json::from_value(Value::Object(fields))?;
    Ok(GuardConfig { limits, scorer, has_deadline, ..GuardConfig::default() })
}

fn check(arguments: &GuardCheckArguments) -> Result<ExitCode> {
    let limits = arguments.config.as_deref().map(read_config).transpose()?.unwrap_or_default().limits;
    let mut kernel = Kernel::new(&limits)?;
    let mut points = arguments.plot.is_some().then(Vec::new);
    let mut out = io::BufWriter::new(anstream::stdout());
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    let mut tokens = 0;
    for number in 1_u64.. {
        line.clear();
        let read = io::Read::take(&mut input, MAXIMUM_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
        if read.context("the scores cannot be read from standard input")? == 0 {
            break;
        }
        if line.len() > MAXIMUM_LINE_BYTES {
            bail!("line {number} has more than {MAXIMUM_LINE_BYTES} bytes");
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let given = lines::parse(&line).with_context(|| format!("line {number} is no token with a score"))?;
        let index = given.index.unwrap_or(tokens);
        tokens += 1;
        let token = Token {
            index,
            score: given.score,
            entropy_bits: given.entropy_bits,
            elapsed_ms: given.elapsed_ms,
            text: given.token.as_deref(),
        };
        let was_active = kernel.is_active();
        let decision = match kernel.process(&token) {
            Ok(decision) => decision,
            Err(error) => {
                out.flush()?;
                bail!("line {number}: {error}");
            }
        };
        if let Some(points) = points.as_mut().filter(|_| was_active) {
            let score = given.score.filter(|score| score.is_finite());
            points.push(plot::Point { score, mean: kernel.mean(), drop: kernel.drop_over_window() });
        }
        let mut answer = json!({ "index": decision.index, "decision": decision.verdict.name() });
        add_cause(&mut answer, decision.cause.as_ref());
        answer["released"] = decision.released.into();
        if write_line(&mut out, &answer)?.is_break() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let was_halted = kernel.halt().is_some();
    let halt = kernel.finish();
    if let Some(halt) = halt.as_ref().filter(|_| !was_halted) {
        // A soft halt that waited for the end of a sentence: the end of the stream confirms it.
        let mut answer = json!({ "index": halt.index, "decision": "halt" });
        add_cause(&mut answer, Some(&halt.cause));
        answer["released"] = halt.released.into();
        answer["at_end"] = true.into();
        let _ = write_line(&mut out, &answer)?;
    }
    out.flush()?;
    if let (Some(file), Some(points)) = (&arguments.plot, points) {
        draw(file, &limits, &points, halt.as_ref())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(file: &Path, limits: &Config, points: &[plot::Point], halt: Option<&Halt>) -> Result<()> {
    fs::write(file, plot::svg(limits, points, halt))
        .with_context(|| format!("the drawing {} cannot be written", file.display()))
}

fn add_cause(answer: &mut Value, cause: Option<&Cause>) {
    if let Some(cause) = cause {
        answer["rule"] = cause.rule.name().into();
        // What is not finite is null in JSON.
        answer["value"] = cause.value.into();
        answer["limit"] = cause.limit.into();
        answer["reason"] = cause.to_string().into();
    }
}

/// Prints one answer; a reader that goes away ends the command.
fn write_line(out: &mut impl Write, answer: &Value) -> Result<std::ops::ControlFlow<()>> {
    match writeln!(out, "{answer}").and_then(|()| out.flush()) {
        Ok(()) => Ok(std::ops::ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(std::ops::ControlFlow::Break(())),
        Err(error) => Err(error.into()),
    }
}
