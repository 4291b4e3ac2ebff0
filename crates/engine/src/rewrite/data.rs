//! Takes the contents of active data segments out of a module: its host writes them, or maps them as one image.
//!
//! What is left of such a segment is an empty passive one. To the module that is the same: an active segment is dropped
//! when the instance is made, and a dropped segment is an empty one to `memory.init` and `data.drop`.

use std::vec::Vec;

use serde::{Deserialize, Serialize};
use wasm_encoder::Encode;
use wasmparser::{ConstExpr, DataKind, DataSectionReader, Operator};

use crate::ModuleError;

/// Bytes that an instance's memory starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSegment {
    /// Where they lie in the memory; perhaps not wholly inside of what the module starts with.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The flags of a passive segment.
const PASSIVE: u32 = 1;

/// The segments that are written when an instance is made, in order, and the section that is left, without its size.
pub(super) fn take_segments(
    section: DataSectionReader<'_>,
) -> Result<(Vec<DataSegment>, Vec<u8>), ModuleError> {
    let mut segments = Vec::new();
    let mut rest = Vec::new();
    section.count().encode(&mut rest);
    for data in section {
        let data = data?;
        PASSIVE.encode(&mut rest);
        match data.kind {
            DataKind::Passive => data.data.encode(&mut rest),
            DataKind::Active { offset_expr, .. } => {
                let offset = evaluate(&offset_expr)?;
                segments.push(DataSegment { offset, bytes: data.data.to_vec() });
                0u32.encode(&mut rest);
            }
        }
    }
    Ok((segments, rest))
}

/// The value of a valid constant expression of type `i32`.
fn evaluate(expression: &ConstExpr<'_>) -> Result<u32, ModuleError> {
    let mut stack: Vec<i32> = Vec::new();
    for operator in expression.get_operators_reader().into_iter_with_offsets() {
        let (operator, offset) = operator?;
        let mut binary = |act: fn(i32, i32) -> i32| {
            let second = stack.pop();
            let first = stack.pop();
            stack.extend(first.zip(second).map(|(first, second)| act(first, second)));
        };
        match operator {
            Operator::I32Const { value } => stack.push(value),
            Operator::I32Add => binary(i32::wrapping_add),
            Operator::I32Sub => binary(i32::wrapping_sub),
            Operator::I32Mul => binary(i32::wrapping_mul),
            Operator::End => {}
            _ => {
                let reason = "a data segment's offset depends on what the module imports".into();
                return Err(ModuleError::Refused { reason, offset });
            }
        }
    }
    // A valid expression leaves one value.
    Ok(stack.pop().unwrap_or_default() as u32)
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    fn segments(fields: &str) -> (Vec<DataSegment>, Vec<u8>) {
        let module = wat::parse_str(std::format!("(module (memory 1) {fields})")).unwrap();
        for payload in Parser::new(0).parse_all(&module) {
            if let Payload::DataSection(section) = payload.unwrap() {
                return take_segments(section).unwrap();
            }
        }
        panic!("there are no segments");
    }

    #[test]
    fn offsets_are_computed_and_active_segments_left_empty_and_passive() {
        let (found, rest) = segments(
            r#"(data (i32.const 5) "abc") (data "kept")
            (data (i32.sub (i32.mul (i32.const 3) (i32.add (i32.const 0x7fffffff) (i32.const 2))) (i32.const 1)) "")"#,
        );
        let offset = 3i32.wrapping_mul(i32::MIN + 1).wrapping_sub(1) as u32;
        let expected =
            [DataSegment { offset: 5, bytes: b"abc".to_vec() }, DataSegment { offset, bytes: Vec::new() }];
        assert_eq!(found, expected);
        assert_eq!(rest, [3, 1, 0, 1, 4, b'k', b'e', b'p', b't', 1, 0]);
    }
}
