//! `glasshouse run`: a program, or one function of a module, in the sandbox.

use std::{
    fs,
    io::{self, Read, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use glasshouse_devices::{Context as Devices, Setup};
use glasshouse_engine::{HostMachine, Interrupt, ModuleKind, Profile, inspect, signature};
use glasshouse_kernel::{Event, EventKind, Exit, ExitReason};
use glasshouse_protocol::ErrorData;
use glasshouse_runtime::{
    CallEnd, Mount, NativeHost, Observer, Process, ProcessOptions, Sandbox, process_limits,
};
use serde_json::json;

use crate::{
    arguments::{ProfileArgument, RunArguments},
    commands::{create_trace, engine_config, public_key, read, read_module},
};

/// The function that is called when none is named.
const DEFAULT_ENTRY: &str = "run";
/// The entry of a program.
const COMMAND_ENTRY: &str = "_start";
/// How long an interrupted program may take to notice, before the whole program is ended.
const GRACE: Duration = Duration::from_secs(1);
/// What a shell shows for a program that was interrupted.
const INTERRUPTED: u8 = 130;

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
    let json = arguments.json;
    match execute(arguments) {
        Ok(code) => Ok(code),
        Err(error) if json => {
            let code = error
                .downcast_ref::<glasshouse_runtime::RuntimeError>()
                .map_or("failed", |error| error.code());
            anstream::println!("{}", json!({"error": {"code": code, "message": format!("{error:#}")}}));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error),
    }
}

fn execute(arguments: RunArguments) -> Result<ExitCode> {
    let (name, module) = read_module(&arguments.module)?;
    if let Some(key) = &arguments.require_signed {
        signature::verify(&module, &public_key(key)?)
            .with_context(|| format!("the module {} is not run", arguments.module.display()))?;
    }
    let mut engine = engine_config();
    engine.profile = match arguments.profile {
        ProfileArgument::Dev => Profile::Development,
        ProfileArgument::Prod => Profile::Production,
        ProfileArgument::Interpreter => Profile::Interpreter,
    };
    let machine = HostMachine::with_config(engine).map_err(glasshouse_runtime::RuntimeError::Engine)?;
    let mut sandbox = Sandbox::new(machine);
    let hash = sandbox.add(&name, &module);
    let entry = match &arguments.call {
        Some(entry) => entry.clone(),
        None if sandbox.is_command(hash)? => COMMAND_ENTRY.to_owned(),
        None => DEFAULT_ENTRY.to_owned(),
    };
    let payload = payload(&arguments, &entry)?;

    let stop = Arc::new(AtomicBool::new(false));
    stop_on_ctrl_c(Arc::clone(&stop))?;
    let options = options(&arguments, &name, stop)?;
    let mut process = sandbox.spawn(hash, options)?;
    let end = process.call(&entry, &payload);
    // Whatever happened, what there is of the log and of the pictures is written.
    process.finish()?;
    let end = end?;
    if let (Some(file), Some(devices)) = (&arguments.audio, process.devices()) {
        write_audio(file, devices)?;
    }
    if let (Some(file), Some(devices)) = (&arguments.screenshot, process.devices()) {
        write_screenshot(file, devices)?;
    }
    report(&arguments, &process, &end)
}
