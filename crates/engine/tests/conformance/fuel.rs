//! Fuel: exact counts for known programs, and no way around them.

use glasshouse_devices::TrapKind;
use glasshouse_engine::{Instance, InstanceLimits, Machine};

use crate::fixture::{
    ALLOCATE, PLENTY, context, entry, guest, instantiate, instantiate_within, module, returned, run, start,
    trap,
};

/// The fuel that a body uses, besides `gh_allocate` and the entry's last `i64.const`.
fn cost<M: Machine>(machine: &M, body: &str) -> u64 {
    let report = run(machine, &entry(body), PLENTY);
    returned(&report);
    report.fuel_used - ALLOCATE - 1
}

pub fn straight_line_code_costs_one_per_operator<M: Machine>(machine: &M) {
    for (body, fuel) in [
        ("", 0),
        ("nop", 1),
        ("nop nop nop", 3),
        ("i32.const 1 drop", 2),
        ("(local.set $a (i32.add (local.get $a) (i32.const 1)))", 4),
        ("block end", 0),
        ("block nop end nop", 2),
        ("loop nop end nop", 2),
        ("(i32.store (i32.const 0) (i32.load (i32.const 4)))", 4),
        ("(v128.store (i32.const 0) (i32x4.add (v128.load (i32.const 0)) (v128.load (i32.const 16))))", 7),
        ("(drop (ref.func 0)) (drop (table.get 0 (i32.const 0)))", 5),
    ] {
        assert_eq!(cost(machine, body), fuel, "{body}");
    }
}

pub fn branches_cost_what_they_execute<M: Machine>(machine: &M) {
    for (body, fuel) in [
        ("(if (i32.const 1) (then nop nop) (else nop))", 2 + 2),
        ("(if (i32.const 0) (then nop nop) (else nop))", 2 + 1),
        ("(if (i32.const 0) (then nop nop)) nop", 2 + 1),
        ("(if (i32.const 1) (then nop nop)) nop", 2 + 3),
        ("(block nop (br 0) nop nop)", 2),
        ("(block nop (br_if 0 (i32.const 1)) nop nop) nop", 3 + 1),
        ("(block nop (br_if 0 (i32.const 0)) nop nop) nop", 3 + 2 + 1),
        ("(block (block (br_table 0 1 (i32.const 0))) nop) nop", 2 + 1 + 1),
        ("(block (block (br_table 0 1 (i32.const 1))) nop) nop", 2 + 1),
        ("(block (block (br_table 0 1 (i32.const 9))) nop) nop", 2 + 1),
        // Ten times round: seven operators each.
        (
            "(local.set $a (i32.const 10)) (loop (br_if 0 (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))",
            2 + 50,
        ),
        (
            "(block (loop (br_if 1 (i32.eq (local.get $a) (i32.const 3))) (local.set $a (i32.add (local.get $a) (i32.const 1))) (br 0)))",
            4 * 4 + 3 * 5,
        ),
    ] {
        assert_eq!(cost(machine, body), fuel, "{body}");
    }
    let early = run(machine, &entry("(if (i32.const 1) (then (return (i64.const 0)))) nop nop"), PLENTY);
    assert_eq!(early.fuel_used, ALLOCATE + 2 + 2);
}

pub fn calls_cost_their_callees<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(type $f (func (param i32) (result i32)))
        (table funcref (elem $leaf $fib))
        (func $leaf (type $f) nop nop local.get 0)
        (func $fib (type $f)
            (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add
                    (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
        (func (export "run") (param i32 i32) (result i64)
            (drop (call $leaf (i32.const 0)))
            (drop (call_indirect (type $f) (i32.const 0) (i32.const 0)))
            (i64.extend_i32_u (call_indirect (type $f) (i32.const 10) (i32.const 1))))"#,
    );
    // fib(10) makes 177 calls; 89 of them are leaves (5 operators) and 88 are not (4 + 9).
    let fuel = ALLOCATE + (3 + 3) + (4 + 3) + 4 + (89 * 5 + 88 * 13);
    let report = run(machine, &guest, PLENTY);
    assert_eq!(report.fuel_used, fuel);
    assert_eq!(returned(&report), [0; 55]);
}

pub fn bulk_operators_cost_by_size<M: Machine>(machine: &M) {
    for (body, fuel) in [
        ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 800))", 4 + 100),
        ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 7))", 4),
        ("(memory.copy (i32.const 0) (i32.const 1) (i32.const 800))", 4 + 100),
        ("(drop (memory.grow (i32.const 3)))", 3 + 3 * 64),
        // A failed one costs as much; no more than the pages of 4 GiB are counted.
        ("(drop (memory.grow (i32.const -1)))", 3 + 65_536 * 64),
        ("(drop (table.grow 0 (ref.null func) (i32.const 5)))", 4 + 5),
        ("(table.fill 0 (i32.const 0) (ref.null func) (i32.const 4))", 4 + 4),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 3))", 4 + 3),
    ] {
        assert_eq!(cost(machine, body), fuel, "{body}");
    }
}

