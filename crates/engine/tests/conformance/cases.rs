//! The list of promises, and those of them that are not in a file of their own.

use glasshouse_devices::{Context, ContextLimits, LogLine, TrapKind};
use glasshouse_engine::{Instance, InstanceLimits, Machine, ModuleError, abi::STACK_BYTES, describe_tools};

use crate::fixture::{
    ALLOCATE, PLENTY, context, entry, entry_with, guest, guest_with_devices, instantiate, instantiate_within,
    module, packed, refusal, resume, returned, run, start, trap, words_of,
};

/// Hands every case to a macro.
macro_rules! for_each_case {
    ($macro:ident) => {
        $macro! {
            fuel::straight_line_code_costs_one_per_operator,
            fuel::branches_cost_what_they_execute,
            fuel::calls_cost_their_callees,
            fuel::bulk_operators_cost_by_size,
            fuel::declared_locals_cost_one_for_every_sixteen,
            fuel::a_step_with_exactly_enough_fuel_returns_and_with_one_less_does_not,
            fuel::more_fuel_than_can_be_counted_is_accepted,
            fuel::infinite_loops_run_out_of_fuel,
            fuel::recursion_without_work_runs_out_of_fuel_or_stack,
            fuel::allocation_and_start_function_are_metered,
            fuel::the_start_function_runs_once_in_the_first_step,
            fuel::fuel_is_equal_between_runs_and_instances,
            fuel::an_operator_that_traps_has_paid_for_its_segment,
            fuel::whatever_traps_or_calls_shows_what_was_paid_before,
            fuel::accounts_cannot_be_reached_by_the_module,
            fuel::memory_and_tables_grow_to_their_limits_and_not_beyond,
            cases::input_reaches_the_guest_and_output_the_host,
            cases::memory_and_globals_live_from_step_to_step,
            cases::instances_share_nothing,
            cases::many_instances_come_and_go,
            cases::traps_are_told_apart_in_the_same_words,
            cases::a_trapped_process_runs_no_further_step,
            cases::returned_locations_are_checked,
            cases::a_bad_allocation_is_reported,
            cases::an_output_over_the_limit_is_refused,
            cases::missing_and_mistyped_entries_are_reported,
            cases::devices_act_on_the_context_of_the_process,
            cases::many_random_bytes_are_the_same_stream,
            cases::misused_devices_stop_the_step,
            cases::device_bytes_are_paid_for,
            cases::deep_recursion_overflows_the_counted_stack_at_the_same_depth,
            cases::large_frames_overflow_before_the_native_stack,
            cases::values_returned_through_early_returns_survive_the_rewriting,
            cases::imports_that_are_not_granted_are_refused,
            cases::refused_features_say_what_and_where,
            cases::bytes_that_are_no_module_are_refused,
            cases::exports_that_every_process_needs_are_checked,
            cases::modules_that_start_too_large_are_refused,
            cases::data_that_does_not_fit_is_refused_at_the_start,
            numbers::every_number_that_is_not_one_has_the_same_bits,
            numbers::every_lane_that_is_no_number_has_the_same_bits,
            numbers::bits_that_are_only_moved_are_kept,
            numbers::results_of_arithmetic_are_settled_wherever_they_are_seen,
            numbers::settled_numbers_cost_no_fuel,
            cases::a_module_without_tools_describes_none,
            budget::no_report_depends_on_the_slices_in_which_fuel_is_handed_out,
            budget::an_interrupted_step_stops_in_the_same_place_when_it_is_repeated,
            budget::a_step_is_interrupted_for_the_reason_that_was_given,
            budget::fuel_that_is_used_up_comes_before_an_interruption,
            snapshots::a_process_continues_from_a_snapshot_as_if_nothing_had_happened,
            snapshots::a_snapshot_is_the_same_whether_or_not_the_process_was_restored,
            snapshots::a_snapshot_shows_every_register,
            snapshots::forks_of_a_process_go_their_own_ways,
            snapshots::the_start_function_does_not_run_again_in_a_restored_process,
            snapshots::a_process_that_has_ended_stays_so,
            snapshots::a_process_of_another_module_or_over_the_limits_is_not_restored,
            snapshots::saved_bytes_that_were_changed_are_refused_before_anything_is_touched,
            kinds::a_command_runs_and_exits,
            kinds::a_command_that_traps_or_runs_out_says_so,
            kinds::a_command_has_no_entries_and_a_reactor_no_start,
            kinds::a_reactor_is_initialized_once_before_its_first_entry,
            kinds::functions_of_commands_and_reactors_have_their_types,
            kinds::a_module_names_its_version_at_most_once,
            kinds::functions_of_the_embedder_are_looked_up_when_they_are_called,
            stack::no_function_overflows_the_native_stack_before_the_counted_one,
            stack::calls_through_tables_and_entries_are_counted,
        }
    };
}
pub(crate) use for_each_case;

