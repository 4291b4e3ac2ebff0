//! Finds the first field in which two records differ, and says so in words.

use core::fmt;

use glasshouse_devices::{DeviceReport, StepCall, StepOutcome, StepReport};
use glasshouse_envelope::HEADER_LENGTH;
use glasshouse_protocol::{ErrorData, GenerateResponse};

use crate::{Effect, EventKind, Exit, Input, ProcessId, trace::Frame};

/// How many bytes before and after the first difference are shown.
const CONTEXT: usize = 32;

/// How many characters of a text are shown whole.
const LONGEST_TEXT: usize = 120;

/// The first thing in a replay that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the record in the log; that of the first missing one when the log has no more.
    pub sequence: u64,
    /// Where the record begins in the file; `None` when the log has no more.
    pub offset: Option<usize>,
    /// What the record is: `input StepFinished`, `effect RunStep`, `event ToolCalled`.
    pub record: String,
    /// The process that it is about.
    pub process: Option<ProcessId>,
    /// What differs.
    pub field: String,
    /// What it was in the log, shortened.
    pub recorded: String,
    /// What it is in the replay, shortened.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the replay differs from the log at record {}", self.sequence)?;
        if let Some(offset) = self.offset {
            write!(f, " (byte {offset})")?;
        }
        write!(f, ", {}", self.record)?;
        if let Some(process) = self.process {
            write!(f, " of process {process}")?;
        }
        write!(f, ": {} was {} in the log and is {} now", self.field, self.recorded, self.replayed)
    }
}

impl core::error::Error for Difference {}

impl Difference {
    fn new(subject: &Subject<'_>, field: &str, recorded: String, replayed: String) -> Self {
        Self {
            sequence: 0,
            offset: None,
            record: subject.title.clone(),
            process: subject.process,
            field: field.to_owned(),
            recorded,
            replayed,
        }
    }

    /// Places it in the log.
    pub(super) fn at(mut self, frame: Option<&Frame>, records: usize) -> Self {
        self.sequence = frame.map_or(records as u64, |frame| frame.sequence);
        self.offset = frame.map(|frame| frame.offset);
        self
    }
}

pub(super) fn of_inputs(recorded: &Input, live: &Input) -> Option<Difference> {
    (recorded != live).then(|| compare(&of_input(recorded), &of_input(live)))
}

pub(super) fn of_effects(recorded: &Effect, live: &Effect) -> Option<Difference> {
    (recorded != live).then(|| compare(&of_effect(recorded), &of_effect(live)))
}

pub(super) fn missing_input(recorded: &Input) -> Difference {
    presence(&of_input(recorded), "there", "missing")
}

pub(super) fn missing_effect(recorded: &Effect) -> Difference {
    presence(&of_effect(recorded), "there", "missing")
}

pub(super) fn surplus_input(live: &Input) -> Difference {
    presence(&of_input(live), "missing", "there")
}

pub(super) fn surplus_effect(live: &Effect) -> Difference {
    presence(&of_effect(live), "missing", "there")
}

fn presence(subject: &Subject<'_>, recorded: &str, replayed: &str) -> Difference {
    Difference::new(subject, "it", recorded.to_owned(), replayed.to_owned())
}

/// A record taken apart.
struct Subject<'a> {
    title: String,
    process: Option<ProcessId>,
    fields: Vec<(&'static str, Value<'a>)>,
}

/// A field in the form in which it is compared and shown.
#[derive(PartialEq)]
enum Value<'a> {
    /// Shown as it is.
    Text(String),
    /// Shown around the first difference.
    Bytes(&'a [u8]),
    /// Bytes with an envelope's header before the content.
    Envelope(&'a [u8]),
    /// An answer or a result.
    Answer(&'a Result<Vec<u8>, ErrorData>),
}

fn text(value: impl fmt::Debug) -> Value<'static> {
    Value::Text(format!("{value:?}"))
}

fn number(value: u64) -> Value<'static> {
    Value::Text(value.to_string())
}

