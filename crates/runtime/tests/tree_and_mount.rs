//! The in-memory tree of a process behaves as a directory of the host does: whatever a program does through WASI gives
//! the same answers in both.

use std::path::Path;

use glasshouse_devices::{Call, Context, Guest, Stop, WASI_MODULE, find};
use glasshouse_runtime::NativeHost;
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, RngSeed},
};

const ALL_RIGHTS: u64 = (1 << 28) - 1;
/// Rights of what is opened to be read, and to be written.
const READ: u64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 14 | 1 << 21;
const WRITE: u64 = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 21 | 1 << 22;

/// Where in the guest's memory paths, buffers and results lie.
const PATH: u64 = 0x100;
const OTHER_PATH: u64 = 0x2100;
const BUFFERS: u64 = 0x40;
const DATA: u64 = 0x5000;
const RESULT: u64 = 0x10;

struct Memory(Vec<u8>);

impl Guest for Memory {
    fn memory_size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[start..start + bytes.len()]);
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn pay(&mut self, _: u64) -> Result<(), Stop> {
        Ok(())
    }
}

/// A process whose directory 3 is `/`.
struct Process {
    memory: Memory,
    context: Context,
    opened: Vec<u32>,
}

/// What an operation gave: its error number, and what else is the same on both sides.
type Answer = (u64, Vec<u8>);

impl Process {
    fn with_tree() -> Self {
        let mut context = Context::new(0, [0; 32]);
        context.preopen_tree("/", "/").unwrap();
        Self::new(context)
    }

    fn with_mount(directory: &Path) -> Self {
        let mut host = NativeHost::new();
        host.mount("root", directory, true).unwrap();
        let mut context = Context::new(0, [0; 32]);
        context.attach(Box::new(host));
        context.preopen_mount("/", "root", true).unwrap();
        Self::new(context)
    }

    fn new(context: Context) -> Self {
        Self { memory: Memory(vec![0; 0x10000]), context, opened: vec![3] }
    }

    fn call(&mut self, name: &str, arguments: &[u64]) -> u64 {
        let function = find(WASI_MODULE, name).unwrap();
        assert_eq!(function.parameters.len(), arguments.len(), "{name}");
        Call::run(function, arguments, &mut self.memory, &mut self.context).unwrap()
    }

    fn put(&mut self, place: u64, bytes: &[u8]) -> [u64; 2] {
        self.memory.write(place as usize, bytes);
        [place, bytes.len() as u64]
    }

    fn bytes(&self, place: u64, length: usize) -> Vec<u8> {
        self.memory.0[place as usize..place as usize + length].to_vec()
    }

    fn number(&self, place: u64) -> u32 {
        u32::from_le_bytes(self.bytes(place, 4).try_into().unwrap())
    }

    /// One buffer of this length in the data area.
    fn buffer(&mut self, length: u32) -> [u64; 2] {
        let record = [(DATA as u32).to_le_bytes(), length.to_le_bytes()].concat();
        self.put(BUFFERS, &record);
        [BUFFERS, 1]
    }

    fn descriptor(&self, index: usize) -> u64 {
        self.opened[index % self.opened.len()].into()
    }

    /// Size, kind and names of a file; of a directory its kind alone, since file systems count differently.
    fn stat(&self, errno: u64) -> Answer {
        if errno != 0 {
            return (errno, Vec::new());
        }
        let record = self.bytes(DATA, 64);
        let kind = record[16];
        (0, if kind == 3 { vec![kind] } else { [&record[16..17], &record[24..40]].concat() })
    }

