//! Writes a rewritten function: its own bytes, and between them what the pass adds.
//!
//! - [`Piece`]: a part of the function, in order, as `body` has taken it apart.
//! - [`Encoder`]: writes the pieces when all of the function is known.

use std::{ops::Range, vec::Vec};

use wasm_encoder::{Encode, Instruction};
use wasmparser::ValType;

use super::{
    body::BlockType,
    cost::{self, SizeCost},
    nan::{self, Scratch, Shape},
};

/// Codes of operators, and of the type of a block without parameters and results.
const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const EMPTY: u8 = 0x40;

/// The indices of what code charges, tests and calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accounts {
    pub(super) fuel: u32,
    /// The local in which a function has its fuel.
    pub(super) fuel_local: u32,
    pub(super) stack: u32,
    /// The function that calls the host's hook.
    pub(super) checkpoint: u32,
}

/// A part of the rewritten function.
pub(super) enum Piece {
    /// Bytes of the original, by offset from the start of the body.
    Copy(Range<usize>),
    /// The charge of a segment, by its number.
    Charge(usize),
    /// What was paid goes to the account, before something that shows it to others.
    Store,
    /// What is left is taken from the account, behind a call that may have changed it.
    Load,
    /// The test of the accounts.
    Test,
    /// The blocks around a loop whose type is written here, and the loop's own start.
    LoopStart(Range<usize>),
    /// The test of the accounts in such a loop.
    LoopTest,
    /// The end of such a loop and of the blocks around it.
    LoopEnd(LoopEnd),
    /// A branch that leaves such loops: `br` or `br_if`, with the depth among all blocks.
    Branch(u32),
    BranchIf(u32),
    BranchTable(Vec<u32>, u32),
    /// The charge of a size operand.
    SizeCharge(SizeCost),
    /// A branch out of this many blocks, in place of `return`.
    Leave(u32),
    /// A call of an added function, in place of the operator that it stands for.
    Call(u32),
    /// The record that a segment was dropped: a global and the bit to set in it.
    Dropped(u32, i64),
    /// Where the number that lies on the stack is settled if it must be, by its value's number.
    Settle(u32),
}

/// What is called and paid back where a loop is left for a checkpoint.
pub(super) struct LoopEnd {
    /// The segment of the loop's head.
    pub(super) head: usize,
    pub(super) kept: Vec<Kept>,
}

/// A local whose value lies in a global over a checkpoint, so that a compiler does not keep it over the call, in memory,
/// for the whole loop.
pub(super) struct Kept {
    pub(super) local: u32,
    pub(super) kind: ValType,
    pub(super) global: u32,
}

/// What is known of a function when all of it has been read.
pub(super) struct Known {
    pub(super) accounts: Accounts,
    pub(super) entry: Entry,
    /// Holds size operands.
    pub(super) size_scratch: u32,
    /// How each number is settled.
    pub(super) settled: Vec<Option<Shape>>,
    pub(super) scratch: Scratch,
}

/// What a function's entry counts and tests.
pub(super) struct Entry {
    /// The frame, if it is counted.
    pub(super) frame: Option<i64>,
    pub(super) tested: bool,
}

/// Writes a function of which all is known.
pub(super) struct Encoder<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pieces: &'a [Piece],
    pub(super) segments: &'a [u64],
    pub(super) known: &'a Known,
}

