//! Saves and loads registers: the sequence that is the same on every engine.

use std::{format, vec::Vec};

use super::{Image, Registers, SnapshotError, Value};
use crate::{
    abi,
    rewrite::{Needs, Register},
};

/// The parts of an instance that a snapshot reaches, as its engine gives them, by the names of their exports. Functions
/// are named by their index; `needs` says which there are.
pub(crate) trait State {
    /// A memory as a snapshot holds it.
    type Image: Image;

    /// The memory.
    fn image(&mut self) -> Result<Self::Image, SnapshotError>;
    /// A mutable global.
    fn global(&mut self, index: u32, kind: Register, needs: &Needs) -> Result<Value, SnapshotError>;
    fn set_global(&mut self, index: u32, value: Value) -> Result<(), SnapshotError>;
    /// What lies in a table.
    fn table(&mut self, index: u32, needs: &Needs) -> Result<Vec<Option<u32>>, SnapshotError>;
    /// Makes a fresh table, which is not longer, have these elements.
    fn set_table(&mut self, index: u32, elements: &[Option<u32>]) -> Result<(), SnapshotError>;
    /// A global of 64 bits that the pass has added.
    fn record(&mut self, name: &str) -> Result<u64, SnapshotError>;
    fn set_record(&mut self, name: &str, value: u64) -> Result<(), SnapshotError>;
    /// Calls `gh_drop`.
    fn drop_segments(&mut self) -> Result<(), SnapshotError>;

    /// What an instance has, but for what has run.
    fn save(&mut self, needs: &Needs) -> Result<Registers, SnapshotError> {
        let globals = needs.globals.iter().map(|(index, kind)| self.global(*index, *kind, needs));
        let globals = globals.collect::<Result<_, _>>()?;
        let tables = needs.tables.iter().map(|table| self.table(table.index, needs));
        let tables = tables.collect::<Result<_, _>>()?;
        let dropped = (0..needs.dropped).map(|number| self.record(&format!("{}{number}", abi::DROPPED)));
        let dropped = dropped.collect::<Result<_, _>>()?;
        Ok(Registers { globals, tables, dropped, ..Registers::default() })
    }

    /// Gives a fresh instance these registers, which are of its module's form.
    fn load(&mut self, needs: &Needs, registers: &Registers) -> Result<(), SnapshotError> {
        for ((index, _), value) in needs.globals.iter().zip(&registers.globals) {
            self.set_global(*index, *value)?;
        }
        for (table, elements) in needs.tables.iter().zip(&registers.tables) {
            self.set_table(table.index, elements)?;
        }
        for (number, value) in registers.dropped.iter().enumerate() {
            self.set_record(&format!("{}{number}", abi::DROPPED), *value)?;
        }
        if needs.dropped > 0 { self.drop_segments() } else { Ok(()) }
    }
}
