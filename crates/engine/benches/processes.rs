//! What processes cost: starting, loading compiled modules, snapshots, restoring and forking, and memory of those that
//! wait; beside bare wasmtime doing the same, by turns in the same run.
//!
//! `cargo bench -p glasshouse-engine --bench processes [-- RESIDENT]`; the number is that of waiting processes, 10,000 if
//! it is not given.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{
    Instance as _, InstanceLimits, Machine, Snapshot,
    native::{EngineConfig, MemoryImage, Wasmtime, WasmtimeInstance},
};
use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Memory, Module, Store};

/// Times each side is measured.
const RUNS: usize = 400;

const ECHO: &str = r#"(func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

/// 16 MiB: `fill` writes all of it, `touch` one MiB in its midst, `scatter` 64 pages far apart; `read` reads all of
/// it, `rest` nothing.
const LARGE: &str = r#"(module (memory (export "memory") 256)
    (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "fill") (param i32 i32) (result i64)
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x1000000)) i64.const 0)
    (func (export "touch") (param i32 i32) (result i64)
        (memory.fill (i32.const 0x400000) (i32.const 9) (i32.const 0x100000)) i64.const 0)
    (func (export "scatter") (param i32 i32) (result i64) (local i32)
        (loop $next
            (i32.store8 (local.get 2) (i32.const 1))
            (local.set 2 (i32.add (local.get 2) (i32.const 0x40000)))
            (br_if $next (i32.lt_u (local.get 2) (i32.const 0x1000000))))
        i64.const 0)
    (func (export "read") (param i32 i32) (result i64) (local i32) (local i64)
        (loop $next
            (local.set 3 (i64.add (local.get 3) (i64.load (local.get 2))))
            (local.set 2 (i32.add (local.get 2) (i32.const 0x1000)))
            (br_if $next (i32.lt_u (local.get 2) (i32.const 0x1000000))))
        (i64.and (local.get 3) (i64.const 0)))
    (func (export "rest") (param i32 i32) (result i64) i64.const 0))"#;

const FUEL: u64 = 1_000_000_000;

fn main() {
    let resident = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let machine = Wasmtime::new().expect("wasmtime runs here");
    spawn(&machine);
    load();
    snapshots(&machine);
    forks(&machine, 100);
    waiting(&machine, resident);
}

/// Medians of two things done by turns.
fn medians(mut first: impl FnMut() -> Duration, mut second: impl FnMut() -> Duration) -> [Duration; 2] {
    let mut times = [Vec::with_capacity(RUNS), Vec::with_capacity(RUNS)];
    for _ in 0..RUNS {
        times[0].push(first());
        times[1].push(second());
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

fn time<R>(act: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    let result = act();
    let elapsed = start.elapsed();
    drop(result);
    elapsed
}

fn compare(what: &str, bare: &str, [ours, theirs]: [Duration; 2]) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what}: {ours:.2?}; {bare}: {theirs:.2?} ({ratio:.2}x)");
}

fn start(entry: &str, input: &[u8]) -> StepCall {
    StepCall::Start { entry: entry.into(), input: input.to_vec() }
}

fn step(instance: &mut WasmtimeInstance, entry: &str) {
    let report = instance.step(&start(entry, b""), &mut Context::new(0, [0; 32]), FUEL);
    assert!(matches!(report.outcome, StepOutcome::Returned(_)), "{:?}", report.outcome);
}

/// From a compiled module to the first answer of 64 bytes, and the end of the process.
fn spawn(machine: &Wasmtime) {
    let bytes = guest(ECHO);
    let compiled = machine.compile(&bytes).expect("a good module");
    let call = start("run", &[7; 64]);
    let ours = || {
        let start = Instant::now();
        let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
        let report = instance.step(&call, &mut Context::new(0, [0; 32]), FUEL);
        assert_eq!(report.outcome, StepOutcome::Returned(vec![7; 64]));
        drop(instance);
        start.elapsed()
    };
    let (engine, ready) = bare(&bytes);
    let theirs = || {
        let start = Instant::now();
        let mut store = Store::new(&engine, ());
        let instance = ready.instantiate(&mut store).expect("it starts");
        let memory = instance.get_memory(&mut store, "memory").expect("it exports its memory");
        let allocate = instance.get_typed_func::<u32, u32>(&mut store, "gh_allocate").expect("it is there");
        let run = instance.get_typed_func::<(u32, u32), u64>(&mut store, "run").expect("it is there");
        let pointer = allocate.call(&mut store, 64).expect("it returns") as usize;
        memory.write(&mut store, pointer, &[7; 64]).expect("it fits");
        let packed = run.call(&mut store, (pointer as u32, 64)).expect("it returns");
        let answer = memory.data(&store)[(packed >> 32) as usize..][..packed as u32 as usize].to_vec();
        assert_eq!(answer, [7; 64]);
        drop(store);
        start.elapsed()
    };
    compare("compiled module to first answer", "bare wasmtime", medians(ours, theirs));
    let ours = || time(|| machine.instantiate(&compiled, InstanceLimits::default()));
    let theirs = || {
        time(|| {
            let mut store = Store::new(&engine, ());
            let instance = ready.instantiate(&mut store).expect("it starts");
            (store, instance)
        })
    };
    compare("instantiate alone", "bare wasmtime", medians(ours, theirs));
}

