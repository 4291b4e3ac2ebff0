//! WebAssembly SIMD kernels on floats: matrices that are not quantized, and attention.
//!
//! The sixteen virtual lanes of a sum are four vectors; two rows (or tokens) are summed side by side.

use std::arch::wasm32::*;

use super::super::elementwise::LANES;
use super::super::{FloatType, scalar};
use super::from_halves;
use crate::host::Half;

/// Eight elements of a float row, as f32.
///
/// # Safety
/// There are eight at `elements`; no alignment is needed.
#[inline(always)]
unsafe fn load_floats(float: FloatType, elements: *const u8) -> [v128; 2] {
    // SAFETY: the elements are readable by this function's contract.
    unsafe {
        match float {
            FloatType::F32 => [v128_load(elements.cast()), v128_load(elements.add(16).cast())],
            FloatType::F16 => from_halves(v128_load(elements.cast())),
            FloatType::Bf16 => {
                let elements = v128_load(elements.cast());
                [
                    u32x4_shl(u32x4_extend_low_u16x8(elements), 16),
                    u32x4_shl(u32x4_extend_high_u16x8(elements), 16),
                ]
            }
        }
    }
}

/// The fixed reduction tree over the virtual lanes: 16 → 8 → 4 → 2 → 1, lane `i` with lane `i + half`.
#[inline(always)]
fn reduce(lanes: [v128; 4]) -> f32 {
    let four = f32x4_add(f32x4_add(lanes[0], lanes[2]), f32x4_add(lanes[1], lanes[3]));
    let two = f32x4_add(four, i32x4_shuffle::<2, 3, 0, 1>(four, four));
    f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
}

/// Dot products of `R` rows with `T` tokens over the virtual lanes.
///
/// # Safety
/// Each row and each token has at least `columns` elements.
#[inline(always)]
unsafe fn float_tile<const R: usize, const T: usize>(
    float: FloatType,
    rows: [*const u8; R],
    tokens: [*const f32; T],
    columns: usize,
) -> [[f32; R]; T] {
    let mut lanes = [[[f32x4_splat(0.0); 4]; R]; T];
    let whole = columns / LANES * LANES;
    for column in (0..whole).step_by(LANES) {
        for half in 0..2 {
            // SAFETY: eight elements of each row and token from here on are within `columns`.
            unsafe {
                for row in 0..R {
                    let weights = load_floats(float, rows[row].add((column + half * 8) * float.bytes()));
                    for quarter in 0..2 {
                        for token in 0..T {
                            let x = v128_load(tokens[token].add(column + half * 8 + quarter * 4).cast());
                            let lanes = &mut lanes[token][row][2 * half + quarter];
                            *lanes = f32x4_add(*lanes, f32x4_mul(weights[quarter], x));
                        }
                    }
                }
            }
        }
    }
    let mut out = [[0.0; R]; T];
    for token in 0..T {
        for row in 0..R {
            let mut sums = lanes[token][row];
            if whole < columns {
                let mut single = [0.0f32; LANES];
                // SAFETY: the row has `columns` elements, by this function's contract.
                let elements = unsafe { std::slice::from_raw_parts(rows[row], columns * float.bytes()) };
                // SAFETY: `single` is as large as four vectors; `column` is within the token.
                unsafe {
                    single.as_mut_ptr().cast::<[v128; 4]>().write_unaligned(sums);
                    for column in whole..columns {
                        single[column % LANES] +=
                            scalar::float_at(float, elements, column) * *tokens[token].add(column);
                    }
                    sums = single.as_ptr().cast::<[v128; 4]>().read_unaligned();
                }
            }
            out[token][row] = reduce(sums);
        }
    }
    out
}

/// Float rows times tokens, two rows or two tokens at a time.
pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    // The type is made a constant of each loop.
    match float {
        FloatType::F32 => float_rows_of(FloatType::F32, rows, columns, x, out),
        FloatType::F16 => float_rows_of(FloatType::F16, rows, columns, x, out),
        FloatType::Bf16 => float_rows_of(FloatType::Bf16, rows, columns, x, out),
    }
}

