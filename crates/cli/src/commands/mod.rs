//! One module per command; each turns what was typed into what is meant, and runs it.

pub mod ask;
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
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use etcetera::BaseStrategy;
use glasshouse_engine::signature::PublicKey;
use glasshouse_runtime::{HostConfig, ModelSource};

use crate::arguments::ModelArguments;

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

fn model_source(arguments: &ModelArguments) -> ModelSource {
    arguments.model.clone().map_or(ModelSource::BuiltIn, ModelSource::File)
}

fn threads(threads: Option<u16>) -> Option<usize> {
    threads.map(usize::from)
}