    fn perform(&mut self, operation: &Operation) -> Answer {
        let plain = |errno| (errno, Vec::new());
        match operation {
            Operation::Open { base, path, follow, how, rights, flags } => {
                let [path, length] = self.put(PATH, path.as_bytes());
                let base = self.descriptor(*base);
                let arguments =
                    [base, u64::from(*follow), path, length, u64::from(*how), *rights, ALL_RIGHTS, *flags];
                let errno = self.call("path_open", &[arguments.as_slice(), &[RESULT]].concat());
                if errno != 0 {
                    return plain(errno);
                }
                let opened = self.number(RESULT);
                self.opened.push(opened);
                (0, opened.to_le_bytes().to_vec())
            }
            Operation::Close(fd) => {
                let number = self.descriptor(*fd);
                // The root stays, so that there is always something to begin with.
                if number == 3 {
                    return plain(0);
                }
                self.opened.retain(|open| u64::from(*open) != number);
                plain(self.call("fd_close", &[number]))
            }
            Operation::Read(fd, length, offset) => {
                self.memory.0[DATA as usize..].fill(0);
                let [buffers, count] = self.buffer(*length);
                let fd = self.descriptor(*fd);
                let errno = match offset {
                    None => self.call("fd_read", &[fd, buffers, count, RESULT]),
                    Some(offset) => self.call("fd_pread", &[fd, buffers, count, *offset, RESULT]),
                };
                if errno != 0 {
                    return plain(errno);
                }
                let read = self.number(RESULT);
                (0, [self.bytes(DATA, *length as usize), read.to_le_bytes().to_vec()].concat())
            }
            Operation::Write(fd, bytes, offset) => {
                self.put(DATA, bytes);
                let [buffers, count] = self.buffer(bytes.len() as u32);
                let fd = self.descriptor(*fd);
                let errno = match offset {
                    None => self.call("fd_write", &[fd, buffers, count, RESULT]),
                    Some(offset) => self.call("fd_pwrite", &[fd, buffers, count, *offset, RESULT]),
                };
                (errno, if errno == 0 { self.bytes(RESULT, 4) } else { Vec::new() })
            }
            Operation::Seek(fd, distance, whence) => {
                let fd = self.descriptor(*fd);
                let errno = self.call("fd_seek", &[fd, distance.cast_unsigned(), u64::from(*whence), RESULT]);
                (errno, if errno == 0 { self.bytes(RESULT, 8) } else { Vec::new() })
            }
            Operation::SetSize(fd, size) => {
                let fd = self.descriptor(*fd);
                plain(self.call("fd_filestat_set_size", &[fd, *size]))
            }
            Operation::Allocate(fd, offset, length) => {
                let fd = self.descriptor(*fd);
                plain(self.call("fd_allocate", &[fd, *offset, *length]))
            }
            Operation::DescriptorStat(fd) => {
                let fd = self.descriptor(*fd);
                let errno = self.call("fd_filestat_get", &[fd, DATA]);
                self.stat(errno)
            }
            Operation::Stat(path, follow) => {
                let [path, length] = self.put(PATH, path.as_bytes());
                let errno = self.call("path_filestat_get", &[3, u64::from(*follow), path, length, DATA]);
                self.stat(errno)
            }
            Operation::CreateDirectory(path) => self.with_path("path_create_directory", path),
            Operation::RemoveDirectory(path) => self.with_path("path_remove_directory", path),
            Operation::Unlink(path) => self.with_path("path_unlink_file", path),
            Operation::Rename(path, to) => {
                let [path, length] = self.put(PATH, path.as_bytes());
                let [to, to_length] = self.put(OTHER_PATH, to.as_bytes());
                plain(self.call("path_rename", &[3, path, length, 3, to, to_length]))
            }
            Operation::Link(path, to) => {
                let [path, length] = self.put(PATH, path.as_bytes());
                let [to, to_length] = self.put(OTHER_PATH, to.as_bytes());
                plain(self.call("path_link", &[3, 0, path, length, 3, to, to_length]))
            }
            Operation::SymbolicLink(target, path) => {
                let [target, target_length] = self.put(OTHER_PATH, target.as_bytes());
                let [path, length] = self.put(PATH, path.as_bytes());
                plain(self.call("path_symlink", &[target, target_length, 3, path, length]))
            }
            Operation::ReadLink(path) => {
                let [path, length] = self.put(PATH, path.as_bytes());
                let errno = self.call("path_readlink", &[3, path, length, DATA, 100, RESULT]);
                let target = if errno == 0 { self.number(RESULT) as usize } else { 0 };
                (errno, self.bytes(DATA, target))
            }
            Operation::List(fd) => {
                let fd = self.descriptor(*fd);
                let errno = self.call("fd_readdir", &[fd, DATA, 0x8000, 0, RESULT]);
                if errno != 0 {
                    return plain(errno);
                }
                let mut entries = Vec::new();
                let mut rest = self.bytes(DATA, self.number(RESULT) as usize);
                while !rest.is_empty() {
                    let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                    let entry: Vec<u8> = rest.drain(..24 + length).collect();
                    entries.push([&entry[24..], &entry[20..21]].concat());
                }
                entries.sort();
                (0, entries.concat())
            }
        }
    }

