//! Commands, reactors, and what a module says of its version.

use glasshouse_devices::{StepOutcome, TrapKind};
use glasshouse_engine::{Instance, InstanceLimits, Machine, ModuleError};

use crate::fixture::{PLENTY, context, instantiate, module, refusal, resume, returned, start, trap};

fn command(fields: &str) -> Vec<u8> {
    module(&format!(r#"(memory (export "memory") 1) {fields}"#))
}

pub fn a_command_runs_and_exits<M: Machine>(machine: &M) {
    let guest = command(
        r#"(global $runs (mut i32) (i32.const 0)) (func $first (global.set $runs (i32.const 1))) (start $first)
        (func (export "_initialize") unreachable)
        (func (export "_start") (if (i32.ne (global.get $runs) (i32.const 1)) (then unreachable)) nop)"#,
    );
    let mut instance = instantiate(machine, &guest);
    let mut context = context();
    let report = instance.step(&start("_start", b"not looked at"), &mut context, PLENTY);
    assert_eq!(report.outcome, StepOutcome::Exited { code: 0 });
    // The start function's two operators; four and a `nop`.
    assert_eq!(report.fuel_used, 2 + 4 + 1);
    let again = instance.step(&start("_start", b""), &mut context, PLENTY);
    assert_eq!(trap(&again), (TrapKind::Poisoned, 0));
}

pub fn a_command_that_traps_or_runs_out_says_so<M: Machine>(machine: &M) {
    for (body, kind) in [("unreachable", TrapKind::Unreachable), ("(loop (br 0))", TrapKind::OutOfFuel)] {
        let guest = command(&format!(r#"(func (export "_start") {body})"#));
        let report = instantiate(machine, &guest).step(&start("_start", b""), &mut context(), 1_000);
        assert_eq!(trap(&report).0, kind);
    }
}

pub fn a_command_has_no_entries_and_a_reactor_no_start<M: Machine>(machine: &M) {
    let entries = r#"(func (export "run") (param i32 i32) (result i64) i64.const 0)
        (func (export "gh_resume") (param i32 i32) (result i64) i64.const 0)"#;
    let guest = command(&format!(r#"(func (export "_start")) {entries}"#));
    let compiled = machine.compile(&guest).unwrap();
    assert!(machine.needs(&compiled).is_command() && !machine.needs(&compiled).is_reactor());
    for call in [start("run", b""), resume(b""), start("memory", b""), start("other", b"")] {
        let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).unwrap();
        assert_eq!(trap(&instance.step(&call, &mut context(), PLENTY)), (TrapKind::MissingEntry, 0));
    }
    let allocate = r#"(func (export "gh_allocate") (param i32) (result i32) i32.const 0)"#;
    let reactor = machine.compile(&command(&format!("{allocate} {entries}"))).unwrap();
    assert!(!machine.needs(&reactor).is_command() && machine.needs(&reactor).is_reactor());
    let mut instance = machine.instantiate(&reactor, InstanceLimits::default()).unwrap();
    let report = instance.step(&start("_start", b""), &mut context(), PLENTY);
    assert_eq!(trap(&report), (TrapKind::MissingEntry, 0));
    let both = machine.compile(&command(&format!(r#"{allocate} (func (export "_start"))"#))).unwrap();
    assert!(machine.needs(&both).is_command() && machine.needs(&both).is_reactor());
}

pub fn a_reactor_is_initialized_once_before_its_first_entry<M: Machine>(machine: &M) {
    let guest = command(
        r#"(global $n (mut i32) (i32.const 0))
        (func $first (global.set $n (i32.const 3))) (start $first)
        (func (export "_initialize") (global.set $n (i32.mul (global.get $n) (i32.const 5))))
        (func (export "gh_allocate") (param i32) (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) i32.const 0)
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (global.get $n)))"#,
    );
    let mut instance = instantiate(machine, &guest);
    for expected in [16, 17, 18] {
        let report = instance.step(&start("run", b""), &mut context(), PLENTY);
        assert_eq!(returned(&report).len(), expected);
    }
}

pub fn functions_of_commands_and_reactors_have_their_types<M: Machine>(machine: &M) {
    let allocate = r#"(func (export "gh_allocate") (param i32) (result i32) i32.const 0)"#;
    for fields in [
        r#"(func (export "_start") (param i32))"#.to_owned(),
        r#"(func (export "_start") (result i32) i32.const 0)"#.to_owned(),
        format!(r#"{allocate} (func (export "_initialize") (param i32))"#),
        format!(r#"{allocate} (global (export "_start") i32 (i32.const 0))"#),
    ] {
        let error = refusal(machine, &command(&fields));
        assert!(matches!(error, ModuleError::WrongSignature { .. }), "{fields}: {error}");
    }
    let error = refusal(machine, &module(r#"(func (export "_start"))"#)).to_string();
    assert!(error.contains("does not export `memory`"), "{error}");
}

pub fn a_module_names_its_version_at_most_once<M: Machine>(machine: &M) {
    let with = |sections: &str| command(&format!(r#"(func (export "_start")) {sections}"#));
    machine.compile(&with(r#"(@custom "glasshouse.abi" "\01\00\00\00")"#)).unwrap();
    let error = refusal(machine, &with(r#"(@custom "glasshouse.abi" "\02\00\00\00")"#));
    assert!(matches!(error, ModuleError::UnknownAbi { version: 2, offset: 9.. }), "{error:?}");
    for sections in [
        r#"(@custom "glasshouse.abi" "\01")"#,
        r#"(@custom "glasshouse.abi" "")"#,
        r#"(@custom "glasshouse.abi" "\01\00\00\00\00")"#,
        r#"(@custom "glasshouse.abi" "\01\00\00\00") (@custom "glasshouse.abi" "\01\00\00\00")"#,
    ] {
        let error = refusal(machine, &with(sections));
        assert!(matches!(error, ModuleError::Refused { offset: 9.., .. }), "{error:?}");
    }
}

/// Answers `twice` with its input, two times.
struct Twice;

impl glasshouse_devices::Host for Twice {
    fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
        (name == "twice").then(|| input.repeat(2))
    }
}

pub fn functions_of_the_embedder_are_looked_up_when_they_are_called<M: Machine>(machine: &M) {
    let guest = module(
        r#"(import "host" "twice" (func $twice (param i32 i32) (result i64)))
        (import "host" "unknown" (func $unknown (param i32 i32) (result i64)))
        (import "host" "twice" (func $again (param i32 i32) (result i64)))
        (import "glasshouse" "take_answer" (func $take (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64)
            (call $take (i32.const 0) (i32.wrap_i64 (call $twice (local.get 0) (local.get 1))))
            (call $take (i32.const 64) (i32.wrap_i64 (call $again (i32.const 0) (i32.mul (local.get 1) (i32.const 2)))))
            (i64.or (i64.const 0x4000000000) (i64.extend_i32_u (i32.mul (local.get 1) (i32.const 4)))))
        (func (export "other") (param i32 i32) (result i64) (local $length i32)
            (local.set $length (i32.wrap_i64 (call $unknown (local.get 0) (local.get 1))))
            (call $take (i32.const 0) (local.get $length)) (i64.extend_i32_u (local.get $length)))"#,
    );
    let mut instance = instantiate(machine, &guest);
    let mut context = context();
    context.attach(Box::new(Twice));
    let report = instance.step(&start("run", b"ab"), &mut context, PLENTY);
    assert_eq!(returned(&report), b"abababab");
    // An error of the protocol, which says which function there is not.
    let report = instance.step(&start("other", b"ab"), &mut context, PLENTY);
    let answer = String::from_utf8_lossy(returned(&report)).into_owned();
    assert!(answer.contains("unknown"), "{answer}");
    for import in [
        r#"(import "host" "f" (func (param i32 i32)))"#,
        r#"(import "host" "f" (func (param i32) (result i64)))"#,
        r#"(import "host" "f" (global i64))"#,
    ] {
        let error = refusal(machine, &module(import));
        assert!(matches!(error, ModuleError::WrongSignature { .. }), "{import}: {error}");
    }
}