#[inline(always)]
fn float_rows_of(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    let row_bytes = columns * float.bytes();
    let row_count = rows.len() / row_bytes;
    let tokens = x.len() / columns;
    assert!(out.len() >= tokens * row_count, "the output is smaller than tokens times rows");
    let row_at = |number: usize| rows[number * row_bytes..][..row_bytes].as_ptr();
    let token_at = |number: usize| x[number * columns..][..columns].as_ptr();
    let mut row = 0;
    while row < row_count {
        if tokens == 1 && row + 2 <= row_count {
            // SAFETY: each pointer is the start of a whole row or token.
            let dots =
                unsafe { float_tile::<2, 1>(float, [row_at(row), row_at(row + 1)], [token_at(0)], columns) };
            out[row..row + 2].copy_from_slice(&dots[0]);
            row += 2;
            continue;
        }
        let mut token = 0;
        while token + 2 <= tokens {
            let pair = [token_at(token), token_at(token + 1)];
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, 2>(float, [row_at(row)], pair, columns) };
            out[token * row_count + row] = dots[0][0];
            out[(token + 1) * row_count + row] = dots[1][0];
            token += 2;
        }
        if token < tokens {
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, 1>(float, [row_at(row)], [token_at(token)], columns) };
            out[token * row_count + row] = dots[0][0];
        }
        row += 1;
    }
}

/// Attention scores, two keys at a time.
pub(crate) fn attention_scores(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    // A `Half` is an f32 here.
    let key_at = |position: usize| keys[position * length..][..length].as_ptr().cast::<u8>();
    let positions = keys.len() / length;
    for (query, out) in queries.chunks_exact(length).zip(out.chunks_mut(stride)) {
        let mut position = 0;
        while position + 2 <= positions {
            let pair = [key_at(position), key_at(position + 1)];
            // SAFETY: each pointer is the start of a key of `length` elements.
            let dots = unsafe { float_tile::<2, 1>(FloatType::F32, pair, [query.as_ptr()], length) };
            out[position] = dots[0][0] * scale;
            out[position + 1] = dots[0][1] * scale;
            position += 2;
        }
        if position < positions {
            // SAFETY: the pointer is the start of a key of `length` elements.
            let dots =
                unsafe { float_tile::<1, 1>(FloatType::F32, [key_at(position)], [query.as_ptr()], length) };
            out[position] = dots[0][0] * scale;
        }
    }
}

/// Attention output, 32 columns at a time.
pub(crate) fn attention_values(
    probabilities: &[f32],
    stride: usize,
    values: &[Half],
    length: usize,
    out: &mut [f32],
) {
    if !length.is_multiple_of(32) {
        return scalar::attention_values(probabilities, stride, values, length, out);
    }
    for (probabilities, out) in probabilities.chunks(stride).zip(out.chunks_exact_mut(length)) {
        for (number, out) in out.chunks_exact_mut(32).enumerate() {
            let mut sums: [v128; 8] = std::array::from_fn(|part| {
                // SAFETY: `out` has 32 numbers.
                unsafe { v128_load(out.as_ptr().add(part * 4).cast()) }
            });
            for (probability, value) in probabilities.iter().zip(values.chunks_exact(length)) {
                let probability = f32x4_splat(*probability);
                let value = &value[number * 32..][..32];
                for (part, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `value` has 32 numbers; a `Half` is an f32 here.
                    let value = unsafe { v128_load(value.as_ptr().add(part * 4).cast()) };
                    *sum = f32x4_add(*sum, f32x4_mul(probability, value));
                }
            }
            for (part, sum) in sums.iter().enumerate() {
                // SAFETY: `out` has 32 numbers.
                unsafe { v128_store(out.as_mut_ptr().add(part * 4).cast(), *sum) };
            }
        }
    }
}