const ECHO: &str = r#"(func (export "run") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

pub fn input_reaches_the_guest_and_output_the_host<M: Machine>(machine: &M) {
    let mut instance = instantiate(machine, &guest(ECHO));
    for input in [b"".as_slice(), b"x", &[7; 60_000]] {
        assert_eq!(returned(&instance.step(&start("run", input), &mut context(), PLENTY)), input);
    }
}

pub fn memory_and_globals_live_from_step_to_step<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(global $g (mut i64) (i64.const 1))
        (func (export "run") (param i32 i32) (result i64)
            (i32.store (i32.const 0) (i32.const 0x64636261)) (global.set $g (i64.const 3)) (i64.const 0))
        (func (export "gh_resume") (param i32 i32) (result i64) (global.get $g))"#,
    );
    let (mut instance, mut context) = (instantiate(machine, &guest), context());
    assert_eq!(returned(&instance.step(&start("run", b""), &mut context, PLENTY)), b"");
    assert_eq!(returned(&instance.step(&resume(b"answer"), &mut context, PLENTY)), b"abc");
}

pub fn instances_share_nothing<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func (export "run") (param i32 i32) (result i64)
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (i64.const 1))"#,
    );
    let module = machine.compile(&guest).unwrap();
    let limits = InstanceLimits::default();
    let mut a = machine.instantiate(&module, limits).unwrap();
    let mut b = machine.instantiate(&module, limits).unwrap();
    for expected in [[1], [2], [3]] {
        assert_eq!(returned(&a.step(&start("run", b""), &mut context(), PLENTY)), expected);
    }
    assert_eq!(returned(&b.step(&start("run", b""), &mut context(), PLENTY)), [1]);
}

pub fn many_instances_come_and_go<M: Machine>(machine: &M) {
    // More than there are places for reserved address space in some hosts.
    const INSTANCES: u32 = 300;
    let module = machine.compile(&guest(ECHO)).unwrap();
    for number in 0..INSTANCES {
        let mut instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
        let input = number.to_le_bytes();
        assert_eq!(returned(&instance.step(&start("run", &input), &mut context(), PLENTY)), input);
    }
}

pub fn traps_are_told_apart_in_the_same_words<M: Machine>(machine: &M) {
    const BOUNDS: &str = "the guest accessed its memory or a table out of bounds";
    const SLOT: &str =
        "the guest called through a table slot that is empty or holds a function of another type";
    const ZERO: &str = "the guest divided an integer by zero";
    const FIT: &str = "the guest divided or converted a number to an integer that cannot hold the result";
    for (body, kind, words) in [
        ("unreachable", TrapKind::Unreachable, "the guest executed `unreachable`, as a panic does"),
        (
            "(drop (memory.grow (i32.const 65535))) unreachable",
            TrapKind::OutOfMemory,
            "the guest needed more memory than it may have",
        ),
        ("(drop (i32.load (i32.const -1)))", TrapKind::OutOfBounds, BOUNDS),
        ("(i64.store (i32.const 65529) (i64.const 0))", TrapKind::OutOfBounds, BOUNDS),
        ("(v128.store (i32.const 65521) (v128.const i64x2 0 0))", TrapKind::OutOfBounds, BOUNDS),
        ("(memory.fill (i32.const 65536) (i32.const 0) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(memory.copy (i32.const 0) (i32.const 1) (i32.const -1))", TrapKind::OutOfBounds, BOUNDS),
        ("(memory.init $d (i32.const 0) (i32.const 3) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(table.init 0 $e (i32.const 0) (i32.const 1) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(table.init 0 $e (i32.const 4) (i32.const 0) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(table.copy (i32.const 0) (i32.const 4) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(table.fill 0 (i32.const 4) (ref.null func) (i32.const 1))", TrapKind::OutOfBounds, BOUNDS),
        ("(drop (table.get 0 (i32.const 4)))", TrapKind::OutOfBounds, BOUNDS),
        ("(table.set 0 (i32.const 4) (ref.null func))", TrapKind::OutOfBounds, BOUNDS),
        ("(call_indirect (i32.const 4))", TrapKind::OutOfBounds, BOUNDS),
        ("(call_indirect (i32.const 0))", TrapKind::IndirectCall, SLOT),
        (
            "(table.set 0 (i32.const 0) (ref.func 0)) (call_indirect (i32.const 0))",
            TrapKind::IndirectCall,
            SLOT,
        ),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", TrapKind::DivideByZero, ZERO),
        ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", TrapKind::DivideByZero, ZERO),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind::IntegerOverflow, FIT),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", TrapKind::IntegerOverflow, FIT),
        ("(drop (i32.trunc_f64_s (f64.const 1e30)))", TrapKind::IntegerOverflow, FIT),
        ("(drop (i64.trunc_f64_u (f64.const -1)))", TrapKind::IntegerOverflow, FIT),
    ] {
        let guest = entry_with(r#"(data $d "abc") (elem $e func 0)"#, body);
        let report = run(machine, &guest, 1 << 40);
        assert_eq!(trap(&report).0, kind, "{body}");
        assert_eq!(words_of(&report), words, "{body}");
    }
}

