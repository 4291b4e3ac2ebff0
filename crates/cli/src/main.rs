//! The `glasshouse` command line: reads what was typed, runs one command, turns its outcome into an exit code.

mod arguments;
mod commands;
mod failure;
mod progress;
mod screen;
mod screens;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command, ModelCommand};

/// Keeps the space of large messages for the next ones, where the system's allocators give it back and get it again, page
/// by page: a message of 1 MiB takes a quarter of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Ask(arguments) => commands::ask::run(arguments),
        Command::Chat(arguments) => commands::chat::run(arguments),
        Command::Generate(arguments) => commands::generate::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Replay(arguments) => commands::replay::run(arguments),
        Command::Model(ModelCommand::List(arguments)) => commands::model::store::list(arguments),
        Command::Model(ModelCommand::Pull(arguments)) => commands::model::store::pull(arguments),
        Command::Model(ModelCommand::Rm(arguments)) => commands::model::store::remove(arguments),
        Command::Model(ModelCommand::Perplexity(arguments)) => commands::model::perplexity::run(arguments),
        Command::Model(ModelCommand::Info(arguments)) => commands::model::info(arguments),
        Command::Model(ModelCommand::Bench(arguments)) => commands::model::bench(arguments),
        Command::Model(ModelCommand::Verify(arguments)) => commands::model::verify(arguments),
        Command::Model(ModelCommand::Tokenize(arguments)) => commands::model::tokenize(arguments),
        Command::Model(ModelCommand::Embed(arguments)) => commands::model::embed::run(arguments),
        Command::Model(ModelCommand::Prepare(arguments)) => commands::model::prepare(arguments),
        Command::Model(ModelCommand::Generate(arguments)) => commands::model::generate(arguments),
        Command::Memory(command) => commands::memory::run(command),
        Command::Guard(command) => commands::guard::run(command),
        Command::Web(arguments) => commands::web::run(arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
