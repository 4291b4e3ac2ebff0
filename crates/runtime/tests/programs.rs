//! Ordinary programs for `wasm32-wasip1` run as processes, in memory and on directories of the host, as they run natively.

use std::{
    fs,
    io::{self, Cursor, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use glasshouse_devices::{
    Context, Host, HostAnswer, OutputStream, StepCall, StepOutcome, StepReport, TrapKind,
};
use glasshouse_engine::{HostMachine, Instance, InstanceLimits, Machine};
use glasshouse_runtime::NativeHost;

const TARGET: &str = "wasm32-wasip1";
const FUEL: u64 = 10_000_000_000;
/// When the processes begin: nanoseconds since 1970.
const BEGAN: u64 = 1_700_000_000_000_000_000;

/// What the line editor is told: everything that one does with files.
const SCRIPT: &str = "\
open missing
append one
append two
insert 1 between
save notes.txt
print
copy copy.txt
log four
tail 6
cut 7
open notes.txt
print
directory deep/er
move deep/er/moved.txt
open deep/er/moved.txt
replace one eins
save deep/er/moved.txt
save deep
open deep
remove deep
remove nothing
delete 9
directory copy.txt
move copy.txt/impossible
list .
list copy.txt
unknown
quit 7
never reached
";

static PROGRAMS: LazyLock<[PathBuf; 2]> =
    LazyLock::new(|| [build(&["--target", TARGET], TARGET), build(&[], "")]);

/// Builds the programs, for a target or for this machine; where they are.
fn build(options: &[&str], folder: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasi-programs");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "wasi-examples"]);
    cargo.args(options).arg("--target-dir").arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What applies to the host build must not leak into this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "the programs do not build; is the target {TARGET} installed?");
    target.join(folder).join("release")
}

/// A process that runs a program.
fn run(program: &str, context: &mut Context) -> StepReport {
    static MACHINE: LazyLock<HostMachine> = LazyLock::new(|| HostMachine::new().expect("the engine starts"));
    let bytes = fs::read(PROGRAMS[0].join(program).with_extension("wasm")).expect("the program was built");
    let module = MACHINE.compile(&bytes).expect("the program compiles");
    let mut instance =
        MACHINE.instantiate(&module, InstanceLimits::default()).expect("the program is instantiated");
    instance.step(&StepCall::Start { entry: "_start".into(), input: Vec::new() }, context, FUEL)
}

fn context(seed: u8, arguments: &[&str]) -> Context {
    let mut context = Context::new(0, [seed; 32]);
    context.set_clock_epoch(BEGAN);
    context.set_arguments(arguments);
    context
}

/// A host with this directory and this input.
fn host(directory: &Path, input: &'static str) -> Box<dyn Host + Send> {
    let mut host = NativeHost::new().with_stdin(Box::new(Cursor::new(input)));
    host.mount("directory", directory, true).expect("the directory can be mounted");
    Box::new(host)
}

fn code(report: &StepReport) -> u32 {
    match &report.outcome {
        StepOutcome::Exited { code } => *code,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&report.devices.error.kept)),
    }
}

/// All files below a directory: paths and contents.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push((path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_editor_works_in_memory_and_on_a_directory_as_it_does_natively() {
    let natively = tempfile::tempdir().unwrap();
    let mut native = Command::new(PROGRAMS[1].join("editor"))
        .arg(natively.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    native.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
    let native = native.wait_with_output().unwrap();
    let expected = String::from_utf8(native.stdout).unwrap();

    let mut tree = context(0, &["editor", "/files"]);
    tree.preopen_tree("/files", "/").unwrap();
    tree.push_stdin(SCRIPT.as_bytes()).unwrap();
    let in_memory = run("editor", &mut tree);

    let mounted = tempfile::tempdir().unwrap();
    let mut on_host = context(0, &["editor", "/files"]);
    on_host.attach(host(mounted.path(), SCRIPT));
    on_host.preopen_mount("/files", "directory", true).unwrap();
    let on_host = run("editor", &mut on_host);

    assert_eq!(String::from_utf8_lossy(&in_memory.devices.output.kept), expected);
    assert_eq!(String::from_utf8_lossy(&on_host.devices.output.kept), expected);
    assert_eq!([code(&in_memory) as i32, code(&on_host) as i32], [native.status.code().unwrap(); 2]);
    let files = contents(natively.path());
    assert_eq!(contents(mounted.path()), files);
    assert!(files.len() >= 3, "{files:?}");
    for (path, content) in files {
        assert_eq!(tree.read_file(path.to_str().unwrap()), Ok(content.as_slice()), "{}", path.display());
    }
}