pub fn a_trapped_process_runs_no_further_step<M: Machine>(machine: &M) {
    let (mut instance, mut context) = (instantiate(machine, &entry("unreachable")), context());
    assert_eq!(trap(&instance.step(&start("run", b""), &mut context, PLENTY)).0, TrapKind::Unreachable);
    for _ in 0..2 {
        assert_eq!(trap(&instance.step(&start("run", b""), &mut context, PLENTY)), (TrapKind::Poisoned, 0));
    }
}

pub fn returned_locations_are_checked<M: Machine>(machine: &M) {
    for (pointer, length) in
        [(65_536, 1), (u32::MAX, 1), (u32::MAX, u32::MAX), (0, u32::MAX), (1, 65_536), (65_537, 0)]
    {
        let result = packed(pointer, length);
        let guest =
            guest(&format!(r#"(func (export "run") (param i32 i32) (result i64) i64.const {result})"#));
        assert_eq!(trap(&run(machine, &guest, PLENTY)).0, TrapKind::MalformedResult, "{pointer} {length}");
    }
    let guest = guest(r#"(func (export "run") (param i32 i32) (result i64) i64.const 65536)"#);
    assert_eq!(returned(&run(machine, &guest, PLENTY)).len(), 65_536);
}

pub fn a_bad_allocation_is_reported<M: Machine>(machine: &M) {
    for (body, kind) in [
        ("i32.const 65535", TrapKind::MalformedResult),
        ("i32.const -1", TrapKind::MalformedResult),
        ("unreachable", TrapKind::Unreachable),
    ] {
        let guest = module(&format!(
            r#"(memory (export "memory") 1)
            (func (export "gh_allocate") (param i32) (result i32) {body}) {ECHO}"#
        ));
        let report = instantiate(machine, &guest).step(&start("run", b"ab"), &mut context(), PLENTY);
        assert_eq!(trap(&report).0, kind, "{body}");
    }
}

pub fn an_output_over_the_limit_is_refused<M: Machine>(machine: &M) {
    let limits = InstanceLimits { output_bytes: 3, ..InstanceLimits::default() };
    let mut instance = instantiate_within(machine, &guest(ECHO), limits).unwrap();
    assert_eq!(returned(&instance.step(&start("run", b"abc"), &mut context(), PLENTY)), b"abc");
    let report = instance.step(&start("run", b"abcd"), &mut context(), PLENTY);
    assert_eq!(trap(&report).0, TrapKind::MalformedResult);
}

pub fn missing_and_mistyped_entries_are_reported<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func (export "typed") (param i32) (result i64) i64.const 0) (global (export "g") i32 (i32.const 1))"#,
    );
    for call in [start("none", b""), start("typed", b""), start("g", b""), start("memory", b""), resume(b"")]
    {
        let report = instantiate(machine, &guest).step(&call, &mut context(), PLENTY);
        assert_eq!(trap(&report), (TrapKind::MissingEntry, 0), "{call:?}");
    }
}

