//! The memory and the registers of a process on wasmtime, for snapshots.

use std::{collections::HashMap, format, string::ToString, sync::Arc, vec, vec::Vec};

use wasmtime::{Func, Ref, Val};

use super::guest::WasmtimeGuest;
use crate::{
    PAGE_BYTES, SnapshotError, abi,
    rewrite::{DataSegment, Needs, Register},
    snapshot::{Image, Value, guest::State},
};

/// A memory in a snapshot: a copy of its bytes, which all restored processes copy again.
#[derive(Debug, Clone)]
pub struct MemoryImage(Arc<[u8]>);

impl Image for MemoryImage {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        let start = offset as usize;
        bytes.copy_from_slice(&self.0[start..start + bytes.len()]);
    }

    fn from_pieces<'a>(
        length: u64,
        pieces: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, SnapshotError> {
        let mut bytes = vec![0; length as usize];
        for (offset, piece) in pieces {
            bytes[offset as usize..][..piece.len()].copy_from_slice(piece);
        }
        Ok(Self(bytes.into()))
    }
}

impl WasmtimeGuest {
    /// Writes what the module starts with; [`Needs::check`] has seen that it fits.
    pub(super) fn write_data(&mut self, segments: &[DataSegment]) {
        let memory = self.accounts.memory.data_mut(&mut self.store);
        for segment in segments {
            memory[segment.offset as usize..][..segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
    }

    /// Gives a fresh instance the memory of a snapshot, which is not smaller.
    pub(super) fn restore_memory(&mut self, image: &MemoryImage) -> Result<(), SnapshotError> {
        let memory = self.accounts.memory;
        let grown = image.len().saturating_sub(memory.data_size(&self.store) as u64);
        memory.grow(&mut self.store, grown / PAGE_BYTES).map_err(engine_error)?;
        memory.data_mut(&mut self.store)[..image.0.len()].copy_from_slice(&image.0);
        Ok(())
    }

    /// The index of a function that a table or a global holds.
    fn index(&mut self, function: Option<Func>, needs: &Needs) -> Result<Option<u32>, SnapshotError> {
        let Some(function) = function else { return Ok(None) };
        if self.functions.is_empty() {
            let mut functions = HashMap::with_capacity(needs.functions.len());
            for index in &needs.functions {
                let function = self.function(*index)?;
                functions.insert(function.to_raw(&mut self.store).addr(), *index);
            }
            self.functions = functions;
        }
        let address = function.to_raw(&mut self.store).addr();
        self.functions.get(&address).copied().map(Some).ok_or_else(|| missing("a function that is not its own"))
    }

    /// The function of this index.
    fn function(&mut self, index: u32) -> Result<Func, SnapshotError> {
        let name = format!("{}{index}", abi::FUNCTION);
        self.instance.get_func(&mut self.store, &name).ok_or_else(|| missing(&name))
    }

    fn reference(&mut self, index: Option<u32>) -> Result<Option<Func>, SnapshotError> {
        index.map(|index| self.function(index)).transpose()
    }

    fn exported_global(&mut self, name: &str) -> Result<wasmtime::Global, SnapshotError> {
        self.instance.get_global(&mut self.store, name).ok_or_else(|| missing(name))
    }

    fn exported_table(&mut self, index: u32) -> Result<wasmtime::Table, SnapshotError> {
        let name = format!("{}{index}", abi::TABLE);
        self.instance.get_table(&mut self.store, &name).ok_or_else(|| missing(&name))
    }
}

impl State for WasmtimeGuest {
    type Image = MemoryImage;

    fn image(&mut self) -> Result<MemoryImage, SnapshotError> {
        Ok(MemoryImage(self.accounts.memory.data(&self.store).into()))
    }

    fn global(&mut self, index: u32, _kind: Register, needs: &Needs) -> Result<Value, SnapshotError> {
        let name = format!("{}{index}", abi::GLOBAL);
        Ok(match self.exported_global(&name)?.get(&mut self.store) {
            Val::I32(value) => Value::I32(value as u32),
            Val::I64(value) => Value::I64(value as u64),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(value) => Value::V128(value.as_u128() as u64, (value.as_u128() >> 64) as u64),
            Val::FuncRef(function) => Value::Function(self.index(function, needs)?),
            _ => return Err(missing(&name)),
        })
    }

    fn set_global(&mut self, index: u32, value: Value) -> Result<(), SnapshotError> {
        let value = match value {
            Value::I32(value) => Val::I32(value as i32),
            Value::I64(value) => Val::I64(value as i64),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::V128(low, high) => Val::V128((u128::from(low) | u128::from(high) << 64).into()),
            Value::Function(index) => Val::FuncRef(self.reference(index)?),
        };
        let global = self.exported_global(&format!("{}{index}", abi::GLOBAL))?;
        global.set(&mut self.store, value).map_err(engine_error)
    }

    fn table(&mut self, index: u32, needs: &Needs) -> Result<Vec<Option<u32>>, SnapshotError> {
        let table = self.exported_table(index)?;
        let mut elements = Vec::new();
        for slot in 0..table.size(&self.store) {
            elements.push(match table.get(&mut self.store, slot) {
                Some(Ref::Func(function)) => self.index(function, needs)?,
                _ => return Err(missing("a table element")),
            });
        }
        Ok(elements)
    }

    fn set_table(&mut self, index: u32, elements: &[Option<u32>]) -> Result<(), SnapshotError> {
        let table = self.exported_table(index)?;
        let grown = (elements.len() as u64).saturating_sub(table.size(&self.store));
        table.grow(&mut self.store, grown, Ref::Func(None)).map_err(engine_error)?;
        for (slot, function) in elements.iter().enumerate() {
            let function = self.reference(*function)?;
            table.set(&mut self.store, slot as u64, Ref::Func(function)).map_err(engine_error)?;
        }
        Ok(())
    }

    fn record(&mut self, name: &str) -> Result<u64, SnapshotError> {
        let value = self.exported_global(name)?.get(&mut self.store);
        value.i64().map(|value| value as u64).ok_or_else(|| missing(name))
    }

    fn set_record(&mut self, name: &str, value: u64) -> Result<(), SnapshotError> {
        let global = self.exported_global(name)?;
        global.set(&mut self.store, Val::I64(value as i64)).map_err(engine_error)
    }

    fn drop_segments(&mut self) -> Result<(), SnapshotError> {
        let function = self.instance.get_typed_func::<(), ()>(&mut self.store, abi::DROP);
        function.and_then(|function| function.call(&mut self.store, ())).map_err(engine_error)
    }
}

fn missing(what: &str) -> SnapshotError {
    SnapshotError::Engine { reason: format!("it does not show `{what}`") }
}

fn engine_error(error: wasmtime::Error) -> SnapshotError {
    SnapshotError::Engine { reason: error.to_string() }
}
