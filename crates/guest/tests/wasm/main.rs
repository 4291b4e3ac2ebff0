//! The SDK as it runs: modules built from `guests/`, on the native machine.

mod bare;
mod document;
mod languages;
mod levels;
mod modules;
mod snake;

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport, TrapKind};
use glasshouse_engine::{Instance, InstanceLimits, Machine, describe_tools, native::Wasmtime};
use glasshouse_envelope::{Envelope, Flags};
use glasshouse_guest::ErrorData;
use modules::module;
use serde_json::{Value, json};

const FUEL: u64 = 100_000_000;

struct Process {
    instance: <Wasmtime as Machine>::Instance,
    context: Context,
}

impl Process {
    fn new(name: &str) -> Self {
        let machine = Wasmtime::new().unwrap();
        let module = machine.compile(&module(name)).unwrap();
        let instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
        Self { instance, context: Context::new(5_000, [7; 32]) }
    }

    fn step(&mut self, call: &StepCall) -> StepReport {
        self.instance.step(call, &mut self.context, FUEL)
    }

    fn start(&mut self, entry: &str, arguments: &Value) -> StepReport {
        self.start_bytes(entry, envelope(Flags::NONE, arguments))
    }

    fn start_bytes(&mut self, entry: &str, input: Vec<u8>) -> StepReport {
        self.step(&StepCall::Start { entry: entry.to_owned(), input })
    }

    fn resume(&mut self, flags: Flags, answer: &Value) -> StepReport {
        self.step(&StepCall::Resume { input: envelope(flags, answer) })
    }
}

fn envelope(flags: Flags, payload: &Value) -> Vec<u8> {
    Envelope::new(flags, payload.to_string().as_bytes()).encode().unwrap()
}

fn returned(report: &StepReport) -> (Flags, Value) {
    let StepOutcome::Returned(bytes) = &report.outcome else { panic!("{:?}", report.outcome) };
    let envelope = Envelope::decode(bytes).unwrap();
    (envelope.flags, serde_json::from_slice(envelope.payload).unwrap())
}

fn error_code(report: &StepReport) -> String {
    let (flags, payload) = returned(report);
    assert_eq!(flags, Flags::ERROR);
    serde_json::from_value::<ErrorData>(payload).unwrap().code
}

