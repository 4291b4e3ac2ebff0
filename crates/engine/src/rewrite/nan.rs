//! Gives every NaN that arithmetic makes the same bits.
//!
//! WebAssembly lets an engine choose the bits of a NaN that is the result of *arithmetic* (`add`, `sqrt`, `min`,
//! `demote`, …), and only of that: loads, stores, locals, `select`, `abs`, `neg`, `copysign`, `pmin`, calls and moves
//! between numbers and vectors keep bits as they are. So exactly the results of arithmetic are *settled*: replaced by
//! the canonical NaN if they are none,
//!
//! ```text
//! local.tee t   const canonical   local.get t   local.get t   eq   select     (bitselect for vectors)
//! ```
//!
//! but not where nothing can tell. Arithmetic, comparisons and conversions to integers of the same shape, and `drop`,
//! do not look at a NaN's bits. A value is followed on the operand stack from the operator that makes it to the one
//! that takes it, within its straight-line segment; at a segment's end it counts as seen. And it is followed through
//! locals: a local that holds nothing but results of arithmetic (and constants that are settled already) may hold
//! them unsettled, and is settled where it is read by something that looks. That is what keeps a sum in a loop free of
//! charge. Any other local holds settled results beside bits that must be kept.

use std::{vec, vec::Vec};

use wasm_encoder::{Encode, Instruction};
use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, ModuleArity, Operator, RefType, SubType, ValType,
};

/// How a value is read as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Shape {
    /// The type of a value of this shape.
    pub(super) fn value_type(self) -> wasm_encoder::ValType {
        match self {
            Self::F32 => wasm_encoder::ValType::F32,
            Self::F64 => wasm_encoder::ValType::F64,
            Self::F32x4 | Self::F64x2 => wasm_encoder::ValType::V128,
        }
    }
}

/// Where a value comes from whose NaNs may be unsettled.
#[derive(Debug, Clone, Copy)]
enum Source {
    Arithmetic(Shape),
    Local(u32),
}

/// What takes a value.
#[derive(Debug, Clone, Copy)]
enum Sink {
    /// Something that may look at its bits.
    Seen,
    /// `drop`.
    Dropped,
    /// Something that reads numbers of this shape and does not look at a NaN's bits.
    Number(Shape),
    Local(u32),
}

struct Value {
    source: Source,
    sink: Sink,
}

/// An entry of the operand stack that is known.
struct Operand {
    /// The height of the stack below it.
    height: u32,
    /// Its number among the values; none if it is settled.
    value: Option<u32>,
}

/// A local whose NaNs may be unsettled, as far as the function has been read.
#[derive(Clone, Copy, Default)]
struct Local {
    /// As what arithmetic made its values.
    shape: Option<Shape>,
    /// It may hold bits that must be kept.
    exact: bool,
}

/// Follows the numbers of one function. Values are numbered in the order in which they are made.
pub(super) struct Numbers {
    locals: Vec<Local>,
    values: Vec<Value>,
    /// From the bottom to the top; what is unknown is left out.
    stack: Vec<Operand>,
    /// Copies from a local to another, both of the same scalar type.
    copies: Vec<(u32, u32)>,
}

