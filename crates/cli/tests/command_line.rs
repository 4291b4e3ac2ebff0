//! The command line from outside: what a person types, what is printed, the exit code.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

fn glasshouse(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).stdin(Stdio::null()).output().unwrap()
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
    command.current_dir(directory).args(arguments).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
    // Shared by the tests, but not with whoever runs them.
    command.env("GLASSHOUSE_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Succeeds, says nothing on standard error, and gives what it printed.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = glasshouse(directory, arguments);
    assert!(output.status.success(), "{arguments:?}\n{}{}", stdout(&output), stderr(&output));
    assert_eq!(stderr(&output), "", "{arguments:?}");
    stdout(&output)
}

/// Fails with one message, without a panic, and gives the message.
fn refused(directory: &Path, arguments: &[&str]) -> String {
    let output = glasshouse(directory, arguments);
    // 1, or the exit code of a process that was ended.
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| code == 1 || code > 128),
        "{arguments:?}\n{}{}",
        stdout(&output),
        stderr(&output)
    );
    let message = stderr(&output);
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{arguments:?}\n{message}");
    message
}

#[test]
fn the_help_of_every_command_is_as_reviewed() {
    let directory = TempDir::new().unwrap();
    for arguments in [
        &["--help"][..],
        &["ask", "--help"],
        &["run", "--help"],
        &["replay", "--help"],
        &["chat", "--help"],
        &["generate", "--help"],
        &["model", "--help"],
        &["model", "list", "--help"],
        &["model", "pull", "--help"],
        &["guard", "check", "--help"],
        &["web", "--help"],
    ] {
        let name = arguments.join("_").replace("--", "");
        insta::assert_snapshot!(format!("help_{name}"), printed(directory.path(), arguments));
    }
}

#[test]
fn a_calculation_shows_its_steps_and_the_answer() {
    let directory = TempDir::new().unwrap();
    insta::assert_snapshot!("ask_steps", printed(directory.path(), &["ask", "What is 17 * 23?"]));
}

#[test]
fn quiet_prints_only_the_answer_and_takes_the_question_from_standard_input() {
    let directory = TempDir::new().unwrap();
    let mut child = command(directory.path(), &["ask", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"What is 17 * 23?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stdout(&output).lines().count(), 1);
    assert!(stdout(&output).contains("391"));
}

#[test]
fn json_prints_one_object_a_line_and_ends_with_the_outcome() {
    let directory = TempDir::new().unwrap();
    let text = printed(directory.path(), &["ask", "--json", "What is 17 * 23?"]);
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"thought"));
    assert!(kinds.contains(&"call") && kinds.contains(&"observation") && kinds.contains(&"answer"), "{text}");
    let end = events.last().unwrap();
    assert_eq!(end["event"], "end");
    assert!(end["outcome"]["end"]["text"].as_str().unwrap().contains("391"), "{text}");
}

#[test]
fn a_mounted_file_is_read_and_an_unmounted_one_is_not() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("notes")).unwrap();
    fs::write(directory.path().join("notes/todo.txt"), "buy milk\n").unwrap();
    let question = "What does todo.txt say?";
    let mounted = printed(directory.path(), &["ask", "--mount", "notes", question]);
    assert!(
        mounted.contains("read_file {\"path\":\"todo.txt\"}") && mounted.contains("buy milk"),
        "{mounted}"
    );
    let unmounted = printed(directory.path(), &["ask", question]);
    assert!(!unmounted.contains("buy milk") && !unmounted.contains("call"), "{unmounted}");
}

#[test]
fn memory_lasts_in_its_file() {
    let directory = TempDir::new().unwrap();
    printed(directory.path(), &["ask", "--memory", "facts.db", "Remember that the gate code is 4417"]);
    let recalled = printed(directory.path(), &["ask", "--memory", "facts.db", "What is the gate code?"]);
    assert!(recalled.contains("4417"), "{recalled}");
}

