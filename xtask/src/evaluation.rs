//! The pocket model's held-out evaluation, end to end through the real binary.
//!
//! `models/pocket/eval_cases.py` makes the cases and documents their form; each is asked in an empty folder of its own,
//! with its files and memories, and judged from outside by what the command line printed and left behind.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::shell::{cargo, root, run as run_command, target_directory};

/// What the model has to reach.
const REQUIRED_SHARE: f64 = 0.95;

#[derive(Deserialize)]
struct Case {
    id: String,
    family: String,
    prompt: String,
    files: BTreeMap<String, String>,
    mount: bool,
    writable: bool,
    memory: Vec<String>,
    expect: Expectation,
}

#[derive(Deserialize)]
struct Expectation {
    calls: Vec<ExpectedCall>,
    answer_contains: Vec<String>,
    answer_excludes: Vec<String>,
    #[serde(default)]
    answer_has_observation: bool,
    #[serde(default)]
    answer_has_time: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    memory_contains: Vec<String>,
}

#[derive(Deserialize)]
struct ExpectedCall {
    tool: String,
    arguments: BTreeMap<String, Rule>,
    number: Option<String>,
    observation: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    Equals(Vec<String>),
    Contains(Vec<String>),
    ContainsAny(Vec<String>),
}

impl Rule {
    fn accepts(&self, argument: &str) -> bool {
        let lower = argument.to_lowercase();
        match self {
            Self::Equals(texts) => texts.iter().any(|text| text == argument),
            Self::Contains(texts) => texts.iter().all(|text| lower.contains(&text.to_lowercase())),
            Self::ContainsAny(texts) => texts.iter().any(|text| lower.contains(&text.to_lowercase())),
        }
    }
}

/// What the command line showed of one run.
#[derive(Default)]
struct Steps {
    calls: Vec<(String, Value)>,
    observations: Vec<String>,
    answer: Option<String>,
}

#[derive(Default)]
struct Row {
    passed: usize,
    total: usize,
}

