//! `glasshouse model embed`: vectors of texts.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use glasshouse_llm::{Embedder, Pooling};

use crate::{
    arguments::{ModelEmbedArguments, PoolingArgument},
    commands::{threads, typed_or_input},
    progress,
};

/// So many texts are evaluated before their vectors are printed.
const TEXTS_TOGETHER: usize = 16;

/// Runs the command.
pub fn run(arguments: ModelEmbedArguments) -> Result<ExitCode> {
    let mut texts = arguments.texts;
    if texts.is_empty() {
        let Some(input) = typed_or_input(None, "texts")? else {
            bail!("there is no text; give some, or a file of lines on standard input");
        };
        texts = input.lines().map(str::to_owned).collect();
    }
    let gguf = super::open(Some(&arguments.model), &arguments.store)?;
    let spinner = progress::spinner("loading the model");
    let mut embedder = Embedder::load(gguf, threads(arguments.threads).unwrap_or(0))?;
    spinner.finish_and_clear();
    if let Some(pooling) = arguments.pooling {
        embedder = embedder.with_pooling(match pooling {
            PoolingArgument::Mean => Pooling::Mean,
            PoolingArgument::First => Pooling::First,
            PoolingArgument::Last => Pooling::Last,
        });
    }
    let mut out = anstream::stdout().lock();
    for (number, texts) in texts.chunks(TEXTS_TOGETHER).enumerate() {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let first = number * TEXTS_TOGETHER + 1;
        let vectors = embedder.embed(&texts).with_context(|| {
            format!("the texts {first} to {} cannot be embedded", first + texts.len() - 1)
        })?;
        for vector in vectors {
            match writeln!(out, "{}", serde_json::to_string(&vector)?) {
                // Whoever reads has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                written => written.context("the vectors cannot be printed")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
