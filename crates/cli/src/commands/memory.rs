//! `glasshouse memory`: look at and change a file of long-term memory.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use glasshouse_memory::{MAX_RESULTS, MemoryStore};

use crate::arguments::MemoryCommand;

/// Results of a search.
const SEARCH_LIMIT: usize = 20;

/// Runs the command.
pub fn run(command: MemoryCommand) -> Result<ExitCode> {
    match command {
        MemoryCommand::List(arguments) => list(&existing(&arguments.file)?)?,
        MemoryCommand::Add(arguments) => {
            let id = open(&arguments.file)?.store(&arguments.text, None)?;
            anstream::println!("remembered as {id}");
        }
        MemoryCommand::Search(arguments) => {
            for memory in existing(&arguments.file)?.search(&arguments.query, SEARCH_LIMIT)? {
                print(memory.id, &memory.text);
            }
        }
        MemoryCommand::Remove(arguments) => {
            if !existing(&arguments.file)?.delete(arguments.id)? {
                bail!("there is no memory {} in {}", arguments.id, arguments.file.display());
            }
            anstream::println!("forgotten");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &MemoryStore) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let records = store.list(after, MAX_RESULTS)?;
        let Some(last) = records.last() else { return Ok(()) };
        after = last.id;
        for record in &records {
            print(record.id, &record.text);
        }
    }
}

/// One memory a line, whatever characters it holds.
fn print(id: i64, text: &str) {
    let text: String = text
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    anstream::println!("{id}\t{text}");
}

fn open(path: &Path) -> Result<MemoryStore> {
    MemoryStore::open(path).context("long-term memory cannot be opened")
}

/// Opens a file that is there; looking must not create one.
fn existing(path: &Path) -> Result<MemoryStore> {
    if !path.exists() {
        bail!("there is no memory file {}; `glasshouse memory add` creates one", path.display());
    }
    open(path)
}
