//! Random programs full of NaNs of every payload and sign: what they compute is easily seen in their memory.
//!
//! Every function computes with numbers and vectors from constants, memory, globals, locals and calls, and moves the
//! results through all that can carry them: blocks, loops, branches, `select`, calls, reinterpretations, lanes. Functions
//! call only those behind them, and every loop counts, so all of them end.

mod code;

use glasshouse_engine::abi;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};

use crate::stream::Stream;
use code::Body;

/// The types that these programs use.
const TYPES: [ValType; 4] = [ValType::F32, ValType::F64, ValType::V128, ValType::I32];

/// Bytes of memory that are written and read: programs meet their own results again.
const MEMORY_BYTES: u64 = 1 << 12;

/// Globals of each type.
const GLOBALS: u32 = 2;

/// A function's type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    parameters: Vec<ValType>,
    results: Vec<ValType>,
}

/// The types of a program, each once.
#[derive(Default)]
struct Types(Vec<Signature>);

impl Types {
    fn index(&mut self, parameters: &[ValType], results: &[ValType]) -> u32 {
        let signature = Signature { parameters: parameters.to_vec(), results: results.to_vec() };
        let found = self.0.iter().position(|known| *known == signature);
        found.unwrap_or_else(|| {
            self.0.push(signature);
            self.0.len() - 1
        }) as u32
    }
}

/// A program made of this seed.
pub fn program(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let count = 2 + stream.below(6) as usize;
    let signatures: Vec<Signature> = (0..count).map(|_| signature(&mut stream)).collect();
    let mut types = Types::default();
    let mut functions = FunctionSection::new();
    for signature in &signatures {
        functions.function(types.index(&signature.parameters, &signature.results));
    }
    let mut code = CodeSection::new();
    for index in 0..count {
        let function: Function = Body::new(&mut stream, &mut types, &signatures, index).finish();
        code.function(&function);
    }

    // What every process has.
    functions.function(types.index(&[], &[]));
    let mut command = Function::new([]);
    command.instructions().end();
    code.function(&command);

    let mut encoded = TypeSection::new();
    for Signature { parameters, results } in &types.0 {
        encoded.ty().function(parameters.iter().copied(), results.iter().copied());
    }
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: count as u64,
        maximum: Some(count as u64),
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let mut exports = ExportSection::new();
    exports.export(abi::MEMORY, ExportKind::Memory, 0).export(abi::COMMAND, ExportKind::Func, count as u32);
    for index in 0..GLOBALS * TYPES.len() as u32 {
        let val_type = TYPES[(index / GLOBALS) as usize];
        let value = match val_type {
            ValType::F32 => ConstExpr::f32_const(Ieee32::new(f32_bits(&mut stream))),
            ValType::F64 => ConstExpr::f64_const(Ieee64::new(f64_bits(&mut stream))),
            ValType::V128 => ConstExpr::v128_const(v128_bits(&mut stream) as i128),
            _ => ConstExpr::i32_const(stream.word() as i32),
        };
        globals.global(GlobalType { val_type, mutable: true, shared: false }, &value);
        exports.export(&format!("global {index}"), ExportKind::Global, index);
    }
    let mut elements = ElementSection::new();
    let indices: Vec<u32> = (0..count as u32).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(indices.as_slice().into()));
    for index in &indices {
        exports.export(&format!("function {index}"), ExportKind::Func, *index);
    }
    let mut data = DataSection::new();
    let numbers = (0..MEMORY_BYTES / 16).flat_map(|_| v128_bits(&mut stream).to_le_bytes());
    data.active(0, &ConstExpr::i32_const(0), numbers.collect::<Vec<u8>>());

    let mut module = Module::new();
    module.section(&encoded).section(&functions).section(&tables).section(&memories).section(&globals);
    module.section(&exports).section(&elements).section(&code).section(&data);
    module.finish()
}

fn signature(stream: &mut Stream) -> Signature {
    let mut list = |least: u64, more: u64| -> Vec<ValType> {
        let count = least + stream.below(more);
        (0..count).map(|_| *stream.one_of(&TYPES)).collect()
    };
    Signature { parameters: list(0, 4), results: list(1, 3) }
}

/// A number, often a NaN.
pub fn f32_bits(stream: &mut Stream) -> u32 {
    const QUIET: u32 = 1 << 22;
    const INFINITY: u32 = 0x7f80_0000;
    let sign = (stream.word() as u32) << 31;
    let payload = stream.word() as u32 & (QUIET - 1);
    let magnitude = match stream.below(12) {
        0 | 1 => INFINITY | QUIET,
        2 | 3 => INFINITY | QUIET | payload,
        // Signalling NaNs.
        4 => INFINITY | 1,
        5 => INFINITY | payload.max(1),
        6 => INFINITY | QUIET | (QUIET - 1),
        7 => INFINITY,
        8 => 0,
        9 => payload,
        10 => (stream.below(64) as f32).to_bits(),
        _ => stream.word() as u32 >> 1,
    };
    sign | magnitude
}

/// A number, often a NaN.
pub fn f64_bits(stream: &mut Stream) -> u64 {
    const QUIET: u64 = 1 << 51;
    const INFINITY: u64 = 0x7ff0_0000_0000_0000;
    let sign = stream.word() << 63;
    let payload = stream.word() & (QUIET - 1);
    let magnitude = match stream.below(12) {
        0 | 1 => INFINITY | QUIET,
        2 | 3 => INFINITY | QUIET | payload,
        4 => INFINITY | 1,
        5 => INFINITY | payload.max(1),
        6 => INFINITY | QUIET | (QUIET - 1),
        7 => INFINITY,
        8 => 0,
        // What is a NaN as a `f32` in either half.
        9 => u64::from(f32_bits(stream)) << 32 >> 1 | u64::from(f32_bits(stream)),
        10 => (stream.below(64) as f64).to_bits(),
        _ => stream.word() >> 1,
    };
    sign | magnitude
}

/// Lanes of either width, often NaNs.
pub fn v128_bits(stream: &mut Stream) -> u128 {
    let mut lanes = 0u128;
    if stream.once_in(2) {
        for _ in 0..4 {
            lanes = lanes << 32 | u128::from(f32_bits(stream));
        }
    } else {
        for _ in 0..2 {
            lanes = lanes << 64 | u128::from(f64_bits(stream));
        }
    }
    lanes
}