impl Numbers {
    /// `types` of all locals, of which the first are `parameters`.
    pub(super) fn new(types: impl Iterator<Item = ValType>, parameters: u32) -> Self {
        let local = |(index, kind)| Local {
            shape: match kind {
                ValType::F32 => Some(Shape::F32),
                ValType::F64 => Some(Shape::F64),
                _ => None,
            },
            exact: index < parameters as usize
                || !matches!(kind, ValType::F32 | ValType::F64 | ValType::V128),
        };
        Self {
            locals: types.enumerate().map(local).collect(),
            values: Vec::new(),
            stack: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Forgets the operand stack: control flow joins or splits here.
    pub(super) fn forget(&mut self) {
        self.stack.clear();
    }

    /// Takes an operator that control reaches, with the stack's height before it. Answers the number of the value that
    /// it makes, if that may have to be settled behind it.
    pub(super) fn operator(&mut self, operator: &Operator<'_>, height: u32) -> Option<u32> {
        if let Some((operands, from, to)) = arithmetic(operator) {
            let bottom = height.saturating_sub(operands);
            self.take(bottom, Sink::Number(from));
            return to.map(|to| self.make(bottom, Source::Arithmetic(to)));
        }
        match operator {
            Operator::LocalGet { local_index } => self.read(*local_index, height),
            Operator::LocalSet { local_index } => {
                self.store(*local_index, height);
                None
            }
            Operator::LocalTee { local_index } => {
                self.store(*local_index, height);
                self.read(*local_index, height.saturating_sub(1))
            }
            Operator::Drop => {
                self.take(height.saturating_sub(1), Sink::Dropped);
                None
            }
            operator if is_settled(operator) => {
                let operands = operands(operator).unwrap_or(0);
                let bottom = height.saturating_sub(operands);
                self.take(bottom, Sink::Seen);
                self.stack.push(Operand { height: bottom, value: None });
                None
            }
            operator => {
                let bottom = operands(operator).map_or(0, |operands| height.saturating_sub(operands));
                self.take(bottom, Sink::Seen);
                None
            }
        }
    }

    fn make(&mut self, height: u32, source: Source) -> u32 {
        let number = self.values.len() as u32;
        self.values.push(Value { source, sink: Sink::Seen });
        self.stack.push(Operand { height, value: Some(number) });
        number
    }

    /// Takes everything above `bottom` from the stack.
    fn take(&mut self, bottom: u32, sink: Sink) {
        while let Some(operand) = self.stack.pop_if(|operand| operand.height >= bottom) {
            if let Some(value) = operand.value {
                self.values[value as usize].sink = sink;
            }
        }
    }

    fn read(&mut self, local: u32, height: u32) -> Option<u32> {
        let exact = self.locals.get(local as usize).is_none_or(|local| local.exact);
        (!exact).then(|| self.make(height, Source::Local(local)))
    }

    /// Takes the top of the stack into a local.
    fn store(&mut self, index: u32, height: u32) {
        let bottom = height.saturating_sub(1);
        let operand = self.stack.pop_if(|operand| operand.height >= bottom);
        let value = match operand {
            None => return self.keep(index),
            Some(Operand { value: None, .. }) => return,
            Some(Operand { value: Some(value), .. }) => value as usize,
        };
        match self.values[value].source {
            Source::Arithmetic(shape) => {
                self.values[value].sink = Sink::Local(index);
                if self.locals[index as usize].shape.is_some_and(|known| known != shape) {
                    self.keep(index);
                }
                self.locals[index as usize].shape = Some(shape);
            }
            Source::Local(from) if self.locals[from as usize].shape.is_some_and(is_scalar) => {
                self.values[value].sink = Sink::Local(index);
                self.copies.push((from, index));
            }
            // Vectors may be read as several shapes; those that are copied are settled.
            Source::Local(_) => self.keep(index),
        }
    }

    /// A local that may hold bits that must be kept.
    fn keep(&mut self, local: u32) {
        self.locals[local as usize].exact = true;
    }

    /// Decides, when all operators have been taken, how each value is to be settled: by its number, none if it need not.
    pub(super) fn decide(mut self) -> Vec<Option<Shape>> {
        self.spread();
        let exact = |local: u32| self.locals[local as usize].exact;
        let decide = |value: &Value| {
            let shape = match value.source {
                Source::Arithmetic(shape) => shape,
                Source::Local(local) if !exact(local) => self.locals[local as usize].shape?,
                Source::Local(_) => return None,
            };
            let seen = match value.sink {
                Sink::Seen => true,
                Sink::Dropped => false,
                Sink::Number(read) => read != shape,
                Sink::Local(local) => exact(local),
            };
            seen.then_some(shape)
        };
        self.values.iter().map(decide).collect()
    }

    /// What is copied from a local that keeps bits makes the other one keep them too.
    fn spread(&mut self) {
        self.copies.sort_unstable();
        self.copies.dedup();
        let mut reached: Vec<u32> =
            (0..self.locals.len() as u32).filter(|local| self.locals[*local as usize].exact).collect();
        while let Some(from) = reached.pop() {
            let first = self.copies.partition_point(|copy| copy.0 < from);
            for (_, to) in self.copies[first..].iter().take_while(|copy| copy.0 == from) {
                if !std::mem::replace(&mut self.locals[*to as usize].exact, true) {
                    reached.push(*to);
                }
            }
        }
    }
}

fn is_scalar(shape: Shape) -> bool {
    matches!(shape, Shape::F32 | Shape::F64)
}

/// Settles the value on top of the stack. `scratch` is a local of its type.
pub(super) fn encode_settle(shape: Shape, scratch: u32, output: &mut Vec<u8>) {
    const F32_CANONICAL: u32 = 0x7fc0_0000;
    const F64_CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    let f32x4 = u128::from(F32_CANONICAL) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let f64x2 = u128::from(F64_CANONICAL) * 0x0000_0000_0000_0001_0000_0000_0000_0001;
    let (canonical, equal, select) = match shape {
        Shape::F32 => (
            Instruction::F32Const(wasm_encoder::Ieee32::new(F32_CANONICAL)),
            Instruction::F32Eq,
            Instruction::Select,
        ),
        Shape::F64 => (
            Instruction::F64Const(wasm_encoder::Ieee64::new(F64_CANONICAL)),
            Instruction::F64Eq,
            Instruction::Select,
        ),
        Shape::F32x4 => {
            (Instruction::V128Const(f32x4 as i128), Instruction::F32x4Eq, Instruction::V128Bitselect)
        }
        Shape::F64x2 => {
            (Instruction::V128Const(f64x2 as i128), Instruction::F64x2Eq, Instruction::V128Bitselect)
        }
    };
    for instruction in [
        Instruction::LocalTee(scratch),
        canonical,
        Instruction::LocalGet(scratch),
        Instruction::LocalGet(scratch),
        equal,
        select,
    ] {
        instruction.encode(output);
    }
}

/// Operators that do not look at a NaN's bits: how many operands they take, as what, and as what an engine chooses the
/// NaNs of their results, if the result is a number.
fn arithmetic(operator: &Operator<'_>) -> Option<(u32, Shape, Option<Shape>)> {
    use Shape::{F32, F32x4, F64, F64x2};
    Some(match operator {
        Operator::F32Add
        | Operator::F32Sub
        | Operator::F32Mul
        | Operator::F32Div
        | Operator::F32Min
        | Operator::F32Max => (2, F32, Some(F32)),
        Operator::F32Sqrt
        | Operator::F32Ceil
        | Operator::F32Floor
        | Operator::F32Trunc
        | Operator::F32Nearest => (1, F32, Some(F32)),
        Operator::F64Add
        | Operator::F64Sub
        | Operator::F64Mul
        | Operator::F64Div
        | Operator::F64Min
        | Operator::F64Max => (2, F64, Some(F64)),
        Operator::F64Sqrt
        | Operator::F64Ceil
        | Operator::F64Floor
        | Operator::F64Trunc
        | Operator::F64Nearest => (1, F64, Some(F64)),
        Operator::F32DemoteF64 => (1, F64, Some(F32)),
        Operator::F64PromoteF32 => (1, F32, Some(F64)),
        Operator::F32x4Add
        | Operator::F32x4Sub
        | Operator::F32x4Mul
        | Operator::F32x4Div
        | Operator::F32x4Min
        | Operator::F32x4Max => (2, F32x4, Some(F32x4)),
        Operator::F32x4Sqrt
        | Operator::F32x4Ceil
        | Operator::F32x4Floor
        | Operator::F32x4Trunc
        | Operator::F32x4Nearest => (1, F32x4, Some(F32x4)),
        Operator::F64x2Add
        | Operator::F64x2Sub
        | Operator::F64x2Mul
        | Operator::F64x2Div
        | Operator::F64x2Min
        | Operator::F64x2Max => (2, F64x2, Some(F64x2)),
        Operator::F64x2Sqrt
        | Operator::F64x2Ceil
        | Operator::F64x2Floor
        | Operator::F64x2Trunc
        | Operator::F64x2Nearest => (1, F64x2, Some(F64x2)),
        Operator::F32x4DemoteF64x2Zero => (1, F64x2, Some(F32x4)),
        Operator::F64x2PromoteLowF32x4 => (1, F32x4, Some(F64x2)),
        Operator::F32Eq
        | Operator::F32Ne
        | Operator::F32Lt
        | Operator::F32Gt
        | Operator::F32Le
        | Operator::F32Ge => (2, F32, None),
        Operator::F64Eq
        | Operator::F64Ne
        | Operator::F64Lt
        | Operator::F64Gt
        | Operator::F64Le
        | Operator::F64Ge => (2, F64, None),
        Operator::F32x4Eq
        | Operator::F32x4Ne
        | Operator::F32x4Lt
        | Operator::F32x4Gt
        | Operator::F32x4Le
        | Operator::F32x4Ge => (2, F32x4, None),
        Operator::F64x2Eq
        | Operator::F64x2Ne
        | Operator::F64x2Lt
        | Operator::F64x2Gt
        | Operator::F64x2Le
        | Operator::F64x2Ge => (2, F64x2, None),
        Operator::I32TruncF32S
        | Operator::I32TruncF32U
        | Operator::I64TruncF32S
        | Operator::I64TruncF32U
        | Operator::I32TruncSatF32S
        | Operator::I32TruncSatF32U
        | Operator::I64TruncSatF32S
        | Operator::I64TruncSatF32U => (1, F32, None),
        Operator::I32TruncF64S
        | Operator::I32TruncF64U
        | Operator::I64TruncF64S
        | Operator::I64TruncF64U
        | Operator::I32TruncSatF64S
        | Operator::I32TruncSatF64U
        | Operator::I64TruncSatF64S
        | Operator::I64TruncSatF64U => (1, F64, None),
        Operator::I32x4TruncSatF32x4S | Operator::I32x4TruncSatF32x4U => (1, F32x4, None),
        Operator::I32x4TruncSatF64x2SZero | Operator::I32x4TruncSatF64x2UZero => (1, F64x2, None),
        _ => return None,
    })
}

/// Whether an operator's result is a number, or a vector of any shape, without a NaN.
fn is_settled(operator: &Operator<'_>) -> bool {
    match operator {
        Operator::F32Const { value } => !f32::from_bits(value.bits()).is_nan(),
        Operator::F64Const { value } => !f64::from_bits(value.bits()).is_nan(),
        Operator::V128Const { value } => {
            let bits = value.i128() as u128;
            let narrow = |lane: u32| f32::from_bits((bits >> (32 * lane)) as u32).is_nan();
            let wide = |lane: u32| f64::from_bits((bits >> (64 * lane)) as u64).is_nan();
            !((0..4).any(narrow) || (0..2).any(wide))
        }
        Operator::F32ConvertI32S
        | Operator::F32ConvertI32U
        | Operator::F32ConvertI64S
        | Operator::F32ConvertI64U
        | Operator::F64ConvertI32S
        | Operator::F64ConvertI32U
        | Operator::F64ConvertI64S
        | Operator::F64ConvertI64U => true,
        _ => false,
    }
}

/// How many operands an operator takes; none for those whose operands depend on the module, like calls.
fn operands(operator: &Operator<'_>) -> Option<u32> {
    operator.operator_arity(&NoModule).map(|(operands, _)| operands)
}

/// Knows nothing, so that only operators of a fixed arity have one.
struct NoModule;

impl ModuleArity for NoModule {
    fn sub_type_at(&self, _type_idx: u32) -> Option<&SubType> {
        None
    }

    fn tag_type_arity(&self, _at: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, _function_idx: u32) -> Option<u32> {
        None
    }

    fn func_type_of_cont_type(&self, _c: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _rt: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        1
    }

    fn label_block(&self, _depth: u32) -> Option<(BlockType, FrameKind)> {
        None
    }
}

/// The scratch locals that settling needs, numbered from `first` on.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    locals: Vec<(wasm_encoder::ValType, u32)>,
}

impl Scratch {
    pub(super) fn new(first: u32, decisions: &[Option<Shape>]) -> Self {
        let mut scratch = Self { locals: vec![] };
        for shape in decisions.iter().flatten() {
            let kind = shape.value_type();
            if scratch.of(*shape).is_none() {
                scratch.locals.push((kind, first + scratch.locals.len() as u32));
            }
        }
        scratch
    }

    /// The local for values of this shape.
    pub(super) fn of(&self, shape: Shape) -> Option<u32> {
        let kind = shape.value_type();
        self.locals.iter().find(|(found, _)| *found == kind).map(|(_, local)| *local)
    }

    /// Their types, in order.
    pub(super) fn types(&self) -> impl Iterator<Item = wasm_encoder::ValType> {
        self.locals.iter().map(|(kind, _)| *kind)
    }
}
