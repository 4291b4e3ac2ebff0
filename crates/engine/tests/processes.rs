//! Processes of the native machine keep apart from each other, however their memories are made, used again and shared.

use std::{collections::BTreeSet, thread};

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport};
use glasshouse_engine::{
    Instance, InstanceLimits, Machine, SavedProcess,
    native::{CompiledModule, EngineConfig, Wasmtime, WasmtimeInstance},
};

/// `write` fills all of its memory and traps, `sum` tells how many bytes are not zero, `put` writes its input to 4096 and
/// 69,632 and grows, `get` answers with what lies there.
const GUEST: &str = r#"(module (memory (export "memory") 2 64) (global $calls (mut i32) (i32.const 0))
    (data (i32.const 8192) "initial data")
    (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "write") (param i32 i32) (result i64)
        (drop (memory.grow (i32.const 3)))
        (memory.fill (i32.const 0) (i32.const 0xaa) (i32.mul (memory.size) (i32.const 65536)))
        unreachable)
    (func (export "sum") (param i32 i32) (result i64) (local i32 i64)
        (drop (memory.grow (i32.const 3)))
        (loop $next
            (local.set 3 (i64.add (local.get 3) (i64.extend_i32_u (i32.ne (i32.load8_u (local.get 2)) (i32.const 0)))))
            (local.set 2 (i32.add (local.get 2) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get 2) (i32.mul (memory.size) (i32.const 65536)))))
        (i64.store (i32.const 0) (local.get 3))
        i64.const 8)
    (func (export "put") (param i32 i32) (result i64)
        (drop (memory.grow (i32.const 1)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 4111) (global.get $calls))
        (memory.copy (i32.const 4096) (local.get 0) (local.get 1))
        (memory.copy (i32.const 69632) (local.get 0) (local.get 1))
        i64.const 0)
    (func (export "get") (param i32 i32) (result i64)
        (memory.copy (i32.const 4112) (i32.const 69632) (i32.const 16))
        (i64.const 0x0000100000000020)))"#;

const FUEL: u64 = 1_000_000_000;

fn machines() -> [(Wasmtime, CompiledModule); 2] {
    [true, false].map(|copy_on_write| {
        let machine =
            Wasmtime::with_config(EngineConfig { copy_on_write, ..EngineConfig::deterministic() }).unwrap();
        let module = machine.compile(&wat::parse_str(GUEST).unwrap()).unwrap();
        (machine, module)
    })
}

fn instantiate((machine, module): &(Wasmtime, CompiledModule)) -> WasmtimeInstance {
    machine.instantiate(module, InstanceLimits::default()).unwrap()
}

fn step(instance: &mut WasmtimeInstance, entry: &str, input: &[u8]) -> StepReport {
    let call = StepCall::Start { entry: entry.into(), input: input.to_vec() };
    instance.step(&call, &mut Context::new(0, [0; 32]), FUEL)
}

fn returned(report: StepReport) -> Vec<u8> {
    match report.outcome {
        StepOutcome::Returned(bytes) => bytes,
        outcome => panic!("{outcome:?}"),
    }
}

/// What `put` left, with how often it was called.
fn get(instance: &mut WasmtimeInstance) -> Vec<u8> {
    returned(step(instance, "get", b""))
}

fn left(input: [u8; 15], calls: u8) -> Vec<u8> {
    let second = [input.as_slice(), &[0]].concat();
    [input.as_slice(), &[calls], &second].concat()
}

#[test]
fn nothing_of_a_process_that_trapped_is_in_the_memory_of_the_next() {
    for machine in &machines() {
        for _ in 0..20 {
            let mut process = instantiate(machine);
            let report = step(&mut process, "write", b"");
            assert!(matches!(report.outcome, StepOutcome::Trapped { .. }), "{report:?}");
            drop(process);
            let sum = returned(step(&mut instantiate(machine), "sum", b""));
            assert_eq!(sum, (b"initial data".len() as u64).to_le_bytes());
        }
    }
}

#[test]
fn forks_continue_from_the_snapshot_and_never_see_each_others_writes() {
    for machine in &machines() {
        let mut parent = instantiate(machine);
        returned(step(&mut parent, "put", &[7; 15]));
        let snapshot = parent.snapshot().unwrap();
        let limits = InstanceLimits::default();
        let fork = || machine.0.restore(&machine.1, &snapshot, limits).unwrap();
        let mut forks: Vec<_> = (0..40).map(|_| fork()).collect();
        for (number, fork) in forks.iter_mut().enumerate() {
            assert_eq!(get(fork), left([7; 15], 1));
            returned(step(fork, "put", &[number as u8 + 100; 15]));
        }
        for (number, fork) in forks.iter_mut().enumerate() {
            assert_eq!(get(fork), left([number as u8 + 100; 15], 2));
        }
        assert_eq!(get(&mut parent), left([7; 15], 1));
        // Snapshots of a fork, again and again: each goes on from the last.
        let mut process = forks.swap_remove(0);
        for round in 0..30 {
            returned(step(&mut process, "put", &[round; 15]));
            let snapshot = process.snapshot().unwrap();
            returned(step(&mut process, "put", &[0xff; 15]));
            process = machine.0.restore(&machine.1, &snapshot, limits).unwrap();
            assert_eq!(get(&mut process), left([round; 15], round + 3));
        }
        assert_eq!(get(&mut fork()), left([7; 15], 1));
    }
}

