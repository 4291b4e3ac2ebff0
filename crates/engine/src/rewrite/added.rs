//! What the pass adds to a module: accounts, functions, a table for the host's hook, their types, exports.
//!
//! All of it lies behind the module's own, so that no index of the module changes.

use std::{collections::BTreeMap, format, string::String, vec::Vec};

use wasm_encoder::{BlockType, ConstExpr, Encode, ExportKind};
use wasmparser::{RefType, ValType};

use super::{
    encoded_type,
    state::{Register, Segment, State},
};
use crate::{
    ModuleError,
    abi::{self, Account},
};

/// A function that the pass adds. Uncharged and uncounted: whoever calls it has paid for the operator whose place it
/// takes, or is the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Function {
    /// Calls the hook that the host has put into its table: `() -> ()`.
    Checkpoint,
    /// `memory.grow`: `(i32) -> i32`.
    GrowMemory,
    /// `table.grow` of this table: `(funcref, i32) -> i32`. Each table has its own, since the operator names it.
    GrowTable(u32),
    /// Sets the accounts of a step that has so much fuel, calls this function, which is `gh_allocate`, and answers the
    /// place and what is left of the fuel: `(i64, i32) -> (i32, i64)`.
    Begin(u32),
    /// Calls this function, an entry, with the whole stack before it, and answers its result and what is left of the
    /// fuel: `(i32, i32) -> (i64, i64)`.
    Enter(u32),
    /// Reads the bits of a global: `() -> i64`, or `() -> (i64, i64)`, lower half first.
    ReadGlobal(u32, Bits),
    /// Writes the bits of a global: `(i64) -> ()`, or `(i64, i64) -> ()`.
    WriteGlobal(u32, Bits),
    /// Drops the segments that had been dropped when a snapshot was taken: `() -> ()`.
    Drop,
}

/// The globals whose bits not every host can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bits {
    F32,
    F64,
    V128,
}

/// Counts of what the module itself has, imported things included, and what is added behind it.
#[derive(Default)]
pub(super) struct Added {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) tables: u32,
    pub(super) globals: u32,
    /// The module's start function.
    pub(super) start: Option<u32>,
    /// The module's `gh_allocate`.
    pub(super) allocate: Option<u32>,
    /// The names of its entries and their functions.
    pub(super) entries: Vec<(String, u32)>,
    /// What a snapshot must reach.
    pub(super) state: State,
    added_types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Each function's place among the added ones.
    places: BTreeMap<Function, u32>,
    added_functions: Vec<(Function, u32)>,
}

/// Globals into which the values of a loop's locals are put over a checkpoint: of type `i64`, and behind them of type
/// `v128`. Not part of a process's state: they are written before they are read.
pub(super) const KEPT_NUMBERS: u32 = 16;
pub(super) const KEPT_VECTORS: u32 = 8;

/// The byte that starts a function type.
const FUNCTION_TYPE: u8 = 0x60;

/// Segments whose dropping one global records.
const SEGMENTS_PER_GLOBAL: u32 = i64::BITS;

const NOTHING: abi::Signature = (&[], &[]);
const GROW_MEMORY: abi::Signature = (&[ValType::I32], &[ValType::I32]);
const GROW_TABLE: abi::Signature = (&[ValType::Ref(RefType::FUNCREF), ValType::I32], &[ValType::I32]);
const BEGIN: abi::Signature = (&[ValType::I64, ValType::I32], &[ValType::I32, ValType::I64]);
const ENTER: abi::Signature = (&[ValType::I32, ValType::I32], TWO);
const ONE: &[ValType] = &[ValType::I64];
const TWO: &[ValType] = &[ValType::I64, ValType::I64];

impl Added {
    /// The index of an account's global.
    pub(super) fn account(&self, account: Account) -> u32 {
        self.globals + account as u32
    }

    /// The first of the globals that keep numbers; those that keep vectors lie behind them.
    pub(super) fn kept_numbers(&self) -> u32 {
        self.globals + Account::ALL.len() as u32
    }

    /// The global and the bit in it that record whether a segment, by its number among those that can be dropped, was.
    pub(super) fn dropped(&self, number: u32) -> (u32, i64) {
        let global = self.kept_numbers() + KEPT_NUMBERS + KEPT_VECTORS + number / SEGMENTS_PER_GLOBAL;
        (global, 1 << (number % SEGMENTS_PER_GLOBAL))
    }

    /// The globals that record what was dropped.
    pub(super) fn dropped_globals(&self) -> u32 {
        self.state.segments().div_ceil(SEGMENTS_PER_GLOBAL)
    }