fn compare(recorded: &Subject<'_>, live: &Subject<'_>) -> Difference {
    if recorded.title != live.title {
        return Difference::new(recorded, "the record", recorded.title.clone(), live.title.clone());
    }
    let mut pairs = recorded.fields.iter().zip(&live.fields);
    let Some(((name, old), (_, new))) = pairs.find(|((_, old), (_, new))| old != new) else {
        // The fields are all that records have.
        return presence(recorded, "as it was", "another");
    };
    if let (Value::Answer(Ok(old)), Value::Answer(Ok(new))) = (old, new)
        && let Some((field, old, new)) = of_generations(old, new)
    {
        return Difference::new(recorded, &field, old, new);
    }
    let (old, new) = show(old, new);
    Difference::new(recorded, name, old, new)
}

/// The first difference of two generations, in the terms of a model.
fn of_generations(old: &[u8], new: &[u8]) -> Option<(String, String, String)> {
    let old: GenerateResponse = serde_json::from_slice(old).ok()?;
    let new: GenerateResponse = serde_json::from_slice(new).ok()?;
    let index = old.tokens.iter().zip(&new.tokens).position(|(old, new)| old != new);
    let index =
        index.or((old.tokens.len() != new.tokens.len()).then(|| old.tokens.len().min(new.tokens.len())));
    if let Some(index) = index {
        let show = |response: &GenerateResponse| match response.tokens.get(index) {
            Some(token) => format!("{token} (text {:?})", shorten(&response.text)),
            None => format!("missing (text {:?})", shorten(&response.text)),
        };
        return Some((format!("generated token {index}"), show(&old), show(&new)));
    }
    if old.logits_hash != new.logits_hash {
        return Some(("the hash of the last logits".into(), old.logits_hash, new.logits_hash));
    }
    if old.text != new.text {
        let (old, new) = excerpts(old.text.as_bytes(), new.text.as_bytes());
        return Some(("the generated text".into(), old, new));
    }
    if old.finish != new.finish {
        return Some(("the finish".into(), format!("{:?}", old.finish), format!("{:?}", new.finish)));
    }
    (old.usage != new.usage)
        .then(|| ("the usage".into(), format!("{:?}", old.usage), format!("{:?}", new.usage)))
}

fn show(old: &Value<'_>, new: &Value<'_>) -> (String, String) {
    match (old, new) {
        (Value::Bytes(old), Value::Bytes(new)) => excerpts(old, new),
        (Value::Envelope(old), Value::Envelope(new)) => {
            match (old.get(HEADER_LENGTH..), new.get(HEADER_LENGTH..)) {
                (Some(old), Some(new)) if old != new => excerpts(old, new),
                _ => excerpts(old, new),
            }
        }
        (Value::Answer(Ok(old)), Value::Answer(Ok(new))) => excerpts(old, new),
        (Value::Text(old), Value::Text(new)) if old.len().max(new.len()) > LONGEST_TEXT => {
            excerpts(old.as_bytes(), new.as_bytes())
        }
        _ => (show_alone(old), show_alone(new)),
    }
}

fn show_alone(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => shorten(text),
        Value::Bytes(bytes) => excerpt(bytes, 0),
        Value::Envelope(bytes) => excerpt(bytes.get(HEADER_LENGTH..).unwrap_or(bytes), 0),
        Value::Answer(Ok(bytes)) => excerpt(bytes, 0),
        Value::Answer(Err(error)) => format!("the error {} ({})", error.code, shorten(&error.message)),
    }
}

fn excerpts(old: &[u8], new: &[u8]) -> (String, String) {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    (excerpt(old, same), excerpt(new, same))
}