pub fn declared_locals_cost_one_for_every_sixteen<M: Machine>(machine: &M) {
    let locals = |count: usize| {
        let locals = "i64 ".repeat(count);
        guest(&format!(r#"(func (export "run") (param i32 i32) (result i64) (local {locals}) i64.const 0)"#))
    };
    for (count, fuel) in [(15, 0), (16, 1), (100, 6)] {
        assert_eq!(run(machine, &locals(count), PLENTY).fuel_used, ALLOCATE + 1 + fuel, "{count}");
    }
}

pub fn a_step_with_exactly_enough_fuel_returns_and_with_one_less_does_not<M: Machine>(machine: &M) {
    let guest = entry("(if (i32.const 1) (then nop nop nop)) nop");
    let needed = run(machine, &guest, PLENTY).fuel_used;
    for fuel in 0..needed + 3 {
        let report = run(machine, &guest, fuel);
        if fuel < needed {
            assert_eq!(trap(&report), (TrapKind::OutOfFuel, fuel));
        } else {
            returned(&report);
            assert_eq!(report.fuel_used, needed);
        }
    }
}

pub fn more_fuel_than_can_be_counted_is_accepted<M: Machine>(machine: &M) {
    let report = run(machine, &entry("nop"), u64::MAX);
    assert_eq!(report.fuel_used, ALLOCATE + 2);
}

pub fn infinite_loops_run_out_of_fuel<M: Machine>(machine: &M) {
    for body in [
        "(loop (br 0))",
        "(loop (br_if 0 (i32.const 1)))",
        "(loop (loop (br 1)))",
        "(loop (block (br_table 1 1 (i32.const 0))))",
        "(loop (if (i32.const 1) (then (br 1)) (else (br 1))))",
        "(loop (drop (memory.grow (i32.const 1))) (br 0))",
        "(loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0))",
    ] {
        assert_eq!(trap(&run(machine, &entry(body), 5_000_000)), (TrapKind::OutOfFuel, 5_000_000), "{body}");
    }
}

pub fn recursion_without_work_runs_out_of_fuel_or_stack<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func $again (call $again))
        (func (export "run") (param i32 i32) (result i64) (call $again) (i64.const 0))"#,
    );
    assert_eq!(trap(&run(machine, &guest, 100)), (TrapKind::OutOfFuel, 100));
    let (kind, used) = trap(&run(machine, &guest, PLENTY));
    assert_eq!(kind, TrapKind::StackOverflow);
    assert_eq!(run(machine, &guest, PLENTY).fuel_used, used);
}

pub fn allocation_and_start_function_are_metered<M: Machine>(machine: &M) {
    let allocate = module(
        r#"(memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) (loop (br 0)) unreachable)
        (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#,
    );
    assert_eq!(trap(&run(machine, &allocate, 1000)), (TrapKind::OutOfFuel, 1000));
    let start = guest(
        r#"(func $start (loop (br 0))) (start $start)
        (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#,
    );
    assert_eq!(trap(&run(machine, &start, 1000)), (TrapKind::OutOfFuel, 1000));
}

pub fn the_start_function_runs_once_in_the_first_step<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(global $runs (mut i32) (i32.const 0))
        (func $start (global.set $runs (i32.add (global.get $runs) (i32.const 1)))) (start $start)
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (global.get $runs)))"#,
    );
    let mut instance = instantiate(machine, &guest);
    let first = instance.step(&start("run", b""), &mut context(), PLENTY);
    assert_eq!((returned(&first).len(), first.fuel_used), (1, ALLOCATE + 4 + 2));
    let second = instance.step(&start("run", b""), &mut context(), PLENTY);
    assert_eq!((returned(&second).len(), second.fuel_used), (1, ALLOCATE + 2));
}

