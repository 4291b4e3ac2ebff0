//! Rewrites one function: validates it, splits it into straight-line segments, and puts the charges in.
//!
//! A segment is a run of operators that are executed together or not at all. Segments start at the function's entry,
//! behind `loop`, `if`, `else` and `br_if`, and behind each `end` where control flow joins. Code that cannot be reached
//! has no segment and no charge. Each segment starts with its charge:
//!
//! ```text
//! fuel -= cost
//! ```
//!
//! `fuel` is a local: at the function's entry it is what `gh_fuel` says. It is stored there before whatever shows it to
//! others: a call, an operator that may trap, the end of the function; and loaded again behind a call. So the account is
//! exact wherever it is looked at, and a loop that calls nothing pays in a register: paying in memory would make each
//! round wait for the payment of the one before (measured: 1.24 times the time for the shortest loops).
//!
//! A function that calls others, or whose frame is large, also counts its estimated frame for as long as it is active:
//!
//! ```text
//! gh_stack -= frame
//! block … the body, `return` being a branch out of this block … end
//! gh_stack += frame
//! ```
//!
//! The fuel is tested, `if fuel < 0 { call gh_hooks[0] }`, behind the charges of a function's entry, at the head of each
//! loop, and before an operator that is charged by its size; an entry that counts its frame tests `gh_stack`, too. Hosts
//! test them in each device call and when a step ends. These are the *checkpoints*: the host's hook adds fuel and returns,
//! or stops the step (`budget`). That is enough: a step whose fuel is used up passes no loop head, no entry and no device any more, so all it can
//! still do is to run forwards through the functions that are active. Every operator of those is in the frame that is
//! counted for them, hence there are at most [`STACK_BYTES`](crate::abi::STACK_BYTES), each of them possibly a call of a
//! function with at most `SMALL_LEAF` operators, whose entry is not tested. And nothing of it can be seen: the report of
//! the step is the same as if it had been stopped at once.
//!
//! At the head of a loop the call stands outside of the loop, since a compiler would keep nothing in registers in a loop
//! with a call in it, however rarely that is made (measured: a matrix product takes 2.7 times as long):
//!
//! ```text
//! block exit
//!   loop again
//!     block checkpoint
//!       loop … fuel -= cost; br_if checkpoint (fuel < 0) … the body … end
//!       br exit
//!     end
//!     globals = locals; call gh_hooks[0]; locals = globals; fuel += cost; br again
//!   end
//! end
//! ```
//!
//! The locals that the loop uses lie in globals over the call, for the same reason: a value that lives over a call is kept
//! in memory for the whole loop (SHA-256 takes three times as long). Only the few loops that take parameters from the stack
//! have the call in them.
//!
//! `memory.grow` and `table.grow` become calls of the functions in `added`, charged like the operators and not counted as
//! calls: they are small, call nothing, and at most one is active. NaNs are settled as `nan` says, which costs no fuel,
//! and up to three scratch locals that a frame's base has room for, with the fuel.
//!
//! All other bytes are copied as they stand: what the pass adds lies behind the module's own, so no index changes.

use std::{iter, ops::Range, vec, vec::Vec};

use wasm_encoder::Encode;
use wasmparser::{
    BinaryReader, BlockType as WasmBlockType, FuncValidator, FunctionBody, Operator, OperatorsReader,
    ValType, ValidatorResources,
};

use super::{
    added::{Added, Function, KEPT_NUMBERS, KEPT_VECTORS},
    cost,
    encode::{Accounts, Encoder, Entry, Kept, Known, LoopEnd, Piece},
    frame,
    nan::{Numbers, Scratch},
};
use crate::{ModuleError, abi::Account};

/// Bytes of stack that any frame takes: return address, saved registers, alignment.
const FRAME_BASE: u64 = 128;
/// A function that calls nothing and has a smaller frame is not counted: at most one such frame is active.
const LEAF_FRAME: u64 = 4 << 10;
/// A function without calls and loops, with no more operators than this, is charged but not tested.
const SMALL_LEAF: u64 = 32;

/// Bytes of a rewritten body: what browsers compile at most.
const REWRITTEN_BYTES_MAXIMUM: usize = 7_654_321;

/// Locals that a loop uses and that are noted at most: about as many as a compiler has registers for.
const NOTED_MAXIMUM: usize = (KEPT_NUMBERS + KEPT_VECTORS) as usize;

/// Blocks that the pass puts around a loop.
const LOOP_BLOCKS: u32 = 3;

/// How a function's results are written as a block's type.
pub(super) type BlockType = wasm_encoder::BlockType;

