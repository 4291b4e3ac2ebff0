//! The memory and the registers of a process in a browser, for snapshots.
//!
//! A browser shows functions as objects, one and the same each time, by which they are told apart, and numbers as its own,
//! which keep no bits of a NaN; so bits go through the functions that the pass has added.

use std::{format, rc::Rc, string::String, vec, vec::Vec};

use js_sys::{Array, Map, Reflect, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};

use super::{
    bindings::{Account, Exported},
    guest::{BrowserGuest, exported},
    message,
};
use crate::{
    PAGE_BYTES, SnapshotError, abi,
    rewrite::{DataSegment, Needs, Register},
    snapshot::{Image, Value, guest::State},
};

/// A memory in a snapshot: a copy of its bytes.
#[derive(Debug, Clone)]
pub struct MemoryImage(Rc<Vec<u8>>);

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
        let no_room = || SnapshotError::Engine { reason: "there is no room for its memory".into() };
        let length = usize::try_from(length).map_err(|_| no_room())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| no_room())?;
        bytes.resize(length, 0);
        for (offset, piece) in pieces {
            bytes[offset as usize..][..piece.len()].copy_from_slice(piece);
        }
        Ok(Self(Rc::new(bytes)))
    }
}

impl BrowserGuest {
    /// Writes what the module starts with; [`Needs::check`] has seen that it fits.
    pub(super) fn write_data(&self, segments: &[DataSegment]) {
        for segment in segments {
            self.live.write(segment.offset as usize, &segment.bytes);
        }
    }

    /// Gives a fresh instance the memory of a snapshot, which is not smaller.
    pub(super) fn restore_memory(&self, image: &MemoryImage) -> Result<(), SnapshotError> {
        let pages = (image.len().saturating_sub(self.live.memory_bytes()) / PAGE_BYTES) as u32;
        if pages > 0 {
            self.live.grow(pages).map_err(engine_error)?;
        }
        self.live.write(0, &image.0);
        Ok(())
    }

    fn export(&self, prefix: &str, index: u32) -> Result<JsValue, SnapshotError> {
        self.named(&format!("{prefix}{index}"))
    }

    fn named(&self, name: &str) -> Result<JsValue, SnapshotError> {
        let value = Reflect::get(&self.exports, &name.into()).map_err(engine_error)?;
        if value.is_undefined() { Err(missing(name)) } else { Ok(value) }
    }

    fn function(&self, prefix: &str, index: u32) -> Result<Exported, SnapshotError> {
        exported(&self.exports, &format!("{prefix}{index}")).map_err(engine_error)
    }

    /// The index of a function that a table or a global holds.
    fn index(&mut self, function: &JsValue, needs: &Needs) -> Result<Option<u32>, SnapshotError> {
        if function.is_null() {
            return Ok(None);
        }
        if self.functions.is_none() {
            let functions = Map::new();
            for index in &needs.functions {
                functions.set(&self.export(abi::FUNCTION, *index)?, &(*index).into());
            }
            self.functions = Some(functions);
        }
        let index = self.functions.as_ref().and_then(|functions| functions.get(function).as_f64());
        index.map(|index| Some(index as u32)).ok_or_else(|| missing("a function that is not its own"))
    }

    fn reference(&self, index: Option<u32>) -> Result<JsValue, SnapshotError> {
        index.map_or(Ok(JsValue::NULL), |index| self.export(abi::FUNCTION, index))
    }
}

impl State for BrowserGuest {
    type Image = MemoryImage;

    fn image(&mut self) -> Result<MemoryImage, SnapshotError> {
        let bytes = usize::try_from(self.live.memory_bytes()).map_err(|_| missing("its whole memory"))?;
        Ok(MemoryImage(Rc::new(self.live.read(0, bytes))))
    }

