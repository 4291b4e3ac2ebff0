//! WebAssembly SIMD kernels: four rows to a vector, which is half a group.
//!
//! How four products are summed is in `products`: widened to 16 bits, or by the relaxed instruction where its result is
//! exact, which is chosen when the crate is compiled.
//!
//! A tile has four groups when decoding, so that four streams of weights are in flight, and four strips share each
//! activation; in a prompt one strip at a time, so that the sums of all tokens stay in the sixteen registers of many
//! hosts and weights are unpacked once for all of them.

mod float;
#[cfg_attr(target_feature = "relaxed-simd", path = "relaxed.rs")]
#[cfg_attr(not(target_feature = "relaxed-simd"), path = "widened.rs")]
mod products;

use std::arch::wasm32::*;

use super::dot::{self, InstructionSet, Machine, Part, Product, TileKernel, cover, functions, run_tile};
use super::{Activations, TernaryScale};
use crate::formats::BlockType;

pub(crate) use super::elementwise::*;
pub(crate) use super::scalar::to_half;
pub(crate) use float::{attention_scores, attention_values, attention_values_q8, float_rows};
pub(crate) use products::NAME;

/// The most tokens of a tile.
const PROMPT_TOKENS: usize = 4;
/// Groups of a tile when there is one token.
const DECODE_GROUPS: usize = 4;

/// For each quad of columns of `values`, of which there are whole vectors: two words, as `dot` wants them.
pub(crate) fn arrange(values: &[i8]) -> Vec<i32> {
    assert!(values.len().is_multiple_of(16), "activations come in blocks of 32");
    let mut arranged = vec![0; values.len() / 2];
    for (values, arranged) in values.chunks_exact(16).zip(arranged.chunks_exact_mut(8)) {
        // SAFETY: sixteen bytes are read, and twice as many written; no access needs an alignment.
        unsafe {
            let [first, second] = products::words(v128_load(values.as_ptr().cast()));
            let out = arranged.as_mut_ptr().cast::<v128>();
            v128_store(out, i32x4_shuffle::<0, 4, 1, 5>(first, second));
            v128_store(out.add(1), i32x4_shuffle::<2, 6, 3, 7>(first, second));
        }
    }
    arranged
}

/// Vectors of 128 bits, and the instruction set.
struct Simd128;

impl Machine for Simd128 {
    const ROWS: usize = 4;
    const FOURFOLD: [bool; 4] = products::FOURFOLD;

    type Bytes = v128;
    type Integers = v128;
    type Floats = v128;
    type Weights = v128;
    type Small = products::Small;
    type Signed = products::Signed;

    functions! { "simd128";
        fn strip(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> v128 {
            // SAFETY: the group has 32 bytes there, by this function's contract; the load needs no alignment.
            unsafe { v128_load(packed.as_ptr().add(at + strip / 2 * group_bytes + strip % 2 * 16).cast()) }
        }
        fn halves<const S: usize>(packed: &[u8], at: usize, group_bytes: usize, first: usize) -> [v128; S] {
            let mut floats = [f32x4_splat(0.0); S];
            let mut strip = 0;
            while strip < S {
                let group = packed.as_ptr().wrapping_add(at + (first + strip) / 2 * group_bytes);
                if S.is_multiple_of(2) {
                    // SAFETY: the group has 16 bytes there, by this function's contract; the load needs no alignment.
                    [floats[strip], floats[strip + 1]] = from_halves(unsafe { v128_load(group.cast()) });
                    strip += 2;
                } else {
                    // SAFETY: as above; these are the eight bytes of this strip.
                    let halves = unsafe { v128_load64_splat(group.add((first + strip) % 2 * 8).cast()) };
                    floats[strip] = from_halves(halves)[0];
                    strip += 1;
                }
            }
            floats
        }
        fn row_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> v128 {
            // SAFETY: the group has 8 bytes there, by this function's contract; the load needs no alignment.
            let bytes = unsafe {
                v128_load32_zero(packed.as_ptr().add(at + strip / 2 * group_bytes + strip % 2 * 4).cast())
            };
            u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes))
        }
        fn and(bytes: v128, mask: u8) -> v128 { v128_and(bytes, u8x16_splat(mask)) }
        fn or(first: v128, second: v128) -> v128 { v128_or(first, second) }
        fn down(bytes: v128, count: usize) -> v128 { if count == 0 { bytes } else { u16x8_shr(bytes, count as u32) } }
        fn up(bytes: v128, count: usize) -> v128 { if count == 0 { bytes } else { u16x8_shl(bytes, count as u32) } }
        fn table(values: &[u8; 16]) -> v128 {
            // SAFETY: a table has sixteen bytes; the load needs no alignment.
            unsafe { v128_load(values.as_ptr().cast()) }
        }
        fn look_up(table: v128, bytes: v128) -> v128 { products::look_up(table, bytes) }
        fn integers(value: i32) -> v128 { i32x4_splat(value) }
        fn add_integers(first: v128, second: v128) -> v128 { i32x4_add(first, second) }
        fn and_integers(value: v128, mask: i32) -> v128 { v128_and(value, i32x4_splat(mask)) }
        fn up_integers(value: v128, count: u32) -> v128 { i32x4_shl(value, count) }
        fn down_integers(value: v128, count: u32) -> v128 { i32x4_shr(value, count) }
        fn weights(value: v128) -> v128 { value }
        fn weighted(value: v128, weight: v128) -> v128 { i32x4_mul(value, weight) }
        fn add_weights(first: v128, second: v128) -> v128 { i32x4_add(first, second) }
        fn weights_to_floats(value: v128) -> v128 { f32x4_convert_i32x4(value) }
        fn floats(value: f32) -> v128 { f32x4_splat(value) }
        fn to_floats(value: v128) -> v128 { f32x4_convert_i32x4(value) }
        fn exponents(value: v128) -> v128 {
            let normal = i32x4_shl(i32x4_sub(value, i32x4_splat(1)), 23);
            // 1 << 21 for 0, and twice as much for all others, of which 1 needs it.
            let subnormal = i32x4_shl(i32x4_add(i32x4_min(value, i32x4_splat(1)), i32x4_splat(1)), 21);
            i32x4_max(normal, subnormal)
        }
        fn add(first: v128, second: v128) -> v128 { f32x4_add(first, second) }
        fn multiply(first: v128, second: v128) -> v128 { f32x4_mul(first, second) }
        fn divide(first: v128, second: v128) -> v128 { f32x4_div(first, second) }
        fn store(out: *mut f32, value: v128) {
            // SAFETY: there is room for four, by this function's contract; the store needs no alignment.
            unsafe { v128_store(out.cast(), value) };
        }
    }
}

