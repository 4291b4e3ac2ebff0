//! What the pass adds to a module: accounts, functions that grow memory and tables within limits, their types, exports.
//!
//! All of it lies behind the module's own, so that no index of the module changes.

use std::{collections::BTreeMap, vec::Vec};

use wasm_encoder::{BlockType, ConstExpr, Encode, ExportKind, Function};
use wasmparser::{RefType, ValType};

use super::encoded_type;
use crate::{
    ModuleError,
    abi::{self, Account},
};

/// A function that the pass adds. Uncharged, uncounted and without calls: whoever calls it has paid for the operator
/// whose place it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grow {
    /// `memory.grow`: `(i32) -> i32`.
    Memory,
    /// `table.grow` of this table: `(funcref, i32) -> i32`. Each table has its own, since the operator names it.
    Table(u32),
}

/// Counts of what the module itself has, and what is added behind it.
#[derive(Default)]
pub(super) struct Added {
    pub(super) types: u32,
    /// Imported ones included.
    pub(super) functions: u32,
    pub(super) globals: u32,
    /// The module's start function.
    pub(super) start: Option<u32>,
    added_types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Each function's place among the added ones.
    places: BTreeMap<Grow, u32>,
    added_functions: Vec<(Grow, u32)>,
}

/// The byte that starts a function type.
const FUNCTION_TYPE: u8 = 0x60;

const GROW_MEMORY: abi::Signature = (&[ValType::I32], &[ValType::I32]);
const GROW_TABLE: abi::Signature = (&[ValType::Ref(RefType::FUNCREF), ValType::I32], &[ValType::I32]);

impl Added {
    /// The index of an account's global.
    pub(super) fn account(&self, account: Account) -> u32 {
        self.globals + account as u32
    }

    /// The index of the function that takes an operator's place.
    pub(super) fn function(&mut self, grow: Grow) -> u32 {
        if let Some(place) = self.places.get(&grow) {
            return self.functions + place;
        }
        let (parameters, results) = match grow {
            Grow::Memory => GROW_MEMORY,
            Grow::Table(_) => GROW_TABLE,
        };
        let kind = self.function_type(parameters, results);
        let place = self.added_functions.len() as u32;
        self.places.insert(grow, place);
        self.added_functions.push((grow, kind));
        self.functions + place
    }

    /// These results as the type of a block without parameters.
    pub(super) fn block_type(&mut self, results: &[ValType]) -> Result<BlockType, ModuleError> {
        match results {
            [] => Ok(BlockType::Empty),
            [single] => Ok(BlockType::Result(encoded_type(*single)?)),
            several => Ok(BlockType::FunctionType(self.function_type(&[], several))),
        }
    }

    /// The index of a type that is added, once.
    fn function_type(&mut self, parameters: &[ValType], results: &[ValType]) -> u32 {
        let same = |added: &(Vec<ValType>, Vec<ValType>)| added.0 == parameters && added.1 == results;
        let index = self.added_types.iter().position(same).unwrap_or_else(|| {
            self.added_types.push((parameters.to_vec(), results.to_vec()));
            self.added_types.len() - 1
        });
        self.types + index as u32
    }

    /// Items for the type section, with their number.
    pub(super) fn encode_types(&self) -> Result<(u32, Vec<u8>), ModuleError> {
        let mut items = Vec::new();
        for (parameters, results) in &self.added_types {
            items.push(FUNCTION_TYPE);
            for list in [parameters, results] {
                list.len().encode(&mut items);
                for kind in list {
                    encoded_type(*kind)?.encode(&mut items);
                }
            }
        }
        Ok((self.added_types.len() as u32, items))
    }

    /// Items for the function section, with their number.
    pub(super) fn encode_functions(&self) -> (u32, Vec<u8>) {
        let mut items = Vec::new();
        for (_, kind) in &self.added_functions {
            kind.encode(&mut items);
        }
        (self.added_functions.len() as u32, items)
    }

    /// Items for the global section, with their number. All start at zero: nothing runs and nothing grows before a host
    /// has set them.
    pub(super) fn encode_globals(&self) -> (u32, Vec<u8>) {
        let mut items = Vec::new();
        for _account in Account::ALL {
            let val_type = wasm_encoder::ValType::I64;
            wasm_encoder::GlobalType { val_type, mutable: true, shared: false }.encode(&mut items);
            ConstExpr::i64_const(0).encode(&mut items);
        }
        (Account::ALL.len() as u32, items)
    }

    /// Items for the export section, with their number.
    pub(super) fn encode_exports(&self) -> (u32, Vec<u8>) {
        let mut exports: Vec<(&str, ExportKind, u32)> = Account::ALL
            .iter()
            .map(|account| (account.export(), ExportKind::Global, self.account(*account)))
            .collect();
        exports.extend(self.start.map(|function| (abi::START, ExportKind::Func, function)));
        let mut items = Vec::new();
        for (name, kind, index) in &exports {
            name.encode(&mut items);
            kind.encode(&mut items);
            index.encode(&mut items);
        }
        (exports.len() as u32, items)
    }

    /// Items for the code section, with their number.
    pub(super) fn encode_code(&self) -> (u32, Vec<u8>) {
        let mut items = Vec::new();
        for (grow, _) in &self.added_functions {
            match grow {
                Grow::Memory => self.grow_memory().encode(&mut items),
                Grow::Table(table) => self.grow_table(*table).encode(&mut items),
            }
        }
        (self.added_functions.len() as u32, items)
    }

    /// Answers -1 beyond [`Account::MemoryPages`], and counts each -1.
    fn grow_memory(&self) -> Function {
        const PAGES: u32 = 0;
        let refused = self.account(Account::MemoryRefused);
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.memory_size(0).i64_extend_i32_u().local_get(PAGES).i64_extend_i32_u().i64_add();
        code.global_get(self.account(Account::MemoryPages)).i64_le_u();
        code.if_(BlockType::Result(wasm_encoder::ValType::I32));
        code.local_get(PAGES).memory_grow(0).else_().i32_const(-1).end();
        code.local_tee(PAGES).i32_const(-1).i32_eq().if_(BlockType::Empty);
        code.global_get(refused).i64_const(1).i64_add().global_set(refused).end();
        code.local_get(PAGES).end();
        function
    }

    /// Answers -1 beyond [`Account::TableElements`], and takes from it what was granted.
    fn grow_table(&self, table: u32) -> Function {
        const VALUE: u32 = 0;
        const ELEMENTS: u32 = 1;
        const ANSWER: u32 = 2;
        let left = self.account(Account::TableElements);
        let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
        let mut code = function.instructions();
        code.i32_const(-1).local_set(ANSWER);
        code.local_get(ELEMENTS).i64_extend_i32_u().global_get(left).i64_le_u().if_(BlockType::Empty);
        code.local_get(VALUE).local_get(ELEMENTS).table_grow(table);
        code.local_tee(ANSWER).i32_const(-1).i32_ne().if_(BlockType::Empty);
        code.global_get(left).local_get(ELEMENTS).i64_extend_i32_u().i64_sub().global_set(left).end();
        code.end().local_get(ANSWER).end();
        function
    }
}