pub fn fuel_is_equal_between_runs_and_instances<M: Machine>(machine: &M) {
    let guest = entry(
        "(loop (local.set $a (i32.add (local.get $a) (i32.const 7)))
            (if (i32.rem_u (local.get $a) (i32.const 3)) (then nop nop))
            (br_if 0 (i32.lt_u (local.get $a) (i32.const 5000))))",
    );
    let first = run(machine, &guest, PLENTY);
    for _ in 0..3 {
        assert_eq!(run(machine, &guest, PLENTY), first);
    }
    let trapped = run(machine, &guest, first.fuel_used - 1);
    assert_eq!(run(machine, &guest, first.fuel_used - 1), trapped);
}

pub fn an_operator_that_traps_has_paid_for_its_segment<M: Machine>(machine: &M) {
    let guest = entry("nop (drop (i32.div_u (i32.const 1) (local.get $a))) nop nop");
    assert_eq!(trap(&run(machine, &guest, PLENTY)), (TrapKind::DivideByZero, ALLOCATE + 8));
}

pub fn whatever_traps_or_calls_shows_what_was_paid_before<M: Machine>(machine: &M) {
    const FIELDS: &str = r#"(memory (export "memory") 1) (table 2 funcref) (data $data "abc") (elem $elements func $trap)
        (type $none (func))
        (func $trap nop (unreachable))
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)"#;
    // What traps, and the operators in it; those that a function called pays are counted, too.
    let trapping = [
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", 4),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", 4),
        ("(drop (i32.rem_s (i32.const 1) (i32.const 0)))", 4),
        ("(drop (i32.rem_u (i32.const 1) (i32.const 0)))", 4),
        ("(drop (i64.div_s (i64.const 1) (i64.const 0)))", 4),
        ("(drop (i64.div_u (i64.const 1) (i64.const 0)))", 4),
        ("(drop (i64.rem_s (i64.const 1) (i64.const 0)))", 4),
        ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", 4),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", 3),
        ("(drop (i32.trunc_f32_u (f32.const nan)))", 3),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", 3),
        ("(drop (i32.trunc_f64_u (f64.const nan)))", 3),
        ("(drop (i64.trunc_f32_s (f32.const nan)))", 3),
        ("(drop (i64.trunc_f32_u (f32.const nan)))", 3),
        ("(drop (i64.trunc_f64_s (f64.const nan)))", 3),
        ("(drop (i64.trunc_f64_u (f64.const nan)))", 3),
        ("(drop (i32.load (i32.const -1)))", 3),
        ("(drop (i64.load32_u (i32.const -1)))", 3),
        ("(drop (f32.load (i32.const -1)))", 3),
        ("(i32.store8 (i32.const -1) (i32.const 1))", 3),
        ("(i64.store32 (i32.const -1) (i64.const 1))", 3),
        ("(f64.store (i32.const -1) (f64.const 1))", 3),
        ("(drop (v128.load (i32.const -1)))", 3),
        ("(drop (v128.load8_splat (i32.const -1)))", 3),
        ("(drop (v128.load8_lane 1 (i32.const -1) (v128.const i64x2 0 0)))", 4),
        ("(v128.store (i32.const -1) (v128.const i64x2 0 0))", 3),
        ("(v128.store64_lane 1 (i32.const -1) (v128.const i64x2 0 0))", 3),
        ("(memory.fill (i32.const -1) (i32.const 1) (i32.const 8))", 4 + 1),
        ("(memory.copy (i32.const -1) (i32.const 1) (i32.const 8))", 4 + 1),
        ("(memory.init $data (i32.const 0) (i32.const 1) (i32.const 8))", 4 + 1),
        ("(drop (table.get 0 (i32.const 2)))", 3),
        ("(table.set 0 (i32.const 2) (ref.null func))", 3),
        ("(table.fill 0 (i32.const 2) (ref.null func) (i32.const 1))", 4 + 1),
        ("(table.copy (i32.const 2) (i32.const 0) (i32.const 1))", 4 + 1),
        ("(table.init $elements (i32.const 2) (i32.const 0) (i32.const 1))", 4 + 1),
        ("(call_indirect (type $none) (i32.const 1))", 2),
        ("(call_indirect (type $none) (i32.const 2))", 2),
        ("(call $trap)", 1 + 2),
    ];
    // What comes before, what it costs, what comes behind in the same segment, and what that costs. The last one comes
    // three times to what traps, which lies behind a branch until then.
    let places = [
        ("", 0, "nop", 1),
        ("nop (if (i32.const 1) (then nop nop))", 1 + 2 + 2, "", 0),
        ("(drop (i32.load (i32.const 0))) (block (br_if 0 (i32.const 0)) nop) nop", 5 + 1 + 1, "", 0),
        ("(drop (memory.grow (i32.const 0))) nop", 4, "nop", 1),
        (
            "(loop $again (block $done (br_if $done (i32.eq (local.get $a) (i32.const 2)))
                (local.set $a (i32.add (local.get $a) (i32.const 1))) (br $again)))",
            3 * 4 + 2 * 5,
            "",
            0,
        ),
    ];
    for (trapping, own) in trapping {
        for (before, paid, behind, rest) in places {
            let guest = module(&format!(
                r#"{FIELDS} (func (export "run") (param $pointer i32) (param $length i32) (result i64) (local $a i32)
                {before} {trapping} {behind} i64.const 0)"#
            ));
            let report = run(machine, &guest, PLENTY);
            trap(&report);
            assert_eq!(report.fuel_used, ALLOCATE + paid + own + rest + 1, "{before} {trapping}");
        }
    }
}

