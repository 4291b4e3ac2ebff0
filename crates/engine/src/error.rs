//! Why a module cannot run.

use thiserror::Error;

/// Why a module cannot run. Every message is one sentence for a person; offsets are bytes from the module's start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The bytes do not start like a WebAssembly module.
    #[error("this is not a WebAssembly module: it does not start with the bytes `\\0asm` and version 1")]
    NotWasm,
    /// The bytes break the rules of the WebAssembly specification.
    #[error("the module is malformed at byte {offset}: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
        /// Where.
        offset: u64,
    },
    /// The module is valid, but uses something that processes may not use.
    #[error("the module is refused at byte {offset}: {reason}")]
    Refused {
        /// What it uses, and why that is refused.
        reason: String,
        /// Where.
        offset: u64,
    },
    /// The module imports something that no process is given.
    #[error(
        "the module imports {module}.{name}, which was not granted, at byte {offset}; \
         a process is given the devices (`glasshouse`), WASI preview 1 without sockets, and functions of its host \
         (`host`), and nothing else"
    )]
    ImportNotGranted {
        /// The module it imports from.
        module: String,
        /// The name it imports.
        name: String,
        /// Where.
        offset: u64,
    },
    /// The module was built for another version of the contract with its host.
    #[error(
        "the module's section `glasshouse.abi`, at byte {offset}, names version {version}; this host knows 1"
    )]
    UnknownAbi {
        /// The version.
        version: u32,
        /// Where.
        offset: u64,
    },
    /// An import or an export has another type than the contract says.
    #[error("{item} has the type {found}; it must be {expected}")]
    WrongSignature {
        /// Which import or export.
        item: String,
        /// The type it must have.
        expected: String,
        /// The type it has.
        found: String,
    },
    /// The module lacks an export that every process needs.
    #[error(
        "the module does not export `{name}`; was it built with the guest SDK, or as a command with `_start`?"
    )]
    MissingExport {
        /// The name of the export.
        name: String,
    },
    /// Something in the module is larger than allowed.
    #[error("{what} is {size}, over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The module's data does not fit where it is to be copied when an instance starts.
    #[error("the module cannot start: {reason}")]
    Start {
        /// What does not fit.
        reason: String,
    },
    /// As many instances are alive as the machine may have.
    #[error("{limit} processes are alive, as many as this machine may have")]
    TooManyInstances {
        /// How many it may have.
        limit: u32,
    },
    /// The custom section that describes tools is not what it should be.
    #[error("the module's section `glasshouse.tool` is malformed: {reason}")]
    ToolDescription {
        /// What is wrong.
        reason: String,
    },
    /// The engine failed for a reason of its own.
    #[error("the engine cannot run the module: {reason}")]
    Engine {
        /// What the engine says.
        reason: String,
    },
}

impl ModuleError {
    /// An instance could not start for its data. Said alike on every host: engines name different culprits.
    pub(crate) fn does_not_fit() -> Self {
        Self::Start { reason: "its data or its functions do not fit its memory or its tables".into() }
    }
}

impl From<wasmparser::Error> for ModuleError {
    /// Sorts what the validator says into refused features and malformed modules.
    fn from(error: wasmparser::Error) -> Self {
        let offset = error.offset();
        match error.missing_wasm_feature() {
            Some(feature) => Self::Refused { reason: crate::rewrite::refusal(feature).into(), offset },
            None => Self::Malformed { reason: error.message().into(), offset },
        }
    }
}
