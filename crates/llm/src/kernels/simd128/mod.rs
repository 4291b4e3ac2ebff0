//! WebAssembly SIMD kernels: the bits of `scalar`, four rows to a vector.
//!
//! A matrix kernel works on a tile of `T` tokens times `G` groups of eight rows, a group being two *strips* of four
//! rows. `S` strips are summed side by side: four when decoding, where four groups keep four streams of weights in
//! flight and four strips share each activation; one in a prompt, so that the sums of `T` tokens stay in registers
//! and weights are unpacked once for all of them. Every row of a tile has its own accumulator, so tiling changes no
//! bit.
//!
//! How four products are summed is in `dot`: widened to 16 bits, or by the relaxed instruction where its result is
//! exact, which is chosen when the crate is compiled.
//!
//! The pointer arithmetic stays inside the slices that the caller passes, by the lengths that each function checks
//! first.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

#[cfg_attr(target_feature = "relaxed-simd", path = "relaxed.rs")]
#[cfg_attr(not(target_feature = "relaxed-simd"), path = "widened.rs")]
mod dot;
mod float;

use std::arch::wasm32::*;

pub(crate) use super::elementwise::{
    add, distribution, gelu, gelu_multiply, length, pair_sums, quantize_blocks, quantize_token, rms_norm,
    scale_and_shift, silu_multiply, soft_cap, softmax, squared_relu_multiply, standardize,
};
pub(crate) use super::scalar::{attention_values_q8, to_half};
use super::{Activations, GROUP_ROWS, Q8_BLOCK_BYTES, SCALE_BYTES, TernaryScale, UNIT_BYTES, scalar};
use crate::formats::BlockType;
pub(crate) use dot::NAME;
use dot::{Quads, SignedSum};
pub(crate) use float::{attention_scores, attention_values, float_rows};

/// The most tokens of a tile.
const PROMPT_TOKENS: usize = 4;
/// Groups of a tile when there is one token.
const DECODE_GROUPS: usize = 4;
/// Bytes of a Q4_0 block of eight rows.
const Q4_BLOCK_BYTES: usize = BlockType::Q4_0.packed_bytes();
/// Bytes of four rows in a vector of eight.
const STRIP_BYTES: usize = 16;

/// For each quad of columns of `values`, of which there are whole vectors: two words, as `dot` wants them.
pub(crate) fn arrange(values: &[i8]) -> Vec<i32> {
    assert!(values.len().is_multiple_of(16), "activations come in blocks of 32");
    let mut arranged = vec![0; values.len() / 2];
    for (values, arranged) in values.chunks_exact(16).zip(arranged.chunks_exact_mut(8)) {
        // SAFETY: sixteen bytes are read, and twice as many written; no access needs an alignment.
        unsafe {
            let [first, second] = dot::words(v128_load(values.as_ptr().cast()));
            let out = arranged.as_mut_ptr().cast::<v128>();
            v128_store(out, i32x4_shuffle::<0, 4, 1, 5>(first, second));
            v128_store(out.add(1), i32x4_shuffle::<2, 6, 3, 7>(first, second));
        }
    }
    arranged
}

