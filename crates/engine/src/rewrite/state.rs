//! What a snapshot must reach besides the memory: globals, tables, the functions that may lie in them, and the segments
//! that were dropped.
//!
//! A module whose tables no operator changes has them as its element segments made them, so they need not be saved; and
//! where nothing that can change holds functions, no host need tell one function from another.

use std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use wasmparser::{ConstExpr, Element, ElementItems, ElementKind, Operator, TableType, ValType};

use crate::ModuleError;

/// The type of a global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Register {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit number.
    F32,
    /// A 64-bit number.
    F64,
    /// A vector.
    V128,
    /// A reference to a function, or none.
    Function,
}

/// A segment that an operator drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Data(u32),
    Elements(u32),
}

/// What a snapshot must reach.
#[derive(Default)]
pub(super) struct State {
    /// The module's own mutable globals, by index.
    globals: Vec<(u32, Register)>,
    /// Tables that an operator changes.
    changed_tables: BTreeSet<u32>,
    /// Functions that a table or a global may hold.
    referenced: BTreeSet<u32>,
    /// Segments that an operator drops, and their numbers.
    dropped: BTreeMap<Segment, u32>,
}

impl State {
    /// A global that the module defines.
    pub(super) fn global(
        &mut self,
        index: u32,
        kind: wasmparser::GlobalType,
        value: &ConstExpr<'_>,
    ) -> Result<(), ModuleError> {
        self.expression(value)?;
        if kind.mutable {
            let register = match kind.content_type {
                ValType::I32 => Register::I32,
                ValType::I64 => Register::I64,
                ValType::F32 => Register::F32,
                ValType::F64 => Register::F64,
                ValType::V128 => Register::V128,
                ValType::Ref(_) => Register::Function,
            };
            self.globals.push((index, register));
        }
        Ok(())
    }

    /// A segment of elements. What is only declared lies nowhere; the operator that makes it a reference counts.
    pub(super) fn elements(&mut self, elements: Element<'_>) -> Result<(), ModuleError> {
        if matches!(elements.kind, ElementKind::Declared) {
            return Ok(());
        }
        match elements.items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    self.referenced.insert(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    self.expression(&expression?)?;
                }
            }
        }
        Ok(())
    }

    /// An expression that initializes something.
    pub(super) fn expression(&mut self, expression: &ConstExpr<'_>) -> Result<(), ModuleError> {
        for operator in expression.get_operators_reader() {
            self.operator(&operator?);
        }
        Ok(())
    }

    /// An operator of the module's code.
    pub(super) fn operator(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::RefFunc { function_index } => {
                self.referenced.insert(*function_index);
            }
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. }
            | Operator::TableCopy { dst_table: table, .. } => {
                self.changed_tables.insert(*table);
            }
            Operator::DataDrop { data_index } => self.drops(Segment::Data(*data_index)),
            Operator::ElemDrop { elem_index } => self.drops(Segment::Elements(*elem_index)),
            _ => {}
        }
    }

    fn drops(&mut self, segment: Segment) {
        let next = self.dropped.len() as u32;
        self.dropped.entry(segment).or_insert(next);
    }

    /// The number of the segment that an operator drops, if it drops one.
    pub(super) fn number(&self, operator: &Operator<'_>) -> Option<u32> {
        let segment = match operator {
            Operator::DataDrop { data_index } => Segment::Data(*data_index),
            Operator::ElemDrop { elem_index } => Segment::Elements(*elem_index),
            _ => return None,
        };
        self.dropped.get(&segment).copied()
    }

    pub(super) fn globals(&self) -> &[(u32, Register)] {
        &self.globals
    }

    /// The tables that can change, in order.
    pub(super) fn tables(&self) -> impl Iterator<Item = u32> {
        self.changed_tables.iter().copied()
    }

    /// The functions that a host must be able to tell apart, in order.
    pub(super) fn functions(&self) -> impl Iterator<Item = u32> {
        let held = !self.changed_tables.is_empty()
            || self.globals.iter().any(|(_, register)| *register == Register::Function);
        self.referenced.iter().copied().filter(move |_| held)
    }

    /// Segments that can be dropped.
    pub(super) fn segments(&self) -> u32 {
        self.dropped.len() as u32
    }

    /// The segments that can be dropped, with their numbers.
    pub(super) fn droppable(&self) -> impl Iterator<Item = (Segment, u32)> {
        self.dropped.iter().map(|(segment, number)| (*segment, *number))
    }
}

/// A table that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangingTable {
    /// Its index in the module.
    pub index: u32,
    /// Elements that it starts with.
    pub initial: u64,
    /// Elements that it may have at most.
    pub maximum: u64,
}

impl ChangingTable {
    pub(super) fn new(index: u32, kind: TableType) -> Self {
        Self { index, initial: kind.initial, maximum: kind.maximum.unwrap_or(u32::MAX.into()) }
    }
}