/// What stands around `position`, with its place and the whole length when something is left out.
fn excerpt(bytes: &[u8], position: usize) -> String {
    let start = position.saturating_sub(CONTEXT);
    let end = position.saturating_add(CONTEXT).min(bytes.len());
    let shown = String::from_utf8_lossy(bytes.get(start..end).unwrap_or_default());
    let shown = shown.escape_debug();
    if start == 0 && end == bytes.len() {
        return format!("\"{shown}\"");
    }
    let before = if start > 0 { "…" } else { "" };
    let after = if end < bytes.len() { "…" } else { "" };
    format!("\"{before}{shown}{after}\" (from byte {start} of {})", bytes.len())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn of_input(input: &Input) -> Subject<'_> {
    let subject = |name: &str, process, fields| Subject { title: format!("input {name}"), process, fields };
    match input {
        Input::RegisterTool { name, target } => {
            subject("RegisterTool", None, vec![("name", text(name)), ("target", text(target))])
        }
        Input::Spawn { name, module, entry, payload, grants, limits, setup, life } => subject(
            "Spawn",
            None,
            vec![
                ("name", text(name)),
                ("module", text(module)),
                ("entry", text(entry)),
                ("payload", Value::Bytes(payload)),
                ("grants", text(grants)),
                ("limits", text(limits)),
                ("setup", text(setup)),
                ("life", text(life)),
            ],
        ),
        Input::Call { process, entry, payload } => subject(
            "Call",
            Some(*process),
            vec![("process", number(process.0)), ("entry", text(entry)), ("payload", Value::Bytes(payload))],
        ),
        Input::Device { process, input } => {
            subject("Device", Some(*process), vec![("process", number(process.0)), ("the act", text(input))])
        }
        Input::Refuel { process, fuel } => {
            subject("Refuel", Some(*process), vec![("process", number(process.0)), ("fuel", number(fuel.0))])
        }
        Input::StepFinished { process, report } => {
            subject("StepFinished", Some(*process), of_report(process, report))
        }
        Input::Completion { request, result } => subject(
            "Completion",
            None,
            vec![("request", number(request.0)), ("the answer", Value::Answer(result))],
        ),
        Input::Kill { process, reason } => {
            subject("Kill", Some(*process), vec![("process", number(process.0)), ("reason", text(reason))])
        }
    }
}

fn of_report<'a>(process: &ProcessId, report: &'a StepReport) -> Vec<(&'static str, Value<'a>)> {
    let mut fields = vec![("process", number(process.0))];
    match &report.outcome {
        StepOutcome::Returned(bytes) => {
            fields.extend([("the outcome", text("returned")), ("the output", Value::Envelope(bytes))]);
        }
        StepOutcome::Exited { code } => {
            fields.extend([("the outcome", text("exited")), ("the exit code", number(u64::from(*code)))]);
        }
        StepOutcome::Failed { error } => {
            fields.extend([("the outcome", text("failed")), ("the error", Value::Bytes(error))]);
        }
        StepOutcome::Trapped { kind, message } => {
            fields.extend([("the outcome", text(kind.code())), ("the trap's message", text(message))]);
        }
    }
    fields.push(("fuel used", number(report.fuel_used)));
    fields.push(("memory in bytes", number(report.memory_bytes)));
    fields.push(("the number of log lines", number(report.logs.len() as u64)));
    fields.push(("the number of events", number(report.events.len() as u64)));
    fields.extend(report.logs.iter().flat_map(|line| {
        [
            ("the level of a log line", number(u64::from(line.level))),
            ("a log line", Value::Bytes(line.text.as_bytes())),
        ]
    }));
    fields.extend(report.events.iter().map(|event| ("an event", Value::Bytes(event.as_slice()))));
    // Taken apart, so that nothing that is added is forgotten here.
    let DeviceReport { events, events_dropped, answers, output, error, files } = &report.devices;
    for (name, stream) in [("standard output", output), ("standard error", error)] {
        fields.push((name, Value::Bytes(&stream.kept)));
        fields.push(("the hash of all output", text(stream.hash)));
    }
    fields.push(("the number of the host's answers", number(answers.len() as u64)));
    fields.extend(events.iter().map(|event| ("a device's event", text(event))));
    fields.push(("the number of dropped device events", number(*events_dropped)));
    fields.extend(files.accesses.iter().map(|access| ("a file's use", text(access))));
    fields.push(("files", text(files)));
    fields.extend(answers.iter().map(|answer| ("an answer of the host", text(answer))));
    fields
}

