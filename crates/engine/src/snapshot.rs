//! A process between two steps: what must be kept so that it continues as if nothing had happened.
//!
//! - [`Registers`]: everything but the memory: globals, tables, dropped segments, what has run.
//! - [`Snapshot`]: registers and an [`Image`] of the memory, as a machine keeps it for forks.
//! - [`SavedProcess`]: the same for a file or another host, in [`saved`].
//! - [`SnapshotError`]: why a process cannot continue.
//!
//! **Invariant:** nothing of a process is anywhere else between two steps. Its stack is empty; constants, functions and
//! segments are the module's; accounts are set when a step begins, or follow from the sizes of memory and tables and the
//! limits. So a process restored from a snapshot gives the same reports as the one of which it was taken.

pub(crate) mod guest;
mod saved;

use std::{format, string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    InstanceLimits, ModuleError, PAGE_BYTES,
    rewrite::{Needs, Register},
};

pub use saved::SavedProcess;

/// Why a process cannot be saved or cannot continue. Nothing has been changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes do not start like a saved process.
    #[error("these bytes are not a saved process: they do not start with `glasshou`")]
    NotSaved,
    /// The process was saved in another format.
    #[error("the process was saved in version {version} of the format; this host knows {known}")]
    UnknownVersion {
        /// The version.
        version: u32,
        /// The version that is known.
        known: u32,
    },
    /// The hash over the saved bytes is not theirs.
    #[error("the saved process is damaged: its hash is not that of its bytes")]
    Damaged,
    /// The bytes are whole, but do not say what a saved process must.
    #[error("the saved process is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The process is one of another module.
    #[error("the saved process is not one of this module: it was saved of the module {}, this is {}", short(.saved), short(.module))]
    OtherModule {
        /// BLAKE3 of the module of which it was saved.
        saved: [u8; 32],
        /// BLAKE3 of this module.
        module: [u8; 32],
    },
    /// The process does not fit its module.
    #[error("the saved process does not fit its module: {reason}")]
    DoesNotFit {
        /// What does not fit.
        reason: String,
    },
    /// The module cannot be instantiated within the limits.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The engine failed for a reason of its own.
    #[error("the engine cannot save or restore the process: {reason}")]
    Engine {
        /// What the engine says.
        reason: String,
    },
}

/// The first bytes of a hash.
fn short(hash: &[u8; 32]) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A memory as a snapshot holds it. Cheap to clone.
pub trait Image: Clone {
    /// Bytes of the memory.
    fn len(&self) -> u64;

    /// Whether the memory has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on, which lie in the memory.
    fn read(&self, offset: u64, bytes: &mut [u8]);

    /// An image of `length` bytes, zero but for these pieces, which lie in it and come in ascending order.
    ///
    /// # Errors
    /// [`SnapshotError::Engine`] when the host has no room for it.
    fn from_pieces<'a>(
        length: u64,
        pieces: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, SnapshotError>;
}

/// The value of a global, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A 32-bit integer.
    I32(u32),
    /// A 64-bit integer.
    I64(u64),
    /// The bits of a 32-bit number.
    F32(u32),
    /// The bits of a 64-bit number.
    F64(u64),
    /// The halves of a vector, lower first.
    V128(u64, u64),
    /// A function, by its index in the module, or none.
    Function(Option<u32>),
}

impl Value {
    /// Its type.
    pub fn register(self) -> Register {
        match self {
            Self::I32(_) => Register::I32,
            Self::I64(_) => Register::I64,
            Self::F32(_) => Register::F32,
            Self::F64(_) => Register::F64,
            Self::V128(..) => Register::V128,
            Self::Function(_) => Register::Function,
        }
    }
}

