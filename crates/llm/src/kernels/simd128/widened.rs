//! Sums of four products of bytes for each of four rows, by widening to 16 bits: what plain SIMD128 has.
//!
//! A vector of codes holds four bytes of each of four rows. Seen as 16-bit lanes, a row has two; their lower bytes
//! are columns 0 and 2 of a quad of columns, their upper bytes columns 1 and 3. So two multiplications with addition
//! of neighbours, by activations arranged as (0, 2) and (1, 3), leave one 32-bit lane for each row.

use std::arch::wasm32::*;

/// What kernels built so are called.
pub(crate) const NAME: &str = "SIMD128";

/// Four columns of one token, in every lane: columns 0 and 2, and columns 1 and 3, as 16-bit integers.
type Quad = [v128; 2];
/// Codes of four rows and four columns as 16-bit integers: columns 0 and 2, and columns 1 and 3.
type Codes = [v128; 2];

/// The words of four quads of columns: (0, 2) and (1, 3) as pairs of 16-bit integers.
#[inline(always)]
pub(super) fn words(values: v128) -> [v128; 2] {
    signed_codes(values)
}

/// The columns of one token.
#[derive(Clone, Copy)]
pub(super) struct Quads<'a> {
    arranged: &'a [i32],
}

impl<'a> Quads<'a> {
    pub(super) fn new(_: &'a [i8], arranged: &'a [i32]) -> Self {
        Self { arranged }
    }

    /// Quad `number`, to be multiplied with codes from 0 to 127.
    ///
    /// # Safety
    /// The token has `4 · (number + 1)` columns.
    #[inline(always)]
    pub(super) unsafe fn small(&self, number: usize) -> Quad {
        debug_assert!(2 * number + 1 < self.arranged.len());
        // SAFETY: each quad has two words, by this function's contract.
        unsafe {
            let words = self.arranged.as_ptr().add(2 * number).cast::<u32>();
            [v128_load32_splat(words), v128_load32_splat(words.add(1))]
        }
    }

    /// Quad `number`, to be multiplied with any codes.
    ///
    /// # Safety
    /// The token has `4 · (number + 1)` columns.
    #[inline(always)]
    pub(super) unsafe fn signed(&self, number: usize) -> Quad {
        // SAFETY: the contract is the same.
        unsafe { self.small(number) }
    }
}

/// The low and the high nibbles.
#[inline(always)]
pub(super) fn nibbles(bytes: v128) -> [Codes; 2] {
    let nibble = u16x8_splat(15);
    [
        [v128_and(bytes, nibble), v128_and(u16x8_shr(bytes, 8), nibble)],
        [v128_and(u16x8_shr(bytes, 4), nibble), u16x8_shr(bytes, 12)],
    ]
}

/// Which codes of [`two_bits`] come four times as large: none, since a second sum for them would take registers that
/// the widened codes need.
pub(super) const FOURFOLD: [bool; 4] = [false; 4];

/// The four codes of two bits of each byte, the lowest first.
#[inline(always)]
pub(super) fn two_bits(bytes: v128) -> [Codes; 4] {
    let low = u16x8_splat(3);
    [
        [v128_and(bytes, low), v128_and(u16x8_shr(bytes, 8), low)],
        [v128_and(u16x8_shr(bytes, 2), low), v128_and(u16x8_shr(bytes, 10), low)],
        [v128_and(u16x8_shr(bytes, 4), low), v128_and(u16x8_shr(bytes, 12), low)],
        [v128_and(u16x8_shr(bytes, 6), low), u16x8_shr(bytes, 14)],
    ]
}

/// Signed bytes.
#[inline(always)]
pub(super) fn signed_codes(bytes: v128) -> Codes {
    [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)]
}

/// `sum` and the products of codes from 0 to 127 with a quad, for each row.
#[inline(always)]
pub(super) fn small(sum: v128, codes: Codes, quad: Quad) -> v128 {
    i32x4_add(i32x4_add(sum, i32x4_dot_i16x8(codes[0], quad[0])), i32x4_dot_i16x8(codes[1], quad[1]))
}

/// A sum of products of signed bytes, for each row.
#[derive(Clone, Copy)]
pub(super) struct SignedSum(v128);

impl SignedSum {
    #[inline(always)]
    pub(super) fn zero() -> Self {
        Self(i32x4_splat(0))
    }

    /// Adds the products of `codes` with `quad`.
    #[inline(always)]
    pub(super) fn add(&mut self, codes: Codes, quad: Quad) {
        self.0 = small(self.0, codes, quad);
    }

    #[inline(always)]
    pub(super) fn total(self) -> v128 {
        self.0
    }
}