fn bare(bytes: &[u8]) -> (Engine, InstancePre<()>) {
    let engine = Engine::new(&Config::new()).expect("wasmtime runs here");
    let module = Module::from_binary(&engine, bytes).expect("a good module");
    let ready = Linker::new(&engine).instantiate_pre(&module).expect("it imports nothing");
    (engine, ready)
}

/// A module of about 1 MB, compiled in another run of the program.
fn load() {
    let directory = tempfile::tempdir().expect("a folder for temporary files");
    let config = || EngineConfig {
        cache_directory: Some(directory.path().into()),
        // Nothing is kept in memory, so each time is the first.
        cache_bytes: 0,
        ..EngineConfig::deterministic()
    };
    let bytes = generated(2_600);
    let machine = Wasmtime::with_config(config()).expect("wasmtime runs here");
    let compiled = time(|| machine.compile(&bytes).expect("a good module"));
    let file = fs::read_dir(directory.path())
        .expect("it is a folder")
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .max()
        .unwrap_or_default();
    println!("module of {} bytes: compiled in {compiled:.2?}, {file} bytes on disk", bytes.len());

    let engine = Engine::new(&Config::new()).expect("wasmtime runs here");
    let code =
        Module::from_binary(&engine, &bytes).expect("a good module").serialize().expect("it is compiled");
    let path = directory.path().join("bare");
    fs::write(&path, &code).expect("a folder that can be written");
    // A runtime knows the hashes of its modules.
    let hash = *blake3::hash(&bytes).as_bytes();
    let ours = || time(|| machine.compile_known(&hash, &bytes).expect("it was compiled"));
    let mapped = || {
        // SAFETY: the file was written above.
        time(|| unsafe { Module::deserialize_file(&engine, &path) }.expect("it was compiled"))
    };
    compare("load from disk, verified", "bare wasmtime, mapping the file", medians(ours, mapped));
    let copied = || {
        time(|| {
            let code = fs::read(&path).expect("it is there");
            // SAFETY: the file was written above.
            unsafe { Module::deserialize(&engine, code) }.expect("it was compiled")
        })
    };
    compare("load from disk, verified", "bare wasmtime, reading the file", medians(ours, copied));
}

/// A process of 16 MiB that was restored, and a MiB of which was written since.
fn snapshots(machine: &Wasmtime) {
    let bytes = wat::parse_str(LARGE).expect("good text");
    let module = machine.compile(&bytes).expect("a good module");
    let limits = InstanceLimits::default();
    let mut filled = machine.instantiate(&module, limits).expect("it starts");
    step(&mut filled, "fill");
    let base = filled.snapshot().expect("it can be snapshotted");
    let restore =
        |snapshot: &Snapshot<MemoryImage>| machine.restore(&module, snapshot, limits).expect("it fits");
    let whole = || time(|| filled.snapshot().expect("it can be snapshotted"));
    let mut source = vec![1_u8; 16 << 20];
    let mut copy = || {
        source[0] = source[0].wrapping_add(1);
        time(|| std::hint::black_box(source.clone()))
    };
    compare("snapshot of 16 MiB, all written", "a copy", medians(whole, &mut copy));
    for (entry, what) in
        [("touch", "1 MiB in one place"), ("scatter", "64 pages far apart"), ("rest", "nothing")]
    {
        let ours = || {
            let mut instance = restore(&base);
            step(&mut instance, entry);
            time(|| instance.snapshot().expect("it can be snapshotted"))
        };
        compare(&format!("snapshot of 16 MiB, {what} written"), "a copy", medians(ours, &mut copy));
        let mut instance = restore(&base);
        step(&mut instance, entry);
        let snapshot = instance.snapshot().expect("it can be snapshotted");
        let first_step = |kept: &mut Vec<WasmtimeInstance>| {
            let start = Instant::now();
            let mut instance = restore(&snapshot);
            step(&mut instance, "rest");
            let elapsed = start.elapsed();
            kept.push(instance);
            elapsed
        };
        let again = medians(|| first_step(&mut Vec::new()), bare_restore(&bytes));
        compare("  restored to the end of the first step", "bare wasmtime, copying", again);
        let mut kept = Vec::new();
        let more = medians(|| first_step(&mut kept), bare_restore(&bytes));
        compare("  the same while all others live on", "bare wasmtime, copying", more);
    }
}

