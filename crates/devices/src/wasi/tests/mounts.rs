use alloc::{boxed::Box, collections::BTreeMap, format, string::String};

use super::*;
use crate::{FileAnswer, FileError, FileKind, FileRequest, HOST_MODULE, Host, HostAnswer};

/// A host with one file, `file`, in its directory `shared`, standard input, and a function.
#[derive(Default)]
struct Small {
    content: Vec<u8>,
    handles: BTreeMap<u32, String>,
}

impl Host for Small {
    fn read_stdin(&mut self, limit: u32) -> Vec<u8> {
        b"from the host"[..limit.min(13) as usize].to_vec()
    }

    fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
        (name == "double").then(|| input.repeat(2))
    }

    fn file(&mut self, request: FileRequest<'_>) -> Result<FileAnswer, FileError> {
        match request {
            FileRequest::Mount { handle, name: "shared" } => {
                self.handles.insert(handle, String::new());
                Ok(FileAnswer::Opened(FileKind::Directory))
            }
            FileRequest::Open { handle, path: "file", .. } => {
                self.handles.insert(handle, "file".into());
                Ok(FileAnswer::Opened(FileKind::Regular))
            }
            FileRequest::Read { offset, limit, .. } => {
                let content = self.content.iter().skip(offset as usize).take(limit as usize);
                Ok(FileAnswer::Bytes(content.copied().collect()))
            }
            FileRequest::Append { bytes, .. } => {
                self.content.extend_from_slice(bytes);
                Ok(FileAnswer::Position(self.content.len() as u64))
            }
            FileRequest::Close { handle } => {
                self.handles.remove(&handle).map(|_| FileAnswer::Done).ok_or(FileError::Invalid)
            }
            FileRequest::Sync { .. } => Ok(FileAnswer::Done),
            // An answer that does not fit.
            FileRequest::Metadata { .. } => Ok(FileAnswer::Done),
            _ => Err(FileError::NotFound),
        }
    }
}

fn mounted(writable: bool) -> Program {
    let mut context = Context::new(0, [0; 32]);
    context.preopen_mount("/shared", "shared", writable).unwrap();
    Program::with(context)
}

/// What the programs below do.
fn work(program: &mut Program) -> Vec<Answer<Vec<u8>>> {
    let file = program.open_with(3, "file", 0, [FILE, 0], 1).unwrap();
    program.write(file, b"hello").unwrap();
    program.seek(file, 1, 0).unwrap();
    let opened = program.open("other", 0).map(|_| Vec::new());
    let metadata = program.call("fd_filestat_get", &[file, DATA]).map(|()| Vec::new());
    let read = program.read(file, 10);
    program.call("fd_close", &[file]).unwrap();
    Vec::from([read, opened, metadata, program.read(0, 4)])
}

#[test]
fn a_mounted_file_is_used_and_replayed_without_the_host() {
    let mut program = mounted(true);
    program.context.attach(Box::new(Small::default()));
    let done = work(&mut program);
    let errors = [Err(errno(Errno::NotFound)), Err(errno(Errno::InputOutput))];
    let [read, opened, metadata, stdin] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!((read, stdin), (&Ok(b"ello".to_vec()), &Ok(b"from".to_vec())));
    assert_eq!([opened, metadata], errors.each_ref());
    let report = program.context.take_report();
    assert_eq!(report.files.mounted_writes.hash, *blake3::hash(b"hello").as_bytes());

    let mut replayed = mounted(true);
    replayed.context.replay(report.answers.clone());
    assert_eq!(work(&mut replayed), done);
    assert_eq!(replayed.context.answers_left(), 0);
    assert_eq!(replayed.context.take_report(), report);
    assert_eq!(
        replayed.stop("fd_read", &[0, OTHER, 0, RESULT]),
        Ok(0),
        "nothing is asked where nothing is wanted"
    );
}

#[test]
fn a_read_only_mount_is_not_changed() {
    let mut program = mounted(false);
    program.context.attach(Box::new(Small::default()));
    let refused = Err(errno(Errno::ReadOnly));
    assert_eq!(program.open("file", 0), refused);
    assert_eq!(program.open_with(3, "file", TRUNCATE, [2, 0], 0), refused);
    assert_eq!(program.open_with(3, "new", CREATE, [2, 0], 0), refused);
    assert!(program.open_with(3, "file", CREATE, [2, 0], 0).is_ok());
    assert_eq!(program.path("path_create_directory", "d"), refused.map(|_: u64| ()));
    assert_eq!(program.rename("file", "other"), refused.map(|_: u64| ()));
    assert_eq!(program.symlink("file", "other"), refused.map(|_: u64| ()));
}

#[test]
fn without_a_host_a_mount_is_not_there() {
    let mut program = mounted(true);
    assert_eq!(program.open("file", 0), Err(errno(Errno::NotFound)));
    assert_eq!(program.read(0, 10), Ok(Vec::new()));
    assert!(program.context.take_report().answers.is_empty());
}

#[test]
fn a_restored_process_opens_its_mounted_files_again() {
    let mut program = mounted(true);
    program.context.attach(Box::new(Small { content: b"content".to_vec(), ..Small::default() }));
    let file = program.open("file", 0).unwrap();
    program.read(file, 3).unwrap();
    let mut restored = Program::with(Context::new(0, [0; 32]));
    restored.context.restore_files(&program.context.save_files()).unwrap();
    restored.context.attach(Box::new(Small { content: b"content".to_vec(), ..Small::default() }));
    assert_eq!(restored.read(file, 100), Ok(b"tent".to_vec()));
    assert_eq!(restored.call("fd_close", &[file]), Ok(()));
}

#[test]
fn extra_functions_are_called_by_name_and_their_answers_taken_once() {
    let mut program = Program::new();
    program.context.attach(Box::new(Small::default()));
    let function = find(HOST_MODULE, "double").unwrap();
    program.put(DATA, b"abc");
    let mut call = |name: &str| {
        Call::run_named(function, name, &[DATA, 3], &mut program.memory, &mut program.context).unwrap()
    };
    assert_eq!(call("double"), 6);
    let take = find(crate::MODULE, "take_answer").unwrap();
    Call::run(take, &[OTHER, 6], &mut program.memory, &mut program.context).unwrap();
    assert_eq!(program.bytes(OTHER, 6), b"abcabc");
    let again = Call::run(take, &[OTHER, 6], &mut program.memory, &mut program.context);
    assert!(matches!(again, Err(Stop::Misused(_))), "{again:?}");
    assert_eq!(program.context.take_report().answers, [HostAnswer::Called(b"abcabc".to_vec())]);
    let mut call = |name: &str| {
        Call::run_named(function, name, &[DATA, 3], &mut program.memory, &mut program.context).unwrap()
    };
    let length = call("triple");
    Call::run(take, &[OTHER, length], &mut program.memory, &mut program.context).unwrap();
    let answer = program.bytes(OTHER, length);
    assert!(String::from_utf8_lossy(&answer).contains("unknown_host_function"), "{}", format!("{answer:?}"));
}