#[test]
fn a_run_on_a_directory_is_replayed_without_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes.txt"), "from before\n").unwrap();
    let replayed = |attach: &dyn Fn(&mut Context)| {
        let mut context = context(0, &["editor", "/files"]);
        context.preopen_mount("/files", "directory", true).unwrap();
        attach(&mut context);
        (run("editor", &mut context), context.answers_left())
    };
    let (recorded, _) = replayed(&|context| context.attach(host(directory.path(), SCRIPT)));
    let answers = &recorded.devices.answers;
    assert!(answers.iter().any(|answer| matches!(answer, HostAnswer::File(Ok(_)))));
    let written = contents(directory.path());
    directory.close().unwrap();
    assert_eq!(replayed(&|context| context.replay(answers.clone())), (recorded.clone(), 0));
    assert!(!written.is_empty());

    // An answer less: the step is stopped, and says why.
    let (short, _) = replayed(&|context| context.replay(answers[..answers.len() - 1].to_vec()));
    let StepOutcome::Trapped { kind: TrapKind::DeviceFailure, message } = short.outcome else {
        panic!("{:?}", short.outcome)
    };
    assert_eq!(message, "the step asked its host for more than the recording holds");
}

#[test]
fn a_read_only_directory_is_read_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes.txt"), "from before\n").unwrap();
    let mut context = context(0, &["editor", "/files"]);
    let script =
        "open notes.txt\nprint\nsave notes.txt\nlog more\ncut 1\nremove notes.txt\nmove other\ndirectory d\n";
    let mut host = NativeHost::new().with_stdin(Box::new(Cursor::new(script)));
    host.mount("directory", directory.path(), false).unwrap();
    context.attach(Box::new(host));
    context.preopen_mount("/files", "directory", false).unwrap();
    let report = run("editor", &mut context);
    assert_eq!(code(&report), 0);
    let refused = ["save", "log", "cut", "remove", "move", "directory"]
        .map(|name| format!("{name}: ReadOnlyFilesystem\n"));
    let expected = format!("from before\n{}", refused.concat());
    assert_eq!(String::from_utf8_lossy(&report.devices.output.kept), expected);
    assert_eq!(contents(directory.path()), [("notes.txt".into(), b"from before\n".to_vec())]);
}

#[test]
fn a_program_sees_what_it_was_given_and_time_passes_as_it_sleeps_and_looks() {
    let surroundings = |seed| {
        let mut context = context(seed, &["surroundings", "42", "/many"]);
        context.set_environment([("GH_A", "eins"), ("GH_B", "zwei = 2"), ("OTHER", "x")]);
        context.preopen_tree("/many", "/").unwrap();
        run("surroundings", &mut context)
    };
    let report = surroundings(1);
    assert_eq!(code(&report), 42);
    assert_eq!(
        String::from_utf8_lossy(&report.devices.output.kept),
        "arguments [\"42\", \"/many\"]\n\
         environment [(\"GH_A\", \"eins\"), (\"GH_B\", \"zwei = 2\")]\n\
         slept true\nfiles 1000, then 500\n"
    );
    let error = String::from_utf8_lossy(&report.devices.error.kept).into_owned();
    // It slept for a second and a half, and had read the clock twice.
    assert!(error.starts_with(&format!("now {}\n", BEGAN + 1_500_002_000)), "{error}");
    assert_eq!(surroundings(1), report);
    assert_ne!(surroundings(2).devices.error, report.devices.error);
}

#[test]
fn a_program_ends_as_it_says() {
    assert_eq!(code(&run("surroundings", &mut context(0, &["surroundings"]))), 0);
    assert_eq!(code(&run("surroundings", &mut context(0, &["surroundings", "overflow"]))), 300);
    for (argument, said) in [("panic", "as asked"), ("abort", "")] {
        let report = run("surroundings", &mut context(0, &["surroundings", argument]));
        assert!(
            matches!(report.outcome, StepOutcome::Trapped { kind: TrapKind::Unreachable, .. }),
            "{:?}",
            report.outcome
        );
        assert!(String::from_utf8_lossy(&report.devices.error.kept).contains(said));
    }
}

#[test]
fn a_reader_that_has_gone_is_told_once_and_does_not_disturb_the_program() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let times = Arc::new(AtomicU32::new(0));
    let counter = times.clone();
    let mut host = NativeHost::new().with_output(OutputStream::Output, Box::new(Gone));
    host.on_broken_pipe(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut context = context(0, &["surroundings"]);
    context.attach(Box::new(host));
    let report = run("surroundings", &mut context);
    assert_eq!((code(&report), times.load(Ordering::Relaxed)), (0, 1));
    assert!(report.devices.output.total > 0);
}
