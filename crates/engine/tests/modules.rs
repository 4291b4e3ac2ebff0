//! What the native machine keeps of modules: in memory and on disk, within bounds, never what it should not execute.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{
    Instance, InstanceLimits, Machine, ModuleError,
    native::{EngineConfig, Profile, Wasmtime},
};
use tempfile::TempDir;

/// A guest that answers with this text.
fn guest(text: &str) -> Vec<u8> {
    let length = text.len();
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 32) "{text}")
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64)
            (i64.or (i64.shl (i64.const 32) (i64.const 32)) (i64.const {length}))))"#
    ))
    .unwrap()
}

fn machine(directory: &Path, change: impl FnOnce(&mut EngineConfig)) -> Wasmtime {
    let mut config =
        EngineConfig { cache_directory: Some(directory.to_path_buf()), ..EngineConfig::deterministic() };
    change(&mut config);
    Wasmtime::with_config(config).unwrap()
}

fn answer(machine: &Wasmtime, module: &[u8]) -> String {
    let module = machine.compile(module).unwrap();
    let mut instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
    let call = StepCall::Start { entry: "run".into(), input: Vec::new() };
    let report = instance.step(&call, &mut Context::new(0, [0; 32]), 1000);
    match report.outcome {
        StepOutcome::Returned(bytes) => String::from_utf8(bytes).unwrap(),
        outcome => panic!("{outcome:?}"),
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "module")).collect()
}

#[test]
fn another_machine_loads_what_one_has_compiled() {
    let directory = TempDir::new().unwrap();
    for _ in 0..3 {
        assert_eq!(answer(&machine(directory.path(), |_| {}), &guest("kept")), "kept");
        assert_eq!(files(directory.path()).len(), 1);
    }
}

#[test]
fn a_file_that_was_changed_anywhere_is_not_executed_and_written_anew() {
    let directory = TempDir::new().unwrap();
    assert_eq!(answer(&machine(directory.path(), |_| {}), &guest("whole")), "whole");
    let path = files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        assert_eq!(answer(&machine(directory.path(), |_| {}), &guest("whole")), "whole", "byte {place}");
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    for length in [0, 1, 50, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(answer(&machine(directory.path(), |_| {}), &guest("whole")), "whole", "{length} bytes");
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn machines_that_compile_differently_share_no_files() {
    let directory = TempDir::new().unwrap();
    let differences: [fn(&mut EngineConfig); 5] = [
        |_| {},
        |config| config.profile = Profile::Development,
        |config| config.profile = Profile::Interpreter,
        |config| config.modules.function_bytes /= 2,
        |config| config.memory_reservation_bytes = 1 << 30,
    ];
    for (number, change) in differences.into_iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(answer(&machine(directory.path(), change), &guest("apart")), "apart");
            assert_eq!(files(directory.path()).len(), number + 1);
        }
    }
    // What does not matter to compiled code does not matter here.
    answer(&machine(directory.path(), |config| config.copy_on_write = false), &guest("apart"));
    assert_eq!(files(directory.path()).len(), differences.len());
}

#[test]
fn machines_that_use_one_directory_at_once_do_not_disturb_each_other() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("new/modules");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..10 {
                    let text = format!("text {number}");
                    assert_eq!(answer(&machine(&path, |_| {}), &guest(&text)), text);
                }
            });
        }
    });
    assert_eq!(files(&path).len(), 10);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 11);
}

#[test]
fn a_refused_module_is_refused_each_time_and_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let machine = machine(directory.path(), |_| {});
    for _ in 0..2 {
        assert!(matches!(machine.compile(b"\0asm\x01\0\0\0\x63"), Err(ModuleError::Malformed { .. })));
        assert_eq!(machine.compile(b"#!/bin/sh").err(), Some(ModuleError::NotWasm));
    }
    assert!(files(directory.path()).is_empty());
    assert_eq!(machine.cached(), (0, 0));
}

#[test]
fn clones_of_a_machine_share_what_they_compiled_within_its_bound() {
    let unbounded = Wasmtime::new().unwrap();
    assert_eq!(answer(&unbounded, &guest("a")), "a");
    assert_eq!(answer(&unbounded.clone(), &guest("a")), "a");
    let (count, bytes) = unbounded.cached();
    assert_eq!(count, 1);
    assert!(bytes > 1000, "{bytes}");

    let room_for_two = EngineConfig { cache_bytes: 2 * bytes + bytes / 2, ..EngineConfig::deterministic() };
    let bounded = Wasmtime::with_config(room_for_two).unwrap();
    for text in ["a", "b", "c", "a"] {
        assert_eq!(answer(&bounded, &guest(text)), text);
    }
    assert_eq!(bounded.cached(), (2, 2 * bytes));
}

#[test]
fn threads_that_want_one_module_have_it_compiled_once() {
    let directory = TempDir::new().unwrap();
    let machine = machine(directory.path(), |_| {});
    let module = guest("once");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(answer(&machine, &module), "once"));
        }
    });
    assert_eq!(machine.cached().0, 1);
}

#[test]
fn a_hit_in_memory_costs_neither_the_pass_nor_the_compiler() {
    let machine = Wasmtime::new().unwrap();
    let mut functions = String::new();
    for number in 0..300 {
        functions += &format!(
            "(func (param i32) (result i32) (i32.add (local.get 0) (i32.mul (local.get 0) (i32.const {number}))))"
        );
    }
    let module = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) {functions}
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024))"#
    ))
    .unwrap();
    let time = || {
        let start = Instant::now();
        machine.compile(&module).unwrap();
        start.elapsed()
    };
    let first = time();
    let again = (0..10).map(|_| time()).min().unwrap_or(Duration::MAX);
    assert!(again * 5 < first, "{first:?}, then {again:?}");
}

#[test]
fn no_more_instances_live_than_the_machine_may_have() {
    let config = EngineConfig { instances: 3, ..EngineConfig::deterministic() };
    let machine = Wasmtime::with_config(config).unwrap();
    let module = machine.compile(&guest("few")).unwrap();
    let instantiate = || machine.instantiate(&module, InstanceLimits::default());
    let mut instances: Vec<_> = (0..3).map(|_| instantiate().unwrap()).collect();
    for _ in 0..2 {
        assert_eq!(instantiate().err(), Some(ModuleError::TooManyInstances { limit: 3 }));
    }
    instances.pop();
    instances.push(instantiate().unwrap());
    assert_eq!(instantiate().err(), Some(ModuleError::TooManyInstances { limit: 3 }));
}

#[test]
fn a_memory_that_could_outgrow_its_reservation_is_refused_at_the_start() {
    let config = EngineConfig { memory_reservation_bytes: 32 << 20, ..EngineConfig::deterministic() };
    let machine = Wasmtime::with_config(config).unwrap();
    let module = machine.compile(&guest("small")).unwrap();
    let limits = |memory_bytes| InstanceLimits { memory_bytes, ..InstanceLimits::default() };
    assert!(machine.instantiate(&module, limits(32 << 20)).is_ok());
    let refused = machine.instantiate(&module, limits(33 << 20)).err();
    assert!(matches!(refused, Some(ModuleError::TooLarge { limit: 0x200_0000, .. })), "{refused:?}");
    // With everything that a memory can address reserved, no limit is too large.
    let machine = Wasmtime::new().unwrap();
    let module = machine.compile(&guest("small")).unwrap();
    assert!(machine.instantiate(&module, limits(u64::MAX)).is_ok());
}
