//! One module per command; each turns what was typed into what is meant, and runs it.

pub mod ask;
pub mod chat;
pub mod generate;
pub mod guard;
pub mod inspect;
pub mod memory;
pub mod model;
pub mod replay;
pub mod run;
pub mod web;

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy;
use glasshouse_engine::signature::PublicKey;
use glasshouse_hub::{HubError, Store, check_name};
use glasshouse_protocol::Sampling;
use glasshouse_runtime::{HostConfig, ModelSource};

use crate::arguments::{ModelArguments, SamplingArguments, StoreArguments};

/// A longer text than this fits no model's context; reading stops here.
const MAXIMUM_INPUT_BYTES: u64 = 4 << 20;

/// Whether a text stands on the command line, and not on standard input.
fn is_typed(typed: Option<&str>) -> bool {
    typed.is_some_and(|typed| typed != "-")
}

/// A text from the command line, or else (or for `-`) from standard input; `None` when a person was to type it there, who
/// does not know.
fn typed_or_input(typed: Option<&str>, what: &str) -> Result<Option<String>> {
    if let Some(text) = typed.filter(|_| is_typed(typed)) {
        return Ok(Some(text.to_owned()));
    }
    if typed.is_none() && io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAXIMUM_INPUT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("the {what} cannot be read from standard input"))?;
    if bytes.len() as u64 > MAXIMUM_INPUT_BYTES {
        bail!("the {what} on standard input is longer than {MAXIMUM_INPUT_BYTES} bytes; give a shorter one");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        anyhow::anyhow!("the {what} on standard input is not UTF-8 text (byte {position}); convert it first")
    })?;
    Ok(Some(text))
}

/// Reads a whole file that was named on the command line.
fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("the {what} {} cannot be read", path.display()))
}

/// A module file: the name it is known by, and its bytes.
fn read_module(path: &Path) -> Result<(String, Vec<u8>)> {
    let name = path.file_stem().map_or_else(|| "module".into(), |stem| stem.to_string_lossy().into_owned());
    let bytes = read(path, "module")?;
    if bytes.starts_with(b"\0asm") {
        return Ok((name, bytes));
    }
    // Text is taken as well; what is neither is told as what it was most likely meant to be.
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("(module") => {
            let binary = wat::parse_str(text);
            Ok((name, binary.with_context(|| format!("{} is not a module in text", path.display()))?))
        }
        _ => Ok((name, bytes)),
    }
}

/// A text that a module or its author wrote, safe to print: control characters are escaped.
fn printable(text: &str) -> String {
    let escape = |character: char| {
        if character.is_control() { character.escape_default().collect() } else { character.to_string() }
    };
    text.chars().map(escape).collect()
}

/// Reads a public key that modules are signed with.
fn public_key(path: &Path) -> Result<PublicKey> {
    let file = read(path, "public key")?;
    PublicKey::parse(&file).with_context(|| format!("{} is not a public key", path.display()))
}

/// Creates the event log.
fn create_trace(path: &Path) -> Result<BufWriter<File>> {
    let file =
        File::create(path).with_context(|| format!("the event log {} cannot be created", path.display()))?;
    Ok(BufWriter::new(file))
}

/// The variable that names another folder for compiled modules; `off` or nothing turns keeping them off.
const CACHE_VARIABLE: &str = "GLASSHOUSE_CACHE";

/// How the engine is set up: compiled modules are kept in the user's folder for caches.
fn engine_config() -> HostConfig {
    HostConfig { cache_directory: cache_directory(), ..HostConfig::deterministic() }
}

fn cache_directory() -> Option<PathBuf> {
    match env::var_os(CACHE_VARIABLE) {
        Some(value) if value.is_empty() || value == "off" => None,
        Some(folder) => Some(folder.into()),
        None => {
            let folders = etcetera::choose_base_strategy().ok()?;
            Some(folders.cache_dir().join("glasshouse").join("modules"))
        }
    }
}

fn model_source(arguments: &ModelArguments) -> Result<ModelSource> {
    stored_or_file(arguments.model.as_deref(), &arguments.store)
}

/// The model that is meant: a file if there is one, or else the stored model of that name; without either, the built-in one.
fn stored_or_file(model: Option<&Path>, arguments: &StoreArguments) -> Result<ModelSource> {
    let Some(model) = model else { return Ok(ModelSource::BuiltIn) };
    // What is spelled as a file and is missing is told by whoever opens it.
    let is_file = model.is_file() || model.extension().is_some_and(|extension| extension == "gguf");
    let name = model.to_str().filter(|name| !is_file && check_name(name).is_ok());
    let Some(name) = name else { return Ok(ModelSource::File(model.to_owned())) };
    let store = store(arguments)?;
    match store.find(name)? {
        Some(stored) => match stored.path() {
            Some(path) => Ok(ModelSource::File(path)),
            None => bail!(
                "the stored model {name} is not whole; `glasshouse model pull` with its source goes on with it"
            ),
        },
        None => bail!(
            "there is no file {name}, and no model of that name in the store {}; `glasshouse model list` shows what is \
             there, `glasshouse model pull` gets more",
            store.folder().display()
        ),
    }
}

fn store(arguments: &StoreArguments) -> Result<Store, HubError> {
    arguments.store.as_ref().map_or_else(Store::of_user, |folder| Ok(Store::new(folder)))
}

fn threads(threads: Option<u16>) -> Option<usize> {
    threads.map(usize::from)
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
