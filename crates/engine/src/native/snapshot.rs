//! The memory and the registers of a process on wasmtime, for snapshots.

use std::{collections::HashMap, format, string::ToString, vec::Vec};

use wasmtime::{Func, Ref, Val};

use super::{MemoryImage, guest::WasmtimeGuest};
use crate::{
    SnapshotError, abi,
    rewrite::{Needs, Register},
    snapshot::{Value, guest::State},
};

impl WasmtimeGuest {
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
        self.functions
            .get(&address)
            .copied()
            .map(Some)
            .ok_or_else(|| missing("a function that is not its own"))
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
        let image = self.memories.snapshot(&self.image, self.accounts.memory.data(&self.store));
        image.map_err(|error| SnapshotError::Engine { reason: error.to_string() })
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