    fn global(&mut self, index: u32, kind: Register, needs: &Needs) -> Result<Value, SnapshotError> {
        let nothing = JsValue::UNDEFINED;
        let name = || format!("{}{index}", abi::GLOBAL);
        Ok(match kind {
            Register::I32 | Register::Function => {
                let value = self.export(abi::GLOBAL, index)?.unchecked_into::<WebAssembly::Global>().value();
                if kind == Register::Function {
                    return self.index(&value, needs).map(Value::Function);
                }
                Value::I32(value.as_f64().ok_or_else(|| missing(&name()))? as i32 as u32)
            }
            Register::I64 => {
                Value::I64(self.export(abi::GLOBAL, index)?.unchecked_into::<Account>().value() as u64)
            }
            Register::F32 => {
                let bits = self.function(abi::READ_GLOBAL, index)?.read_bits(&nothing);
                Value::F32(bits.map_err(engine_error)? as u32)
            }
            Register::F64 => {
                let bits = self.function(abi::READ_GLOBAL, index)?.read_bits(&nothing);
                Value::F64(bits.map_err(engine_error)? as u64)
            }
            Register::V128 => {
                let halves: Array =
                    self.function(abi::READ_GLOBAL, index)?.read_halves(&nothing).map_err(engine_error)?;
                let half = |place| i64::try_from(halves.get(place)).map_err(|_| missing(&name()));
                Value::V128(half(0)? as u64, half(1)? as u64)
            }
        })
    }

    fn set_global(&mut self, index: u32, value: Value) -> Result<(), SnapshotError> {
        let nothing = JsValue::UNDEFINED;
        let set = |guest: &Self, value: JsValue| {
            let global = guest.export(abi::GLOBAL, index)?.unchecked_into::<WebAssembly::Global>();
            global.set_value(&value);
            Ok(())
        };
        let write = |guest: &Self, bits: u64| {
            let function = guest.function(abi::WRITE_GLOBAL, index)?;
            function.write_bits(&nothing, bits as i64).map_err(engine_error)
        };
        match value {
            Value::I32(value) => set(self, (value as i32).into()),
            Value::I64(value) => set(self, (value as i64).into()),
            Value::Function(function) => {
                let function = self.reference(function)?;
                set(self, function)
            }
            Value::F32(bits) => write(self, bits.into()),
            Value::F64(bits) => write(self, bits),
            Value::V128(low, high) => {
                let function = self.function(abi::WRITE_GLOBAL, index)?;
                function.write_halves(&nothing, low as i64, high as i64).map_err(engine_error)
            }
        }
    }

    fn table(&mut self, index: u32, needs: &Needs) -> Result<Vec<Option<u32>>, SnapshotError> {
        let table: WebAssembly::Table = self.export(abi::TABLE, index)?.unchecked_into();
        let mut elements = vec![];
        for slot in 0..table.length() {
            let function = table.get_raw(slot).map_err(engine_error)?;
            elements.push(self.index(&function, needs)?);
        }
        Ok(elements)
    }

    fn set_table(&mut self, index: u32, elements: &[Option<u32>]) -> Result<(), SnapshotError> {
        let table: WebAssembly::Table = self.export(abi::TABLE, index)?.unchecked_into();
        let length = u32::try_from(elements.len()).map_err(|_| missing("so long a table"))?;
        let grown = length.saturating_sub(table.length());
        if grown > 0 {
            table.grow(grown).map_err(engine_error)?;
        }
        for (slot, function) in (0u32..).zip(elements) {
            table.set_raw(slot, &self.reference(*function)?).map_err(engine_error)?;
        }
        Ok(())
    }

    fn record(&mut self, name: &str) -> Result<u64, SnapshotError> {
        Ok(self.named(name)?.unchecked_into::<Account>().value() as u64)
    }

    fn set_record(&mut self, name: &str, value: u64) -> Result<(), SnapshotError> {
        self.named(name)?.unchecked_into::<Account>().set_value(value as i64);
        Ok(())
    }

    fn drop_segments(&mut self) -> Result<(), SnapshotError> {
        let function = exported(&self.exports, abi::DROP).map_err(engine_error)?;
        function.procedure(&JsValue::UNDEFINED).map_err(engine_error)
    }
}

fn missing(what: &str) -> SnapshotError {
    SnapshotError::Engine { reason: format!("it does not show `{what}`") }
}

fn engine_error(error: JsValue) -> SnapshotError {
    let reason: String = message(&error);
    SnapshotError::Engine { reason }
}