fn trap(report: &StepReport) -> TrapKind {
    match &report.outcome {
        StepOutcome::Trapped { kind, .. } => *kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_go_in_and_results_and_errors_come_out() {
    let mut process = Process::new("probe");
    let value = json!({"b": 1, "a": [true, "ä"]});
    let report = process.start("echo", &value);
    assert_eq!(returned(&report), (Flags::NONE, value));
    let error = json!({"code": "x", "message": "m", "sources": ["s"]});
    assert_eq!(returned(&process.start("refuse", &error)), (Flags::ERROR, error));
}

#[test]
fn requests_leave_the_process_and_answers_come_back() {
    let mut process = Process::new("probe");
    let (clock, read) = (json!({"service": "clock.now"}), json!({"service": "files.read", "path": "a"}));
    assert_eq!(returned(&process.start("ask", &json!([clock, read]))), (Flags::EXPECTS_RESPONSE, clock));
    assert_eq!(error_code(&process.start("echo", &json!(1))), "busy");
    assert_eq!(returned(&process.resume(Flags::NONE, &json!(17))), (Flags::EXPECTS_RESPONSE, read));
    let error = json!({"code": "not_found", "message": "no such file", "sources": []});
    let report = process.resume(Flags::ERROR, &error);
    assert_eq!(returned(&report), (Flags::NONE, json!([{"ok": 17}, {"error": error}])));
    assert_eq!(error_code(&process.resume(Flags::NONE, &json!(1))), "not_waiting");
}

#[test]
fn hostile_input_is_an_error_and_not_a_trap() {
    let mut process = Process::new("probe");
    for length in [u32::MAX, u32::MAX - 11, u32::MAX - 12, i32::MAX as u32, 1] {
        let mut input = vec![0x49, 0x41, 1, 0];
        input.extend_from_slice(&length.to_le_bytes());
        input.extend_from_slice(&[0; 4]);
        assert_eq!(error_code(&process.start_bytes("echo", input)), "malformed_envelope");
    }
    assert_eq!(error_code(&process.start_bytes("echo", Vec::new())), "malformed_envelope");
    assert_eq!(error_code(&process.start("ask", &json!("no list"))), "invalid_arguments");
    let nested = "[".repeat(100_000);
    let input = Envelope::plain(nested.as_bytes()).encode().unwrap();
    assert_eq!(error_code(&process.start_bytes("echo", input)), "invalid_arguments");
    assert_eq!(returned(&process.start("echo", &json!(1))), (Flags::NONE, json!(1)));
}

#[test]
fn ten_thousand_calls_do_not_grow_the_memory() {
    let mut process = Process::new("probe");
    let arguments = json!("x".repeat(100));
    let memory = process.start("echo", &arguments).memory_bytes;
    for _ in 0..10_000 {
        assert_eq!(process.start("echo", &arguments).memory_bytes, memory);
    }
    let large = json!("x".repeat(1 << 20));
    let memory = process.start("echo", &large).memory_bytes;
    for _ in 0..20 {
        assert_eq!(process.start("echo", &large).memory_bytes, memory);
    }
}

#[test]
fn memory_is_kept_between_the_steps_of_an_instance_and_not_between_instances() {
    let mut process = Process::new("probe");
    assert_eq!(returned(&process.start("count", &json!(null))).1, json!(1));
    assert_eq!(returned(&process.start("count", &json!(null))).1, json!(2));
    assert_eq!(returned(&Process::new("probe").start("count", &json!(null))).1, json!(1));
}

#[test]
fn devices_reach_the_context() {
    let mut process = Process::new("probe");
    let report = process.start("devices", &json!({"event": "seen"}));
    assert_eq!(returned(&report).1["clock_nanoseconds"], json!(5_000));
    let logs: Vec<(u8, &str)> = report.logs.iter().map(|line| (line.level, line.text.as_str())).collect();
    assert_eq!(logs, [(0, "Error"), (1, "Warn"), (2, "Info"), (3, "Debug"), (4, "Trace")]);
    assert_eq!(report.events, [br#"{"event":"seen"}"#.to_vec()]);
    assert_eq!(Process::new("probe").start("devices", &json!({"event": "seen"})), report);
}

#[test]
fn a_panic_arrives_as_an_error_with_its_message_and_place() {
    let mut process = Process::new("probe");
    let report = process.start("crash", &json!(null));
    let StepOutcome::Failed { error } = &report.outcome else { panic!("{:?}", report.outcome) };
    let error: ErrorData = serde_json::from_slice(error).unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("guest_panic", "as asked"));
    assert!(error.location.unwrap().starts_with("guests/probe/src/lib.rs:"));
    assert!(report.logs.is_empty());
    assert_eq!(trap(&process.start("echo", &json!(1))), TrapKind::Poisoned);
}

#[test]
fn a_panic_within_a_panic_ends_the_step() {
    let report = Process::new("probe").start("crash_twice", &json!(null));
    match &report.outcome {
        StepOutcome::Trapped { kind: TrapKind::Unreachable, .. } => {}
        StepOutcome::Failed { error } => {
            assert_eq!(serde_json::from_slice::<ErrorData>(error).unwrap().code, "guest_panic");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_never_ends_is_ended() {
    assert_eq!(trap(&Process::new("probe").start("spin", &json!(null))), TrapKind::OutOfFuel);
    assert_eq!(trap(&Process::new("probe").start("overflow", &json!(null))), TrapKind::StackOverflow);
    let report = Process::new("probe").start("grow", &json!(null));
    assert!(matches!(trap(&report), TrapKind::Unreachable | TrapKind::OutOfMemory));
    assert!(report.memory_bytes <= InstanceLimits::default().memory_bytes);
}

#[test]
fn tool_descriptions_are_read_from_the_module() {
    let names = |name: &str| -> Vec<String> {
        describe_tools(&module(name)).unwrap().into_iter().map(|tool| tool.name).collect()
    };
    assert_eq!(names("calculate"), ["calculate"]);
    assert_eq!(names("clock"), ["get_time"]);
    assert_eq!(names("files"), ["read_file", "write_file", "list_dir", "search_files"]);
    assert_eq!(names("memory"), ["memory_store", "memory_search"]);
    assert!(names("react").is_empty());
}

#[test]
fn the_deepest_expression_fits_the_stack_of_a_step() {
    for expression in [
        format!("{}1{}", "abs(".repeat(100), ")".repeat(100)),
        format!("{}1", "-".repeat(100)),
        format!("1{}", "^1".repeat(100)),
    ] {
        let report = Process::new("calculate").start("calculate", &json!({ "expression": expression }));
        assert!(matches!(returned(&report), (Flags::NONE, Value::String(_))), "{expression}");
    }
    let report = Process::new("calculate").start("calculate", &json!({ "expression": "(".repeat(4096) }));
    assert_eq!(error_code(&report), "invalid_expression");
}
