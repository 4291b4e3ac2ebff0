//! What a host must know of a rewritten module to run it.

use std::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef};

use super::signature;
use crate::{InstanceLimits, ModuleError, abi};

/// What a host must know of a module to run it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Bytes of memory that an instance starts with.
    pub memory_bytes: u64,
    /// Elements of all tables that an instance starts with.
    pub table_elements: u64,
    /// Every export by its name.
    pub exports: BTreeMap<String, Export>,
}

/// What a module exports under a name, as far as it matters for a call: not every host can ask a function for its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Export {
    /// A function that a step may enter.
    Entry,
    /// A function of another type.
    Function,
    /// No function.
    Other,
}

impl Needs {
    /// Fails when an instance within these limits cannot even start.
    ///
    /// # Errors
    /// [`ModuleError::TooLarge`].
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
        Ok(())
    }
}

/// Checks that a valid module exports what every process needs, and reads what its host must know. For whoever
/// implements a [`crate::Machine`].
///
/// # Errors
/// [`ModuleError::MissingExport`], [`ModuleError::WrongSignature`].
pub fn needs(module: &[u8]) -> Result<Needs, ModuleError> {
    let mut needs = Needs::default();
    let mut types: Vec<FuncType> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let (mut has_memory, mut allocate) = (false, None);
    let entry = function_type(abi::ENTRY_SIGNATURE);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for kind in group?.into_types() {
                        if let CompositeInnerType::Func(function) = kind.composite_type.inner {
                            types.push(function);
                        }
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(kind) = import?.ty {
                        functions.push(kind);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for kind in section {
                    functions.push(kind?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    needs.table_elements = needs.table_elements.saturating_add(table?.ty.initial);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    needs.memory_bytes = memory?.initial.saturating_mul(crate::PAGE_BYTES);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let mut kind = Export::Other;
                    if export.kind == ExternalKind::Func {
                        let found = functions.get(export.index as usize);
                        let found = found.and_then(|kind| types.get(*kind as usize));
                        kind = if found == Some(&entry) { Export::Entry } else { Export::Function };
                        if export.name == abi::ALLOCATE {
                            allocate = found.cloned();
                        }
                    }
                    has_memory |= export.name == abi::MEMORY && export.kind == ExternalKind::Memory;
                    needs.exports.insert(export.name.into(), kind);
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    if !has_memory {
        return Err(ModuleError::MissingExport { name: abi::MEMORY.into() });
    }
    let Some(allocate) = allocate else {
        return Err(ModuleError::MissingExport { name: abi::ALLOCATE.into() });
    };
    let expected = function_type(abi::ALLOCATE_SIGNATURE);
    if allocate == expected {
        return Ok(needs);
    }
    Err(ModuleError::WrongSignature {
        item: std::format!("the export {}", abi::ALLOCATE),
        expected: signature(&expected),
        found: signature(&allocate),
    })
}

fn function_type((parameters, results): abi::Signature) -> FuncType {
    FuncType::new(parameters.iter().copied(), results.iter().copied())
}