    /// The index of an added function, which is added if it was not yet.
    pub(super) fn function(&mut self, function: Function) -> u32 {
        if let Some(place) = self.places.get(&function) {
            return self.functions + place;
        }
        let (parameters, results) = match function {
            Function::Checkpoint | Function::Drop => NOTHING,
            Function::GrowMemory => GROW_MEMORY,
            Function::GrowTable(_) => GROW_TABLE,
            Function::Begin(_) => BEGIN,
            Function::Enter(_) => ENTER,
            Function::ReadGlobal(_, Bits::V128) => (&[][..], TWO),
            Function::ReadGlobal(..) => (&[][..], ONE),
            Function::WriteGlobal(_, Bits::V128) => (TWO, &[][..]),
            Function::WriteGlobal(..) => (ONE, &[][..]),
        };
        let kind = self.function_type(parameters, results);
        let place = self.added_functions.len() as u32;
        self.places.insert(function, place);
        self.added_functions.push((function, kind));
        self.functions + place
    }

    /// Adds what depends on the whole module, when all of it has been read.
    pub(super) fn complete(&mut self) {
        self.function(Function::Checkpoint);
        if let Some(allocate) = self.allocate {
            self.function(Function::Begin(allocate));
            for place in 0..self.entries.len() {
                self.function(Function::Enter(self.entries[place].1));
            }
        }
        for (global, kind) in self.state.globals().to_vec() {
            let bits = match kind {
                Register::F32 => Bits::F32,
                Register::F64 => Bits::F64,
                Register::V128 => Bits::V128,
                Register::I32 | Register::I64 | Register::Function => continue,
            };
            self.function(Function::ReadGlobal(global, bits));
            self.function(Function::WriteGlobal(global, bits));
        }
        if self.state.segments() > 0 {
            self.function(Function::Drop);
        }
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

    /// Items for the table section, with their number: one slot for the host's hook.
    pub(super) fn encode_tables(&self) -> (u32, Vec<u8>) {
        let mut items = Vec::new();
        wasm_encoder::TableType {
            element_type: wasm_encoder::RefType::FUNCREF,
            minimum: 1,
            maximum: Some(1),
            table64: false,
            shared: false,
        }
        .encode(&mut items);
        (1, items)
    }

    /// Items for the global section, with their number. All start at zero: nothing runs and nothing grows before a host
    /// has set them.
    pub(super) fn encode_globals(&self) -> (u32, Vec<u8>) {
        let numbers = Account::ALL.len() as u32 + KEPT_NUMBERS;
        let count = numbers + KEPT_VECTORS + self.dropped_globals();
        let mut items = Vec::new();
        for place in 0..count {
            let is_vector = (numbers..numbers + KEPT_VECTORS).contains(&place);
            let (val_type, zero) = if is_vector {
                (wasm_encoder::ValType::V128, ConstExpr::v128_const(0))
            } else {
                (wasm_encoder::ValType::I64, ConstExpr::i64_const(0))
            };
            wasm_encoder::GlobalType { val_type, mutable: true, shared: false }.encode(&mut items);
            zero.encode(&mut items);
        }
        (count, items)
    }

    /// Items for the export section, with their number.
    pub(super) fn encode_exports(&self) -> (u32, Vec<u8>) {
        let mut exports: Vec<(String, ExportKind, u32)> = Account::ALL
            .iter()
            .map(|account| (account.export().into(), ExportKind::Global, self.account(*account)))
            .collect();
        exports.push((abi::HOOKS.into(), ExportKind::Table, self.tables));
        exports.extend(self.start.map(|function| (abi::START.into(), ExportKind::Func, function)));
        for number in 0..self.dropped_globals() {
            let (global, _) = self.dropped(number * SEGMENTS_PER_GLOBAL);
            exports.push((format!("{}{number}", abi::DROPPED), ExportKind::Global, global));
        }
        for (global, _) in self.state.globals() {
            exports.push((format!("{}{global}", abi::GLOBAL), ExportKind::Global, *global));
        }
        for table in self.state.tables() {
            exports.push((format!("{}{table}", abi::TABLE), ExportKind::Table, table));
        }
        for function in self.state.functions() {
            exports.push((format!("{}{function}", abi::FUNCTION), ExportKind::Func, function));
        }
        for (place, (function, _)) in self.added_functions.iter().enumerate() {
            let name = match function {
                Function::ReadGlobal(global, _) => format!("{}{global}", abi::READ_GLOBAL),
                Function::WriteGlobal(global, _) => format!("{}{global}", abi::WRITE_GLOBAL),
                Function::Begin(_) => abi::BEGIN.into(),
                Function::Drop => abi::DROP.into(),
                Function::Checkpoint | Function::GrowMemory | Function::GrowTable(_) | Function::Enter(_) => {
                    continue;
                }
            };
            exports.push((name, ExportKind::Func, self.functions + place as u32));
        }
        for (name, entry) in &self.entries {
            if let Some(place) = self.places.get(&Function::Enter(*entry)) {
                exports.push((format!("{}{name}", abi::ENTER), ExportKind::Func, self.functions + place));
            }
        }
        let mut items = Vec::new();
        for (name, kind, index) in &exports {
            name.as_str().encode(&mut items);
            kind.encode(&mut items);
            index.encode(&mut items);
        }
        (exports.len() as u32, items)
    }

    /// Items for the code section, with their number.
    pub(super) fn encode_code(&self) -> (u32, Vec<u8>) {
        let mut items = Vec::new();
        for (function, kind) in &self.added_functions {
            let function = match function {
                Function::Checkpoint => self.checkpoint(*kind),
                Function::GrowMemory => self.grow_memory(),
                Function::GrowTable(table) => self.grow_table(*table),
                Function::Begin(allocate) => self.begin(*allocate),
                Function::Enter(entry) => self.enter(*entry),
                Function::ReadGlobal(global, bits) => read_global(*global, *bits),
                Function::WriteGlobal(global, bits) => write_global(*global, *bits),
                Function::Drop => self.drop_segments(),
            };
            function.encode(&mut items);
        }
        (self.added_functions.len() as u32, items)
    }

    /// Calls what lies in the table for the host's hook; `kind` is the type of this function and of the hook.
    fn checkpoint(&self, kind: u32) -> wasm_encoder::Function {
        let mut function = wasm_encoder::Function::new([]);
        function.instructions().i32_const(0).call_indirect(self.tables, kind).end();
        function
    }

    /// Answers -1 beyond [`Account::MemoryPages`], and counts each -1.
    fn grow_memory(&self) -> wasm_encoder::Function {
        const PAGES: u32 = 0;
        let refused = self.account(Account::MemoryRefused);
        let mut function = wasm_encoder::Function::new([]);
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
    fn grow_table(&self, table: u32) -> wasm_encoder::Function {
        const VALUE: u32 = 0;
        const ELEMENTS: u32 = 1;
        const ANSWER: u32 = 2;
        let left = self.account(Account::TableElements);
        let mut function = wasm_encoder::Function::new([(1, wasm_encoder::ValType::I32)]);
        let mut code = function.instructions();
        code.i32_const(-1).local_set(ANSWER);
        code.local_get(ELEMENTS).i64_extend_i32_u().global_get(left).i64_le_u().if_(BlockType::Empty);
        code.local_get(VALUE).local_get(ELEMENTS).table_grow(table);
        code.local_tee(ANSWER).i32_const(-1).i32_ne().if_(BlockType::Empty);
        code.global_get(left).local_get(ELEMENTS).i64_extend_i32_u().i64_sub().global_set(left).end();
        code.end().local_get(ANSWER).end();
        function
    }

    /// One call in place of one for each account, which costs more than a short step.
    fn begin(&self, allocate: u32) -> wasm_encoder::Function {
        const FUEL: u32 = 0;
        const LENGTH: u32 = 1;
        let mut function = wasm_encoder::Function::new([]);
        let mut code = function.instructions();
        code.local_get(FUEL).global_set(self.account(Account::Fuel));
        code.i64_const(abi::STACK_BYTES.into()).global_set(self.account(Account::Stack));
        code.i64_const(0).global_set(self.account(Account::MemoryRefused));
        code.local_get(LENGTH).call(allocate).global_get(self.account(Account::Fuel)).end();
        function
    }

    fn enter(&self, entry: u32) -> wasm_encoder::Function {
        const POINTER: u32 = 0;
        const LENGTH: u32 = 1;
        let mut function = wasm_encoder::Function::new([]);
        let mut code = function.instructions();
        code.i64_const(abi::STACK_BYTES.into()).global_set(self.account(Account::Stack));
        code.local_get(POINTER).local_get(LENGTH).call(entry).global_get(self.account(Account::Fuel)).end();
        function
    }

    /// Drops each segment whose bit is set.
    fn drop_segments(&self) -> wasm_encoder::Function {
        let mut function = wasm_encoder::Function::new([]);
        let mut code = function.instructions();
        for (segment, number) in self.state.droppable() {
            let (global, bit) = self.dropped(number);
            code.global_get(global).i64_const(bit).i64_and().i64_const(0).i64_ne().if_(BlockType::Empty);
            match segment {
                Segment::Data(index) => code.data_drop(index),
                Segment::Elements(index) => code.elem_drop(index),
            };
            code.end();
        }
        code.end();
        function
    }
}

/// Answers the bits of a global.
fn read_global(global: u32, bits: Bits) -> wasm_encoder::Function {
    let mut function = wasm_encoder::Function::new([]);
    let mut code = function.instructions();
    code.global_get(global);
    match bits {
        Bits::F32 => code.i32_reinterpret_f32().i64_extend_i32_u(),
        Bits::F64 => code.i64_reinterpret_f64(),
        Bits::V128 => code.i64x2_extract_lane(0).global_get(global).i64x2_extract_lane(1),
    };
    code.end();
    function
}

/// Sets a global to the bits that it is given.
fn write_global(global: u32, bits: Bits) -> wasm_encoder::Function {
    let mut function = wasm_encoder::Function::new([]);
    let mut code = function.instructions();
    code.local_get(0);
    match bits {
        Bits::F32 => code.i32_wrap_i64().f32_reinterpret_i32(),
        Bits::F64 => code.f64_reinterpret_i64(),
        Bits::V128 => code.i64x2_splat().local_get(1).i64x2_replace_lane(1),
    };
    code.global_set(global).end();
    function
}