pub fn devices_act_on_the_context_of_the_process<M: Machine>(machine: &M) {
    let guest = guest_with_devices(
        r#"(data (i32.const 100) "hello{}")
        (func (export "run") (param i32 i32) (result i64)
            (i64.store (i32.const 0) (call $clock_now))
            (call $random_fill (i32.const 8) (i32.const 8))
            (call $log (i32.const 2) (i32.const 100) (i32.const 5))
            (call $emit (i32.const 105) (i32.const 2))
            (i64.const 16))"#,
    );
    let (mut instance, mut context) = (instantiate(machine, &guest), context());
    let mut expected = Context::new(17, [3; 32]);
    for clock in [17, 18] {
        context.set_clock(clock);
        let report = instance.step(&start("run", b""), &mut context, PLENTY);
        let mut random = [0; 8];
        expected.random_fill(&mut random);
        assert_eq!(returned(&report), [u64::to_le_bytes(clock), random].concat());
        assert_eq!(report.logs, [LogLine { level: 2, text: "hello".into() }]);
        assert_eq!(report.events, [b"{}"]);
        // 4 + 3 + 4 + 3 + 1 operators, and the bytes of random_fill, log and emit.
        assert_eq!(report.fuel_used, 1 + 14 + 8 + 5 + 2);
    }
}

pub fn many_random_bytes_are_the_same_stream<M: Machine>(machine: &M) {
    let guest = module(
        r#"(import "glasshouse" "random_fill" (func $random_fill (param i32 i32)))
        (memory (export "memory") 4)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 0)
        (func (export "run") (param i32 i32) (result i64)
            (call $random_fill (i32.const 0) (i32.const 200003))
            (call $random_fill (i32.const 200003) (i32.const 5)) (i64.const 200008))"#,
    );
    let (mut expected, mut random) = (vec![0; 200_008], Context::new(17, [3; 32]));
    random.random_fill(&mut expected[..200_003]);
    random.random_fill(&mut expected[200_003..]);
    assert!(returned(&run(machine, &guest, PLENTY)) == expected);
}

pub fn misused_devices_stop_the_step<M: Machine>(machine: &M) {
    for body in [
        "(call $random_fill (i32.const 65536) (i32.const 1))",
        "(call $random_fill (i32.const -1) (i32.const -1))",
        "(call $log (i32.const 0) (i32.const 65530) (i32.const 7))",
        "(call $log (i32.const 5) (i32.const 0) (i32.const 1))",
        "(call $emit (i32.const 65536) (i32.const 1))",
        "(call $emit (i32.const 0) (i32.const 9))",
        "(call $emit (i32.const 0) (i32.const 1)) (call $emit (i32.const 0) (i32.const 1))",
    ] {
        let guest = guest_with_devices(&format!(
            r#"(func (export "run") (param i32 i32) (result i64) {body} i64.const 0)"#
        ));
        let limits = ContextLimits { events: 1, event_bytes: 8, ..ContextLimits::default() };
        let mut context = Context::with_limits(0, [0; 32], limits);
        let report = instantiate(machine, &guest).step(&start("run", b""), &mut context, u64::MAX);
        assert_eq!(trap(&report).0, TrapKind::DeviceFailure, "{body}");
    }
}

pub fn device_bytes_are_paid_for<M: Machine>(machine: &M) {
    let guest = guest_with_devices(
        r#"(func (export "run") (param i32 i32) (result i64)
            (call $random_fill (i32.const 0) (i32.const 1000)) i64.const 0)"#,
    );
    assert_eq!(trap(&run(machine, &guest, 1004)), (TrapKind::OutOfFuel, 1004));
    assert_eq!(run(machine, &guest, 1005).fuel_used, 1005);
}