/// Everything of a process but its memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registers {
    /// The mutable globals, in the order of [`Needs::globals`].
    pub globals: Vec<Value>,
    /// The tables that can change, in the order of [`Needs::tables`]: functions by their index in the module.
    pub tables: Vec<Vec<Option<u32>>>,
    /// The record of dropped segments.
    pub dropped: Vec<u64>,
    /// Whether the first step has been run.
    pub started: bool,
    /// Whether a step has ended the process.
    pub ended: bool,
}

/// A process between two steps, of the machine that has taken it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot<I> {
    pub(crate) hash: [u8; 32],
    pub(crate) registers: Arc<Registers>,
    pub(crate) memory: I,
}

impl<I> Snapshot<I> {
    /// BLAKE3 of the process's module.
    pub fn module_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Everything but the memory.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// The memory.
    pub fn memory(&self) -> &I {
        &self.memory
    }
}

impl<I: Image> Snapshot<I> {
    /// Fails unless the process is one of the module with these needs and fits the limits.
    pub(crate) fn check(&self, needs: &Needs, limits: &InstanceLimits) -> Result<(), SnapshotError> {
        check(&self.hash, &self.registers, self.memory.len(), needs, limits)
    }
}

/// Fails unless a process, with a memory of so many bytes, is one of the module with these needs and fits the limits.
fn check(
    hash: &[u8; 32],
    registers: &Registers,
    bytes: u64,
    needs: &Needs,
    limits: &InstanceLimits,
) -> Result<(), SnapshotError> {
    if *hash != needs.hash {
        return Err(SnapshotError::OtherModule { saved: *hash, module: needs.hash });
    }
    if !bytes.is_multiple_of(PAGE_BYTES) || bytes < needs.memory_bytes || bytes > needs.memory_maximum {
        return Err(does_not_fit(format!("its memory has {bytes} bytes")));
    }
    registers.check(needs)?;
    let too_large = |what: &str, size, limit| ModuleError::TooLarge { what: what.into(), size, limit };
    if bytes > limits.memory_bytes {
        let what = "the memory of the saved process, in bytes,";
        return Err(too_large(what, bytes, limits.memory_bytes).into());
    }
    let elements = registers.table_elements(needs);
    if elements > limits.table_elements {
        let what = "the number of table elements of the saved process";
        return Err(too_large(what, elements, limits.table_elements).into());
    }
    Ok(())
}

impl Registers {
    /// Elements of all tables.
    pub(crate) fn table_elements(&self, needs: &Needs) -> u64 {
        let grown = self.tables.iter().zip(&needs.tables);
        let grown = grown.map(|(elements, table)| (elements.len() as u64).saturating_sub(table.initial));
        grown.fold(needs.table_elements, u64::saturating_add)
    }

    /// Fails unless the registers are of the module's form.
    pub(crate) fn check(&self, needs: &Needs) -> Result<(), SnapshotError> {
        if !self.globals.iter().map(|value| value.register()).eq(needs.globals.iter().map(|(_, kind)| *kind))
        {
            return Err(does_not_fit("its globals are of other types".into()));
        }
        if self.tables.len() != needs.tables.len() {
            return Err(does_not_fit(format!("it has {} tables that can change", self.tables.len())));
        }
        for (elements, table) in self.tables.iter().zip(&needs.tables) {
            let length = elements.len() as u64;
            if length < table.initial || length > table.maximum {
                return Err(does_not_fit(format!("its table {} has {length} elements", table.index)));
            }
        }
        if self.dropped.len() as u64 != u64::from(needs.dropped) {
            return Err(does_not_fit("it records other segments".into()));
        }
        let slots = self.tables.iter().flatten().copied();
        let globals = self.globals.iter().map(|value| match value {
            Value::Function(function) => *function,
            _ => None,
        });
        for function in slots.chain(globals).flatten() {
            if needs.functions.binary_search(&function).is_err() {
                return Err(does_not_fit(format!("it refers to function {function}")));
            }
        }
        Ok(())
    }
}

fn does_not_fit(reason: String) -> SnapshotError {
    SnapshotError::DoesNotFit { reason }
}