#[test]
fn snapshots_are_the_same_bytes_whether_memories_are_mapped_or_copied() {
    let saved: BTreeSet<Vec<u8>> = machines()
        .iter()
        .map(|machine| {
            let mut process = instantiate(machine);
            returned(step(&mut process, "put", &[9; 15]));
            let first = process.snapshot().unwrap();
            let mut process = machine.0.restore(&machine.1, &first, InstanceLimits::default()).unwrap();
            returned(step(&mut process, "put", &[0; 15]));
            SavedProcess::new(&process.snapshot().unwrap()).to_bytes().unwrap()
        })
        .collect();
    assert_eq!(saved.len(), 1);
    for machine in &machines() {
        let saved = SavedProcess::from_bytes(saved.first().unwrap()).unwrap();
        let mut process = machine.0.restore_saved(&machine.1, &saved, InstanceLimits::default()).unwrap();
        assert_eq!(get(&mut process), left([0; 15], 2));
    }
}

#[test]
fn a_snapshot_outlives_its_process_and_its_machine_s_other_processes() {
    for machine in &machines() {
        let mut process = instantiate(machine);
        returned(step(&mut process, "put", &[5; 15]));
        let snapshot = process.snapshot().unwrap();
        drop(process);
        for _ in 0..100 {
            step(&mut instantiate(machine), "write", b"");
        }
        let mut again = machine.0.restore(&machine.1, &snapshot, InstanceLimits::default()).unwrap();
        assert_eq!(get(&mut again), left([5; 15], 1));
    }
}

#[test]
fn processes_start_and_end_on_many_threads_at_once() {
    for machine in &machines() {
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..100_u8 {
                        let mut process = instantiate(machine);
                        returned(step(&mut process, "put", &[round ^ thread; 15]));
                        let snapshot = process.snapshot().unwrap();
                        let mut fork =
                            machine.0.restore(&machine.1, &snapshot, InstanceLimits::default()).unwrap();
                        step(&mut process, "write", b"");
                        assert_eq!(get(&mut fork), left([round ^ thread; 15], 1));
                    }
                });
            }
        });
    }
}

#[test]
fn images_are_copied_before_the_kernel_gives_no_more_mappings() {
    // Pages far apart: each fork that is mapped takes some sixty mappings, of the 65,530 that the kernel grants.
    let guest = r#"(module (memory (export "memory") 64)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        (func (export "write") (param i32 i32) (result i64) (local i32)
            (loop $next
                (i32.store8 (local.get 2) (i32.const 1))
                (local.set 2 (i32.add (local.get 2) (i32.const 0x8000)))
                (br_if $next (i32.lt_u (local.get 2) (i32.const 0x400000))))
            i64.const 0)
        (func (export "read") (param i32 i32) (result i64) (local i32 i64)
            (loop $next
                (local.set 3 (i64.add (local.get 3) (i64.load8_u (local.get 2))))
                (local.set 2 (i32.add (local.get 2) (i32.const 0x8000)))
                (br_if $next (i32.lt_u (local.get 2) (i32.const 0x400000))))
            (i64.store (i32.const 0) (local.get 3))
            i64.const 8))"#;
    let machine = Wasmtime::new().unwrap();
    let module = machine.compile(&wat::parse_str(guest).unwrap()).unwrap();
    let mut parent = machine.instantiate(&module, InstanceLimits::default()).unwrap();
    returned(step(&mut parent, "write", b""));
    let mut forks = Vec::new();
    for _ in 0..500 {
        // Each snapshot is used too seldom to be made one piece.
        let snapshot = parent.snapshot().unwrap();
        for _ in 0..2 {
            let mut fork = machine.restore(&module, &snapshot, InstanceLimits::default()).unwrap();
            assert_eq!(returned(step(&mut fork, "read", b"")), 128_u64.to_le_bytes());
            forks.push(fork);
        }
    }
    let mappings = std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count();
    assert!(mappings < 40_000, "{mappings} mappings");
    // What they took is given back.
    drop(forks);
    let mappings = std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count();
    assert!(mappings < 20_000, "{mappings} mappings");
}
