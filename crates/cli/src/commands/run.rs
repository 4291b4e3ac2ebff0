//! `glasshouse run`: a program, or one function of a module, in the sandbox.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use glasshouse_devices::{
    Context as Devices, ContextLimits, MountPoint, OutputStream, Setup, WavWriter, parse_input_script,
};
use glasshouse_engine::{HostMachine, Interrupt, Interruption, abi, native::Profile, signature};
use glasshouse_kernel::{Event, EventKind, Exit, ExitReason};
use glasshouse_protocol::ErrorData;
use glasshouse_runtime::{
    CallEnd, Mount, NativeHost, Observer, Process, ProcessOptions, RuntimeError, Sandbox, process_limits,
};
use serde_json::{Value, json};

use crate::{
    arguments::{ProfileArgument, RunArguments},
    commands::{create_trace, engine_config, printable, public_key, read, read_module},
};

/// The function that is called when none is named.
const DEFAULT_ENTRY: &str = "run";
/// How long an interrupted program, or one whose time is over, may take to notice, before this one is ended.
const GRACE: Duration = Duration::from_secs(1);
/// What a shell shows for a program that was interrupted, and for one whose reader has gone.
const INTERRUPTED: u8 = 130;
const BROKEN_PIPE: u8 = 141;
const TIMED_OUT: u8 = 142;
/// Bytes of each output, and lines of the log, that `--json` prints.
const CAPTURED_BYTES: usize = 1 << 20;
const CAPTURED_LINES: usize = 1_000;

/// Where the log goes: to standard error, or, for `--json`, here.
#[derive(Clone, Default)]
struct Log(Option<Arc<Mutex<Vec<Value>>>>);

impl Observer for Log {
    fn event(&mut self, event: &Event) {
        let EventKind::Logged { level, text, .. } = &event.kind else { return };
        let names = ["error", "warn", "info", "debug", "trace"];
        let name = names.get(usize::from(*level)).copied().unwrap_or("log");
        match &self.0 {
            None => anstream::eprintln!("{name}: {}", printable(text)),
            Some(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() < CAPTURED_LINES {
                    lines.push(json!({"level": name, "text": text}));
                }
            }
        }
    }
}

/// The beginning of an output, for `--json`.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = CAPTURED_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of a run beside its process.
#[derive(Clone, Default)]
struct Watch {
    stop: Arc<AtomicBool>,
    /// The program has returned, or was stopped.
    ended: Arc<AtomicBool>,
    broken_pipe: Arc<AtomicBool>,
    output: Captured,
    error: Captured,
    log: Log,
}

/// Runs the command.
pub fn run(arguments: RunArguments) -> Result<ExitCode> {
    let json = arguments.json;
    match execute(arguments) {
        Ok(code) => Ok(code),
        Err(error) if json => {
            let code = error.downcast_ref::<RuntimeError>().map_or("failed", |error| error.code());
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
    let machine = HostMachine::with_config(engine).map_err(RuntimeError::Engine)?;
    let mut sandbox = Sandbox::new(machine);
    let hash = sandbox.add(&name, &module);
    let entry = match &arguments.call {
        Some(entry) => entry.clone(),
        None if sandbox.is_command(hash)? => abi::COMMAND.to_owned(),
        None => DEFAULT_ENTRY.to_owned(),
    };
    let payload = payload(&arguments, &entry)?;

    let watch = Watch::new(arguments.json);
    watch.stop_on_ctrl_c()?;
    let mut process = sandbox.spawn(hash, options(&arguments, &name, &watch)?)?;
    if arguments.audio.is_some()
        && let Some(devices) = process.devices_mut()
    {
        devices.record_audio(true);
    }
    watch.end_at(arguments.deadline);
    let end = process.call(&entry, &payload);
    watch.ended.store(true, Ordering::Relaxed);
    // Whatever happened, what there is of the log and of the pictures is written.
    process.finish()?;
    let end = end?;
    if let (Some(file), Some(devices)) = (&arguments.audio, process.devices_mut()) {
        write_audio(file, devices)?;
    }
    if let (Some(file), Some(devices)) = (&arguments.screenshot, process.devices()) {
        write_screenshot(file, devices)?;
    }
    if arguments.json {
        anstream::println!("{}", summary(&process, &end, &watch));
    }
    Ok(tell(&end, &watch, arguments.json))
}

impl Watch {
    fn new(captures: bool) -> Self {
        let log = if captures { Log(Some(Arc::default())) } else { Log::default() };
        Self { log, ..Self::default() }
    }

    /// The first Ctrl-C stops the process; a second one, or a process that does not notice, ends this program.
    fn stop_on_ctrl_c(&self) -> Result<()> {
        let stop = Arc::clone(&self.stop);
        ctrlc::set_handler(move || {
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
            thread::spawn(|| {
                thread::sleep(GRACE);
                std::process::exit(INTERRUPTED.into());
            });
        })
        .context("Ctrl-C cannot be caught")
    }

    /// Ends this program where the process does not notice that its time is over: it waits for input, say.
    fn end_at(&self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        let ended = Arc::clone(&self.ended);
        thread::spawn(move || {
            thread::sleep(deadline.saturating_add(GRACE));
            if !ended.load(Ordering::Relaxed) {
                anstream::eprintln!("error: the program's time was over while it waited (deadline)");
                std::process::exit(TIMED_OUT.into());
            }
        });
    }

    /// What stops the process from outside.
    fn interrupt(&self, deadline: Option<Duration>) -> Interrupt {
        let stop = Arc::clone(&self.stop);
        let end = deadline.map(|deadline| Instant::now() + deadline);
        Interrupt::When(Arc::new(move || {
            if stop.load(Ordering::Relaxed) {
                Some(Interruption::Asked)
            } else {
                end.is_some_and(|end| Instant::now() >= end).then_some(Interruption::Deadline)
            }
        }))
    }
}

/// What the function is called with.
fn payload(arguments: &RunArguments, entry: &str) -> Result<Vec<u8>> {
    let bytes = match arguments.input.as_deref() {
        None if entry == abi::COMMAND => return Ok(b"null".to_vec()),
        None => b"{}".to_vec(),
        Some("-") => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).context("the input cannot be read")?;
            bytes
        }
        Some(text) if text.starts_with(['{', '[', '"']) => text.as_bytes().to_vec(),
        Some(file) => read(Path::new(file), "input")?,
    };
    serde_json::from_slice::<Value>(&bytes).context("the input of the function is not JSON")?;
    Ok(bytes)
}