impl InstructionSet for Simd128 {
    unsafe fn multiply<K: TileKernel>(kernel: &K, mut product: Product<'_>) {
        let groups_of = |tokens, left| if tokens == 1 && left >= DECODE_GROUPS { DECODE_GROUPS } else { 1 };
        let tokens_of = |left, _| if left >= PROMPT_TOKENS { PROMPT_TOKENS } else { 1 };
        cover(&mut product, groups_of, tokens_of, |product, part| match (part.tokens, part.groups) {
            (1, DECODE_GROUPS) => run::<K, 1, { 2 * DECODE_GROUPS }, 4>(kernel, product, part),
            (1, _) => run::<K, 1, 2, 2>(kernel, product, part),
            _ => run::<K, PROMPT_TOKENS, 2, 1>(kernel, product, part),
        });
    }
}

/// Runs a tile that sums `S` strips side by side.
fn run<K: TileKernel, const T: usize, const N: usize, const S: usize>(
    kernel: &K,
    product: &mut Product<'_>,
    part: Part,
) {
    // SAFETY: the crate is compiled for machines with these instructions.
    unsafe { run_tile::<Simd128, K, T, N, S>(kernel, product, part) };
}

dot::products!("simd128", Simd128);

/// Eight f16 as f32: exactly what the scalar conversion gives, except for which NaN. Zeros, subnormals, infinities
/// and NaN take a slower way, which also spares the machine arithmetic on subnormal f32, slow on many.
#[inline(always)]
fn from_halves(halves: v128) -> [v128; 2] {
    // Without the sign, normal numbers are 0x0800 to 0xf7ff; moved to the upper end of the signed numbers, all others
    // are the highest.
    let moved = i16x8_add(i16x8_shl(halves, 1), u16x8_splat(0x7800));
    if v128_any_true(i16x8_ge(moved, i16x8_splat(0x7000))) {
        return from_unusual_halves(halves);
    }
    // The exponent is rebiased by a multiplication with a power of two.
    [i32x4_extend_low_i16x8(halves), i32x4_extend_high_i16x8(halves)].map(|wide| {
        let shifted = v128_and(i32x4_shl(wide, 13), u32x4_splat(0x8fff_e000));
        f32x4_mul(shifted, f32x4_splat(f32::from_bits((127 + 112) << 23)))
    })
}

/// Eight f16 as f32, whatever they are (after Giesen, "Half to float done quick").
#[cold]
#[inline(never)]
fn from_unusual_halves(halves: v128) -> [v128; 2] {
    [i32x4_extend_low_i16x8(halves), i32x4_extend_high_i16x8(halves)].map(|wide| {
        let shifted = v128_and(i32x4_shl(wide, 13), u32x4_splat(0x0fff_e000));
        let rebias = u32x4_splat(112 << 23);
        // A subnormal becomes a normal number of the next exponent, whose leading one is then subtracted.
        let one = v128_and(i32x4_lt(shifted, u32x4_splat(1 << 23)), u32x4_splat(113 << 23));
        // Infinity and NaN are rebiased twice: the largest exponent stays the largest.
        let again = v128_and(i32x4_ge(shifted, u32x4_splat(31 << 23)), rebias);
        let biased = i32x4_add(i32x4_add(shifted, v128_or(rebias, one)), again);
        v128_or(f32x4_sub(biased, one), v128_and(wide, u32x4_splat(1 << 31)))
    })
}
