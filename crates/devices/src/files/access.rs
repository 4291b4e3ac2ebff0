//! Which files a step used: what its report lists.

use alloc::{string::String, vec::Vec};
use core::mem::take;

use serde::{Deserialize, Serialize};

use super::FileError;
use crate::{OutputReport, stdio::Output};

/// What was done with a file. The order of the variants is part of the trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileOperation {
    /// It was opened, and perhaps made.
    Open,
    /// Its content was read.
    Read,
    /// Its content was changed.
    Write,
    /// Its size was set.
    SetSize,
    /// The entries of a directory were listed.
    List,
    /// Its metadata was asked for by its path.
    Metadata,
    /// Its times were changed.
    SetTimes,
    /// A directory was made.
    CreateDirectory,
    /// A directory was deleted.
    RemoveDirectory,
    /// A file was deleted.
    RemoveFile,
    /// It was moved to [`FileAccess::other`].
    Rename,
    /// It was given the name [`FileAccess::other`] too.
    Link,
    /// A symbolic link to [`FileAccess::other`] was made.
    SymbolicLink,
    /// The target of a symbolic link was asked for.
    ReadLink,
}

/// One use of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileAccess {
    /// What was done.
    pub operation: FileOperation,
    /// With which file, as the process names it: the name of a preopened directory and the path behind it.
    pub path: String,
    /// The second file of an operation on two; else empty.
    pub other: String,
    /// Bytes that were read or written; uses that follow each other are summed up. The size that was set.
    pub bytes: u64,
    /// Whether it was done.
    pub outcome: Result<(), FileError>,
}

/// Which files a step used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct FileReport {
    /// The uses, in order, as far as [`FileLimits::accesses`](crate::FileLimits::accesses) goes.
    pub accesses: Vec<FileAccess>,
    /// How many more there were.
    pub dropped: u64,
    /// Everything that was written to files of mounted directories, one after the other; nothing of it is kept.
    pub mounted_writes: OutputReport,
}

/// The uses of files in a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accesses {
    list: Vec<FileAccess>,
    dropped: u64,
    mounted_writes: Output,
}

impl Accesses {
    pub(super) fn push(&mut self, access: FileAccess, limit: u32) {
        if let Some(last) = self.list.last_mut()
            && matches!(access.operation, FileOperation::Read | FileOperation::Write)
            && (last.operation, last.outcome, &last.path) == (access.operation, access.outcome, &access.path)
        {
            last.bytes = last.bytes.saturating_add(access.bytes);
        } else if self.list.len() < limit as usize {
            self.list.push(access);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Notes what was written to a mounted file.
    pub(super) fn mounted(&mut self, bytes: &[u8]) {
        self.mounted_writes.write(bytes, 0);
    }

    /// Takes the uses of the step into an empty report; the next step starts with nothing.
    pub(crate) fn report_to(&mut self, report: &mut FileReport) {
        report.accesses = take(&mut self.list);
        report.dropped = take(&mut self.dropped);
        self.mounted_writes.report_to(&mut report.mounted_writes);
    }
}