pub fn deep_recursion_overflows_the_counted_stack_at_the_same_depth<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func $down (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0))
                (then (i32.const 0))
                (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))))
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (call $down (i32.load (local.get 0)))))"#,
    );
    let module = machine.compile(&guest).unwrap();
    let overflows = |depth: u32| {
        let mut instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
        let report = instance.step(&start("run", &depth.to_le_bytes()), &mut context(), PLENTY);
        match report.outcome {
            glasshouse_devices::StepOutcome::Returned(bytes) => {
                assert_eq!(bytes.len(), depth as usize);
                false
            }
            _ => {
                assert_eq!(trap(&report).0, TrapKind::StackOverflow);
                true
            }
        }
    };
    // `run` has two locals, at most one operand and 5 operators; `down` has one local, three operands and 13 operators.
    let depth = (STACK_BYTES - (128 + 8 * (2 + 2) + 5)) / (128 + 8 * (1 + 2 * 3) + 13) - 1;
    assert!(!overflows(depth), "{depth}");
    assert!(overflows(depth + 1), "{depth}");
    assert!(!overflows(100));
}

pub fn large_frames_overflow_before_the_native_stack<M: Machine>(machine: &M) {
    // Every local lives across the call, so that it must lie in the frame.
    let locals = 2_000;
    let mut body = String::new();
    for local in 1..=locals {
        body += &format!("(local.set {local} (i64.load (i32.const {})))", local * 8);
    }
    body += "(call $down (i32.add (local.get 0) (i32.const 1)))";
    for local in 1..=locals {
        body += &format!("(i64.store (i32.const {}) (local.get {local}))", local * 8);
    }
    let guest = guest(&format!(
        r#"(global $depth (mut i32) (i32.const 0))
        (func $down (param i32) (local {}) (global.set $depth (local.get 0)) {body})
        (func (export "run") (param i32 i32) (result i64) (call $down (i32.const 1)) (i64.const 0))"#,
        "i64 ".repeat(locals)
    ));
    let (kind, fuel) = trap(&run(machine, &guest, PLENTY));
    assert_eq!(kind, TrapKind::StackOverflow);
    // `run` has two locals, at most one operand and 4 operators; `down` has the operators written above and an `end`.
    let operators = 2 + 3 * locals as u32 + 4 + 3 * locals as u32 + 1;
    let frame = 128 + 8 * (1 + locals as u32 + 2 * 2) + operators;
    let levels = (STACK_BYTES - (128 + 8 * (2 + 2) + 4)) / frame;
    let level = u64::from(operators - 1) + locals as u64 / 16;
    assert_eq!(fuel, ALLOCATE + 3 + u64::from(levels + 1) * level);
}

pub fn values_returned_through_early_returns_survive_the_rewriting<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func $several (param i32) (result i32 i64 i32)
            (block (block (br_if 0 (local.get 0)) (return (i32.const 1) (i64.const 2) (i32.const 3))))
            (call $nothing)
            (if (i32.eq (local.get 0) (i32.const 1)) (then (br 1 (i32.const 4) (i64.const 5) (i32.const 6))))
            (i32.const 7) (i64.const 8) (i32.const 9))
        (func $nothing (block (br 1)))
        (func $pack (param i32) (result i64) (local $a i32) (local $b i64) (local $c i32)
            (call $several (local.get 0)) (local.set $c) (local.set $b) (local.set $a)
            (i64.add (i64.mul (local.get $b) (i64.const 10))
                (i64.extend_i32_u (i32.add (i32.mul (local.get $a) (i32.const 100)) (local.get $c)))))
        (func (export "run") (param i32 i32) (result i64) (call $pack (i32.load (local.get 0))))"#,
    );
    for (input, expected) in [(0u32, 123), (1, 456), (2, 789)] {
        let report =
            instantiate(machine, &guest).step(&start("run", &input.to_le_bytes()), &mut context(), PLENTY);
        assert_eq!(returned(&report).len(), expected);
    }
}

