//! One module per command; each turns what was typed into what is meant, and runs it.

pub mod ask;
pub mod memory;
pub mod model;
pub mod replay;
pub mod run;
pub mod web;

use std::{
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

use anyhow::{Context, Result};
use glasshouse_runtime::ModelSource;

use crate::arguments::ModelArguments;

/// Reads a whole file that was named on the command line.
fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("the {what} {} cannot be read", path.display()))
}

/// A module file: the name it is known by, and its bytes.
fn read_module(path: &Path) -> Result<(String, Vec<u8>)> {
    let name = path.file_stem().map_or_else(|| "module".into(), |stem| stem.to_string_lossy().into_owned());
    Ok((name, read(path, "module")?))
}

/// Creates the event log.
fn create_trace(path: &Path) -> Result<BufWriter<File>> {
    let file =
        File::create(path).with_context(|| format!("the event log {} cannot be created", path.display()))?;
    Ok(BufWriter::new(file))
}

fn model_source(arguments: &ModelArguments) -> ModelSource {
    arguments.model.clone().map_or(ModelSource::BuiltIn, ModelSource::File)
}

fn threads(threads: Option<u16>) -> Option<usize> {
    threads.map(usize::from)
}
