//! What an operator adds to the estimate of its function's frame, in bytes.
//!
//! Values that lie in locals or on the operand stack are counted there. But an optimizing compiler also keeps what it
//! would otherwise compute twice: what is the same in each round of a loop it computes once, before it, and keeps it
//! across the calls in the loop. Hostile code can have thousands of such values, and so take more of an engine's own stack
//! than is counted, which would end its recursion at another depth on another engine. That is why the operators that make
//! such values from least are counted with all that their result can take: vectors, which are the largest, and what needs
//! no or only a constant operand that no compiler computes in advance.

use wasmparser::{Operator, ValType};

/// Bytes for an operator that is part of something larger before its result is worth keeping. None is counted with less:
/// that is also what bounds the work of a step that is out of fuel (see `body`).
const OPERATOR: u64 = 1;
/// Bytes of a number's place in a frame, and of a vector's.
const NUMBER: u64 = 8;
const VECTOR: u64 = 16;

/// Bytes for an operator with this type on top of the stack behind it.
pub(super) fn kept(operator: &Operator<'_>, top: Option<ValType>) -> u64 {
    match operator {
        Operator::LocalGet { .. } | Operator::LocalSet { .. } | Operator::LocalTee { .. } => OPERATOR,
        Operator::GlobalGet { .. } if top != Some(ValType::V128) => NUMBER,
        Operator::I32Clz
        | Operator::I32Ctz
        | Operator::I32Popcnt
        | Operator::I64Clz
        | Operator::I64Ctz
        | Operator::I64Popcnt => NUMBER,
        _ if top == Some(ValType::V128) => VECTOR,
        _ => OPERATOR,
    }
}
