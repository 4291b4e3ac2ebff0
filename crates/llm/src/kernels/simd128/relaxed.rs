//! Sums of four products of bytes for each of four rows, by the relaxed dot product of signed bytes with bytes from
//! 0 to 127. Machines differ where the second operand is larger, and where the sum of two products leaves 16 bits;
//! here neither happens: 2 · 128 · 127 is 32512.
//!
//! Codes of most types are small, so they are the second operand, and the activations the first.
//! Signed codes are the first operand of two products: with the positive parts of the activations, and with the
//! magnitudes of the negative ones, which are subtracted.

use std::arch::wasm32::*;

use super::super::dot::{Columns, Sums, functions};

/// What kernels built so are called.
pub(crate) const NAME: &str = "relaxed SIMD";

/// Which codes of ternary weights come four times as large.
pub(super) const FOURFOLD: [bool; 4] = [false, true, false, true];

/// The words of four quads of columns: their positive parts, and the magnitudes of the negative ones.
#[inline(always)]
pub(super) fn words(values: v128) -> [v128; 2] {
    let zero = i8x16_splat(0);
    // Values are within ±127, so their magnitudes fit.
    [i8x16_max(values, zero), i8x16_abs(i8x16_min(values, zero))]
}

/// The values of a table at places from 0 to 15, for which machines agree.
#[inline(always)]
pub(super) fn look_up(table: v128, places: v128) -> v128 {
    i8x16_relaxed_swizzle(table, places)
}

/// Sums of products of codes from 0 to 127.
pub(super) struct Small;

impl Sums for Small {
    type Bytes = v128;
    type Integers = v128;
    type Codes = v128;
    type Quad = v128;
    type Sum = v128;

    const EXCESS: u8 = 0;

    functions! { "simd128,relaxed-simd";
        fn codes(bytes: v128) -> v128 { bytes }
        fn raised_codes(bytes: v128) -> v128 { bytes }
        fn quad(columns: Columns<'_>, number: usize) -> v128 {
            debug_assert!(4 * number + 4 <= columns.values.len());
            // SAFETY: there are four values, by this function's contract; the load needs no alignment.
            unsafe { v128_load32_splat(columns.values.as_ptr().add(4 * number).cast()) }
        }
        fn start(value: v128) -> v128 { value }
        fn add(sum: v128, codes: v128, quad: v128) -> v128 { i32x4_relaxed_dot_i8x16_i7x16_add(quad, codes, sum) }
        fn total(sum: v128) -> v128 { sum }
    }
}

/// Sums of products of signed codes.
pub(super) struct Signed;

impl Sums for Signed {
    type Bytes = v128;
    type Integers = v128;
    type Codes = v128;
    /// Positive parts and negative magnitudes.
    type Quad = [v128; 2];
    /// Sums of products with either.
    type Sum = [v128; 2];

    const EXCESS: u8 = 0;

    functions! { "simd128,relaxed-simd";
        fn codes(bytes: v128) -> v128 { bytes }
        fn raised_codes(bytes: v128) -> v128 { bytes }
        fn quad(columns: Columns<'_>, number: usize) -> [v128; 2] {
            debug_assert!(2 * number + 2 <= columns.arranged.len());
            // SAFETY: each quad has two words, by this function's contract.
            unsafe {
                let words = columns.arranged.as_ptr().add(2 * number).cast::<u32>();
                [v128_load32_splat(words), v128_load32_splat(words.add(1))]
            }
        }
        fn start(value: v128) -> [v128; 2] { [value, i32x4_splat(0)] }
        fn add(sum: [v128; 2], codes: v128, quad: [v128; 2]) -> [v128; 2] {
            [
                i32x4_relaxed_dot_i8x16_i7x16_add(codes, quad[0], sum[0]),
                i32x4_relaxed_dot_i8x16_i7x16_add(codes, quad[1], sum[1]),
            ]
        }
        fn total(sum: [v128; 2]) -> v128 { i32x4_sub(sum[0], sum[1]) }
    }
}
