//! What is known of a file beside its content.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// What a file is. The order of the variants is part of the trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    SymbolicLink,
    /// A device of the host that is read or written byte by byte, such as a terminal.
    CharacterDevice,
    /// A device of the host that is read or written block by block.
    BlockDevice,
    /// Whatever else a host has: pipes, sockets.
    Other,
}

/// What is known of a file beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// The file system that it lies in. The in-memory tree is 1.
    pub device: u64,
    /// Its number in that file system; never given again to another file of the in-memory tree.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
    /// How many names it has; for a directory two and one for each directory in it.
    pub links: u64,
    /// Bytes of its content; of a symbolic link those of its target; of a directory 0.
    pub size: u64,
    /// When it was last read, in nanoseconds since the Unix epoch: virtual time in the in-memory tree.
    pub accessed: u64,
    /// When its content last changed.
    pub modified: u64,
    /// When it itself last changed: its content, its names or its times.
    pub changed: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DirectoryItem {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its number in the file system.
    pub inode: u64,
}

/// A change of one of a file's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeChange {
    /// It stays as it is.
    Keep,
    /// It becomes the present time.
    Now,
    /// It becomes this many nanoseconds since the Unix epoch.
    To(u64),
}

impl TimeChange {
    /// The time after the change.
    pub(crate) fn apply(self, old: u64, now: u64) -> u64 {
        match self {
            Self::Keep => old,
            Self::Now => now,
            Self::To(time) => time,
        }
    }
}

/// How much a process may keep in its in-memory files, so that it cannot fill the host's memory through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileLimits {
    /// Bytes of all contents and of all symbolic links' targets.
    pub bytes: u64,
    /// Files, directories and symbolic links.
    pub nodes: u32,
    /// Bytes of one name.
    pub name_bytes: u32,
    /// Bytes of one path, and of a symbolic link's target.
    pub path_bytes: u32,
    /// Names in one path, and directories in each other.
    pub path_depth: u32,
    /// Descriptors that are open at once, standard streams and preopened directories among them.
    pub descriptors: u32,
    /// Entries of a mounted directory that can be listed.
    pub mounted_entries: u32,
    /// Accesses that a step's report lists; further ones are counted.
    pub accesses: u32,
}

impl Default for FileLimits {
    /// 256 MiB in at most 65,536 nodes: as much as a large process has of memory. Names and paths as long as Linux has
    /// them, 1,024 descriptors as most systems give.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            nodes: 65_536,
            name_bytes: 255,
            path_bytes: 4096,
            path_depth: 256,
            descriptors: 1024,
            mounted_entries: 65_536,
            accesses: 1_000,
        }
    }
}
