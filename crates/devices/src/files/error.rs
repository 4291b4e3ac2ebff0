//! Why an operation on files fails, in the words of POSIX.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why an operation on files fails. The order of the variants is part of the trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum FileError {
    /// There is no such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// There is something of this name already.
    #[error("it exists already")]
    Exists,
    /// A directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// Something else than a directory is needed.
    #[error("it is a directory")]
    IsDirectory,
    /// The directory has entries.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The path leads out of the directory that it starts from.
    #[error("the path leads out of its directory")]
    Outside,
    /// The operation is never allowed on this kind of file.
    #[error("the operation is not permitted")]
    NotPermitted,
    /// The host does not allow it.
    #[error("permission denied")]
    Denied,
    /// The file system is mounted read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// A name or path over its limit.
    #[error("the name is too long")]
    NameTooLong,
    /// A name that a file cannot have.
    #[error("the name is not valid")]
    InvalidName,
    /// More symbolic links on the way than are followed, or one that must not be followed.
    #[error("too many symbolic links")]
    Loop,
    /// A quota is used up.
    #[error("no space left")]
    NoSpace,
    /// A file would be larger than the file system can hold.
    #[error("the file would be too large")]
    TooLarge,
    /// More open files than there may be.
    #[error("too many open files")]
    TooManyOpen,
    /// More hard links than a file may have.
    #[error("too many links")]
    TooManyLinks,
    /// Source and target are not on the same file system.
    #[error("source and target are on different file systems")]
    CrossDevice,
    /// An argument that makes no sense, such as moving a directory into itself.
    #[error("the argument is not valid")]
    Invalid,
    /// What is in use cannot be changed so.
    #[error("it is in use")]
    Busy,
    /// The file system cannot do it.
    #[error("the operation is not supported")]
    NotSupported,
    /// The host failed.
    #[error("input or output failed")]
    InputOutput,
}
