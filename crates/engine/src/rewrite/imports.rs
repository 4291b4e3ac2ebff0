//! What a module may import.

use glasshouse_devices::ValueType;
use wasmparser::{FuncType, Import, TypeRef, ValType};

use super::signature;
use crate::ModuleError;

/// Fails unless a process is given this import, with this type.
pub(super) fn check(import: &Import<'_>, types: &[FuncType], offset: u64) -> Result<(), ModuleError> {
    let function = glasshouse_devices::find(import.module, import.name).ok_or_else(|| {
        ModuleError::ImportNotGranted { module: import.module.into(), name: import.name.into(), offset }
    })?;
    let kind = |kind: &ValueType| match kind {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
    };
    let expected = FuncType::new(function.parameters.iter().map(kind), function.result.iter().map(kind));
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