/// The activations of a tile's tokens.
#[derive(Clone, Copy)]
struct Tile<'a, const T: usize> {
    quads: [Quads<'a>; T],
    scales: [&'a [f32]; T],
    sums: [&'a [i32]; T],
}

impl<'a, const T: usize> Tile<'a, T> {
    #[inline]
    fn new(activations: &'a Activations, first: usize) -> Self {
        let token = |number| activations.token(first + number);
        Self {
            quads: std::array::from_fn(|number| {
                let arranged = activations.arranged(first + number);
                assert!(2 * arranged.len() == activations.columns(), "the activations are of these kernels");
                Quads::new(token(number).0, arranged)
            }),
            scales: std::array::from_fn(|number| token(number).1),
            sums: std::array::from_fn(|number| token(number).2),
        }
    }
}

/// Products of a tile: for each token and group, two strips.
type Products<const T: usize, const G: usize> = [[[v128; 2]; G]; T];

/// A kernel over one tile: reads `G` groups from `packed` and returns the products of their rows, summing `S` strips
/// side by side (`S` divides `2 · G`).
trait TileKernel {
    /// # Safety
    /// `packed` holds `G` groups of `group_bytes` each, made for the tile's columns.
    unsafe fn tile<const T: usize, const G: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> Products<T, G>;
}

/// Covers all groups and tokens with tiles. `out` is `[tokens][rows]`.
#[inline]
fn for_each_tile<K: TileKernel>(
    kernel: &K,
    packed: &[u8],
    group_bytes: usize,
    activations: &Activations,
    out: &mut [f32],
) {
    let group_count = packed.len() / group_bytes;
    let rows = group_count * GROUP_ROWS;
    let tokens = activations.tokens();
    assert!(out.len() >= tokens * rows, "the output is smaller than tokens times rows");
    let groups_each = if tokens == 1 { DECODE_GROUPS } else { 1 };
    let mut group = 0;
    while group < group_count {
        let count = if group + groups_each <= group_count { groups_each } else { 1 };
        let groups = &packed[group * group_bytes..][..count * group_bytes];
        let mut token = 0;
        while token < tokens {
            let place = Place { token, rows, row: group * GROUP_ROWS };
            let width = (tokens - token).min(PROMPT_TOKENS);
            match (width, count) {
                (1, DECODE_GROUPS) => {
                    run_tile::<K, 1, DECODE_GROUPS, 4>(kernel, groups, activations, place, out)
                }
                (1, _) => run_tile::<K, 1, 1, 2>(kernel, groups, activations, place, out),
                (2, _) => run_tile::<K, 2, 1, 2>(kernel, groups, activations, place, out),
                (3, _) => run_tile::<K, 3, 1, 1>(kernel, groups, activations, place, out),
                _ => run_tile::<K, PROMPT_TOKENS, 1, 1>(kernel, groups, activations, place, out),
            }
            token += width;
        }
        group += count;
    }
}

/// Where a tile's products go.
#[derive(Clone, Copy)]
struct Place {
    /// First token.
    token: usize,
    /// Rows of the whole output.
    rows: usize,
    /// First row.
    row: usize,
}

#[inline]
fn run_tile<K: TileKernel, const T: usize, const G: usize, const S: usize>(
    kernel: &K,
    groups: &[u8],
    activations: &Activations,
    place: Place,
    out: &mut [f32],
) {
    assert!(groups.len().is_multiple_of(G), "a tile gets whole groups");
    // SAFETY: this function's callers pass `G` groups.
    let products =
        unsafe { kernel.tile::<T, G, S>(groups, groups.len() / G, Tile::new(activations, place.token)) };
    for (number, products) in products.iter().enumerate() {
        let out = &mut out[(place.token + number) * place.rows + place.row..][..G * GROUP_ROWS];
        for (product, out) in products.as_flattened().iter().zip(out.chunks_exact_mut(4)) {
            // SAFETY: `out` has room for four products.
            unsafe { v128_store(out.as_mut_ptr().cast(), *product) };
        }
    }
}

/// The sixteen bytes of strip `strip` in the vector that begins at `at` in each group: its group is `strip / 2`, of
/// which it has the upper or the lower four rows.
///
/// # Safety
/// The strip's group has 32 bytes at `at`.
#[inline(always)]
unsafe fn strip_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> v128 {
    let at = at + strip / 2 * group_bytes + strip % 2 * STRIP_BYTES;
    // SAFETY: inside the group, by this function's contract; the load needs no alignment.
    unsafe { v128_load(packed.as_ptr().add(at).cast()) }
}

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

/// The f16 scales, as f32, of the strips from `first` on of the blocks that begin at `at` in each group.
///
/// # Safety
/// Each group of the strips has sixteen bytes of scales at `at`.
#[inline(always)]
unsafe fn strip_scales<const S: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    first: usize,
) -> [v128; S] {
    let mut scales = [f32x4_splat(0.0); S];
    let mut strip = 0;
    while strip < S {
        let block = packed.as_ptr().wrapping_add(at + (first + strip) / 2 * group_bytes);
        if S.is_multiple_of(2) {
            // SAFETY: the bytes are readable by this function's contract; the load needs no alignment.
            let group = from_halves(unsafe { v128_load(block.cast()) });
            scales[strip] = group[0];
            scales[strip + 1] = group[1];
            strip += 2;
        } else {
            // SAFETY: as above; these are the eight bytes of this strip.
            let halves = unsafe { v128_load64_splat(block.add((first + strip) % 2 * 8).cast()) };
            scales[strip] = from_halves(halves)[0];
            strip += 1;
        }
    }
    scales
}

/// Adds `float(dot) · (weight scale · token scale)` to the accumulators of the strips from `first` on, each operation
/// rounded on its own.
#[inline(always)]
fn add_block<const T: usize, const G: usize, const S: usize>(
    accumulators: &mut Products<T, G>,
    first: usize,
    dots: &[[v128; S]; T],
    weight_scales: [v128; S],
    token_scales: [v128; T],
) {
    for strip in 0..S {
        for token in 0..T {
            let accumulator = &mut accumulators[token][(first + strip) / 2][(first + strip) % 2];
            let scale = f32x4_mul(weight_scales[strip], token_scales[token]);
            let product = f32x4_mul(f32x4_convert_i32x4(dots[token][strip]), scale);
            *accumulator = f32x4_add(*accumulator, product);
        }
    }
}

struct Q4;

impl TileKernel for Q4 {
    #[inline(always)]
    unsafe fn tile<const T: usize, const G: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> Products<T, G> {
        let mut accumulators = [[[f32x4_splat(0.0); 2]; G]; T];
        for block in 0..group_bytes / Q4_BLOCK_BYTES {
            let offsets: [v128; T] = std::array::from_fn(|token| i32x4_splat(-8 * tile.sums[token][block]));
            let scales: [v128; T] = std::array::from_fn(|token| f32x4_splat(tile.scales[token][block]));
            for first in (0..2 * G).step_by(S) {
                let mut dots = [[i32x4_splat(0); S]; T];
                for token in 0..T {
                    dots[token] = [offsets[token]; S];
                }
                for vector in 0..4 {
                    let at = block * Q4_BLOCK_BYTES + SCALE_BYTES + vector * 32;
                    let codes: [_; S] = std::array::from_fn(|strip| {
                        // SAFETY: sixteen bytes from here on are within the `G` groups.
                        dot::nibbles(unsafe { strip_bytes(packed, at, group_bytes, first + strip) })
                    });
                    for token in 0..T {
                        let quad = block * 8 + vector;
                        // SAFETY: the quads of this block are within the token's columns.
                        let (low, high) =
                            unsafe { (tile.quads[token].small(quad), tile.quads[token].small(quad + 4)) };
                        for strip in 0..S {
                            let dot = dot::small(dots[token][strip], codes[strip][0], low);
                            dots[token][strip] = dot::small(dot, codes[strip][1], high);
                        }
                    }
                }
                // SAFETY: a block starts with its scales.
                let weight_scales =
                    unsafe { strip_scales(packed, block * Q4_BLOCK_BYTES, group_bytes, first) };
                add_block(&mut accumulators, first, &dots, weight_scales, scales);
            }
        }
        accumulators
    }
}

struct Q8;

impl TileKernel for Q8 {
    #[inline(always)]
    unsafe fn tile<const T: usize, const G: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> Products<T, G> {
        let mut accumulators = [[[f32x4_splat(0.0); 2]; G]; T];
        for block in 0..group_bytes / Q8_BLOCK_BYTES {
            let scales: [v128; T] = std::array::from_fn(|token| f32x4_splat(tile.scales[token][block]));
            for first in (0..2 * G).step_by(S) {
                let mut sums = [[SignedSum::zero(); S]; T];
                for vector in 0..8 {
                    let at = block * Q8_BLOCK_BYTES + SCALE_BYTES + vector * 32;
                    let codes: [_; S] = std::array::from_fn(|strip| {
                        // SAFETY: sixteen bytes from here on are within the `G` groups.
                        dot::signed_codes(unsafe { strip_bytes(packed, at, group_bytes, first + strip) })
                    });
                    for token in 0..T {
                        // SAFETY: the quads of this block are within the token's columns.
                        let quad = unsafe { tile.quads[token].signed(block * 8 + vector) };
                        for strip in 0..S {
                            sums[token][strip].add(codes[strip], quad);
                        }
                    }
                }
                // SAFETY: a block starts with its scales.
                let weight_scales =
                    unsafe { strip_scales(packed, block * Q8_BLOCK_BYTES, group_bytes, first) };
                add_block(
                    &mut accumulators,
                    first,
                    &sums.map(|sums| sums.map(SignedSum::total)),
                    weight_scales,
                    scales,
                );
            }
        }
        accumulators
    }
}

/// Adds the products of one ternary unit of `S` strips to `dots`.
///
/// # Safety
/// `packed` holds 256 bytes from `at + group · group_bytes` on for each group of the strips; the tile has columns
/// `unit · 128 .. unit · 128 + 128`.
#[inline(always)]
unsafe fn ternary_unit<const T: usize, const S: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    first: usize,
    tile: &Tile<'_, T>,
    unit: usize,
    dots: &mut [[v128; S]; T],
) {
    let mut fourfold = [[i32x4_splat(0); S]; T];
    for vector in 0..8 {
        let codes: [_; S] = std::array::from_fn(|strip| {
            // SAFETY: inside the unit, by this function's contract.
            dot::two_bits(unsafe { strip_bytes(packed, at + vector * 32, group_bytes, first + strip) })
        });
        for token in 0..T {
            for place in 0..4 {
                // SAFETY: inside the token's columns, by this function's contract.
                let quad = unsafe { tile.quads[token].small(unit * 32 + vector * 4 + place) };
                let sums = if dot::FOURFOLD[place] { &mut fourfold[token] } else { &mut dots[token] };
                for strip in 0..S {
                    sums[strip] = dot::small(sums[strip], codes[strip][place], quad);
                }
            }
        }
    }
    for token in 0..T {
        for strip in 0..S {
            dots[token][strip] = i32x4_add(dots[token][strip], i32x4_shr(fourfold[token][strip], 2));
        }
    }
}

