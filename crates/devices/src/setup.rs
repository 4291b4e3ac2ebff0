//! What a process starts with, and what its host does to its devices while it lives.
//!
//! - [`Setup`]: arguments, environment, mounted directories, wall clock.
//! - [`DeviceInput`]: one act of the host between two steps.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

/// What the devices of a process start with. Everything of it is in the event log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Setup {
    /// The program's arguments, its name first.
    pub arguments: Vec<String>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Directories of the host that the process sees.
    pub mounts: Vec<MountPoint>,
    /// What the wall clock shows at virtual time zero: nanoseconds since 1970 (UTC).
    pub wall_clock_nanoseconds: u64,
}

/// A directory of the host, as a process sees it. The host knows it by its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountPoint {
    /// The path under which the process sees it.
    pub path: String,
    /// Whether the process may change it.
    pub writable: bool,
}

/// One act of the host on the devices of a process, between two of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceInput {
    /// Bytes for standard input, behind those that are waiting.
    Stdin(Vec<u8>),
    /// Nothing more comes on standard input.
    StdinEnd,
    /// Bytes written into the linear memory, from this offset on.
    WriteMemory {
        /// Where the first byte goes.
        offset: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl DeviceInput {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdin(_) => "StdinSent",
            Self::StdinEnd => "StdinEnded",
            Self::WriteMemory { .. } => "LinearMemoryWritten",
        }
    }

    /// Bytes that it brings.
    pub fn size(&self) -> usize {
        match self {
            Self::Stdin(bytes) | Self::WriteMemory { bytes, .. } => bytes.len(),
            Self::StdinEnd => 0,
        }
    }
}
