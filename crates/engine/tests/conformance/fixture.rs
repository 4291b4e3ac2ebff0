//! Small guests in text form, and steps on them.

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport, TrapKind};
use glasshouse_engine::{Instance, InstanceLimits, Machine, ModuleError};

/// Fuel that no case needs all of.
pub const PLENTY: u64 = 10_000_000;

/// What the fixture's `gh_allocate` costs.
pub const ALLOCATE: u64 = 1;

/// A location as an entry returns it, as a WebAssembly constant.
pub fn packed(pointer: u32, length: u32) -> i64 {
    (u64::from(pointer) << 32 | u64::from(length)) as i64
}

/// A module with one page of memory, `gh_allocate` that always answers 1024, and these fields.
pub fn guest(fields: &str) -> Vec<u8> {
    module(&format!(
        r#"(memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        {fields}"#
    ))
}

/// A module with the four imports before everything else.
pub fn guest_with_devices(fields: &str) -> Vec<u8> {
    module(&format!(
        r#"(import "glasshouse" "clock_now" (func $clock_now (result i64)))
        (import "glasshouse" "random_fill" (func $random_fill (param i32 i32)))
        (import "glasshouse" "log" (func $log (param i32 i32 i32)))
        (import "glasshouse" "emit" (func $emit (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        {fields}"#
    ))
}

/// A guest whose entry `run` has this body and returns no bytes. `$a` and `$b` are locals.
pub fn entry(body: &str) -> Vec<u8> {
    entry_with("", body)
}

/// The same beside these fields.
pub fn entry_with(fields: &str, body: &str) -> Vec<u8> {
    guest(&format!(
        r#"{fields} (table 4 funcref) (global $g (mut i32) (i32.const 0))
        (func (export "run") (param $pointer i32) (param $length i32) (result i64) (local $a i32) (local $b i32)
        {body} i64.const 0)"#
    ))
}

pub fn module(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {fields})")).unwrap()
}

pub fn context() -> Context {
    Context::new(17, [3; 32])
}

pub fn start(entry: &str, input: &[u8]) -> StepCall {
    StepCall::Start { entry: entry.into(), input: input.to_vec() }
}

pub fn resume(input: &[u8]) -> StepCall {
    StepCall::Resume { input: input.to_vec() }
}

pub fn instantiate<M: Machine>(machine: &M, module: &[u8]) -> M::Instance {
    instantiate_within(machine, module, InstanceLimits::default()).unwrap()
}

pub fn instantiate_within<M: Machine>(
    machine: &M,
    module: &[u8],
    limits: InstanceLimits,
) -> Result<M::Instance, ModuleError> {
    machine.instantiate(&machine.compile(module).unwrap(), limits)
}

/// Runs the first step of a new process: its entry `run`, with no input.
pub fn run<M: Machine>(machine: &M, module: &[u8], fuel: u64) -> StepReport {
    instantiate(machine, module).step(&start("run", b""), &mut context(), fuel)
}

/// How a step was stopped, with the fuel that it used.
pub fn trap(report: &StepReport) -> (TrapKind, u64) {
    match &report.outcome {
        StepOutcome::Trapped { kind, .. } => (*kind, report.fuel_used),
        other => panic!("the step did not trap: {other:?}"),
    }
}

/// How a step was stopped, in words.
pub fn words_of(report: &StepReport) -> &str {
    match &report.outcome {
        StepOutcome::Trapped { message, .. } => message,
        other => panic!("the step did not trap: {other:?}"),
    }
}

/// What a step returned.
pub fn returned(report: &StepReport) -> &[u8] {
    match &report.outcome {
        StepOutcome::Returned(bytes) => bytes,
        other => panic!("the step did not return: {other:?}"),
    }
}

/// Why a module does not compile.
pub fn refusal<M: Machine>(machine: &M, module: &[u8]) -> ModuleError {
    match machine.compile(module) {
        Ok(_) => panic!("the module compiles"),
        Err(error) => error,
    }
}