pub fn accounts_cannot_be_reached_by_the_module<M: Machine>(machine: &M) {
    // The module's own global 0 and what would be the injected ones: the pass puts them from 1 on.
    let own = guest(
        r#"(global $own (mut i64) (i64.const 5))
        (func (export "run") (param i32 i32) (result i64)
            (global.set $own (i64.const 0x7fffffffffffffff)) (loop (br 0)) (i64.const 0))"#,
    );
    assert_eq!(trap(&run(machine, &own, 1000)), (TrapKind::OutOfFuel, 1000));
    for index in 1..=5 {
        let reach = wasm_with_global_set(index);
        let error = machine.compile(&reach).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("unknown global"), "{error}");
    }
    for account in [
        "gh_fuel",
        "gh_stack",
        "gh_memory_pages",
        "gh_memory_refused",
        "gh_table_elements",
        "gh_start",
        "gh_begin",
        "gh_enter_run",
        "gh_hooks",
        "gh_drop",
    ] {
        let guest = guest(&format!(r#"(global (export "{account}") (mut i64) (i64.const 9))"#));
        let error = machine.compile(&guest).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(account) && error.contains("only the host may use"), "{error}");
    }
}

/// A module with one global of its own that sets global `index`.
fn wasm_with_global_set(index: u32) -> Vec<u8> {
    use wasm_encoder::{
        CodeSection, ConstExpr, Function, FunctionSection, GlobalSection, GlobalType, Module, TypeSection,
        ValType,
    };
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut globals = GlobalSection::new();
    globals.global(
        GlobalType { val_type: ValType::I64, mutable: true, shared: false },
        &ConstExpr::i64_const(0),
    );
    let mut code = CodeSection::new();
    let mut function = Function::new([]);
    function.instructions().i64_const(i64::MAX).global_set(index).end();
    code.function(&function);
    module.section(&types).section(&functions).section(&globals).section(&code);
    module.finish()
}

pub fn memory_and_tables_grow_to_their_limits_and_not_beyond<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(table 2 100 funcref) (table 2 funcref)
        (func (export "run") (param i32 i32) (result i64)
            (i32.store (i32.const 0) (memory.grow (i32.const 2)))
            (i32.store (i32.const 4) (memory.grow (i32.const 2)))
            (i32.store (i32.const 8) (memory.grow (i32.const 1)))
            (i32.store (i32.const 12) (table.grow 0 (ref.null func) (i32.const 3)))
            (i32.store (i32.const 16) (table.grow 1 (ref.null func) (i32.const 4)))
            (i32.store (i32.const 20) (table.grow 1 (ref.null func) (i32.const 3)))
            (i64.const 24))"#,
    );
    let limits = InstanceLimits { memory_bytes: 4 * 65_536, table_elements: 10, ..InstanceLimits::default() };
    let mut instance = instantiate_within(machine, &guest, limits).unwrap();
    let report = instance.step(&start("run", b""), &mut context(), PLENTY);
    let answers: Vec<i32> =
        returned(&report).chunks(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(answers, [1, -1, 3, 2, -1, 2]);
    assert_eq!(report.memory_bytes, 4 * 65_536);
}
