//! Programs of a few calls, against the functions of the table.

mod mounts;
mod paths;
mod rights;
mod table;
mod transfers;
mod waiting;

use alloc::{vec, vec::Vec};

use super::{Errno, WASI_MODULE};
use crate::{Call, Context, Guest, Stop, find};

/// What a path or buffer is put at, and where results go.
const PATH: u64 = 0x100;
const OTHER: u64 = 0x1100;
const DATA: u64 = 0x4000;
const RESULT: u64 = 0x10;

const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCLUSIVE: u64 = 4;
const TRUNCATE: u64 = 8;
/// Every right that is passed on by a preopened directory.
const ALL: u64 = (1 << 28) - 1;
/// To read, write, seek and the like.
const FILE: u64 = 0b1111_1111 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 27 | 1 << 8;

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

/// A program with 64 KiB of memory, whose directory 3 is the root of its tree.
struct Program {
    memory: Memory,
    context: Context,
}

type Answer<T> = Result<T, u64>;

/// Name, kind and cookie of a directory's entry.
type Entry = (Vec<u8>, u8, u64);

fn errno(errno: Errno) -> u64 {
    errno as u64
}

impl Program {
    fn new() -> Self {
        let mut context = Context::new(1_000, [7; 32]);
        context.preopen_tree("/", "/").unwrap();
        Self::with(context)
    }

    fn with(context: Context) -> Self {
        Self { memory: Memory(vec![0; 0x10000]), context }
    }

    /// A function's error number, or why it does not return.
    fn stop(&mut self, name: &str, arguments: &[u64]) -> Result<u64, Stop> {
        let function = find(WASI_MODULE, name).unwrap();
        assert_eq!(function.parameters.len(), arguments.len(), "{name}");
        Call::run(function, arguments, &mut self.memory, &mut self.context)
    }

    fn call(&mut self, name: &str, arguments: &[u64]) -> Answer<()> {
        match self.stop(name, arguments).unwrap() {
            0 => Ok(()),
            errno => Err(errno),
        }
    }

    fn put(&mut self, place: u64, bytes: &[u8]) -> [u64; 2] {
        self.memory.write(place as usize, bytes);
        [place, bytes.len() as u64]
    }

    fn bytes(&self, place: u64, length: u64) -> Vec<u8> {
        self.memory.0[place as usize..(place + length) as usize].to_vec()
    }

    fn u32(&self, place: u64) -> u64 {
        u32::from_le_bytes(self.bytes(place, 4).try_into().unwrap()).into()
    }

    fn u64(&self, place: u64) -> u64 {
        u64::from_le_bytes(self.bytes(place, 8).try_into().unwrap())
    }

    /// A function of a directory and a path.
    fn path(&mut self, name: &str, path: &str) -> Answer<()> {
        let [path, length] = self.put(PATH, path.as_bytes());
        self.call(name, &[3, path, length])
    }

    fn open_with(&mut self, base: u64, path: &str, how: u64, rights: [u64; 2], flags: u64) -> Answer<u64> {
        let [path, length] = self.put(PATH, path.as_bytes());
        self.call("path_open", &[base, 1, path, length, how, rights[0], rights[1], flags, RESULT])?;
        Ok(self.u32(RESULT))
    }

    fn open(&mut self, path: &str, how: u64) -> Answer<u64> {
        let rights = if how & DIRECTORY == 0 { [FILE, 0] } else { [ALL & !FILE | 1 << 21, ALL] };
        self.open_with(3, path, how, rights, 0)
    }

    fn write(&mut self, fd: u64, bytes: &[u8]) -> Answer<u64> {
        self.put(DATA, bytes);
        let record = [DATA as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let [buffers, _] = self.put(OTHER, &record);
        self.call("fd_write", &[fd, buffers, 1, RESULT])?;
        Ok(self.u32(RESULT))
    }

    fn read(&mut self, fd: u64, length: u32) -> Answer<Vec<u8>> {
        let record = [DATA as u32, length].map(u32::to_le_bytes).concat();
        let [buffers, _] = self.put(OTHER, &record);
        self.call("fd_read", &[fd, buffers, 1, RESULT])?;
        Ok(self.bytes(DATA, self.u32(RESULT)))
    }

    fn seek(&mut self, fd: u64, distance: i64, whence: u64) -> Answer<u64> {
        self.call("fd_seek", &[fd, distance.cast_unsigned(), whence, RESULT])?;
        Ok(self.u64(RESULT))
    }

    fn rename(&mut self, path: &str, to: &str) -> Answer<()> {
        let [path, length] = self.put(PATH, path.as_bytes());
        let [to, to_length] = self.put(OTHER, to.as_bytes());
        self.call("path_rename", &[3, path, length, 3, to, to_length])
    }

    fn link(&mut self, path: &str, to: &str) -> Answer<()> {
        let [path, length] = self.put(PATH, path.as_bytes());
        let [to, to_length] = self.put(OTHER, to.as_bytes());
        self.call("path_link", &[3, 0, path, length, 3, to, to_length])
    }

    fn symlink(&mut self, target: &str, path: &str) -> Answer<()> {
        let [target, target_length] = self.put(OTHER, target.as_bytes());
        let [path, length] = self.put(PATH, path.as_bytes());
        self.call("path_symlink", &[target, target_length, 3, path, length])
    }

    /// Kind, links and size of what a path names.
    fn stat(&mut self, path: &str, follow: bool) -> Answer<(u8, u64, u64)> {
        let [path, length] = self.put(PATH, path.as_bytes());
        self.call("path_filestat_get", &[3, follow.into(), path, length, DATA])?;
        Ok((self.memory.0[DATA as usize + 16], self.u64(DATA + 24), self.u64(DATA + 32)))
    }

    /// The entries that fit a buffer, and how much of it is used.
    fn list(&mut self, fd: u64, room: u64, cookie: u64) -> Answer<(Vec<Entry>, u64)> {
        self.call("fd_readdir", &[fd, DATA, room, cookie, RESULT])?;
        let used = self.u32(RESULT);
        let mut entries = Vec::new();
        let mut place = DATA;
        while place + 24 <= DATA + used {
            let length = self.u32(place + 16);
            if place + 24 + length > DATA + used {
                break;
            }
            let name = self.bytes(place + 24, length);
            entries.push((name, self.memory.0[place as usize + 20], self.u64(place)));
            place += 24 + length;
        }
        Ok((entries, used))
    }
}