impl Encoder<'_> {
    /// Appends the function's code.
    pub(super) fn encode(&self, result: BlockType, output: &mut Vec<u8>) {
        let Known { accounts, entry, size_scratch, settled, scratch } = self.known;
        let mut pieces = self.pieces;
        // The entry's charge comes before everything else.
        Instruction::GlobalGet(accounts.fuel).encode(output);
        if let [Piece::Charge(segment), rest @ ..] = pieces {
            encode_fuel_sum(-self.cost(*segment), output);
            pieces = rest;
        }
        Instruction::LocalSet(accounts.fuel_local).encode(output);
        if let Some(frame) = entry.frame {
            encode_stack(-frame, accounts, output);
        }
        if entry.tested {
            encode(&[Instruction::LocalGet(accounts.fuel_local)], output);
            if entry.frame.is_some() {
                encode(&[Instruction::GlobalGet(accounts.stack), Instruction::I64Or], output);
            }
            encode_test(accounts, output);
        }
        Instruction::Block(result).encode(output);
        for piece in pieces {
            match piece {
                Piece::Copy(range) => output.extend_from_slice(&self.bytes[range.clone()]),
                Piece::Charge(segment) => encode_fuel(-self.cost(*segment), accounts, output),
                Piece::Store => encode_store(accounts, output),
                Piece::Load => encode_load(accounts, output),
                Piece::Test => {
                    Instruction::LocalGet(accounts.fuel_local).encode(output);
                    encode_test(accounts, output);
                }
                Piece::LoopStart(kind) => {
                    let kind = &self.bytes[kind.clone()];
                    for (opcode, kind) in [(BLOCK, kind), (LOOP, kind), (BLOCK, &[EMPTY]), (LOOP, kind)] {
                        output.push(opcode);
                        output.extend_from_slice(kind);
                    }
                }
                Piece::LoopTest => {
                    Instruction::LocalGet(accounts.fuel_local).encode(output);
                    encode(&[Instruction::I64Const(0), Instruction::I64LtS, Instruction::BrIf(1)], output);
                }
                Piece::LoopEnd(end) => self.encode_loop_end(end, accounts, output),
                Piece::Branch(depth) => Instruction::Br(*depth).encode(output),
                Piece::BranchIf(depth) => Instruction::BrIf(*depth).encode(output),
                Piece::BranchTable(depths, default) => {
                    Instruction::BrTable(depths.into(), *default).encode(output);
                }
                Piece::SizeCharge(size) => encode_size_charge(*size, *size_scratch, accounts, output),
                Piece::Leave(depth) => Instruction::Br(*depth).encode(output),
                Piece::Call(function) => Instruction::Call(*function).encode(output),
                Piece::Dropped(global, bit) => encode(
                    &[
                        Instruction::GlobalGet(*global),
                        Instruction::I64Const(*bit),
                        Instruction::I64Or,
                        Instruction::GlobalSet(*global),
                    ],
                    output,
                ),
                Piece::Settle(value) => {
                    if let Some(shape) = settled.get(*value as usize).copied().flatten()
                        && let Some(scratch) = scratch.of(shape)
                    {
                        nan::encode_settle(shape, scratch, output);
                    }
                }
            }
        }
        Instruction::End.encode(output);
        encode_store(accounts, output);
        if let Some(frame) = entry.frame {
            encode_stack(frame, accounts, output);
        }
        Instruction::End.encode(output);
    }

    /// Ends a loop and the blocks around it. Where the accounts are tested in the loop, its head has been paid for, and
    /// is paid for again when the loop is entered again.
    fn encode_loop_end(&self, end: &LoopEnd, accounts: &Accounts, output: &mut Vec<u8>) {
        encode(&[Instruction::End, Instruction::Br(2), Instruction::End], output);
        for kept in &end.kept {
            Instruction::LocalGet(kept.local).encode(output);
            match kept.kind {
                ValType::I32 => encode(&[Instruction::I64ExtendI32U], output),
                ValType::F32 => encode(&[Instruction::I32ReinterpretF32, Instruction::I64ExtendI32U], output),
                ValType::F64 => encode(&[Instruction::I64ReinterpretF64], output),
                _ => {}
            }
            Instruction::GlobalSet(kept.global).encode(output);
        }
        encode_checkpoint(accounts, output);
        for kept in &end.kept {
            Instruction::GlobalGet(kept.global).encode(output);
            match kept.kind {
                ValType::I32 => encode(&[Instruction::I32WrapI64], output),
                ValType::F32 => encode(&[Instruction::I32WrapI64, Instruction::F32ReinterpretI32], output),
                ValType::F64 => encode(&[Instruction::F64ReinterpretI64], output),
                _ => {}
            }
            Instruction::LocalSet(kept.local).encode(output);
        }
        encode_fuel(self.cost(end.head), accounts, output);
        encode(&[Instruction::Br(0), Instruction::End, Instruction::End], output);
    }

    /// What a segment costs, by its number.
    fn cost(&self, segment: usize) -> i64 {
        i64::try_from(self.segments[segment]).unwrap_or(i64::MAX)
    }
}

