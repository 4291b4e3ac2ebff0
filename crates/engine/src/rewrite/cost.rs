//! What executing costs, in fuel.
//!
//! | operator | fuel |
//! |---|---|
//! | `block`, `loop`, `else`, `end`: only marks | 0 |
//! | every other operator, `nop` and vector ones included | 1 |
//! | `memory.copy`, `memory.fill`, `memory.init` | 1 and 1 for every 8 whole bytes |
//! | `memory.grow` | 1 and 64 for every page asked for (at most 65,536 are counted), granted or not |
//! | `table.copy`, `table.fill`, `table.init`, `table.grow` | 1 and 1 for every element |
//! | entering a function | 1 for every 16 whole declared locals, which must be set to zero |
//! | `random_fill`, `log`, `emit` | besides the call, 1 for every byte (charged by the host) |
//!
//! A straight-line segment is paid for as a whole before its first operator executes. So an operator that traps has
//! been paid for together with those behind it in its segment. A step that cannot pay is reported as out of fuel with all
//! of its fuel used, whatever it does before it is stopped.

use wasmparser::Operator;

/// Declared locals that one fuel clears.
pub(super) const LOCALS_PER_FUEL: u32 = 16;
/// Fuel for one page that `memory.grow` asks for.
pub(super) const FUEL_PER_PAGE: i64 = 64;
/// Pages that `memory.grow` can be charged for: no memory has more, and asking for more fails at once.
pub(super) const PAGES_CHARGED: i32 = 65_536;
/// Bytes that one fuel copies, as a power of two: what one `i64.load` or `i64.store` moves.
pub(super) const BYTES_PER_FUEL_LOG2: i64 = 3;

/// What an operator costs beyond one, by the size operand on top of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SizeCost {
    Bytes,
    Elements,
    Pages,
}

/// The fixed cost of an operator.
pub(super) fn fixed(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Block { .. } | Operator::Loop { .. } | Operator::Else | Operator::End => 0,
        _ => 1,
    }
}

/// The cost of an operator by its size operand, if it has one.
pub(super) fn by_size(operator: &Operator<'_>) -> Option<SizeCost> {
    match operator {
        Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } | Operator::MemoryInit { .. } => {
            Some(SizeCost::Bytes)
        }
        Operator::MemoryGrow { .. } => Some(SizeCost::Pages),
        Operator::TableCopy { .. }
        | Operator::TableFill { .. }
        | Operator::TableInit { .. }
        | Operator::TableGrow { .. } => Some(SizeCost::Elements),
        _ => None,
    }
}

/// Whether an operator may end the step, or calls another function, by the first byte of its code (specification 2.0,
/// "Index of Instructions"). Vector operators count as such: most segments with one have a load or store, too.
pub(super) fn may_trap(opcode: u8) -> bool {
    let is_quiet = matches!(
        opcode,
        // Control without calls and `unreachable`; `drop`, `select` and variables; constants.
        0x01..=0x05 | 0x0b..=0x0f | 0x1a..=0x24 | 0x41..=0x44
        // Numeric operators without divisions and trapping conversions to integers.
        | 0x45..=0x6c | 0x71..=0x7e | 0x83..=0xa7 | 0xac..=0xad | 0xb2..=0xc4
        // References.
        | 0xd0..=0xd2
    );
    !is_quiet
}