#[test]
fn two_recordings_are_identical_and_replay_to_the_same_bytes() {
    let directory = TempDir::new().unwrap();
    let ask =
        |name: &str| printed(directory.path(), &["ask", "--seed", "7", "--trace", name, "What is 17 * 23?"]);
    assert_eq!(ask("a.log"), ask("b.log"));
    let (a, b) = (
        fs::read(directory.path().join("a.log")).unwrap(),
        fs::read(directory.path().join("b.log")).unwrap(),
    );
    assert!(a == b, "two runs with the same seed and question wrote different logs");
    assert!(printed(directory.path(), &["replay", "a.log"]).contains("identical"));
    assert!(printed(directory.path(), &["replay", "--trust-model", "a.log"]).contains("identical"));
}

#[test]
fn several_agents_are_asked_at_once_and_told_of_one_after_another() {
    let directory = TempDir::new().unwrap();
    let questions = ["What is 17 * 23?", "--also", "What is 12 * 34?", "--also", "What is 99 + 1?"];
    let ask = |format: &str, log: &str| {
        let arguments = [&["ask", format, "--trace", log], &questions[..]].concat();
        printed(directory.path(), &arguments)
    };
    assert_eq!(ask("--quiet", "a.log"), "17 * 23 is 391.\n12 * 34 is 408.\n99 + 1 is 100.\n");
    let events = ask("--json", "b.log");
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].to_string())
        .collect();
    let once = ["question", "thought", "call", "observation", "thought", "answer", "end"];
    assert_eq!(kinds, [once; 3].concat().iter().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>());
    let log = |name: &str| fs::read(directory.path().join(name)).unwrap();
    assert!(log("a.log") == log("b.log"), "two runs of the same questions wrote different logs");
    assert!(printed(directory.path(), &["replay", "a.log"]).contains("identical"));
}

#[test]
fn the_clock_is_a_recorded_input() {
    let directory = TempDir::new().unwrap();
    let asked =
        printed(directory.path(), &["ask", "--now", "1700000000", "--trace", "a.log", "What time is it?"]);
    assert!(asked.contains("2023-11-14 22:13:20 UTC, Tuesday"), "{asked}");
    assert!(printed(directory.path(), &["replay", "a.log"]).contains("identical"));
}

