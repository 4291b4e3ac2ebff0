//! `glasshouse run`: one function of one module, in the sandbox.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use glasshouse_kernel::{Event, EventKind};
use glasshouse_runtime::{
    CallOptions, ModelSource, Observer, RunOptions, Runtime, RuntimeOptions, process_limits,
};

use crate::{
    arguments::RunArguments,
    commands::{create_trace, engine_config, read_module},
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
        engine: engine_config(),
        ..RuntimeOptions::default()
    })?;
    let mut trace = arguments.trace.as_deref().map(create_trace).transpose()?;
    let options = CallOptions {
        name: &name,
        module: &module,
        entry: &arguments.entry,
        payload: arguments.input.as_bytes(),
        run: RunOptions {
            seed: arguments.seed,
            limits: process_limits(arguments.fuel, arguments.memory_limit),
            ..RunOptions::default()
        },
    };
    let result = runtime.call(options, trace.as_mut().map(|file| file as &mut dyn Write), &mut Log);
    if let Some(mut file) = trace {
        file.flush().context("the event log cannot be written")?;
    }
    anstream::println!("{}", String::from_utf8_lossy(&result?));
    Ok(ExitCode::SUCCESS)
}
