//! `glasshouse run` and `glasshouse inspect` from outside: programs, functions, limits, logs.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
    command.current_dir(directory).args(arguments).env("NO_COLOR", "1").env("GLASSHOUSE_CACHE", "off");
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// A program that copies standard input to standard output, and exits with 3.
const COPY: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.load (i32.const 8))
        (then
          (i32.store (i32.const 4) (i32.load (i32.const 8)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
          (br $again))))
    (call $exit (i32.const 3))))"#;

/// A program that prints the block of its arguments, zero bytes and all.
const ARGUMENTS: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $print (param $length i32)
    (i32.store (i32.const 16) (i32.const 4096))
    (i32.store (i32.const 20) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 4096)))
    (call $print (i32.load (i32.const 4)))
    (drop (call $environ_sizes (i32.const 0) (i32.const 4)))
    (drop (call $environ (i32.const 1024) (i32.const 4096)))
    (call $print (i32.load (i32.const 4)))))"#;

const ENDLESS: &str =
    r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#;

/// A program that says that it is ready, and never ends.
const READY: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00ready\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (loop $again (br $again))))"#;

/// A module whose function returns the envelope that it was given.
const ECHO: &str = r#"(module (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

#[test]
fn a_program_has_the_streams_and_the_exit_code_of_a_native_one() {
    let directory = directory(&[("copy.wat", COPY), ("input.txt", "from a file\n")]);
    let mut child = command(directory.path(), &["run", "copy.wat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout), text(&output.stderr)),
        (Some(3), "one\ntwo\n", "")
    );

    let output = run(directory.path(), &["run", "--stdin", "input.txt", "copy.wat"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), "from a file\n"));

    let output = run(directory.path(), &["run", "--json", "--stdin", "input.txt", "copy.wat"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["stdout"], "from a file\n");
    assert_eq!((&json["exit"]["code"], &json["exit"]["reason"]), (&3.into(), &"exited".into()));
    assert!(json["fuel_used"].as_u64().unwrap() > 10);
}

#[test]
fn a_program_sees_its_arguments_and_the_environment_that_it_was_given_and_no_other() {
    let directory = directory(&[("arguments.wat", ARGUMENTS)]);
    let arguments =
        ["run", "--env", "A=1", "--env", "B=two=2", "arguments.wat", "first", "--", "--second", "-t"];
    let output = run(directory.path(), &arguments);
    assert_eq!(text(&output.stdout), "arguments.wat\0first\0--second\0-t\0A=1\0B=two=2\0");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_function_takes_json_and_gives_json() {
    let directory = directory(&[("echo.wat", ECHO), ("input.json", "{\"a\": 1}")]);
    for (input, printed) in [("input.json", "{\"a\": 1}\n"), ("[1,2]", "[1,2]\n")] {
        let output = run(directory.path(), &["run", "--call", "run", "--input", input, "echo.wat"]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), printed));
    }
    let output = run(directory.path(), &["run", "--input", "[1,", "echo.wat"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not JSON"), "{}", text(&output.stderr));
}

#[test]
fn a_deadline_ends_a_program_that_never_ends() {
    let directory = directory(&[("endless.wat", ENDLESS)]);
    let start = Instant::now();
    let output = run(directory.path(), &["run", "--deadline", "0.3", "endless.wat"]);
    assert_eq!(output.status.code(), Some(142), "{}", text(&output.stderr));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(text(&output.stderr).contains("time was over"), "{}", text(&output.stderr));
}

#[test]
fn a_deadline_ends_a_program_that_waits_for_input() {
    let directory = directory(&[("copy.wat", COPY)]);
    let start = Instant::now();
    let mut child = command(directory.path(), &["run", "--deadline", "0.2", "copy.wat"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its input is open until it has ended.
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(142), "{}", text(&output.stderr));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(text(&output.stderr).contains("time was over"), "{}", text(&output.stderr));
}

#[test]
fn fuel_ends_a_program_that_never_ends_at_the_same_place_every_time() {
    let directory = directory(&[("endless.wat", ENDLESS)]);
    let used = || {
        let output = run(directory.path(), &["run", "--json", "--fuel", "12345678", "endless.wat"]);
        assert_eq!(output.status.code(), Some(152));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["fuel_used"].as_u64().unwrap()
    };
    assert_eq!((used(), used()), (12_345_678, 12_345_678));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_program_and_its_log_is_whole() {
    let directory = directory(&[("ready.wat", READY)]);
    let mut child = command(directory.path(), &["run", "--trace", "run.log", "ready.wat"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let output = run(directory.path(), &["replay", "--module", "ready.wat", "run.log"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_program_s_log_is_replayed_without_its_input_and_its_files() {
    let directory = directory(&[("copy.wat", COPY), ("input.txt", "from a file\n")]);
    let arguments = ["run", "--trace", "run.log", "--stdin", "input.txt", "copy.wat"];
    assert_eq!(run(directory.path(), &arguments).status.code(), Some(3));
    fs::remove_file(directory.path().join("input.txt")).unwrap();
    let output = run(directory.path(), &["replay", "--module", "copy.wat", "run.log"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("identical"), "{}", text(&output.stdout));

    // Another program is another module.
    fs::write(directory.path().join("copy.wat"), COPY.replace("(i32.const 3)", "(i32.const 4)")).unwrap();
    let output = run(directory.path(), &["replay", "--module", "copy.wat", "run.log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--module"), "{}", text(&output.stderr));
}

#[test]
fn an_unsigned_module_is_not_run_where_a_signature_is_required() {
    let directory = directory(&[("echo.wat", ECHO)]);
    // The form in which the key files of the signature format begin: one byte for the algorithm.
    let mut key = vec![1];
    key.extend([7; 32]);
    fs::write(directory.path().join("key"), key).unwrap();
    let output = run(directory.path(), &["run", "--require-signed", "key", "echo.wat"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("sign"), "{}", text(&output.stderr));
    fs::write(directory.path().join("key"), b"no key").unwrap();
    let output = run(directory.path(), &["run", "--require-signed", "key", "echo.wat"]);
    assert!(text(&output.stderr).contains("is not a public key"), "{}", text(&output.stderr));
}

#[test]
fn what_is_typed_wrong_is_told() {
    let directory = directory(&[("echo.wat", ECHO), ("bad.wat", "(module (func"), ("text.wat", "hello")]);
    for (arguments, told) in [
        (&["run", "absent.wasm"][..], "cannot be read"),
        (&["run", "bad.wat"], "bad.wat"),
        (&["run", "text.wat"], "not a WebAssembly"),
        (&["run", "--env", "=x", "echo.wat"], "NAME=VALUE"),
        (&["run", "--mount", "absent", "echo.wat"], "absent"),
        (&["run", "--stdin", "absent", "echo.wat"], "absent"),
        (&["run", "--events", "echo.wat", "echo.wat"], "line 1"),
        (&["run", "--call", "other", "echo.wat"], "other"),
        (&["run", "--now", "-5", "echo.wat"], "1970"),
    ] {
        let output = run(directory.path(), arguments);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains(told) && !said.contains("panicked"),
            "{arguments:?}\n{said}"
        );
    }
}

#[test]
fn inspect_says_what_a_module_is_without_running_it() {
    let directory = directory(&[
        ("copy.wat", COPY),
        ("echo.wat", ECHO),
        ("bad.wat", "(module (import \"env\" \"f\" (func)))"),
    ]);
    let inspect = |file: &str| {
        let output = run(directory.path(), &["inspect", "--json", file]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.success(), json)
    };
    let (fine, copy) = inspect("copy.wat");
    assert!(fine);
    assert_eq!(
        (&copy["kind"], &copy["imports"][0]["name"], &copy["imports"][0]["given"]),
        (&"command".into(), &"fd_read".into(), &true.into())
    );
    assert_eq!(copy["memory"]["initial_bytes"], 131_072);
    let (fine, echo) = inspect("echo.wat");
    assert!(fine);
    assert_eq!((&echo["kind"], &echo["exports"][2]["entry"]), (&"entries".into(), &true.into()));
    let (fine, bad) = inspect("bad.wat");
    assert!(!fine && bad["refused"].as_str().unwrap().contains("env.f"), "{bad}");
    let output = run(directory.path(), &["inspect", "copy.wat"]);
    assert!(text(&output.stdout).contains("a program"), "{}", text(&output.stdout));
}