/// An open block.
#[derive(Default)]
struct Block {
    is_loop: bool,
    /// The segment of a loop's head, if the loop stands in blocks of the pass.
    wrapped: Option<usize>,
    /// Locals that such a loop uses: those that it writes and the others, some of each.
    written: Vec<u32>,
    read: Vec<u32>,
    is_if: bool,
    /// Control reaches its start.
    entered: bool,
    /// Control reaches its end by a branch, or by falling out of the then-part.
    joined: bool,
}

/// A function being rewritten.
struct Body {
    pieces: Vec<Piece>,
    /// The cost of each segment.
    segments: Vec<u64>,
    /// The segment of the next operator; none where control does not reach.
    current: Option<usize>,
    /// The account says what has been paid.
    stored: bool,
    blocks: Vec<Block>,
    calls: bool,
    loops: bool,
    needs_scratch: bool,
    numbers: Numbers,
    local_types: Vec<ValType>,
}

/// Validates `body` and appends the rewritten one, with its length, to `output`.
pub(super) fn rewrite(
    mut validator: FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    added: &mut Added,
    result: BlockType,
    limits: &super::RewriteConfig,
    output: &mut Vec<u8>,
) -> Result<FuncValidator<ValidatorResources>, ModuleError> {
    let bytes = body.as_bytes();
    let base = body.range().start;
    if bytes.len() > limits.function_bytes {
        return Err(ModuleError::TooLarge {
            what: std::format!("the function at byte {base}, in bytes,"),
            size: bytes.len() as u64,
            limit: limits.function_bytes as u64,
        });
    }
    let parameters = validator.len_locals();
    let (groups, locals, mut reader) = read_locals(&mut validator, body)?;
    if validator.len_locals() > super::LOCALS_MAXIMUM {
        return Err(ModuleError::TooLarge {
            what: std::format!("the number of locals of the function at byte {base}"),
            size: validator.len_locals().into(),
            limit: super::LOCALS_MAXIMUM.into(),
        });
    }
    reader.set_features(super::FEATURES);

    let local_types: Vec<ValType> =
        (0..validator.len_locals()).filter_map(|local| validator.get_local_type(local)).collect();
    let mut function = Body {
        pieces: Vec::new(),
        segments: Vec::new(),
        current: None,
        stored: false,
        blocks: vec![Block { entered: true, ..Block::default() }],
        calls: false,
        loops: false,
        needs_scratch: false,
        numbers: Numbers::new(local_types.iter().copied(), parameters),
        local_types,
    };
    function.start_segment();
    function.charge(u64::from((validator.len_locals() - parameters) / cost::LOCALS_PER_FUEL));

    let mut operators = OperatorsReader::new(reader);
    let mut operator_count = 0u64;
    let mut kept = 0u64;
    let mut highest = 0;
    let mut vectors = function.local_types.contains(&ValType::V128);
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        let height = validator.operand_stack_height();
        validator.op(offset, &operator)?;
        operator_count += 1;
        highest = highest.max(validator.operand_stack_height());
        let top = validator.get_operand_type(0).flatten();
        vectors |= top == Some(ValType::V128);
        kept += frame::kept(&operator, top);
        let range = (offset - base) as usize..(operators.original_position() - base) as usize;
        let may_trap = bytes.get(range.start).is_none_or(|opcode| cost::may_trap(*opcode));
        function.operator(&operator, may_trap, range, height, added)?;
    }
    operators.finish()?;

    let slot = if vectors { 16 } else { 8 };
    let values = u64::from(validator.len_locals()) + 2 * u64::from(highest);
    let frame = FRAME_BASE + slot * values + kept;
    let counted = function.calls || frame > LEAF_FRAME;
    let entry = Entry {
        frame: counted.then_some(i64::try_from(frame).unwrap_or(i64::MAX)),
        tested: counted || function.loops || operator_count > SMALL_LEAF,
    };
    let fuel_local = validator.len_locals();
    let accounts = Accounts {
        fuel: added.account(Account::Fuel),
        fuel_local,
        stack: added.account(Account::Stack),
        checkpoint: added.function(Function::Checkpoint),
    };
    let size_scratch = fuel_local + 1;
    let first_scratch = size_scratch + u32::from(function.needs_scratch);
    let Body { numbers, pieces, segments, .. } = function;
    let settled = numbers.decide();
    let scratch = Scratch::new(first_scratch, &settled);
    let known = Known { accounts, entry, size_scratch, settled, scratch };

    let mut encoded = Vec::with_capacity(bytes.len() * 2);
    let size_local = function.needs_scratch.then_some(wasm_encoder::ValType::I32);
    let own_types = iter::once(wasm_encoder::ValType::I64).chain(size_local).chain(known.scratch.types());
    let scratch_types: Vec<_> = own_types.collect();
    (groups + scratch_types.len() as u32).encode(&mut encoded);
    encoded.extend_from_slice(&bytes[locals]);
    for kind in scratch_types {
        1u32.encode(&mut encoded);
        kind.encode(&mut encoded);
    }
    Encoder { bytes, pieces: &pieces, segments: &segments, known: &known }.encode(result, &mut encoded);
    if encoded.len() > REWRITTEN_BYTES_MAXIMUM {
        return Err(ModuleError::TooLarge {
            what: std::format!("the function at byte {base}, in bytes after rewriting,"),
            size: encoded.len() as u64,
            limit: REWRITTEN_BYTES_MAXIMUM as u64,
        });
    }
    encoded.as_slice().encode(output);
    Ok(validator)
}

