//! `glasshouse model list`, `pull` and `rm`: the models on this machine.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use glasshouse_hub::{Event, Hub, HubError, HubOptions, Pulled, Source, StoredModel, machine, registry};
use glasshouse_llm::{Config, gguf::Gguf};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    arguments::{ModelListArguments, ModelPullArguments, ModelRemoveArguments},
    commands::store,
};

/// For programs, progress is told as often as this for each file.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Lists what is stored, or what can be had.
pub fn list(arguments: ModelListArguments) -> Result<ExitCode> {
    if arguments.available {
        list_available(arguments.memory.or_else(machine::available_memory), arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    let store = store(&arguments.store)?;
    let models = store.list()?;
    if arguments.json {
        for model in &models {
            anstream::println!("{}", described(model));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if models.is_empty() {
        anstream::eprintln!(
            "there is no model in {}; `glasshouse model pull` recommends one",
            store.folder().display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    let rows = models.iter().map(|model| {
        let [quantization, architecture, context] = match contents(model) {
            Ok(Some(contents)) => {
                [contents.quantization, contents.architecture, contents.context_length.to_string()]
            }
            Ok(None) => ["in part", "", ""].map(str::to_owned),
            Err(_) => ["unreadable", "", ""].map(str::to_owned),
        };
        let verified = if model.is_verified() { "yes" } else { "no" };
        [model.name.clone(), size(model.bytes), quantization, architecture, context, verified.to_owned()]
    });
    let head = ["name", "size", "type", "architecture", "context", "verified"].map(str::to_owned);
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

/// What is in a stored model's file.
struct Contents {
    architecture: String,
    /// The type of most of its bytes.
    quantization: String,
    context_length: usize,
}

/// Looks into a stored model; `None` if it is not whole.
fn contents(model: &StoredModel) -> Result<Option<Contents>> {
    let Some(path) = model.path() else { return Ok(None) };
    let gguf = Gguf::open(path)?;
    let config = Config::read(&gguf)?;
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    for tensor in gguf.tensors() {
        *types.entry(tensor.tensor_type.name()).or_default() += tensor.columns() * tensor.rows();
    }
    let most = types.into_iter().max_by_key(|(_, elements)| *elements);
    Ok(Some(Contents {
        architecture: config.architecture.name.to_owned(),
        quantization: most.map_or_else(String::new, |(name, _)| name),
        context_length: config.context_length,
    }))
}

fn described(model: &StoredModel) -> Value {
    let mut object = json!({
        "name": model.name,
        "bytes": model.bytes,
        "whole": model.manifest.is_some(),
        "verified": model.is_verified(),
        "path": model.path(),
        "source": model.manifest.as_ref().map(|manifest| &manifest.source),
        "files": model.manifest.as_ref().map(|manifest| &manifest.files),
    });
    match contents(model) {
        Ok(Some(contents)) => {
            object["architecture"] = json!(contents.architecture);
            object["type"] = json!(contents.quantization);
            object["context"] = json!(contents.context_length);
        }
        Ok(None) => {}
        Err(error) => object["problem"] = json!(error.to_string()),
    }
    object
}

fn list_available(free: Option<u64>, as_json: bool) {
    let recommended = free.and_then(registry::recommend);
    let is_recommended = |entry: &registry::Entry| recommended == Some(entry);
    if as_json {
        for entry in registry::ENTRIES {
            let object = json!({
                "name": entry.name,
                "source": format!("hf:{}/{}:{}", entry.owner, entry.repository, entry.file),
                "file_bytes": entry.file_bytes,
                "memory_bytes": entry.memory_bytes(),
                "context": entry.context_length,
                "languages": entry.languages,
                "suits": free.map(|free| entry.suits(free)),
                "recommended": is_recommended(entry),
            });
            anstream::println!("{object}");
        }
        return;
    }
    let rows = registry::ENTRIES.iter().map(|entry| {
        let remark = match free {
            _ if is_recommended(entry) => "recommended",
            Some(free) if !entry.suits(free) => "too large",
            _ => "",
        };
        [
            entry.name.to_owned(),
            size(entry.file_bytes),
            size(entry.memory_bytes()),
            entry.context_length.to_string(),
            entry.languages.join(" "),
            remark.to_owned(),
        ]
    });
    let head = ["name", "file", "memory", "context", "languages", ""].map(str::to_owned);
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    anstream::println!("\n{}", recommendation(free));
}

/// One sentence about what suits so much free memory.
fn recommendation(free: Option<u64>) -> String {
    match (free, free.and_then(registry::recommend)) {
        (Some(free), Some(entry)) => {
            format!("for the {} of memory that are free: glasshouse model pull {}", size(free), entry.name)
        }
        (Some(free), None) => {
            format!("the {} of memory that are free are too few for these models", size(free))
        }
        (None, _) => "this system does not tell how much memory is free; choose by the column".to_owned(),
    }
}

/// Gets a model.
pub fn pull(arguments: ModelPullArguments) -> Result<ExitCode> {
    let Some(source) = &arguments.source else {
        bail!(
            "there is no source to pull from; `glasshouse model list --available` shows what can be had by name; {}",
            recommendation(machine::available_memory())
        );
    };
    let screen = Screen::new(arguments.json);
    let outcome = get(&arguments, source, &screen);
    screen.finish();
    match outcome {
        Ok(pulled) => {
            screen.got(&pulled);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            screen.failed(&error);
            Err(error.into())
        }
    }
}

fn get(arguments: &ModelPullArguments, source: &str, screen: &Screen) -> Result<Pulled, HubError> {
    let source: Source = source.parse()?;
    let store = store(&arguments.store)?;
    let hub = Hub::new(HubOptions {
        offline: arguments.offline,
        connections: usize::from(arguments.connections),
        ..HubOptions::from_environment()
    });
    if let Some(model) = hub.stored(&source, arguments.name.as_deref(), &store)? {
        return Ok(Pulled { model, was_there: true });
    }
    let stop = hub.stop();
    // Without a handler Ctrl-C ends the program at once, and loses what was not yet written.
    let _ = ctrlc::set_handler(move || stop.stop());
    let plan = hub.plan(&source, arguments.name.as_deref(), arguments.sha256.as_deref())?;
    let inspect = |path: &Path| Gguf::open(path).map(drop).map_err(|error| error.to_string());
    hub.pull(&plan, &store, &inspect, &|event| screen.event(&event))
}

/// Removes a model.
pub fn remove(arguments: ModelRemoveArguments) -> Result<ExitCode> {
    let store = store(&arguments.store)?;
    let name = &arguments.name;
    let Some(model) = store.find(name)? else {
        return Err(HubError::Unknown { name: name.clone(), folder: store.folder().to_owned() }.into());
    };
    if !arguments.yes && !confirmed(&format!("remove {name} ({})?", size(model.bytes)))? {
        bail!("{name} is kept");
    }
    let freed = store.remove(name)?;
    anstream::println!("removed {name}, {}", size(freed));
    Ok(ExitCode::SUCCESS)
}

/// Asks a person for a yes.
fn confirmed(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked whether to {question}; say so with --yes");
    }
    anstream::eprint!("{question} [y/N] ");
    io::stderr().flush().context("the question cannot be shown")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("the answer cannot be read")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Shows a download: bars on a terminal, objects for programs, or nothing.
struct Screen {
    json: bool,
    bars: MultiProgress,
    files: Mutex<BTreeMap<String, Shown>>,
}

/// What is shown of a file.
struct Shown {
    bar: ProgressBar,
    told: Option<Instant>,
}

impl Screen {
    fn new(json: bool) -> Self {
        let bars = MultiProgress::new();
        if json || !io::stderr().is_terminal() {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Self { json, bars, files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Bytes { file, done, total } => self.bytes(file, *done, *total),
            Event::Waiting { file, problem, delay } => {
                self.remark(file, &format!("{problem}; again in {:.1} s", delay.as_secs_f32()));
                self.object(|| {
                    let problem = problem.to_string();
                    json!({ "event": "waiting", "file": file, "problem": problem, "seconds": delay.as_secs_f64() })
                });
            }
            Event::Restarted { file } => {
                self.remark(file, "it has changed; it begins anew");
                self.object(|| json!({ "event": "restarted", "file": file }));
            }
            Event::Checking { file } => {
                if let Some(shown) = self.files().get(*file) {
                    shown.bar.set_message("checking");
                }
                self.object(|| json!({ "event": "checking", "file": file }));
            }
            Event::Finished { file, sha256, verified } => {
                if let Some(shown) = self.files().get(*file) {
                    shown.bar.finish_with_message(if *verified { "verified" } else { "whole" });
                }
                self.object(
                    || json!({ "event": "finished", "file": file, "sha256": sha256, "verified": verified }),
                );
            }
        }
    }

    fn bytes(&self, file: &str, done: u64, total: Option<u64>) {
        let mut files = self.files();
        let shown = files.entry(file.to_owned()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(0).with_prefix(file.to_owned()));
            let style =
                "{prefix:30!} {bar:24} {bytes:>10} of {total_bytes:>10} {bytes_per_sec:>12} {eta:>4} {msg}";
            // The template is a constant, and a bar without it is a bar, too.
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_position(done);
            bar.reset_eta();
            Shown { bar, told: None }
        });
        shown.bar.set_length(total.unwrap_or(done));
        shown.bar.set_position(done);
        let is_due = shown.told.is_none_or(|told| told.elapsed() >= PROGRESS_INTERVAL) || total == Some(done);
        if is_due {
            shown.told = Some(Instant::now());
            self.object(|| json!({ "event": "progress", "file": file, "bytes": done, "total": total }));
        }
    }

    /// Says something about a file above the bars.
    fn remark(&self, file: &str, text: &str) {
        if !self.json {
            let _ = self.bars.println(format!("{file}: {text}"));
        }
    }

    fn object(&self, object: impl FnOnce() -> Value) {
        if self.json {
            anstream::println!("{}", object());
        }
    }

    fn finish(&self) {
        for shown in self.files().values() {
            if !shown.bar.is_finished() {
                shown.bar.abandon();
            }
        }
    }

    fn got(&self, pulled: &Pulled) {
        let model = &pulled.model;
        if self.json {
            let mut object = described(model);
            object["event"] = json!("stored");
            object["was_there"] = json!(pulled.was_there);
            anstream::println!("{object}");
            return;
        }
        let state = if pulled.was_there { "is in the store already" } else { "is in the store" };
        let verified =
            if model.is_verified() { "verified" } else { "not verified, since no checksum of it was known" };
        let path = model.path().map(|path| path.display().to_string()).unwrap_or_default();
        anstream::println!("{} {state}: {}, {verified}, {path}", model.name, size(model.bytes));
        if let (Some(entry), Some(free)) = (registry::find(&model.name), machine::available_memory())
            && entry.memory_bytes() > free
        {
            anstream::eprintln!(
                "note: {} needs about {} of memory, and {} are free",
                entry.name,
                size(entry.memory_bytes()),
                size(free)
            );
        }
    }

    fn failed(&self, error: &HubError) {
        self.object(|| json!({ "event": "error", "code": error.code(), "message": error.to_string() }));
    }
}

/// Bytes as people read them, in powers of ten as disks are sold.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Prints rows in columns as wide as they need to be.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        anstream::println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
