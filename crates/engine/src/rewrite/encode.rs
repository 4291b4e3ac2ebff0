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
        if let [Piece::Charge(segment), rest @ ..] = pieces {
            self.encode_charge(*segment, accounts, output);
            pieces = rest;
        }
        if let Some(frame) = entry.frame {
            encode_add(accounts.stack, -frame, output);
        }
        if entry.tested {
            encode_test(accounts, output);
        }
        if entry.frame.is_some() {
            Instruction::Block(result).encode(output);
        }
        for piece in pieces {
            match piece {
                Piece::Copy(range) => output.extend_from_slice(&self.bytes[range.clone()]),
                Piece::Charge(segment) => self.encode_charge(*segment, accounts, output),
                Piece::Test => encode_test(accounts, output),
                Piece::LoopStart(kind) => {
                    let kind = &self.bytes[kind.clone()];
                    for (opcode, kind) in [(BLOCK, kind), (LOOP, kind), (BLOCK, &[EMPTY]), (LOOP, kind)] {
                        output.push(opcode);
                        output.extend_from_slice(kind);
                    }
                }
                Piece::LoopTest => {
                    encode_condition(accounts, output);
                    Instruction::BrIf(1).encode(output);
                }
                Piece::LoopEnd(end) => self.encode_loop_end(end, accounts, output),
                Piece::Branch(depth) => Instruction::Br(*depth).encode(output),
                Piece::BranchIf(depth) => Instruction::BrIf(*depth).encode(output),
                Piece::BranchTable(depths, default) => {
                    Instruction::BrTable(depths.into(), *default).encode(output);
                }
                Piece::SizeCharge(size) => encode_size_charge(*size, *size_scratch, accounts, output),
                Piece::Leave(depth) if entry.frame.is_some() => Instruction::Br(*depth).encode(output),
                Piece::Leave(_) => Instruction::Return.encode(output),
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
        if let Some(frame) = entry.frame {
            Instruction::End.encode(output);
            encode_add(accounts.stack, frame, output);
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
        Instruction::Call(accounts.checkpoint).encode(output);
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
        let cost = self.segments[end.head];
        if cost > 0 {
            encode_add(accounts.fuel, i64::try_from(cost).unwrap_or(i64::MAX), output);
        }
        encode(&[Instruction::Br(0), Instruction::End, Instruction::End], output);
    }

    fn encode_charge(&self, segment: usize, accounts: &Accounts, output: &mut Vec<u8>) {
        let cost = self.segments[segment];
        if cost > 0 {
            encode_add(accounts.fuel, -i64::try_from(cost).unwrap_or(i64::MAX), output);
        }
    }
}

/// Adds a constant to an account.
fn encode_add(account: u32, amount: i64, output: &mut Vec<u8>) {
    encode(
        &[
            Instruction::GlobalGet(account),
            Instruction::I64Const(amount),
            Instruction::I64Add,
            Instruction::GlobalSet(account),
        ],
        output,
    );
}

/// Calls the host's hook if an account is below zero.
fn encode_test(accounts: &Accounts, output: &mut Vec<u8>) {
    encode_condition(accounts, output);
    encode(
        &[Instruction::If(BlockType::Empty), Instruction::Call(accounts.checkpoint), Instruction::End],
        output,
    );
}

/// Whether an account is below zero.
fn encode_condition(accounts: &Accounts, output: &mut Vec<u8>) {
    encode(
        &[
            Instruction::GlobalGet(accounts.fuel),
            Instruction::GlobalGet(accounts.stack),
            Instruction::I64Or,
            Instruction::I64Const(0),
            Instruction::I64LtS,
        ],
        output,
    );
}

/// With the size operand on top of the stack: charges for it and leaves it there.
fn encode_size_charge(size: SizeCost, scratch: u32, accounts: &Accounts, output: &mut Vec<u8>) {
    encode(&[Instruction::LocalTee(scratch), Instruction::GlobalGet(accounts.fuel)], output);
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
    encode(&[Instruction::I64Sub, Instruction::GlobalSet(accounts.fuel)], output);
    encode_test(accounts, output);
}

fn encode(instructions: &[Instruction<'_>], output: &mut Vec<u8>) {
    for instruction in instructions {
        instruction.encode(output);
    }
}