struct TernaryBlocks;

impl TileKernel for TernaryBlocks {
    #[inline(always)]
    unsafe fn tile<const T: usize, const G: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> Products<T, G> {
        const BLOCK_BYTES: usize = SCALE_BYTES + 2 * UNIT_BYTES;
        let mut accumulators = [[[f32x4_splat(0.0); 2]; G]; T];
        for block in 0..group_bytes / BLOCK_BYTES {
            let at = block * BLOCK_BYTES;
            for first in (0..2 * G).step_by(S) {
                let mut dots = [[i32x4_splat(0); S]; T];
                for token in 0..T {
                    let sums = tile.sums[token];
                    dots[token] = [i32x4_splat(-(sums[block * 2] + sums[block * 2 + 1])); S];
                }
                for within in 0..2 {
                    let (unit_at, unit) = (at + SCALE_BYTES + within * UNIT_BYTES, block * 2 + within);
                    // SAFETY: both units of the block are inside each group and the tile's columns.
                    unsafe { ternary_unit(packed, unit_at, group_bytes, first, &tile, unit, &mut dots) };
                }
                // SAFETY: a block starts with its scales.
                let weight_scales = unsafe { strip_scales(packed, at, group_bytes, first) };
                // The tokens' scales come at the end; a product with one is exact.
                add_block(&mut accumulators, first, &dots, weight_scales, [f32x4_splat(1.0); T]);
            }
        }
        for (accumulators, scales) in accumulators.iter_mut().zip(tile.scales) {
            for accumulator in accumulators.as_flattened_mut() {
                *accumulator = f32x4_div(*accumulator, f32x4_splat(scales[0]));
            }
        }
        accumulators
    }
}