    fn with_path(&mut self, function: &str, path: &str) -> Answer {
        let [path, length] = self.put(PATH, path.as_bytes());
        (self.call(function, &[3, path, length]), Vec::new())
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Open { base: usize, path: String, follow: bool, how: u16, rights: u64, flags: u64 },
    Close(usize),
    Read(usize, u32, Option<u64>),
    Write(usize, Vec<u8>, Option<u64>),
    Seek(usize, i64, u32),
    SetSize(usize, u64),
    Allocate(usize, u64, u64),
    DescriptorStat(usize),
    Stat(String, bool),
    CreateDirectory(String),
    RemoveDirectory(String),
    Unlink(String),
    Rename(String, String),
    Link(String, String),
    SymbolicLink(String, String),
    ReadLink(String),
    List(usize),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![5 => Just("a"), 5 => Just("b"), 2 => Just("c"), 1 => Just(".."), 1 => Just(".")];
    let end = prop_oneof![8 => Just(""), 1 => Just("/"), 1 => Just("/.")];
    (proptest::collection::vec(name, 1..4), end).prop_map(|(names, end)| names.join("/") + end)
}

/// A path with nothing behind its last name. Where two paths are wrong at once, systems differ in which they complain of
/// first, and mostly about what stands at their ends.
fn plain_path() -> impl Strategy<Value = String> {
    path().prop_map(|path| match path.trim_end_matches(['/', '.']) {
        "" => "a".to_owned(),
        path => path.to_owned(),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let rights = prop_oneof![Just(READ), Just(WRITE), Just(READ | WRITE), Just(0)];
    let offset = prop_oneof![Just(None), (0..40_u64).prop_map(Some)];
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    let fd = || 0..8_usize;
    prop_oneof![
        6 => (fd(), path(), any::<bool>(), 0..16_u16, rights, prop_oneof![Just(0), Just(1_u64)]).prop_map(
            |(base, path, follow, how, rights, flags)| Open { base, path, follow, how, rights, flags }
        ),
        2 => fd().prop_map(Close),
        2 => (fd(), 0..40_u32, offset.clone()).prop_map(|(fd, length, offset)| Read(fd, length, offset)),
        3 => (fd(), bytes, offset).prop_map(|(fd, bytes, offset)| Write(fd, bytes, offset)),
        1 => (fd(), -20..60_i64, 0..4_u32).prop_map(|(fd, distance, whence)| Seek(fd, distance, whence)),
        1 => (fd(), 0..60_u64).prop_map(|(fd, size)| SetSize(fd, size)),
        1 => (fd(), 0..60_u64, 0..60_u64).prop_map(|(fd, offset, length)| Allocate(fd, offset, length)),
        1 => fd().prop_map(DescriptorStat),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Stat(path, follow)),
        3 => path().prop_map(CreateDirectory),
        1 => path().prop_map(RemoveDirectory),
        1 => plain_path().prop_map(Unlink),
        3 => (plain_path(), plain_path()).prop_map(|(path, to)| Rename(path, to)),
        2 => (plain_path(), plain_path()).prop_map(|(path, to)| Link(path, to)),
        2 => (plain_path(), plain_path()).prop_map(|(target, path)| SymbolicLink(target, path)),
        1 => path().prop_map(ReadLink),
        1 => fd().prop_map(List),
    ]
}

fn config() -> Config {
    let failures = FileFailurePersistence::Direct("tests/tree_and_mount.regressions");
    // Always the same cases: what fails once fails again.
    Config {
        cases: 4000,
        failure_persistence: Some(Box::new(failures)),
        rng_seed: RngSeed::Fixed(1),
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_tree_and_a_mounted_directory_answer_alike(
        operations in proptest::collection::vec(operation(), 1..40)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut mounted = Process::with_mount(directory.path());
        let mut tree = Process::with_tree();
        for (number, operation) in operations.iter().enumerate() {
            let on_host = mounted.perform(operation);
            let in_tree = tree.perform(operation);
            prop_assert_eq!(&in_tree, &on_host, "tree, then host, at operation {}: {:?}", number, operation);
        }
    }
}
