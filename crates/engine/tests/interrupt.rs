//! A step that another thread interrupts, and its repetition.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport, TrapKind};
use glasshouse_engine::{
    Instance, InstanceLimits, Interrupt, Interruption, Machine, StepLimits, native::Wasmtime,
};

/// Loops until it is stopped, emitting an event at its start.
const BUSY: &str = r#"(module
    (import "glasshouse" "emit" (func $emit (param i32 i32)))
    (memory (export "memory") 1)
    (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "run") (param i32 i32) (result i64) (local $i i32)
        (call $emit (i32.const 0) (i32.const 2))
        (loop
            (i32.store (i32.const 0) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
            (br_if 0 (i32.and (local.get $i) (i32.const 7)))
            (loop (br_if 1 (i32.const 1))))
        (i64.const 4)))"#;

fn run(limits: StepLimits) -> StepReport {
    let machine = Wasmtime::new().unwrap();
    let module = machine.compile(&wat::parse_str(BUSY).unwrap()).unwrap();
    let mut instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
    let call = StepCall::Start { entry: "run".into(), input: Vec::new() };
    instance.step(&call, &mut Context::new(0, [0; 32]), limits)
}

#[test]
fn what_another_thread_interrupts_is_repeated_byte_for_byte() {
    let flag = Arc::new(AtomicBool::new(false));
    let limits = StepLimits::new(u64::MAX).interrupted_by(Interrupt::flag(flag.clone()));
    let live = thread::scope(|scope| {
        let running = scope.spawn(|| run(limits));
        flag.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(matches!(live.outcome, StepOutcome::Trapped { kind: TrapKind::Interrupted, .. }));
    let at = Interrupt::At(live.fuel_used, Interruption::Asked);
    assert_eq!(run(StepLimits::new(u64::MAX).interrupted_by(at)), live);
}

#[test]
fn a_step_that_has_run_for_a_while_is_interrupted_and_repeated() {
    let flag = Arc::new(AtomicBool::new(false));
    let looked = Arc::new(AtomicBool::new(false));
    let (due, seen) = (flag.clone(), looked.clone());
    // The step itself tells when it is looked at for the second time; only then the other thread sets the flag.
    let looks = std::sync::atomic::AtomicU32::new(0);
    let interrupt = Interrupt::When(Arc::new(move || {
        if looks.fetch_add(1, Ordering::Relaxed) >= 2 {
            seen.store(true, Ordering::Release);
        }
        due.load(Ordering::Relaxed).then_some(Interruption::Deadline)
    }));
    let live = thread::scope(|scope| {
        let running = scope.spawn(|| run(StepLimits::new(u64::MAX).interrupted_by(interrupt)));
        while !looked.load(Ordering::Acquire) {
            thread::yield_now();
        }
        flag.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(matches!(live.outcome, StepOutcome::Trapped { kind: TrapKind::Deadline, .. }));
    assert!(live.fuel_used > 20_000_000, "{}", live.fuel_used);
    let at = Interrupt::At(live.fuel_used, Interruption::Deadline);
    assert_eq!(run(StepLimits::new(u64::MAX).interrupted_by(at)), live);
}
