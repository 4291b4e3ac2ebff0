//! What a module may import.

use wasmparser::{FuncType, Import, TypeRef};

use super::{needs::function_type, signature};
use crate::{ModuleError, abi};

/// Fails unless a process is given this import, with this type.
pub(super) fn check(import: &Import<'_>, types: &[FuncType], offset: u64) -> Result<(), ModuleError> {
    let not_granted = || ModuleError::ImportNotGranted {
        module: import.module.into(),
        name: import.name.into(),
        offset,
    };
    if import.module != abi::IMPORT_MODULE {
        return Err(not_granted());
    }
    let expected = function_type(abi::import_signature(import.name).ok_or_else(not_granted)?);
    let found = match import.ty {
        TypeRef::Func(kind) => types.get(kind as usize),
        _ => None,
    };
    if found == Some(&expected) {
        return Ok(());
    }
    Err(ModuleError::WrongSignature {
        item: std::format!("the import {}.{}, at byte {offset},", import.module, import.name),
        expected: signature(&expected),
        found: found.map_or_else(|| "something that is no function".into(), signature),
    })
}
