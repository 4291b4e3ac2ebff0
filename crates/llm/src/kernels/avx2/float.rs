//! AVX2 kernels on floats: matrices that are not quantized, half precision.
//!
//! The sixteen virtual lanes of a sum are two registers; four rows (or tokens) are summed side by side to hide the
//! latency of the additions.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

use std::arch::x86_64::*;

use super::super::elementwise::{self, LANES};
use super::super::{FloatType, scalar};
use crate::host::Half;

/// Tokens of a tile of float rows in a prompt.
const FLOAT_TOKENS: usize = 4;

/// Eight elements of a float row at `column`, as f32.
///
/// # Safety
/// `row` holds eight elements from `column` on.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn load_floats(float: FloatType, row: *const u8, column: usize) -> __m256 {
    // SAFETY: the elements are readable by this function's contract; all loads are unaligned ones.
    unsafe {
        match float {
            FloatType::F32 => _mm256_loadu_ps(row.cast::<f32>().add(column)),
            FloatType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(row.cast::<u16>().add(column).cast())),
            FloatType::Bf16 => {
                let upper = _mm256_cvtepu16_epi32(_mm_loadu_si128(row.cast::<u16>().add(column).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32(upper, 16))
            }
        }
    }
}

/// Dot products of `R` rows with `T` tokens over the virtual lanes.
///
/// # Safety
/// Each row and each token has at least `columns` elements.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn float_tile<const R: usize, const T: usize>(
    float: FloatType,
    rows: [*const u8; R],
    tokens: [*const f32; T],
    columns: usize,
) -> [[f32; R]; T] {
    let mut lanes = [[[_mm256_setzero_ps(); 2]; R]; T];
    let whole = columns / LANES * LANES;
    for column in (0..whole).step_by(LANES) {
        for row in 0..R {
            for half in 0..2 {
                let at = column + half * 8;
                // SAFETY: eight elements from `at` on are within `columns`.
                unsafe {
                    let weights = load_floats(float, rows[row], at);
                    for token in 0..T {
                        let product = _mm256_mul_ps(weights, _mm256_loadu_ps(tokens[token].add(at)));
                        lanes[token][row][half] = _mm256_add_ps(lanes[token][row][half], product);
                    }
                }
            }
        }
    }
    let mut out = [[0.0; R]; T];
    for token in 0..T {
        for row in 0..R {
            let mut sums = [0.0f32; LANES];
            // SAFETY: `sums` has sixteen elements.
            unsafe {
                _mm256_storeu_ps(sums.as_mut_ptr(), lanes[token][row][0]);
                _mm256_storeu_ps(sums.as_mut_ptr().add(8), lanes[token][row][1]);
            }
            // SAFETY: the row has `columns` elements, by this function's contract.
            let elements = unsafe { std::slice::from_raw_parts(rows[row], columns * float.bytes()) };
            for column in whole..columns {
                // SAFETY: `column` is within the token.
                let x = unsafe { *tokens[token].add(column) };
                sums[column % LANES] += scalar::float_at(float, elements, column) * x;
            }
            out[token][row] = elementwise::reduce(&sums);
        }
    }
    out
}

/// Float rows times tokens, `R` rows and `T` tokens at a time.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    // The type is made a constant of each loop.
    match float {
        FloatType::F32 => float_rows_of(FloatType::F32, rows, columns, x, out),
        FloatType::F16 => float_rows_of(FloatType::F16, rows, columns, x, out),
        FloatType::Bf16 => float_rows_of(FloatType::Bf16, rows, columns, x, out),
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn float_rows_of(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    let row_bytes = columns * float.bytes();
    let row_count = rows.len() / row_bytes;
    let tokens = x.len() / columns;
    assert!(out.len() >= tokens * row_count, "the output is smaller than tokens times rows");
    let row_at = |number: usize| rows[number * row_bytes..][..row_bytes].as_ptr();
    let token_at = |number: usize| x[number * columns..][..columns].as_ptr();
    let mut row = 0;
    while row < row_count {
        if tokens == 1 && row + 4 <= row_count {
            let pointers = [row_at(row), row_at(row + 1), row_at(row + 2), row_at(row + 3)];
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<4, 1>(float, pointers, [token_at(0)], columns) };
            out[row..row + 4].copy_from_slice(&dots[0]);
            row += 4;
            continue;
        }
        let mut token = 0;
        while token + FLOAT_TOKENS <= tokens {
            let pointers = [token_at(token), token_at(token + 1), token_at(token + 2), token_at(token + 3)];
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, FLOAT_TOKENS>(float, [row_at(row)], pointers, columns) };
            for (number, dot) in dots.iter().enumerate() {
                out[(token + number) * row_count + row] = dot[0];
            }
            token += FLOAT_TOKENS;
        }
        for token in token..tokens {
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, 1>(float, [row_at(row)], [token_at(token)], columns) };
            out[token * row_count + row] = dots[0][0];
        }
        row += 1;
    }
}

/// Rounds to half precision, ties to even.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn to_half(x: &[f32], out: &mut [Half]) {
    let whole = x.len().min(out.len()) / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: `at + 8` is within both slices.
        unsafe {
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr().add(at)));
            _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), halves);
        }
    }
    scalar::to_half(&x[whole..], &mut out[whole..]);
}
