//! Sums of four products of bytes for each of four rows, by the relaxed dot product of signed bytes with bytes from
//! 0 to 127. Machines differ where the second operand is larger, and where the sum of two products leaves 16 bits;
//! here neither happens: 2 · 128 · 127 is 32512.
//!
//! Codes of Q4_0 and of ternary weights are small, so they are the second operand, and the activations the first.
//! Signed codes are the first operand of two products: with the positive parts of the activations, and with the
//! magnitudes of the negative ones, which are subtracted.

use std::arch::wasm32::*;

/// What kernels built so are called.
pub(crate) const NAME: &str = "relaxed SIMD";

/// Four columns of one token, in every lane: positive parts and negative magnitudes.
type SignedQuad = [v128; 2];

/// The words of four quads of columns: their positive parts, and the magnitudes of the negative ones.
#[inline(always)]
pub(super) fn words(values: v128) -> [v128; 2] {
    let zero = i8x16_splat(0);
    // Values are within ±127, so their magnitudes fit.
    [i8x16_max(values, zero), i8x16_abs(i8x16_min(values, zero))]
}

/// The columns of one token.
#[derive(Clone, Copy)]
pub(super) struct Quads<'a> {
    values: &'a [i8],
    arranged: &'a [i32],
}

impl<'a> Quads<'a> {
    pub(super) fn new(values: &'a [i8], arranged: &'a [i32]) -> Self {
        Self { values, arranged }
    }

    /// Quad `number`, to be multiplied with codes from 0 to 127.
    ///
    /// # Safety
    /// The token has `4 · (number + 1)` columns.
    #[inline(always)]
    pub(super) unsafe fn small(&self, number: usize) -> v128 {
        debug_assert!(4 * number + 3 < self.values.len());
        // SAFETY: four values, by this function's contract; the load needs no alignment.
        unsafe { v128_load32_splat(self.values.as_ptr().add(4 * number).cast()) }
    }

    /// Quad `number`, to be multiplied with any codes.
    ///
    /// # Safety
    /// The token has `4 · (number + 1)` columns.
    #[inline(always)]
    pub(super) unsafe fn signed(&self, number: usize) -> SignedQuad {
        debug_assert!(2 * number + 1 < self.arranged.len());
        // SAFETY: each quad has two words, by this function's contract.
        unsafe {
            let words = self.arranged.as_ptr().add(2 * number).cast::<u32>();
            [v128_load32_splat(words), v128_load32_splat(words.add(1))]
        }
    }
}

/// The low and the high nibbles.
#[inline(always)]
pub(super) fn nibbles(bytes: v128) -> [v128; 2] {
    let nibble = u8x16_splat(15);
    [v128_and(bytes, nibble), v128_and(u16x8_shr(bytes, 4), nibble)]
}

/// Which codes of [`two_bits`] come four times as large: their shifts are spared for one at the end of a sum.
pub(super) const FOURFOLD: [bool; 4] = [false, true, false, true];

/// The four codes of two bits of each byte, the lowest first.
#[inline(always)]
pub(super) fn two_bits(bytes: v128) -> [v128; 4] {
    let (low, high) = (u8x16_splat(3), u8x16_splat(12));
    let upper = u16x8_shr(bytes, 4);
    [v128_and(bytes, low), v128_and(bytes, high), v128_and(upper, low), v128_and(upper, high)]
}

/// Signed bytes.
#[inline(always)]
pub(super) fn signed_codes(bytes: v128) -> v128 {
    bytes
}

/// `sum` and the products of codes from 0 to 127 with a quad, for each row.
#[inline(always)]
pub(super) fn small(sum: v128, codes: v128, quad: v128) -> v128 {
    i32x4_relaxed_dot_i8x16_i7x16_add(quad, codes, sum)
}

/// A sum of products of signed bytes, for each row.
#[derive(Clone, Copy)]
pub(super) struct SignedSum {
    positive: v128,
    negative: v128,
}

impl SignedSum {
    #[inline(always)]
    pub(super) fn zero() -> Self {
        Self { positive: i32x4_splat(0), negative: i32x4_splat(0) }
    }

    /// Adds the products of `codes` with `quad`.
    #[inline(always)]
    pub(super) fn add(&mut self, codes: v128, quad: SignedQuad) {
        self.positive = i32x4_relaxed_dot_i8x16_i7x16_add(codes, quad[0], self.positive);
        self.negative = i32x4_relaxed_dot_i8x16_i7x16_add(codes, quad[1], self.negative);
    }

    #[inline(always)]
    pub(super) fn total(self) -> v128 {
        i32x4_sub(self.positive, self.negative)
    }
}
