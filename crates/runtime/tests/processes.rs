//! Single processes from outside: called, acted on, looked into, saved, restored, forked.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use glasshouse_devices::{DeviceInput, Host, MemoryDevice, MemoryError};
use glasshouse_engine::HostMachine;
use glasshouse_kernel::{Event, EventKind, ExitReason, Fuel, Limits, ModuleHash, ProcessState};
use glasshouse_runtime::{
    CallEnd, Observer, Process, ProcessOptions, ReplayOptions, RuntimeError, Sandbox, Unobserved,
    process_limits, replay,
};

/// Counts its calls in its memory and in a global, logs both counts and a random byte, and answers with what it was given.
const COUNTER: &str = r#"(module
  (import "glasshouse" "log" (func $log (param i32 i32 i32)))
  (import "glasshouse" "random_fill" (func $random (param i32 i32)))
  (memory (export "memory") 2)
  (global $calls (mut i32) (i32.const 48))
  (data (i32.const 16) "00 ")
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "gh_free") (param i32 i32)
    (if (i32.ne (local.get 0) (i32.const 1024)) (then (unreachable)))
    (i32.store8 (i32.const 17) (local.get 1)))
  (func (export "trap") (param i32 i32) (result i64) (unreachable))
  (func (export "count") (param i32 i32) (result i64)
    (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1)))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 17) (global.get $calls))
    (call $random (i32.const 19) (i32.const 1))
    (i32.store8 (i32.const 19) (i32.add (i32.const 97) (i32.and (i32.load8_u (i32.const 19)) (i32.const 15))))
    (call $log (i32.const 2) (i32.const 16) (i32.const 4))
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Observer for Lines {
    fn event(&mut self, event: &Event) {
        if let EventKind::Logged { text, .. } = &event.kind {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn sandbox() -> (Sandbox, ModuleHash) {
    let mut sandbox = Sandbox::new(HostMachine::new().unwrap());
    let module = sandbox.add("counter", &wat::parse_str(COUNTER).unwrap());
    (sandbox, module)
}

fn spawn(sandbox: &Sandbox, module: ModuleHash, lines: &Lines) -> Process<'static> {
    let observer = Box::new(lines.clone());
    sandbox.spawn(module, ProcessOptions { observer, ..ProcessOptions::default() }).unwrap()
}

fn count(process: &mut Process<'_>) {
    assert_eq!(process.call("count", b"{\"a\":1}").unwrap(), CallEnd::Returned(b"{\"a\":1}".to_vec()));
}

#[test]
fn a_process_keeps_its_state_between_its_calls_and_ends_with_a_trap() {
    let (sandbox, module) = sandbox();
    let lines = Lines::default();
    let mut process = spawn(&sandbox, module, &lines);
    count(&mut process);
    count(&mut process);
    let logged = lines.take();
    assert!(logged[0].starts_with("11 ") && logged[1].starts_with("22 "), "{logged:?}");
    assert_eq!(process.summary().unwrap().state, ProcessState::Idle);
    let CallEnd::Ended(exit) = process.call("trap", b"{}").unwrap() else { panic!("it goes on") };
    assert_eq!(exit.reason, ExitReason::Trapped);
    assert!(matches!(process.call("count", b"{}"), Err(RuntimeError::Kernel(_))));
}

#[test]
fn a_saved_process_goes_on_as_the_original_does() {
    let (sandbox, module) = sandbox();
    let lines = Lines::default();
    let mut process = spawn(&sandbox, module, &lines);
    count(&mut process);
    let saved = process.save().unwrap();
    lines.take();
    (0..3).for_each(|_| count(&mut process));
    let original = lines.take();

    // In another sandbox, as after a start of the program.
    let (sandbox, _) = self::sandbox();
    let mut restored = sandbox.restore(&saved, None, Box::new(lines.clone())).unwrap();
    assert_eq!(restored.save().unwrap(), saved);
    (0..3).for_each(|_| count(&mut restored));
    assert_eq!(lines.take(), original);
    assert_eq!(restored.save().unwrap(), process.save().unwrap());
}

#[test]
fn a_fork_shares_nothing_with_its_original_but_what_was() {
    let (sandbox, module) = sandbox();
    let lines = Lines::default();
    let mut process = spawn(&sandbox, module, &lines);
    count(&mut process);
    let mut forks: Vec<_> = (0..5).map(|_| process.fork().unwrap()).collect();
    count(&mut process);
    for fork in &mut forks {
        let memory = MemoryDevice::new(fork.memory().unwrap(), |_| ()).read(16, 1).unwrap();
        assert_eq!(memory, b"1");
        count(fork);
    }
    let states: Vec<_> = forks.iter_mut().map(|fork| fork.save().unwrap()).collect();
    assert!(states.iter().all(|state| *state == process.save().unwrap()));
}

#[test]
fn damaged_saved_processes_and_other_modules_are_refused() {
    let (sandbox, module) = sandbox();
    let mut process = spawn(&sandbox, module, &Lines::default());
    count(&mut process);
    let saved = process.save().unwrap();
    let restore = |bytes: &[u8]| sandbox.restore(bytes, None, Box::new(Unobserved)).map(|_| ());
    for length in (0..saved.len()).step_by(7) {
        assert!(matches!(restore(&saved[..length]), Err(RuntimeError::SavedProcess { .. })), "{length}");
    }
    for place in (0..saved.len()).step_by(11) {
        let mut bytes = saved.clone();
        bytes[place] ^= 1;
        assert!(matches!(restore(&bytes), Err(RuntimeError::SavedProcess { .. })), "{place}");
    }
    let empty = Sandbox::new(HostMachine::new().unwrap());
    let unknown = empty.restore(&saved, None, Box::new(Unobserved)).map(|_| ());
    assert!(matches!(unknown, Err(RuntimeError::UnknownModule { .. })));
}

#[test]
fn the_host_writes_and_reads_the_memory_within_its_bounds() {
    let (sandbox, module) = sandbox();
    let lines = Lines::default();
    let mut process = spawn(&sandbox, module, &lines);
    process.act(DeviceInput::WriteMemory { offset: 16, bytes: b"5".to_vec() }).unwrap();
    count(&mut process);
    assert!(lines.take()[0].starts_with("61 "));
    let outside = DeviceInput::WriteMemory { offset: 131_070, bytes: b"abc".to_vec() };
    assert!(matches!(process.act(outside), Err(RuntimeError::ProcessMemory(_))));
    let mut accesses = Vec::new();
    let mut memory = MemoryDevice::new(process.memory().unwrap(), |event| accesses.push(event));
    assert_eq!(memory.size(), 131_072);
    assert_eq!(memory.allocate(b"xyz"), Ok(1024));
    assert_eq!(memory.read(1024, 3).unwrap(), b"xyz");
    assert!(memory.read(131_070, 3).is_err());
    assert_eq!(memory.free(1024, 3), Ok(()));
    assert_eq!(memory.read(17, 1).unwrap(), [3]);
    assert!(matches!(memory.free(1025, 3), Err(MemoryError::NotFreed { .. })));
    assert_eq!(accesses.len(), 4);
}

#[test]
fn more_fuel_lets_a_process_go_on_and_none_ends_it() {
    let (sandbox, module) = sandbox();
    let limits = Limits { fuel: Fuel(150), ..process_limits(150, 1) };
    let mut process = sandbox.spawn(module, ProcessOptions { limits, ..ProcessOptions::default() }).unwrap();
    count(&mut process);
    process.refuel(Fuel(1_000)).unwrap();
    (0..5).for_each(|_| count(&mut process));
    let end = (0..1_000).find_map(|_| match process.call("count", b"{}").unwrap() {
        CallEnd::Ended(exit) => Some(exit),
        _ => None,
    });
    assert_eq!(end.unwrap().reason, ExitReason::OutOfFuel);
}

/// A host with one function and no more.
struct Doubling;

impl Host for Doubling {
    fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
        (name == "double").then(|| [input, input].concat())
    }
}

#[test]
fn a_function_of_the_embedder_answers_within_the_step() {
    let guest = r#"(module
      (import "host" "double" (func $double (param i32 i32) (result i64)))
      (import "glasshouse" "take_answer" (func $take (param i32 i32)))
      (import "glasshouse" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "ab")
      (func (export "gh_allocate") (param i32) (result i32) (i32.const 1024))
      (func (export "run") (param i32 i32) (result i64) (local $length i32)
        (local.set $length (i32.wrap_i64 (call $double (i32.const 16) (i32.const 2))))
        (call $take (i32.const 64) (local.get $length))
        (call $log (i32.const 2) (i32.const 64) (local.get $length))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;
    let (mut sandbox, _) = sandbox();
    let module = sandbox.add("doubling", &wat::parse_str(guest).unwrap());
    let lines = Lines::default();
    let (host, observer) = (Some(Box::new(Doubling) as Box<dyn Host + Send>), Box::new(lines.clone()));
    let mut process =
        sandbox.spawn(module, ProcessOptions { host, observer, ..ProcessOptions::default() }).unwrap();
    assert_eq!(process.call("run", b"1").unwrap(), CallEnd::Returned(b"1".to_vec()));
    assert_eq!(lines.take(), ["abab"]);
}

/// A log that is kept in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a module with a log, and the log again.
fn recorded(source: &str, act: impl FnOnce(&mut Process<'_>)) {
    let (mut sandbox, _) = sandbox();
    let bytes = wat::parse_str(source).unwrap();
    let module = sandbox.add("recorded", &bytes);
    let log = Kept::default();
    let trace = Some(Box::new(log.clone()) as Box<dyn Write>);
    let mut process = sandbox.spawn(module, ProcessOptions { trace, ..ProcessOptions::default() }).unwrap();
    act(&mut process);
    process.finish().unwrap();
    let options = ReplayOptions { modules: vec![("recorded".into(), bytes)], ..ReplayOptions::default() };
    let log = log.0.lock().unwrap().clone();
    replay(&log, options, &mut Unobserved).unwrap();
}

#[test]
fn acts_are_replayed_and_so_are_those_that_were_refused() {
    recorded(COUNTER, |process| {
        process.act(DeviceInput::WriteMemory { offset: 16, bytes: b"5".to_vec() }).unwrap();
        assert!(process.act(DeviceInput::WriteMemory { offset: 1 << 40, bytes: b"5".to_vec() }).is_err());
        assert!(process.act(DeviceInput::WriteFile { path: "/".into(), content: Vec::new() }).is_err());
        count(process);
        process.act(DeviceInput::AdvanceClock(1_000)).unwrap();
        count(process);
    });
}

#[test]
fn a_program_without_a_host_is_replayed_without_one() {
    let program = r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\40\00\00\00\40\00\00\00")
      (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 12)))
        (call $exit (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 12))))))"#;
    recorded(program, |process| {
        process.send_stdin(b"four").unwrap();
        let CallEnd::Ended(exit) = process.call("_start", b"null").unwrap() else { panic!("it goes on") };
        assert_eq!(exit.code, 4);
    });
}