/// A fresh instance into which 16 MiB are copied, and a call.
fn bare_restore(bytes: &[u8]) -> impl FnMut() -> Duration {
    let (engine, ready) = bare(bytes);
    let source = vec![7_u8; 16 << 20];
    move || {
        let start = Instant::now();
        let mut store = Store::new(&engine, ());
        let instance: Instance = ready.instantiate(&mut store).expect("it starts");
        let memory: Memory = instance.get_memory(&mut store, "memory").expect("it exports its memory");
        memory.data_mut(&mut store).copy_from_slice(&source);
        let rest = instance.get_typed_func::<(u32, u32), u64>(&mut store, "rest").expect("it is there");
        rest.call(&mut store, (0, 0)).expect("it returns");
        start.elapsed()
    }
}

/// How much memory forks of one process of 16 MiB take beside it.
fn forks(machine: &Wasmtime, count: usize) {
    let module = machine.compile(&wat::parse_str(LARGE).expect("good text")).expect("a good module");
    let mut parent = machine.instantiate(&module, InstanceLimits::default()).expect("it starts");
    step(&mut parent, "fill");
    let snapshot = parent.snapshot().expect("it can be snapshotted");
    drop(parent);
    let before = memory();
    let fork = || {
        let mut fork = machine.restore(&module, &snapshot, InstanceLimits::default()).expect("it fits");
        step(&mut fork, "read");
        fork
    };
    let first = fork();
    let with_first = memory();
    let forks: Vec<_> = (0..count).map(|_| fork()).collect();
    let each = memory().saturating_sub(with_first) / forks.len() as u64;
    println!(
        "forks of a process of 16 MiB that read all of it: the first takes {} KiB, each of {count} more {} KiB",
        with_first.saturating_sub(before) >> 10,
        each >> 10,
    );
    drop(first);
}

/// How much memory processes take that have answered once and wait, beyond the pages that they wrote.
fn waiting(machine: &Wasmtime, count: usize) {
    let compiled = machine.compile(&guest(ECHO)).expect("a good module");
    let before = memory();
    let start = Instant::now();
    let instances: Vec<_> = (0..count)
        .map(|_| {
            let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
            let report = instance.step(&self::start("run", &[7; 64]), &mut Context::new(0, [0; 32]), FUEL);
            assert_eq!(report.outcome, StepOutcome::Returned(vec![7; 64]));
            instance
        })
        .collect();
    let elapsed = start.elapsed();
    let each = memory().saturating_sub(before) as f64 / instances.len() as f64 / 1024.0;
    let mappings = fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count());
    // The input is the only page that this guest writes.
    println!(
        "{count} waiting processes: {each:.1} KiB of host memory each, 4 KiB of which the guest wrote; \
         {mappings} mappings; started in {elapsed:.2?}"
    );
}

/// Bytes of memory that this program takes, its share of what is shared and page tables included.
fn memory() -> u64 {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or_default()
    };
    (field("/proc/self/smaps_rollup", "Pss:") + field("/proc/self/status", "VmPTE:")) << 10
}

/// A module with a page of memory, `gh_allocate` that always answers 1024, and these fields.
fn guest(fields: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024) {fields})"#
    );
    wat::parse_str(text).expect("good text")
}

/// A module with this many functions of mixed code, about 400 bytes each.
fn generated(functions: usize) -> Vec<u8> {
    let mut body = String::new();
    for index in 0..functions {
        let callee = (index + 1) % functions;
        write!(body, "(func $f{index} (param i32 i32) (result i32) (local i32 f64)")
            .expect("strings take text");
        for part in 0..6 {
            write!(
                body,
                "(local.set 2 (i32.mul (local.get 0) (i32.const {})))
                (if (i32.rem_u (local.get 2) (i32.const 7))
                    (then (i32.store offset=8 (local.get 1) (i32.load offset=64 (local.get 2))))
                    (else (f64.store (local.get 1) (f64.add (local.get 3) (f64.load (local.get 2))))))
                (local.set 3 (f64.mul (local.get 3) (f64.convert_i32_s (local.get 2))))",
                index * 6 + part
            )
            .expect("strings take text");
        }
        write!(
            body,
            "(if (result i32) (i32.lt_u (local.get 0) (i32.const 100))
                (then (call $f{callee} (i32.add (local.get 0) (i32.const 1)) (local.get 2)))
                (else (i32.xor (local.get 1) (i32.const {index})))))"
        )
        .expect("strings take text");
    }
    guest(&body)
}