/// `cargo xtask eval-pocket [--model FILE] [--limit N] [--failures]`
pub fn run(options: &[&str]) -> Result<()> {
    let (mut model, mut limit, mut show_failures) = (None, usize::MAX, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--model" => model = Some(PathBuf::from(options.next().context("--model takes a file")?)),
            "--limit" => limit = options.next().context("--limit takes a number")?.parse()?,
            "--failures" => show_failures = true,
            other => bail!("unknown option {other}; there are --model FILE, --limit N and --failures"),
        }
    }
    run_command(&mut cargo(&["build", "--release", "--locked"]))?;
    let glasshouse = target_directory().join("release").join("glasshouse");
    let cases = cases(limit)?;
    println!("{} held-out cases", cases.len());

    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let failures: Mutex<BTreeMap<usize, String>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    let verdict = judge(&glasshouse, model.as_deref(), case);
                    if let Err(reason) = verdict {
                        failures
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .insert(index, format!("{reason:#}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if show_failures {
        for (index, reason) in &failures {
            println!("{}: {:?}\n    {reason}", cases[*index].id, cases[*index].prompt);
        }
    }
    print_table(&cases, &failures);
    println!("{:.0} s", started.elapsed().as_secs_f64());
    let share = 1.0 - failures.len() as f64 / cases.len() as f64;
    if share < REQUIRED_SHARE {
        bail!("{:.1} % passed; {:.0} % are required", share * 100.0, REQUIRED_SHARE * 100.0);
    }
    Ok(())
}

fn cases(limit: usize) -> Result<Vec<Case>> {
    let output = Command::new("python3").arg(root().join("models/pocket/eval_cases.py")).output().context(
        "python3 could not be started; the cases are made by a Python script (standard library only)",
    )?;
    if !output.status.success() {
        bail!("eval_cases.py failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let cases: Vec<Case> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("a case cannot be read: {line}")))
        .collect::<Result<_>>()?;
    // Spread over all families when only some are asked for.
    let step = cases.len().div_ceil(limit.max(1)).max(1);
    Ok(cases.into_iter().step_by(step).collect())
}

fn print_table(cases: &[Case], failures: &BTreeMap<usize, String>) {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let row = rows.entry(&case.family).or_default();
        row.total += 1;
        row.passed += usize::from(!failures.contains_key(&index));
    }
    println!("| family | passed | of | share |\n|---|---|---|---|");
    for (family, row) in &rows {
        println!("| {family} | {} | {} | {:.1} % |", row.passed, row.total, percent(row.passed, row.total));
    }
    let passed = cases.len() - failures.len();
    println!("| **all** | {passed} | {} | {:.1} % |", cases.len(), percent(passed, cases.len()));
}

fn percent(passed: usize, total: usize) -> f64 {
    100.0 * passed as f64 / total.max(1) as f64
}

/// Asks the case's question; an error says why it does not pass.
fn judge(glasshouse: &Path, model: Option<&Path>, case: &Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mount = folder.path().join("mount");
    fs::create_dir(&mount)?;
    for (path, content) in &case.files {
        let path = mount.join(path);
        fs::create_dir_all(path.parent().context("a file needs a folder")?)?;
        fs::write(path, content)?;
    }
    let memory = folder.path().join("memory.db");
    for text in &case.memory {
        memory_command(glasshouse, "add", &memory, &[text])?;
    }

    let mut ask = Command::new(glasshouse);
    ask.args(["ask", "--json", "--threads", "1", "--memory"]).arg(&memory);
    if case.mount {
        let suffix = if case.writable { ":rw" } else { "" };
        ask.arg("--mount").arg(format!("{}{suffix}", mount.display()));
    }
    if let Some(model) = model {
        ask.arg("--model").arg(model);
    }
    let output = ask.arg("--").arg(&case.prompt).output()?;
    let steps = steps(&String::from_utf8_lossy(&output.stdout))?;
    check_steps(&case.expect, &steps)?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }

    for (path, wanted) in &case.expect.files {
        let content = fs::read_to_string(mount.join(path)).with_context(|| format!("file {path}"))?;
        if content.strip_suffix('\n').unwrap_or(&content) != wanted {
            bail!("file {path} holds {content:?}");
        }
    }
    if !case.expect.memory_contains.is_empty() {
        let remembered = memory_command(glasshouse, "list", &memory, &[])?;
        for text in &case.expect.memory_contains {
            if !remembered.lines().any(|line| line.contains(text.as_str())) {
                bail!("memory lacks {text:?}");
            }
        }
    }
    Ok(())
}

fn memory_command(glasshouse: &Path, command: &str, memory: &Path, texts: &[&str]) -> Result<String> {
    let output = Command::new(glasshouse).args(["memory", command]).arg(memory).args(texts).output()?;
    if !output.status.success() {
        bail!("memory {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn steps(printed: &str) -> Result<Steps> {
    let mut steps = Steps::default();
    for line in printed.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("not an event: {line}"))?;
        let text = || event["text"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("call") => {
                steps.calls.push((
                    event["tool"].as_str().unwrap_or_default().to_owned(),
                    event["arguments"].clone(),
                ));
            }
            Some("observation") => steps.observations.push(text()),
            Some("answer") => steps.answer = Some(text()),
            _ => {}
        }
    }
    Ok(steps)
}

fn check_steps(expect: &Expectation, steps: &Steps) -> Result<()> {
    let called: Vec<&str> = steps.calls.iter().map(|(tool, _)| tool.as_str()).collect();
    if called != expect.calls.iter().map(|call| call.tool.as_str()).collect::<Vec<_>>() {
        bail!("called {called:?}, answered {:?}", steps.answer);
    }
    let answer = steps.answer.as_deref().context("no answer")?;
    for (index, (wanted, (tool, arguments))) in expect.calls.iter().zip(&steps.calls).enumerate() {
        for (name, rule) in &wanted.arguments {
            let argument = arguments[name].as_str().unwrap_or_default();
            if !rule.accepts(argument) {
                bail!("{name} of {tool} is {argument:?}");
            }
        }
        let observation = steps.observations.get(index).map_or("", String::as_str);
        if wanted.number.as_deref().is_some_and(|number| !is_number(observation, number)) {
            bail!("{tool} {arguments} gave {observation:?}, not {:?}", wanted.number);
        }
        if wanted.observation.as_deref().is_some_and(|text| !observation.contains(text)) {
            bail!("{tool} {arguments} gave {observation:?}");
        }
    }
    let mut contained: Vec<&str> = expect.answer_contains.iter().map(String::as_str).collect();
    let first = steps.observations.first().map_or("", |text| text.trim());
    if expect.answer_has_observation {
        contained.push(first);
    }
    if expect.answer_has_time {
        let weekday = first.rsplit(' ').next().unwrap_or_default();
        contained.extend([first.get(..10).unwrap_or("?"), first.get(11..16).unwrap_or("?"), weekday]);
    }
    if let Some(missing) = contained.iter().find(|text| !answer.contains(**text)) {
        bail!("the answer lacks {missing:?}: {answer:?}");
    }
    if let Some(unwanted) = expect.answer_excludes.iter().find(|text| answer.contains(text.as_str())) {
        bail!("the answer has {unwanted:?}: {answer:?}");
    }
    Ok(())
}

/// Whether `text` is the number `wanted`, to nine digits.
fn is_number(text: &str, wanted: &str) -> bool {
    match (text.trim().parse::<f64>(), wanted.parse::<f64>()) {
        (Ok(number), Ok(wanted)) => {
            (number - wanted).abs() <= 1e-9 * wanted.abs().max(1e-300) || number == wanted
        }
        _ => false,
    }
}
