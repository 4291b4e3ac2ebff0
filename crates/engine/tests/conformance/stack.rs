//! Recursion of functions that are made to take as much native stack as they can: the counted one is used up first.

use std::fmt::Write as _;

use glasshouse_devices::TrapKind;
use glasshouse_engine::Machine;

use crate::fixture::{PLENTY, guest, run, trap};

/// Functions that call themselves, or each other, without end.
fn recursions() -> Vec<(&'static str, String)> {
    let run =
        r#"(func (export "run") (param i32 i32) (result i64) (call $down (local.get 0)) (i64.const 0))"#;
    // Values on the operand stack that all live over the call.
    let operands = |kind: &str, count: usize, make: &str, take: &str| {
        let mut body = String::new();
        for place in 0..count {
            write!(body, "({make} (i32.const {}))", place * 16).unwrap();
        }
        body += "(call $down (local.get 0))";
        for _ in 1..count {
            writeln!(body, "({kind}.{take})").unwrap();
        }
        format!("(func $down (param i32) {body} drop) {run}")
    };
    let locals = |kind: &str, count: usize| {
        let mut body = String::new();
        for local in 1..=count {
            write!(body, "(local.set {local} ({kind}.load (i32.const {})))", local * 16).unwrap();
        }
        body += "(call $down (local.get 0))";
        for local in 1..=count {
            write!(body, "({kind}.store (i32.const {}) (local.get {local}))", local * 16).unwrap();
        }
        format!("(func $down (param i32) (local {}) {body}) {run}", format!("{kind} ").repeat(count))
    };
    let parameters = |kind: &str, count: usize| {
        let load: String =
            (0..count).map(|place| format!("({kind}.load (i32.const {}))", place * 16)).collect();
        format!(
            "(func $wide (param {}) (call $wide {load})) (func $down (param i32) (call $wide {load})) {run}",
            format!("{kind} ").repeat(count)
        )
    };
    let results = |count: usize| {
        let kinds = "v128 ".repeat(count);
        let drops = "drop ".repeat(count);
        let load: String =
            (0..count).map(|place| format!("(v128.load (i32.const {}))", place * 16)).collect();
        format!(
            "(func $wide (result {kinds}) (call $wide) {drops} {load})
            (func $down (param i32) (call $wide) {drops}) {run}"
        )
    };
    let table = |count: usize| {
        let blocks = "(block ".repeat(count);
        let targets: String = (0..count).map(|depth| format!("{depth} ")).collect();
        format!(
            "(func $down (param i32) (call $down (local.get 0)) {blocks} (br_table {targets} (local.get 0)) {}) {run}",
            ")".repeat(count)
        )
    };
    // Each sum is needed after the call, so a compiler may keep it.
    let expressions = |count: usize| {
        let sum = |place: usize| {
            format!("(i64.add (i64.load (i32.const {})) (i64.extend_i32_u (local.get 0)))", place * 8)
        };
        let mut body = String::new();
        for place in 0..count {
            write!(body, "(i64.store (i32.const {}) {})", place * 8 + 8192, sum(place)).unwrap();
        }
        format!("(func $down (param i32) {body} (call $down (local.get 0)) {body}) {run}")
    };
    vec![
        ("nothing", format!("(func $down (param i32) (call $down (local.get 0))) {run}")),
        (
            "mutual",
            format!(
                "(func $down (param i32) (call $up (local.get 0))) (func $up (param i32) (call $down (local.get 0))) {run}"
            ),
        ),
        ("1000 i32", locals("i32", 1000)),
        ("2000 i64", locals("i64", 2000)),
        ("10 f64", locals("f64", 10)),
        ("1000 v128", locals("v128", 1000)),
        ("3000 v128", locals("v128", 3000)),
        ("operands i64", operands("i64", 900, "i64.load", "xor")),
        ("operands v128", operands("i64x2", 900, "v128.load", "add")),
        ("parameters i64", parameters("i64", 900)),
        ("parameters v128", parameters("v128", 900)),
        ("results", results(900)),
        ("table", table(3000)),
        ("expressions", expressions(1000)),
    ]
}

pub fn no_function_overflows_the_native_stack_before_the_counted_one<M: Machine>(machine: &M) {
    for (name, fields) in recursions() {
        // An overflow of the native stack would come with other fuel on every other engine, so in another report.
        let first = trap(&run(machine, &guest(&fields), PLENTY));
        assert_eq!(first.0, TrapKind::StackOverflow, "{name}");
        assert!(first.1 < PLENTY, "{name}");
        assert_eq!(trap(&run(machine, &guest(&fields), first.1)), first, "{name}");
    }
}

pub fn calls_through_tables_and_entries_are_counted<M: Machine>(machine: &M) {
    let indirect = guest(
        r#"(type $f (func (param i32) (result i32))) (table funcref (elem $one $two))
        (func $one (type $f) (i32.add (i32.const 1) (call_indirect (type $f) (local.get 0) (i32.const 1))))
        (func $two (type $f) (i32.add (i32.const 1) (call_indirect (type $f) (local.get 0) (i32.const 0))))
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (call $one (i32.const 0))))"#,
    );
    assert_eq!(trap(&run(machine, &indirect, PLENTY)).0, TrapKind::StackOverflow);
    let through_the_entry = guest(
        r#"(func $run (export "run") (param i32 i32) (result i64)
            (i64.add (i64.const 1) (call $run (local.get 0) (local.get 1))))"#,
    );
    assert_eq!(trap(&run(machine, &through_the_entry, PLENTY)).0, TrapKind::StackOverflow);
}
