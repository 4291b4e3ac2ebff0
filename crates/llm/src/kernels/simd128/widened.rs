//! Sums of four products of bytes for each of four rows, by widening to 16 bits: what plain SIMD128 has.
//!
//! A vector of codes holds four bytes of each of four rows. Seen as 16-bit lanes, a row has two; their lower bytes
//! are columns 0 and 2 of a quad of columns, their upper bytes columns 1 and 3. So two multiplications with addition
//! of neighbours, by activations arranged as (0, 2) and (1, 3), leave one 32-bit lane for each row.

use std::arch::wasm32::*;

use super::super::dot::{Columns, Sums, functions};

/// What kernels built so are called.
pub(crate) const NAME: &str = "SIMD128";

/// Which codes of ternary weights come four times as large: none, since a second sum for them would take registers that
/// the widened codes need.
pub(super) const FOURFOLD: [bool; 4] = [false; 4];

/// The words of four quads of columns: (0, 2) and (1, 3) as pairs of 16-bit integers.
#[inline(always)]
pub(super) fn words(values: v128) -> [v128; 2] {
    [i16x8_shr(i16x8_shl(values, 8), 8), i16x8_shr(values, 8)]
}

/// The values of a table at places from 0 to 15.
#[inline(always)]
pub(super) fn look_up(table: v128, places: v128) -> v128 {
    i8x16_swizzle(table, places)
}

/// Makes sums of codes, which `$widened` makes 16 bits wide: columns 0 and 2, and columns 1 and 3.
macro_rules! sums {
    ($(#[$documentation:meta])* $name:ident, |$bytes:ident| $widened:expr) => {
        $(#[$documentation])*
        pub(super) struct $name;

        impl Sums for $name {
            type Bytes = v128;
            type Integers = v128;
            type Codes = [v128; 2];
            type Quad = [v128; 2];
            type Sum = v128;

            const EXCESS: u8 = 0;

            functions! { "simd128";
                fn codes($bytes: v128) -> [v128; 2] { $widened }
                fn raised_codes(bytes: v128) -> [v128; 2] {
                    // SAFETY: the contract is the same.
                    unsafe { Self::codes(bytes) }
                }
                fn quad(columns: Columns<'_>, number: usize) -> [v128; 2] {
                    debug_assert!(2 * number + 2 <= columns.arranged.len());
                    // SAFETY: each quad has two words, by this function's contract.
                    unsafe {
                        let words = columns.arranged.as_ptr().add(2 * number).cast::<u32>();
                        [v128_load32_splat(words), v128_load32_splat(words.add(1))]
                    }
                }
                fn start(value: v128) -> v128 { value }
                fn add(sum: v128, codes: [v128; 2], quad: [v128; 2]) -> v128 {
                    let sum = i32x4_add(sum, i32x4_dot_i16x8(codes[0], quad[0]));
                    i32x4_add(sum, i32x4_dot_i16x8(codes[1], quad[1]))
                }
                fn total(sum: v128) -> v128 { sum }
            }
        }
    };
}

sums! {
    /// Sums of products of codes from 0 to 127.
    Small, |bytes| [v128_and(bytes, u16x8_splat(0xff)), u16x8_shr(bytes, 8)]
}

sums! {
    /// Sums of products of signed codes.
    Signed, |bytes| [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)]
}
