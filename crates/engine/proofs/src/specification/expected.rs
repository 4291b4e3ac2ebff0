//! The values that scripts give and expect.

use wast::{
    WastArg, WastRet,
    core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore},
    token::{F32, F64},
};

use crate::value::Value;

const F32_CANONICAL: u32 = 0x7fc0_0000;
const F64_CANONICAL: u64 = 0x7ff8_0000_0000_0000;

/// What a function is given; none when something of it is no value of a rewritten module.
pub(super) fn arguments(arguments: &[WastArg<'_>]) -> Option<Vec<Value>> {
    let one = |argument: &WastArg<'_>| match argument {
        WastArg::Core(WastArgCore::I32(value)) => Some(Value::I32(*value)),
        WastArg::Core(WastArgCore::I64(value)) => Some(Value::I64(*value)),
        WastArg::Core(WastArgCore::F32(value)) => Some(Value::F32(value.bits)),
        WastArg::Core(WastArgCore::F64(value)) => Some(Value::F64(value.bits)),
        WastArg::Core(WastArgCore::V128(value)) => {
            Some(Value::V128(u128::from_le_bytes(value.to_le_bytes())))
        }
        WastArg::Core(WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Func, .. })) => {
            Some(Value::Function(None))
        }
        _ => None,
    };
    arguments.iter().map(one).collect()
}

/// Whether a function returned what a script expects.
pub(super) fn is_expected(expected: &[WastRet<'_>], values: &[Value]) -> bool {
    let one = |(expected, value): (&WastRet<'_>, &Value)| match expected {
        WastRet::Core(expected) => is_one(expected, value),
        _ => false,
    };
    expected.len() == values.len() && expected.iter().zip(values).all(one)
}

fn is_one(expected: &WastRetCore<'_>, value: &Value) -> bool {
    match (expected, value) {
        (WastRetCore::I32(expected), Value::I32(value)) => expected == value,
        (WastRetCore::I64(expected), Value::I64(value)) => expected == value,
        (WastRetCore::F32(pattern), Value::F32(bits)) => is_f32(pattern, *bits),
        (WastRetCore::F64(pattern), Value::F64(bits)) => is_f64(pattern, *bits),
        (WastRetCore::V128(pattern), Value::V128(bits)) => is_v128(pattern, *bits),
        (WastRetCore::RefNull(_), Value::Function(function)) => function.is_none(),
        (WastRetCore::RefFunc(_), Value::Function(function)) => function.is_some(),
        (WastRetCore::Either(cases), value) => cases.iter().any(|case| is_one(case, value)),
        _ => false,
    }
}

fn is_f32(pattern: &NanPattern<F32>, bits: u32) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & (u32::MAX >> 1) == F32_CANONICAL,
        NanPattern::ArithmeticNan => bits & F32_CANONICAL == F32_CANONICAL,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn is_f64(pattern: &NanPattern<F64>, bits: u64) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == F64_CANONICAL,
        NanPattern::ArithmeticNan => bits & F64_CANONICAL == F64_CANONICAL,
        NanPattern::Value(value) => value.bits == bits,
    }
}

fn is_v128(pattern: &V128Pattern, bits: u128) -> bool {
    let bytes = bits.to_le_bytes();
    let narrow = |lane: usize| (bits >> (32 * lane)) as u32;
    let wide = |lane: usize| (bits >> (64 * lane)) as u64;
    match pattern {
        V128Pattern::I8x16(lanes) => lanes.iter().zip(bytes).all(|(lane, byte)| *lane == byte as i8),
        V128Pattern::I16x8(lanes) => {
            lanes.iter().enumerate().all(|(index, lane)| *lane == (bits >> (16 * index)) as i16)
        }
        V128Pattern::I32x4(lanes) => {
            lanes.iter().enumerate().all(|(index, lane)| *lane == narrow(index) as i32)
        }
        V128Pattern::I64x2(lanes) => {
            lanes.iter().enumerate().all(|(index, lane)| *lane == wide(index) as i64)
        }
        V128Pattern::F32x4(lanes) => {
            lanes.iter().enumerate().all(|(index, lane)| is_f32(lane, narrow(index)))
        }
        V128Pattern::F64x2(lanes) => lanes.iter().enumerate().all(|(index, lane)| is_f64(lane, wide(index))),
    }
}