fn of_effect(effect: &Effect) -> Subject<'_> {
    let subject = |name: &str, process: ProcessId, fields| Subject {
        title: format!("effect {name}"),
        process: Some(process),
        fields,
    };
    match effect {
        Effect::RunStep { process, module, call, fuel, memory_bytes, clock_nanoseconds, random_seed } => {
            let (entry, input) = match call {
                StepCall::Start { entry, input } => (Some(entry), input),
                StepCall::Resume { input } => (None, input),
            };
            let fields = vec![
                ("process", number(process.0)),
                ("module", text(module)),
                ("the entry", text(entry)),
                ("the step's input", Value::Envelope(input)),
                ("fuel", number(*fuel)),
                ("memory in bytes", number(*memory_bytes)),
                ("the clock in nanoseconds", number(*clock_nanoseconds)),
                ("the random seed", text(random_seed)),
            ];
            subject("RunStep", *process, fields)
        }
        Effect::Prepare { process, module, memory_bytes, random_seed, setup } => {
            let fields = vec![
                ("process", number(process.0)),
                ("module", text(module)),
                ("memory in bytes", number(*memory_bytes)),
                ("the random seed", text(random_seed)),
                ("setup", text(setup)),
            ];
            subject("Prepare", *process, fields)
        }
        Effect::Device { process, input } => {
            subject("Device", *process, vec![("process", number(process.0)), ("the act", text(input))])
        }
        Effect::Returned { process, result } => subject(
            "Returned",
            *process,
            vec![("process", number(process.0)), ("the result", Value::Answer(result))],
        ),
        Effect::Perform { request, process, service, payload, grants, seed } => {
            let fields = vec![
                ("process", number(process.0)),
                ("request", number(request.0)),
                ("the service", text(service)),
                ("the request's content", Value::Bytes(payload)),
                ("grants", text(grants)),
                ("the seed", number(*seed)),
            ];
            subject("Perform", *process, fields)
        }
        Effect::Release { process } => subject("Release", *process, vec![("process", number(process.0))]),
        Effect::Publish(event) => {
            let mut fields = of_event(&event.kind);
            fields.push(("the event's number", number(event.sequence)));
            fields.push(("the clock in nanoseconds", number(event.clock_nanoseconds)));
            Subject { title: format!("event {}", event.kind.name()), process: event.kind.process(), fields }
        }
        Effect::Exited { process, exit } => {
            let mut fields = vec![("process", number(process.0))];
            fields.extend(of_exit(exit));
            subject("Exited", *process, fields)
        }
    }
}

fn of_exit(exit: &Exit) -> [(&'static str, Value<'_>); 4] {
    [
        ("the reason", text(exit.reason)),
        ("the exit code", text(exit.code)),
        ("the result", Value::Answer(&exit.result)),
        ("fuel used", number(exit.fuel_used)),
    ]
}

fn of_event(event: &EventKind) -> Vec<(&'static str, Value<'_>)> {
    let mut fields = vec![("process", text(event.process()))];
    match event {
        EventKind::ToolCalled { request, name, arguments, .. } => fields.extend([
            ("request", number(request.0)),
            ("the tool", text(name)),
            ("the arguments", Value::Bytes(arguments)),
        ]),
        EventKind::ToolFinished { request, name, result, .. } => fields.extend([
            ("request", number(request.0)),
            ("the tool", text(name)),
            ("the result", Value::Answer(result)),
        ]),
        EventKind::Emitted { payload, .. } => fields.push(("the event", Value::Bytes(payload))),
        EventKind::Logged { level, text: line, .. } => {
            fields.extend([
                ("the level", number(u64::from(*level))),
                ("the line", Value::Bytes(line.as_bytes())),
            ]);
        }
        other => fields.push(("the event", text(other))),
    }
    fields
}