fn options<'t>(arguments: &RunArguments, name: &str, watch: &Watch) -> Result<ProcessOptions<'t>> {
    let mut host = NativeHost::new();
    let mut setup = Setup {
        arguments: program_arguments(arguments),
        wall_clock_nanoseconds: wall_clock(arguments.now)?,
        ..Setup::default()
    };
    for variable in &arguments.env {
        match variable.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                setup.environment.push((name.to_owned(), value.to_owned()));
            }
            _ => bail!("--env {variable}: give it as NAME=VALUE"),
        }
    }
    for mount in &arguments.mount {
        let (Mount { directory, writable }, path) = parse_mount(mount);
        if setup.mounts.iter().any(|other| other.path == path) {
            bail!("--mount {mount}: {path} is mounted already");
        }
        host.mount(&path, &directory, writable)?;
        setup.mounts.push(MountPoint { path, writable });
    }
    if let Some(file) = &arguments.events {
        let text =
            String::from_utf8(read(file, "event script")?).context("the event script is not UTF-8 text")?;
        setup.input = parse_input_script(&text, &ContextLimits::default()).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
            anyhow::anyhow!("the event script {} is not right:\n{}", file.display(), lines.join("\n"))
        })?;
    }
    // Standard input is read by the program unless the function's own input comes from there.
    if let Some(file) = &arguments.stdin {
        let file = File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
        host = host.with_stdin(Box::new(file));
    } else if arguments.input.as_deref() != Some("-") {
        setup.terminal[0] = io::stdin().is_terminal();
        host = host.with_stdin(Box::new(io::stdin()));
    }
    if arguments.json {
        host = host
            .with_output(OutputStream::Output, Box::new(watch.output.clone()))
            .with_output(OutputStream::Error, Box::new(watch.error.clone()));
    } else {
        setup.terminal[1] = io::stdout().is_terminal();
        setup.terminal[2] = io::stderr().is_terminal();
        host = host
            .with_output(OutputStream::Output, Box::new(io::stdout()))
            .with_output(OutputStream::Error, Box::new(io::stderr()));
        let (stop, broken) = (Arc::clone(&watch.stop), Arc::clone(&watch.broken_pipe));
        host.on_broken_pipe(move || {
            broken.store(true, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        });
    }
    let trace = arguments.trace.as_deref().map(create_trace).transpose()?;
    Ok(ProcessOptions {
        name: name.to_owned(),
        seed: arguments.seed,
        limits: process_limits(arguments.fuel, arguments.memory),
        setup,
        host: Some(Box::new(host)),
        interrupt: watch.interrupt(arguments.deadline),
        trace: trace.map(|file| Box::new(file) as Box<dyn Write>),
        observer: Box::new(watch.log.clone()),
    })
}

/// The name of the module's file, and what was typed for the program.
fn program_arguments(arguments: &RunArguments) -> Vec<String> {
    let program = arguments.module.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(program).chain(arguments.arguments.iter().cloned()).collect()
}