/// Declares the function's locals: the number of groups, where the groups' bytes lie in the body, the operators.
fn read_locals<'a>(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'a>,
) -> Result<(u32, Range<usize>, BinaryReader<'a>), ModuleError> {
    let mut reader = body.get_binary_reader();
    let start = reader.original_position();
    let groups = reader.read_var_u32()?;
    let first = (reader.original_position() - start) as usize;
    for _ in 0..groups {
        let offset = reader.original_position();
        let count = reader.read()?;
        let kind = reader.read()?;
        validator.define_locals(offset, count, kind)?;
    }
    let end = (reader.original_position() - start) as usize;
    Ok((groups, first..end, reader))
}

impl Body {
    /// Takes one valid operator, which lies at `range` of the body; `height` values were on the stack before it.
    fn operator(
        &mut self,
        operator: &Operator<'_>,
        may_trap: bool,
        range: Range<usize>,
        height: u32,
        added: &mut Added,
    ) -> Result<(), ModuleError> {
        self.charge(cost::fixed(operator));
        added.state.operator(operator);
        let reached = self.current.is_some();
        let value = if reached { self.numbers.operator(operator, height) } else { None };
        if self.current.is_some()
            && let Some(size) = cost::by_size(operator)
        {
            self.needs_scratch = true;
            self.stored = false;
            self.pieces.push(Piece::SizeCharge(size));
        }
        if self.current.is_some() && may_trap && !self.stored {
            self.stored = true;
            self.pieces.push(Piece::Store);
        }
        match operator {
            Operator::LocalGet { local_index } => self.uses(*local_index, false),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.uses(*local_index, true);
            }
            _ => {}
        }
        match operator {
            // The last `end` closes the wrapping block; the function's own is written by `encode`.
            Operator::End if self.blocks.len() == 1 => {
                self.blocks.pop();
                return Ok(());
            }
            Operator::Return => {
                self.pieces.push(Piece::Leave(self.depth(self.blocks.len() as u32 - 1)));
                self.current = None;
                return Ok(());
            }
            Operator::MemoryGrow { .. } if reached => {
                self.pieces.push(Piece::Call(added.function(Function::GrowMemory)));
            }
            Operator::TableGrow { table } if reached => {
                self.pieces.push(Piece::Call(added.function(Function::GrowTable(*table))));
            }
            Operator::Loop { blockty: WasmBlockType::Empty | WasmBlockType::Type(_) } if reached => {
                // Behind the operator's one byte.
                self.pieces.push(Piece::LoopStart(range.start + 1..range.end));
            }
            Operator::End if let Some(head) = self.blocks.last().and_then(|block| block.wrapped) => {
                let end = self.loop_end(head, added);
                self.pieces.push(Piece::LoopEnd(end));
            }
            Operator::Br { relative_depth } if self.depth(*relative_depth) != *relative_depth => {
                self.pieces.push(Piece::Branch(self.depth(*relative_depth)));
            }
            Operator::BrIf { relative_depth } if self.depth(*relative_depth) != *relative_depth => {
                self.pieces.push(Piece::BranchIf(self.depth(*relative_depth)));
            }
            Operator::BrTable { targets } if self.blocks.iter().any(|block| block.wrapped.is_some()) => {
                let depths = targets.targets().map(|target| Ok(self.depth(target?)));
                let depths = depths.collect::<Result<_, wasmparser::Error>>()?;
                self.pieces.push(Piece::BranchTable(depths, self.depth(targets.default())));
            }
            _ => self.copy(range),
        }
        if let Some(number) = added.state.number(operator).filter(|_| reached) {
            let (global, bit) = added.dropped(number);
            self.pieces.push(Piece::Dropped(global, bit));
        }
        self.pieces.extend(value.map(Piece::Settle));
        match operator {
            Operator::Block { .. } => self.open(false, false),
            Operator::Loop { blockty } => {
                self.open(true, false);
                self.split();
                self.loops = true;
                if let Some(head) = self.current {
                    let is_wrapped = matches!(blockty, WasmBlockType::Empty | WasmBlockType::Type(_));
                    self.pieces.push(if is_wrapped { Piece::LoopTest } else { Piece::Test });
                    if let Some(block) = self.blocks.last_mut().filter(|_| is_wrapped) {
                        block.wrapped = Some(head);
                    }
                }
            }
            Operator::If { .. } => {
                self.open(false, true);
                self.split();
            }
            Operator::Else => self.otherwise(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.current = None;
            }
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                self.split();
            }
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    self.branch(target?);
                }
                self.branch(targets.default());
                self.current = None;
            }
            Operator::Unreachable => self.current = None,
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                self.calls = true;
                if reached {
                    self.pieces.push(Piece::Load);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn charge(&mut self, fuel: u64) {
        if let Some(segment) = self.current {
            self.segments[segment] += fuel;
        }
    }

    fn copy(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Copy(range)),
        }
    }

    fn start_segment(&mut self) {
        self.numbers.forget();
        self.stored = false;
        self.current = Some(self.segments.len());
        self.pieces.push(Piece::Charge(self.segments.len()));
        self.segments.push(0);
    }

    /// Starts a segment if control gets here.
    fn split(&mut self) {
        if self.current.is_some() {
            self.start_segment();
        }
    }

    fn open(&mut self, is_loop: bool, is_if: bool) {
        let entered = self.current.is_some();
        self.blocks.push(Block { is_loop, is_if, entered, ..Block::default() });
    }

    /// Notes that the open loops use a local.
    fn uses(&mut self, local: u32, is_written: bool) {
        if matches!(self.local_types.get(local as usize), None | Some(ValType::Ref(_))) {
            return;
        }
        let Some(block) = self.blocks.iter_mut().rev().find(|block| block.wrapped.is_some()) else { return };
        let list = if is_written { &mut block.written } else { &mut block.read };
        if list.len() < NOTED_MAXIMUM && !list.contains(&local) {
            list.push(local);
        }
    }

    /// Decides what is kept where a loop is left for a checkpoint.
    fn loop_end(&mut self, head: usize, added: &mut Added) -> LoopEnd {
        let (written, read) = match self.blocks.last_mut() {
            Some(block) => (core::mem::take(&mut block.written), core::mem::take(&mut block.read)),
            None => Default::default(),
        };
        // The loops around this one use them, too. This one is no longer found by `uses`.
        if let Some(block) = self.blocks.last_mut() {
            block.wrapped = None;
        }
        for (list, is_written) in [(&written, true), (&read, false)] {
            for local in list {
                self.uses(*local, is_written);
            }
        }
        let (mut numbers, mut vectors) = (added.kept_numbers(), added.kept_numbers() + KEPT_NUMBERS);
        let (first_vector, end) = (vectors, vectors + KEPT_VECTORS);
        let mut kept: Vec<Kept> = Vec::new();
        for local in written.into_iter().chain(read) {
            let Some(kind) = self.local_types.get(local as usize).copied() else { continue };
            let (place, limit) =
                if kind == ValType::V128 { (&mut vectors, end) } else { (&mut numbers, first_vector) };
            if *place < limit && !kept.iter().any(|kept| kept.local == local) {
                kept.push(Kept { local, kind, global: *place });
                *place += 1;
            }
        }
        LoopEnd { head, kept }
    }

    /// The depth, among all blocks, of the block that lies so deep among the function's own.
    fn depth(&self, relative: u32) -> u32 {
        let left = self.blocks.iter().rev().take(relative as usize);
        relative + LOOP_BLOCKS * left.filter(|block| block.wrapped.is_some()).count() as u32
    }

    fn branch(&mut self, depth: u32) {
        let reached = self.current.is_some();
        let target = self.blocks.len().checked_sub(1 + depth as usize);
        if let Some(block) = target.and_then(|index| self.blocks.get_mut(index)) {
            block.joined |= reached && !block.is_loop;
        }
    }

    fn otherwise(&mut self) {
        let reached = self.current.is_some();
        if let Some(block) = self.blocks.last_mut() {
            block.joined |= reached;
            block.is_if = false;
            self.current = None;
            if block.entered {
                self.start_segment();
            }
        }
    }

    fn close(&mut self) {
        if let Some(block) = self.blocks.pop() {
            // An `if` without `else` is passed by when its condition is false.
            if block.joined || (block.is_if && block.entered) {
                self.start_segment();
            }
        }
    }
}
