//! Fuel in slices, and interruptions.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use glasshouse_devices::{StepReport, TrapKind};
use glasshouse_engine::{Instance, Interrupt, Interruption, Machine, StepLimits};

use crate::fixture::{
    ALLOCATE, PLENTY, context, entry, guest, guest_with_devices, instantiate, run, start, trap,
};

fn run_within<M: Machine>(machine: &M, module: &[u8], limits: StepLimits) -> StepReport {
    instantiate(machine, module).step(&start("run", b""), &mut context(), limits)
}

/// Guests that loop, recurse, copy, call devices, return, trap or do not end, all within ten thousand units of fuel.
fn guests() -> Vec<Vec<u8>> {
    let looping = |body: &str| {
        entry(&format!(
            "(local.set $a (i32.const 100))
            (loop {body} (br_if 0 (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))"
        ))
    };
    vec![
        entry("nop"),
        entry("nop nop unreachable"),
        looping(""),
        looping("(if (i32.and (local.get $a) (i32.const 1)) (then nop nop nop))"),
        looping("(loop (br_if 0 (i32.const 0)) (loop (br_if 2 (i32.eqz (local.get $a)))))"),
        looping("(memory.fill (i32.const 0) (i32.const 1) (i32.const 640))"),
        looping("(drop (memory.grow (i32.const 0)))"),
        // A loop that takes a parameter, and one with a result.
        looping(
            "(i32.const 3) (loop (param i32) (result i32)
                (local.set $b (i32.sub (i32.const 1))) (br_if 0 (local.get $b) (local.get $b))) drop",
        ),
        looping("(drop (loop (result i32) (i32.const 1) (br_if 0 (i32.const 0))))"),
        entry("(loop (br 0))"),
        entry("(loop (block (loop (br_if 1 (i32.const 1))) (br 0)) (br 0))"),
        guest(
            r#"(func $fib (param i32) (result i32)
                (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                    (then (local.get 0))
                    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
            (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (call $fib (i32.const 9))))"#,
        ),
        guest(
            r#"(func $deeper (call $deeper)) (func (export "run") (param i32 i32) (result i64) (call $deeper) (i64.const 0))"#,
        ),
        guest_with_devices(
            r#"(func (export "run") (param i32 i32) (result i64) (local $i i32)
                (loop (call $random_fill (i32.const 0) (local.get $i)) (call $emit (i32.const 0) (i32.const 3))
                    (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50))))
                (i64.const 60))"#,
        ),
        // Numbers and vectors that live in a loop over its checkpoints.
        guest(
            r#"(func (export "run") (param i32 i32) (result i64) (local $i i32) (local $a f32) (local $b f64) (local $c v128)
                (loop
                    (local.set $a (f32.add (local.get $a) (f32.const 0.1)))
                    (local.set $b (f64.sub (local.get $b) (f64.promote_f32 (local.get $a))))
                    (local.set $c (f32x4.add (local.get $c) (f32x4.splat (local.get $a))))
                    (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 99))))
                (f32.store (i32.const 0) (local.get $a)) (f64.store (i32.const 8) (local.get $b))
                (v128.store (i32.const 16) (local.get $c)) (i64.const 32))"#,
        ),
    ]
}

pub fn no_report_depends_on_the_slices_in_which_fuel_is_handed_out<M: Machine>(machine: &M) {
    for (number, guest) in guests().iter().enumerate() {
        let whole =
            |fuel| run_within(machine, guest, StepLimits { slice: u64::MAX, ..StepLimits::new(fuel) });
        let used = whole(10_000).fuel_used;
        for fuel in [10_000, used, used.saturating_sub(1), used / 2, used / 3, 1, 0] {
            let expected = whole(fuel);
            for slice in [0, 1, 7, 1_000, 1 << 40] {
                let found = run_within(machine, guest, StepLimits { slice, ..StepLimits::new(fuel) });
                assert_eq!(found, expected, "guest {number}, {fuel} fuel in slices of {slice}");
            }
        }
    }
}

pub fn an_interrupted_step_stops_in_the_same_place_when_it_is_repeated<M: Machine>(machine: &M) {
    for (number, guest) in guests().iter().enumerate() {
        let mut places = Vec::new();
        for (slice, looks) in [(1, 0), (1, 3), (1, 40), (30, 2), (111, 7), (1_000, 1), (1_000, 3)] {
            let left = AtomicU32::new(looks);
            let due = move || (left.fetch_sub(1, Ordering::Relaxed) == 0).then_some(Interruption::Deadline);
            let interrupt = Interrupt::When(Arc::new(due));
            let live = run_within(machine, guest, StepLimits { fuel: 10_000, slice, interrupt });
            if !matches!(
                live.outcome,
                glasshouse_devices::StepOutcome::Trapped { kind: TrapKind::Deadline, .. }
            ) {
                continue;
            }
            places.push(live.fuel_used);
            for slice in [1, 13, 100_000] {
                let interrupt = Interrupt::At(live.fuel_used, Interruption::Deadline);
                let again = run_within(machine, guest, StepLimits { fuel: 10_000, slice, interrupt });
                assert_eq!(again, live, "guest {number}");
            }
        }
        assert_eq!(places[0], 0, "a step that is interrupted before it starts does nothing");
    }
}

pub fn a_step_is_interrupted_for_the_reason_that_was_given<M: Machine>(machine: &M) {
    for (interruption, kind) in
        [(Interruption::Asked, TrapKind::Interrupted), (Interruption::Deadline, TrapKind::Deadline)]
    {
        let limits = StepLimits::new(PLENTY).interrupted_by(Interrupt::At(500, interruption));
        let report = run_within(machine, &entry("(loop (br 0))"), limits);
        assert_eq!(trap(&report), (kind, 500));
        let limits = StepLimits::new(PLENTY).interrupted_by(Interrupt::At(500, interruption));
        let report = run_within(machine, &entry("(loop nop nop (br 0))"), limits);
        // The first round is paid for with what stands before it.
        assert_eq!(trap(&report), (kind, ALLOCATE + 3 * 167));
    }
}

pub fn fuel_that_is_used_up_comes_before_an_interruption<M: Machine>(machine: &M) {
    let limits = StepLimits::new(300).interrupted_by(Interrupt::At(400, Interruption::Asked));
    assert_eq!(trap(&run_within(machine, &entry("(loop (br 0))"), limits)), (TrapKind::OutOfFuel, 300));
    let whole = run(machine, &entry("nop"), PLENTY);
    let limits =
        StepLimits::new(PLENTY).interrupted_by(Interrupt::At(whole.fuel_used + 1, Interruption::Asked));
    assert_eq!(run_within(machine, &entry("nop"), limits), whole);
}