/// Nanoseconds since 1970: the given seconds, or the time of this machine.
fn wall_clock(now: Option<i64>) -> Result<u64> {
    match now {
        Some(seconds) => u64::try_from(seconds)
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000_000_000))
            .context("--now is before 1970, or beyond what the clock shows"),
        None => {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        }
    }
}

/// Reads `HOST[:GUEST][:rw]`: the directory and whether the program may change it, and the path under which it sees it.
fn parse_mount(text: &str) -> (Mount, String) {
    let mut mount = Mount::parse(text);
    let rest = mount.directory.to_string_lossy().into_owned();
    match rest.split_once(':') {
        Some((host, guest)) if !host.is_empty() && !guest.is_empty() => {
            mount.directory = host.into();
            (mount, guest.to_owned())
        }
        _ => (mount, rest),
    }
}

fn write_audio(file: &Path, devices: &mut Devices) -> Result<()> {
    let taken = devices.take_audio();
    let mut blocks = taken.blocks.iter();
    let Some(first) = blocks.next() else {
        anstream::eprintln!("warning: nothing was played; {} is not written", file.display());
        return Ok(());
    };
    let failed = || format!("{} cannot be written", file.display());
    let output = BufWriter::new(File::create(file).with_context(failed)?);
    let mut writer = WavWriter::new(output, first).with_context(failed)?;
    for block in blocks {
        writer.write(block).with_context(failed)?;
    }
    writer.finish().and_then(|mut output| output.flush()).with_context(failed)
}

fn write_screenshot(file: &Path, devices: &Devices) -> Result<()> {
    let Some(frame) = devices.latest_frame() else {
        anstream::eprintln!("warning: nothing was shown; {} is not written", file.display());
        return Ok(());
    };
    let png = frame.to_png().context("the frame cannot be written as PNG")?;
    fs::write(file, png).with_context(|| format!("{} cannot be written", file.display()))
}

/// The run as one JSON object.
fn summary(process: &Process<'_>, end: &CallEnd, watch: &Watch) -> Value {
    let mut summary = json!({
        "stdout": watch.output.text(),
        "stderr": watch.error.text(),
        "log": watch.log.0.as_ref().map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone()),
    });
    if let Some(process) = process.summary() {
        summary["fuel_used"] = process.fuel_used.0.into();
        summary["memory_bytes"] = process.memory.0.into();
    }
    if let Some(devices) = process.devices() {
        if let Some(frame) = devices.latest_frame() {
            let info = frame.info();
            let hash: String = info.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            summary["frame"] = json!({"index": info.index, "sha256": hash});
        }
        if let Some((_, frames)) = devices.audio_played() {
            summary["audio_frames"] = frames.into();
        }
    }
    match end {
        CallEnd::Returned(result) => {
            summary["result"] = serde_json::from_slice(result).unwrap_or(Value::Null);
        }
        CallEnd::Refused(error) => summary["error"] = json!(error),
        CallEnd::Ended(exit) => {
            summary["exit"] = json!({"code": exit.code, "reason": exit.reason.name()});
            if let Err(error) = &exit.result {
                summary["error"] = json!(error);
            }
        }
    }
    summary
}

/// Says how it ended, unless that was said as JSON, and gives the exit code.
fn tell(end: &CallEnd, watch: &Watch, silent: bool) -> ExitCode {
    match end {
        CallEnd::Returned(result) => {
            if !silent {
                anstream::println!("{}", String::from_utf8_lossy(result));
            }
            ExitCode::SUCCESS
        }
        CallEnd::Refused(error) => {
            if !silent {
                tell_error(error);
            }
            ExitCode::FAILURE
        }
        CallEnd::Ended(exit) => ended(exit, watch, silent),
    }
}

fn ended(exit: &Exit, watch: &Watch, silent: bool) -> ExitCode {
    let by_itself = matches!(exit.reason, ExitReason::Finished | ExitReason::Exited(_));
    if !by_itself && watch.broken_pipe.load(Ordering::Relaxed) {
        return ExitCode::from(BROKEN_PIPE);
    }
    if !by_itself && watch.stop.load(Ordering::Relaxed) {
        return ExitCode::from(INTERRUPTED);
    }
    if let (Err(error), false, false) = (&exit.result, by_itself, silent) {
        tell_error(error);
    }
    // As a shell shows it.
    ExitCode::from(exit.code as u8)
}

fn tell_error(error: &ErrorData) {
    anstream::eprintln!("error: {} ({})", printable(&error.message), printable(&error.code));
    for source in &error.sources {
        anstream::eprintln!("  caused by: {}", printable(source));
    }
}
