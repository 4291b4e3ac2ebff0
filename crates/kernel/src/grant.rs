//! What a process may use, and how much of it.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Fuel, ModuleHash};

/// Something that a process may use. What is not granted is denied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// A service: the part before the dot of a request's `service` (`model`, `clock`, `files`, `memory`).
    Service(String),
    /// A tool, by the name it is registered under.
    Tool(String),
    /// A mounted directory. The kernel hands it on; the `files` service enforces it.
    Mount {
        /// Name of the mount.
        name: String,
        /// Whether files may be written.
        writable: bool,
    },
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "the service {name}"),
            Self::Tool(name) => write!(f, "the tool {name}"),
            Self::Mount { name, writable: false } => write!(f, "reading in the mount {name}"),
            Self::Mount { name, writable: true } => write!(f, "writing in the mount {name}"),
        }
    }
}

/// What runs when a tool is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolTarget {
    /// A new process of a module; its exit is the answer.
    Guest {
        /// The module.
        module: ModuleHash,
        /// The exported function that runs the tool.
        entry: String,
        /// What the process may use. The mounts of the caller are added if the service `files` is among these.
        grants: Vec<Capability>,
        /// How much the process may use. Its fuel is the caller's: it gets what the caller has left at most, and
        /// what it uses is taken from the caller.
        limits: Limits,
    },
    /// A service outside of the kernel, by the full name that the effect carries; its answer is the answer.
    Service(String),
}

/// How much a process may use over its whole life, and per step where that is said.
///
/// Wall-clock deadlines are the host's: it applies [`crate::Input::Kill`] with [`crate::ExitReason::Deadline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Fuel, that of the tools it calls included.
    pub fuel: Fuel,
    /// Linear memory.
    pub memory: Bytes,
    /// Bytes of requests, events, log lines and the result together.
    pub output: Bytes,
    /// Requests, refused ones included.
    pub requests: u32,
    /// Tool processes started on its behalf, directly.
    pub children: u32,
    /// Levels of tool processes below it: 0 forbids calling tools that are guests. At most [`Limits::MAX_DEPTH`].
    pub depth: u32,
    /// Events in one step.
    pub events_per_step: u32,
}

impl Limits {
    /// The deepest nesting of tool processes whatever is granted: the kernel walks the chain of callers when one
    /// ends, and no chain of tools that a person would want is longer.
    pub const MAX_DEPTH: u32 = 32;
}

impl Default for Limits {
    /// Room for an agent: tens of seconds of computation, the memory of a small program, a thousand requests.
    fn default() -> Self {
        Self {
            fuel: Fuel(20_000_000_000),
            memory: Bytes(256 << 20),
            output: Bytes(64 << 20),
            requests: 1_000,
            children: 1_000,
            depth: 4,
            events_per_step: 1_000,
        }
    }
}