#[test]
fn a_damaged_log_is_refused_with_the_position() {
    let directory = TempDir::new().unwrap();
    printed(directory.path(), &["ask", "--trace", "a.log", "What is 17 * 23?"]);
    let whole = fs::read(directory.path().join("a.log")).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1], &whole[..middle], &whole[..3], b"", b"not a log"]
    {
        fs::write(directory.path().join("damaged.log"), damaged).unwrap();
        let message = refused(directory.path(), &["replay", "damaged.log"]);
        assert!(message.contains("byte") || message.contains("position"), "{message}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_a_way_out() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    fs::write(at.join("text.gguf"), "this is not a model").unwrap();
    fs::write(at.join("text.wasm"), "this is not a module").unwrap();
    let long = "word ".repeat(20_000);
    for (name, arguments) in [
        ("empty_question", &["ask", ""][..]),
        ("blank_question", &["ask", "  \n "]),
        ("long_question", &["ask", &long]),
        ("absent_model", &["ask", "--model", "absent.gguf", "hi"]),
        ("not_a_model", &["ask", "--model", "text.gguf", "hi"]),
        ("absent_mount", &["ask", "--mount", "absent", "hi"]),
        ("memory_is_no_database", &["ask", "--memory", "text.gguf", "hi"]),
        ("absent_tool", &["ask", "--tool", "absent.wasm", "hi"]),
        ("tool_is_no_module", &["ask", "--tool", "text.wasm", "hi"]),
        ("module_is_no_module", &["run", "text.wasm"]),
        ("trace_in_absent_folder", &["ask", "--trace", "absent/a.log", "hi"]),
        ("no_fuel", &["ask", "--fuel", "1000", "What is 17 * 23?"]),
        ("one_step", &["ask", "--max-steps", "1", "What is 17 * 23?"]),
        ("few_tokens", &["ask", "--max-tokens", "3", "What is 17 * 23?"]),
        ("bad_temperature", &["ask", "--temperature", "-1", "What is 17 * 23?"]),
    ] {
        insta::assert_snapshot!(format!("refused_{name}"), refused(at, arguments));
    }
}

/// A module with what the sandbox expects of a guest, around the given functions.
#[test]
fn compiled_modules_are_kept_where_the_variable_says_unless_it_turns_that_off() {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("guest.wasm"),
        guest(r#"(func (export "run") (param i32 i32) (result i64) i64.const 0)"#),
    )
    .unwrap();
    let run = |cache: &str| {
        let mut command = command(directory.path(), &["run", "guest.wasm"]);
        let output = command.env("GLASSHOUSE_CACHE", cache).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let files = || {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = files();
    let first = run("off");
    assert_eq!(run(""), first);
    assert_eq!(files(), before);
    let modules = directory.path().join("kept/modules");
    let kept = || {
        let entries = fs::read_dir(&modules).unwrap();
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some());
        files.map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(run("kept/modules"), first);
        assert_eq!(kept().len(), 1);
    }
    // Not a module any more: it is compiled again and written anew.
    let (path, length) = kept().remove(0);
    fs::write(&path, b"\x7fELF").unwrap();
    assert_eq!(run("kept/modules"), first);
    assert_eq!(kept(), [(path, length)]);
    // A place that cannot be one is no reason to fail.
    assert_eq!(run("guest.wasm"), first);
}

fn guest(functions: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {functions}
            (memory (export "memory") 1)
            (func (export "gh_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "gh_resume") (param i32 i32) (result i64) (i64.const 0)))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_module_that_misbehaves_ends_in_one_clear_message() {
    let directory = TempDir::new().unwrap();
    let run = |body: &str| format!(r#"(func (export "run") (param i32 i32) (result i64) {body})"#);
    for (name, functions) in [
        ("imports_what_is_not_granted", r#"(import "env" "system" (func (param i32)))"#.to_owned()),
        ("imports_from_wasi", r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#.to_owned()),
        ("loops_forever", run("(loop (br 0)) (i64.const 0)")),
        ("grows_without_end", run("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable")),
        ("recurses_without_end", r#"(func $run (export "run") (param i32 i32) (result i64) (call $run (i32.const 0) (i32.const 0)))"#.to_owned()),
        ("returns_a_malformed_envelope", run("(i64.const 0x0000000000000010)")),
        ("returns_a_place_outside_of_memory", run("(i64.const 0x7fffffff00000010)")),
        ("panics", run("unreachable")),
        ("has_no_entry", String::new()),
    ] {
        let file = format!("{name}.wasm");
        fs::write(directory.path().join(&file), guest(&functions)).unwrap();
        insta::assert_snapshot!(format!("module_{name}"), refused(directory.path(), &["run", &file]));
    }
}

#[test]
fn a_recorded_failure_replays_as_well() {
    let directory = TempDir::new().unwrap();
    let looping = r#"(func (export "run") (param i32 i32) (result i64) (loop (br 0)) (i64.const 0))"#;
    fs::write(directory.path().join("loop.wasm"), guest(looping)).unwrap();
    refused(directory.path(), &["run", "loop.wasm", "--fuel", "5000", "--trace", "a.log"]);
    assert!(printed(directory.path(), &["replay", "a.log", "--module", "loop.wasm"]).contains("identical"));
    assert!(refused(directory.path(), &["replay", "a.log"]).contains("--module"));
}

#[test]
fn standard_input_that_is_not_utf_8_is_refused() {
    let directory = TempDir::new().unwrap();
    let mut child = command(directory.path(), &["ask"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"What is \xff\xfe?").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: the question on standard input is not UTF-8 text (byte 8); convert it first\n"
    );
}
