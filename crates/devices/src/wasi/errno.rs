//! Error numbers of WASI preview 1.

use crate::{FileError, Stop, host};

/// An error number of WASI preview 1; those that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    Access = 2,
    BadDescriptor = 8,
    Busy = 10,
    Exists = 20,
    Fault = 21,
    TooLarge = 22,
    IllegalSequence = 25,
    Invalid = 28,
    InputOutput = 29,
    IsDirectory = 31,
    Loop = 32,
    TooManyOpen = 33,
    TooManyLinks = 34,
    NameTooLong = 37,
    NotFound = 44,
    NoSpace = 51,
    NotDirectory = 54,
    NotEmpty = 55,
    NotSocket = 57,
    NotSupported = 58,
    Overflow = 61,
    NotPermitted = 63,
    ReadOnly = 69,
    InvalidSeek = 70,
    CrossDevice = 75,
    NotCapable = 76,
}

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Self::NotFound,
            FileError::Exists => Self::Exists,
            FileError::NotDirectory => Self::NotDirectory,
            FileError::IsDirectory => Self::IsDirectory,
            FileError::NotEmpty => Self::NotEmpty,
            FileError::Outside | FileError::NotPermitted => Self::NotPermitted,
            FileError::Denied => Self::Access,
            FileError::ReadOnly => Self::ReadOnly,
            FileError::NameTooLong => Self::NameTooLong,
            FileError::InvalidName => Self::IllegalSequence,
            FileError::Loop => Self::Loop,
            FileError::NoSpace => Self::NoSpace,
            FileError::TooLarge => Self::TooLarge,
            FileError::TooManyOpen => Self::TooManyOpen,
            FileError::TooManyLinks => Self::TooManyLinks,
            FileError::CrossDevice => Self::CrossDevice,
            FileError::Invalid => Self::Invalid,
            FileError::Busy => Self::Busy,
            FileError::NotSupported => Self::NotSupported,
            FileError::InputOutput => Self::InputOutput,
        }
    }
}

/// Why a function does not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest is told.
    Errno(Errno),
    /// The step ends.
    Stop(Stop),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::Errno(error.into())
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<host::Fault> for Fault {
    fn from(fault: host::Fault) -> Self {
        match fault {
            host::Fault::File(error) => error.into(),
            host::Fault::Stop(stop) => Self::Stop(stop),
        }
    }
}