pub fn imports_that_are_not_granted_are_refused<M: Machine>(machine: &M) {
    for (import, message) in [
        (r#"(import "env" "foo" (func))"#, "the module imports env.foo, which was not granted"),
        (
            r#"(import "glasshouse" "exec" (func))"#,
            "the module imports glasshouse.exec, which was not granted",
        ),
        (r#"(import "env" "memory" (memory 1))"#, "the module imports env.memory, which was not granted"),
        (
            r#"(import "glasshouse" "g" (global (mut i64)))"#,
            "the module imports glasshouse.g, which was not granted",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "fd_writes" (func (param i32 i32 i32 i32) (result i32)))"#,
            "fd_writes, which was not granted",
        ),
        (
            r#"(import "glasshouse" "clock_now" (func (result i32)))"#,
            "has the type () -> (i32); it must be () -> (i64)",
        ),
        (r#"(import "glasshouse" "emit" (global i32))"#, "no function"),
        (r#"(import "glasshouse" "log" (table 1 funcref))"#, "no function"),
    ] {
        let error = refusal(machine, &module(import)).to_string();
        assert!(error.contains(message) && error.contains(" at byte "), "{error}");
    }
}

pub fn refused_features_say_what_and_where<M: Machine>(machine: &M) {
    for (fields, message) in [
        ("(memory 1 1 shared)", "threads"),
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", "threads"),
        ("(func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0))))", "relaxed SIMD"),
        ("(memory i64 1)", "64-bit memory"),
        ("(memory 1) (memory 1)", "memories"),
        ("(tag)", "exceptions"),
        ("(func $f (return_call $f))", "tail calls"),
        ("(type (struct))", "references"),
        ("(func (param externref))", "references"),
        ("(func (param (ref func)))", "references"),
        (
            "(func (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) drop)",
            "wide arithmetic",
        ),
    ] {
        match refusal(machine, &module(fields)) {
            ModuleError::Refused { reason, offset } => {
                assert!(reason.contains(message) && offset >= 8, "{fields}: {reason} at {offset}");
            }
            other => panic!("{fields}: {other}"),
        }
    }
    let component = wat::parse_str("(component)").unwrap();
    assert!(refusal(machine, &component).to_string().contains("component"));
}

pub fn bytes_that_are_no_module_are_refused<M: Machine>(machine: &M) {
    for bytes in [b"".as_slice(), b"\0as", b"#!/bin/sh", b"(module)"] {
        assert_eq!(refusal(machine, bytes), ModuleError::NotWasm);
    }
    let good = guest(ECHO);
    for length in 4..good.len() {
        refusal(machine, &good[..length]);
    }
    assert!(matches!(
        refusal(machine, b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"),
        ModuleError::Malformed { .. }
    ));
}

pub fn exports_that_every_process_needs_are_checked<M: Machine>(machine: &M) {
    for (fields, message) in [
        ("", "does not export `memory`"),
        (r#"(memory (export "memory") 1)"#, "does not export `gh_allocate`"),
        (r#"(memory 1) (func (export "memory"))"#, "does not export `memory`"),
        (
            r#"(memory (export "memory") 1) (global (export "gh_allocate") i32 (i32.const 0))"#,
            "does not export `gh_allocate`",
        ),
        (
            r#"(memory (export "memory") 1) (func (export "gh_allocate") (result i32) i32.const 0)"#,
            "it must be (i32) -> (i32)",
        ),
    ] {
        let error = refusal(machine, &module(fields)).to_string();
        assert!(error.contains(message), "{error}");
    }
}

pub fn modules_that_start_too_large_are_refused<M: Machine>(machine: &M) {
    let limits = InstanceLimits { memory_bytes: 65_536, table_elements: 3, ..InstanceLimits::default() };
    let with = |fields: &str| {
        let fields =
            format!(r#"{fields} (func (export "gh_allocate") (param i32) (result i32) i32.const 0)"#);
        instantiate_within(machine, &module(&fields), limits)
    };
    with(r#"(memory (export "memory") 1 60000) (table 3 99999 funcref)"#).unwrap();
    for fields in [
        r#"(memory (export "memory") 2)"#,
        r#"(memory (export "memory") 0) (table 2 funcref) (table 2 funcref)"#,
    ] {
        assert!(matches!(with(fields).err(), Some(ModuleError::TooLarge { .. })), "{fields}");
    }
}

pub fn data_that_does_not_fit_is_refused_at_the_start<M: Machine>(machine: &M) {
    for fields in [r#"(data (i32.const 65536) "x")"#, "(table 1 funcref) (func $f) (elem (i32.const 1) $f)"] {
        let result = instantiate_within(machine, &guest(fields), InstanceLimits::default());
        assert!(matches!(result.err(), Some(ModuleError::Start { .. })), "{fields}");
    }
}

pub fn a_module_without_tools_describes_none<M: Machine>(_machine: &M) {
    assert_eq!(describe_tools(&guest(ECHO)), Ok(vec![]));
}
