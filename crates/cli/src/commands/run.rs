//! `glasshouse run`: one function of one module, in the sandbox.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use glasshouse_kernel::{Event, EventKind};
use glasshouse_runtime::{ModelSource, Observer, Runtime, RuntimeOptions};

use crate::{
    arguments::RunArguments,
    commands::{create_trace, limits, read_module},
};

/// Prints what the module logs to standard error.
struct Log;

impl Observer for Log {
    fn event(&mut self, event: &Event) {
        if let EventKind::Logged { level, text, .. } = &event.kind {
            let name = ["error", "warn", "info", "debug", "trace"]
                .get(usize::from(*level))
                .copied()
                .unwrap_or("log");
            anstream::eprintln!("{name}: {}", text.escape_debug());
        }
    }
}

/// Runs the command.
pub fn run(arguments: RunArguments) -> Result<ExitCode> {
    serde_json::from_str::<serde_json::Value>(&arguments.input).context("--input is not JSON")?;
    let (name, module) = read_module(&arguments.module)?;
    let mut runtime = Runtime::new(RuntimeOptions {
        model: ModelSource::None,
        seed: arguments.seed,
        limits: limits(arguments.fuel, arguments.memory_limit),
        ..RuntimeOptions::default()
    })?;
    let mut trace = arguments.trace.as_deref().map(create_trace).transpose()?;
    let result = runtime.call(
        &name,
        &module,
        &arguments.entry,
        arguments.input.as_bytes(),
        trace.as_mut().map(|file| file as &mut dyn Write),
        &mut Log,
    );
    if let Some(mut file) = trace {
        file.flush().context("the event log cannot be written")?;
    }
    anstream::println!("{}", String::from_utf8_lossy(&result?));
    Ok(ExitCode::SUCCESS)
}