struct TernaryTensor(f32);

impl TileKernel for TernaryTensor {
    #[inline(always)]
    unsafe fn tile<const T: usize, const G: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> Products<T, G> {
        let units = group_bytes / UNIT_BYTES;
        let mut products = [[[f32x4_splat(0.0); 2]; G]; T];
        for first in (0..2 * G).step_by(S) {
            let mut dots = [[i32x4_splat(0); S]; T];
            for token in 0..T {
                dots[token] = [i32x4_splat(-tile.sums[token][..units].iter().sum::<i32>()); S];
            }
            for unit in 0..units {
                // SAFETY: the unit is inside each group and the tile's columns.
                unsafe {
                    ternary_unit(packed, unit * UNIT_BYTES, group_bytes, first, &tile, unit, &mut dots);
                }
            }
            for token in 0..T {
                let steps = f32x4_splat(tile.scales[token][0]);
                for strip in 0..S {
                    let dot = f32x4_convert_i32x4(dots[token][strip]);
                    products[token][(first + strip) / 2][(first + strip) % 2] =
                        f32x4_div(f32x4_mul(dot, f32x4_splat(self.0)), steps);
                }
            }
        }
        products
    }
}

/// Rows of blocks times tokens.
pub(crate) fn blocks(kind: BlockType, packed: &[u8], activations: &Activations, out: &mut [f32]) {
    let group_bytes = kind.group_bytes(activations.columns());
    match kind {
        BlockType::Q4_0 => for_each_tile(&Q4, packed, group_bytes, activations, out),
        BlockType::Q8_0 => for_each_tile(&Q8, packed, group_bytes, activations, out),
        _ => scalar::blocks(kind, packed, activations, out),
    }
}

/// Ternary rows times tokens.
pub(crate) fn ternary(packed: &[u8], scale: TernaryScale, activations: &Activations, out: &mut [f32]) {
    let units = activations.columns() / 128;
    match scale {
        TernaryScale::PerBlock => {
            let group_bytes = units / 2 * (SCALE_BYTES + 2 * UNIT_BYTES);
            for_each_tile(&TernaryBlocks, packed, group_bytes, activations, out);
        }
        TernaryScale::PerTensor(scale) => {
            for_each_tile(&TernaryTensor(scale), packed, units * UNIT_BYTES, activations, out);
        }
    }
}
