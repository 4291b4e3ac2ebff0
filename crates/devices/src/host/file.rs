//! Operations on mounted directories, as a process asks its host for them.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::ANSWER_BYTES;
use crate::{DirectoryItem, FileKind, Metadata, TimeChange};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct OpenOptions {
    /// Its content is read.
    pub read: bool,
    /// Its content is changed.
    pub write: bool,
    /// It is made if there is none.
    pub create: bool,
    /// It must not be there before.
    pub exclusive: bool,
    /// It must be a directory.
    pub directory: bool,
    /// Its content is removed.
    pub truncate: bool,
    /// A symbolic link at the path's end is followed.
    pub follow: bool,
}

/// An operation on a mounted directory. Paths are relative to the directory behind the handle `base` and must not lead
/// out of it, neither by `..` nor by symbolic links. The process chooses the numbers of handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum FileRequest<'a> {
    /// Opens the mounted directory of this name. Answer: [`FileAnswer::Opened`].
    Mount {
        /// Its handle from now on.
        handle: u32,
        /// Its name, as the embedder chose it.
        name: &'a str,
    },
    /// Opens a file or directory. Answer: [`FileAnswer::Opened`].
    Open {
        /// Its handle from now on.
        handle: u32,
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
        /// How.
        options: OpenOptions,
    },
    /// Closes a handle. Answer: [`FileAnswer::Done`].
    Close {
        /// The handle.
        handle: u32,
    },
    /// Reads. Answer: [`FileAnswer::Bytes`], none at the end.
    Read {
        /// The file.
        handle: u32,
        /// Where from.
        offset: u64,
        /// The most bytes.
        limit: u32,
    },
    /// Writes all bytes. Answer: [`FileAnswer::Done`].
    Write {
        /// The file.
        handle: u32,
        /// Where to.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// Writes all bytes at the end. Answer: [`FileAnswer::Position`], the end after them.
    Append {
        /// The file.
        handle: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// Cuts a file or extends it with zeros. Answer: [`FileAnswer::Done`].
    SetSize {
        /// The file.
        handle: u32,
        /// Its size in bytes.
        size: u64,
    },
    /// Waits until what was written is stored. Answer: [`FileAnswer::Done`].
    Sync {
        /// The file.
        handle: u32,
        /// Whether only its content matters.
        data_only: bool,
    },
    /// Metadata of an open file. Answer: [`FileAnswer::Metadata`].
    Metadata {
        /// The file.
        handle: u32,
    },
    /// Changes an open file's times. Answer: [`FileAnswer::Done`].
    SetTimes {
        /// The file.
        handle: u32,
        /// The time of its last use.
        accessed: TimeChange,
        /// The time of its last change.
        modified: TimeChange,
    },
    /// All entries of an open directory but `.` and `..`, at most `limit`. Answer: [`FileAnswer::Entries`].
    List {
        /// The directory.
        handle: u32,
        /// The most entries; [`FileError::TooLarge`] when there are more.
        limit: u32,
    },
    /// Metadata of what a path names. Answer: [`FileAnswer::Metadata`].
    MetadataAt {
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
        /// Whether a symbolic link at its end is followed.
        follow: bool,
    },
    /// Changes the times of what a path names. Answer: [`FileAnswer::Done`].
    SetTimesAt {
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
        /// Whether a symbolic link at its end is followed.
        follow: bool,
        /// The time of its last use.
        accessed: TimeChange,
        /// The time of its last change.
        modified: TimeChange,
    },
    /// Makes a directory. Answer: [`FileAnswer::Done`].
    CreateDirectory {
        /// The directory that the path starts from.
        base: u32,
        /// Where.
        path: &'a str,
    },
    /// Deletes an empty directory. Answer: [`FileAnswer::Done`].
    RemoveDirectory {
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
    },
    /// Deletes a name of a file or symbolic link. Answer: [`FileAnswer::Done`].
    RemoveFile {
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
    },
    /// Moves. Answer: [`FileAnswer::Done`].
    Rename {
        /// The directory that the old path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
        /// The directory that the new path starts from; of the same mount.
        to_base: u32,
        /// Where it will be.
        to_path: &'a str,
    },
    /// Gives a file one more name; a symbolic link is not followed. Answer: [`FileAnswer::Done`].
    Link {
        /// The directory that the old path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
        /// The directory that the new path starts from; of the same mount.
        to_base: u32,
        /// The other name.
        to_path: &'a str,
    },
    /// Makes a symbolic link. Answer: [`FileAnswer::Done`].
    SymbolicLink {
        /// What it leads to; never an absolute path.
        target: &'a str,
        /// The directory that the path starts from.
        base: u32,
        /// Where.
        path: &'a str,
    },
    /// What a symbolic link leads to. Answer: [`FileAnswer::Target`].
    ReadLink {
        /// The directory that the path starts from.
        base: u32,
        /// Where it is.
        path: &'a str,
    },
}

/// The answer to a [`FileRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileAnswer {
    /// It was done.
    Done,
    /// It was opened, and is this.
    Opened(FileKind),
    /// What was read.
    Bytes(Vec<u8>),
    /// A place in a file.
    Position(u64),
    /// What is known of it.
    Metadata(Metadata),
    /// The entries of a directory.
    Entries(Vec<DirectoryItem>),
    /// What a symbolic link leads to.
    Target(String),
}

impl FileAnswer {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Entries(entries) => {
                entries.iter().map(|entry| entry.name.len() as u64 + ANSWER_BYTES).sum()
            }
            Self::Target(target) => target.len() as u64,
            Self::Done | Self::Opened(_) | Self::Position(_) | Self::Metadata(_) => 0,
        }
    }
}
