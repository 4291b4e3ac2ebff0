//! What a host must know of a module to run it.

use std::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use wasmparser::FuncType;

use super::{
    data::DataSegment,
    signature,
    state::{ChangingTable, Register},
};
use crate::{InstanceLimits, ModuleError, abi};

/// What a host must know of a module to run it. It can be kept beside the rewritten module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// BLAKE3 of the module as it was before the pass.
    pub hash: [u8; 32],
    /// Bytes of memory that an instance starts with.
    pub memory_bytes: u64,
    /// Bytes of memory that an instance may have by the module's own word.
    pub memory_maximum: u64,
    /// Elements of all tables that an instance starts with.
    pub table_elements: u64,
    /// Every export of the module itself by its name.
    pub exports: BTreeMap<String, Export>,
    /// The functions of the module `host` that it imports: only an embedder knows whether there are such.
    pub host_functions: Vec<String>,
    /// Whether there is a start function, exported as [`abi::START`].
    pub starts: bool,
    /// What the host writes into the memory before anything runs, in this order.
    pub data: Vec<DataSegment>,
    /// The mutable globals, by index, exported as [`abi::GLOBAL`] and the index.
    pub globals: Vec<(u32, Register)>,
    /// The tables that can change, exported as [`abi::TABLE`] and the index.
    pub tables: Vec<ChangingTable>,
    /// The functions that changing tables and globals may hold, exported as [`abi::FUNCTION`] and the index.
    pub functions: Vec<u32>,
    /// The globals that record dropped segments, exported as [`abi::DROPPED`] and a number from zero on.
    pub dropped: u32,
}

/// What a module exports under a name, as far as it matters for a call: not every host can ask a function for its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Export {
    /// A function that a step may enter.
    Entry,
    /// A function without parameters and results.
    Procedure,
    /// A function of another type.
    Function,
    /// A memory.
    Memory,
    /// A global or a table.
    Other,
}

impl Needs {
    /// Whether the module is a command: it exports `_start`, which a step may enter.
    pub fn is_command(&self) -> bool {
        self.exports.contains_key(abi::COMMAND)
    }

    /// Whether the module is a reactor: it exports `gh_allocate`, and a step may enter its entries.
    pub fn is_reactor(&self) -> bool {
        self.exports.contains_key(abi::ALLOCATE)
    }

    /// Fails when an instance within these limits cannot even start.
    ///
    /// # Errors
    /// [`ModuleError::TooLarge`]; [`ModuleError::Start`] when its data does not fit the memory that it starts with.
    pub fn check(&self, limits: &InstanceLimits) -> Result<(), ModuleError> {
        let too_large = |what: &str, size, limit| ModuleError::TooLarge { what: what.into(), size, limit };
        if self.memory_bytes > limits.memory_bytes {
            return Err(too_large(
                "the memory that the module starts with, in bytes,",
                self.memory_bytes,
                limits.memory_bytes,
            ));
        }
        if self.table_elements > limits.table_elements {
            return Err(too_large(
                "the number of table elements that the module starts with",
                self.table_elements,
                limits.table_elements,
            ));
        }
        let fits = |segment: &DataSegment| {
            u64::from(segment.offset) + segment.bytes.len() as u64 <= self.memory_bytes
        };
        if self.data.iter().all(fits) { Ok(()) } else { Err(ModuleError::does_not_fit()) }
    }

    /// Fails when the module does not export what every process needs. `types` are those of the exported functions.
    pub(super) fn check_exports(&self, types: &BTreeMap<&str, &FuncType>) -> Result<(), ModuleError> {
        let missing = |name: &str| ModuleError::MissingExport { name: name.into() };
        if self.exports.get(abi::MEMORY) != Some(&Export::Memory) {
            return Err(missing(abi::MEMORY));
        }
        let is_function = |name: &str| types.contains_key(name);
        if !is_function(abi::ALLOCATE) && !is_function(abi::COMMAND) {
            return Err(missing(abi::ALLOCATE));
        }
        for (name, expected) in [
            (abi::ALLOCATE, abi::ALLOCATE_SIGNATURE),
            (abi::FREE, abi::FREE_SIGNATURE),
            (abi::COMMAND, abi::PROCEDURE_SIGNATURE),
            (abi::INITIALIZE, abi::PROCEDURE_SIGNATURE),
        ] {
            let expected = function_type(expected);
            match (self.exports.get(name), types.get(name)) {
                (None, _) => {}
                (Some(_), Some(found)) if **found == expected => {}
                (Some(_), found) => {
                    return Err(ModuleError::WrongSignature {
                        item: std::format!("the export {name}"),
                        expected: signature(&expected),
                        found: found
                            .map_or_else(|| "something that is no function".into(), |found| signature(found)),
                    });
                }
            }
        }
        Ok(())
    }
}

pub(super) fn function_type((parameters, results): abi::Signature) -> FuncType {
    FuncType::new(parameters.iter().copied(), results.iter().copied())
}