/// Adds a constant to the stack that is left.
fn encode_stack(amount: i64, accounts: &Accounts, output: &mut Vec<u8>) {
    Instruction::GlobalGet(accounts.stack).encode(output);
    encode(
        &[Instruction::I64Const(amount), Instruction::I64Add, Instruction::GlobalSet(accounts.stack)],
        output,
    );
}

/// Adds a constant to the function's fuel.
fn encode_fuel(amount: i64, accounts: &Accounts, output: &mut Vec<u8>) {
    if amount != 0 {
        Instruction::LocalGet(accounts.fuel_local).encode(output);
        encode_fuel_sum(amount, output);
        Instruction::LocalSet(accounts.fuel_local).encode(output);
    }
}

/// Adds a constant to the fuel on top of the stack.
fn encode_fuel_sum(amount: i64, output: &mut Vec<u8>) {
    encode(&[Instruction::I64Const(amount), Instruction::I64Add], output);
}

/// The function's fuel goes to the account.
fn encode_store(accounts: &Accounts, output: &mut Vec<u8>) {
    encode(&[Instruction::LocalGet(accounts.fuel_local), Instruction::GlobalSet(accounts.fuel)], output);
}

/// The account goes to the function's fuel.
fn encode_load(accounts: &Accounts, output: &mut Vec<u8>) {
    encode(&[Instruction::GlobalGet(accounts.fuel), Instruction::LocalSet(accounts.fuel_local)], output);
}

/// Calls the host's hook.
fn encode_checkpoint(accounts: &Accounts, output: &mut Vec<u8>) {
    encode_store(accounts, output);
    Instruction::Call(accounts.checkpoint).encode(output);
    encode_load(accounts, output);
}

/// Calls the host's hook if the number on top of the stack is below zero.
fn encode_test(accounts: &Accounts, output: &mut Vec<u8>) {
    encode(&[Instruction::I64Const(0), Instruction::I64LtS, Instruction::If(BlockType::Empty)], output);
    encode_checkpoint(accounts, output);
    Instruction::End.encode(output);
}

/// With the size operand on top of the stack: charges for it and leaves it there.
fn encode_size_charge(size: SizeCost, scratch: u32, accounts: &Accounts, output: &mut Vec<u8>) {
    encode(&[Instruction::LocalTee(scratch), Instruction::LocalGet(accounts.fuel_local)], output);
    Instruction::LocalGet(scratch).encode(output);
    if size == SizeCost::Pages {
        encode(
            &[
                Instruction::I32Const(cost::PAGES_CHARGED),
                Instruction::LocalGet(scratch),
                Instruction::I32Const(cost::PAGES_CHARGED),
                Instruction::I32LtU,
                Instruction::Select,
            ],
            output,
        );
    }
    Instruction::I64ExtendI32U.encode(output);
    match size {
        SizeCost::Bytes => {
            encode(&[Instruction::I64Const(cost::BYTES_PER_FUEL_LOG2), Instruction::I64ShrU], output)
        }
        SizeCost::Pages => encode(&[Instruction::I64Const(cost::FUEL_PER_PAGE), Instruction::I64Mul], output),
        SizeCost::Elements => {}
    }
    encode(&[Instruction::I64Sub, Instruction::LocalTee(accounts.fuel_local)], output);
    encode_test(accounts, output);
}

fn encode(instructions: &[Instruction<'_>], output: &mut Vec<u8>) {
    for instruction in instructions {
        instruction.encode(output);
    }
}
