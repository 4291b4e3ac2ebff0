//! Ternary weights on AVX2: two-bit codes from 0 to 2, whose products are summed in 16 bits for 256 columns.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

use std::arch::x86_64::*;

use super::super::{Activations, SCALE_BYTES, TernaryScale, UNIT_BYTES};
use super::{Tile, TileKernel, accumulate, broadcast, for_each_tile, look_ahead, scales};

/// Adds the products of one ternary unit to `pairs`. Two units of them fit 16 bits: 64 times 2 · 2 · 127 is 32512.
///
/// # Safety
/// `packed` holds 256 bytes from `at + group · group_bytes` on for each group; the tile has columns
/// `unit · 128 .. unit · 128 + 128`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn ternary_unit<const T: usize, const G: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    tile: &Tile<'_, T>,
    unit: usize,
    pairs: &mut [[__m256i; G]; T],
) {
    if T == 1 {
        // SAFETY: the contract is the same.
        return unsafe { decode_unit(packed, at, group_bytes, tile, unit, pairs) };
    }
    let two_bits = _mm256_set1_epi8(3);
    for vector in 0..8 {
        let column = unit * 128 + vector * 16;
        let mut codes = [_mm256_setzero_si256(); G];
        for (group, codes) in codes.iter_mut().enumerate() {
            // SAFETY: inside the unit, by this function's contract.
            *codes = unsafe {
                _mm256_loadu_si256(packed.as_ptr().add(at + group * group_bytes + vector * 32).cast())
            };
        }
        for place in 0..4 {
            for (group, codes) in codes.iter_mut().enumerate() {
                let code = _mm256_and_si256(*codes, two_bits);
                *codes = _mm256_srli_epi16(*codes, 2);
                for token in 0..T {
                    // SAFETY: inside the token's values, by this function's contract.
                    let x = unsafe { broadcast(tile.values[token], column + place * 4) };
                    pairs[token][group] =
                        _mm256_add_epi16(pairs[token][group], _mm256_maddubs_epi16(code, x));
                }
            }
        }
    }
}

/// [`ternary_unit`] for one token, with registers for a second sum: codes of bits 2 and 3 are taken where they are, four
/// times as large, which spares two of three shifts. 32 of their products are at most 32 · 8 · 127, which is 32512.
///
/// # Safety
/// As for [`ternary_unit`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn decode_unit<const T: usize, const G: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    tile: &Tile<'_, T>,
    unit: usize,
    pairs: &mut [[__m256i; G]; T],
) {
    let masks = [_mm256_set1_epi8(3), _mm256_set1_epi8(12)];
    let mut fourfold = [_mm256_setzero_si256(); G];
    look_ahead::<G>(packed.as_ptr().wrapping_add(at), UNIT_BYTES, group_bytes);
    for vector in 0..8 {
        let column = unit * 128 + vector * 16;
        // SAFETY: inside the token's values, by this function's contract.
        let [first, second, third, fourth] = unsafe {
            [
                broadcast(tile.values[0], column),
                broadcast(tile.values[0], column + 4),
                broadcast(tile.values[0], column + 8),
                broadcast(tile.values[0], column + 12),
            ]
        };
        for group in 0..G {
            // SAFETY: inside the unit, by this function's contract.
            let codes = unsafe {
                _mm256_loadu_si256(packed.as_ptr().add(at + group * group_bytes + vector * 32).cast())
            };
            let upper = _mm256_srli_epi16(codes, 4);
            let products = |codes, mask, x| _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), x);
            let once = _mm256_add_epi16(products(codes, masks[0], first), products(upper, masks[0], third));
            let four = _mm256_add_epi16(products(codes, masks[1], second), products(upper, masks[1], fourth));
            pairs[0][group] = _mm256_add_epi16(pairs[0][group], once);
            fourfold[group] = _mm256_add_epi16(fourfold[group], four);
        }
    }
    for group in 0..G {
        pairs[0][group] = _mm256_add_epi16(pairs[0][group], _mm256_srai_epi16(fourfold[group], 2));
    }
}

struct TernaryBlocks;

impl TileKernel for TernaryBlocks {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        const BLOCK_BYTES: usize = SCALE_BYTES + 2 * UNIT_BYTES;
        let ones = _mm256_set1_epi16(1);
        let mut accumulators = [[_mm256_setzero_ps(); G]; T];
        for block in 0..group_bytes / BLOCK_BYTES {
            let at = block * BLOCK_BYTES;
            let mut pairs = [[_mm256_setzero_si256(); G]; T];
            for within in 0..2 {
                let unit_at = at + SCALE_BYTES + within * UNIT_BYTES;
                // SAFETY: both units of the block are inside each group and the tile's columns.
                unsafe { ternary_unit(packed, unit_at, group_bytes, &tile, block * 2 + within, &mut pairs) };
            }
            for group in 0..G {
                // SAFETY: a block starts with its scales.
                let weight_scale = unsafe { scales(packed.as_ptr().add(group * group_bytes + at)) };
                for token in 0..T {
                    let sums = tile.sums[token];
                    let offset = _mm256_set1_epi32(sums[block * 2] + sums[block * 2 + 1]);
                    let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[token][group], ones), offset);
                    accumulators[token][group] = accumulate(accumulators[token][group], dot, weight_scale);
                }
            }
        }
        for (accumulators, scales) in accumulators.iter_mut().zip(tile.scales) {
            for accumulator in accumulators {
                *accumulator = _mm256_div_ps(*accumulator, _mm256_set1_ps(scales[0]));
            }
        }
        accumulators
    }
}

struct TernaryTensor(f32);

impl TileKernel for TernaryTensor {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        let ones = _mm256_set1_epi16(1);
        let mut dots = [[_mm256_setzero_si256(); G]; T];
        for unit in 0..group_bytes / UNIT_BYTES {
            let mut pairs = [[_mm256_setzero_si256(); G]; T];
            // SAFETY: the unit is inside each group and the tile's columns.
            unsafe { ternary_unit(packed, unit * UNIT_BYTES, group_bytes, &tile, unit, &mut pairs) };
            for token in 0..T {
                let offset = _mm256_set1_epi32(tile.sums[token][unit]);
                for group in 0..G {
                    let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[token][group], ones), offset);
                    dots[token][group] = _mm256_add_epi32(dots[token][group], dot);
                }
            }
        }
        let scale = _mm256_set1_ps(self.0);
        let mut products = [[_mm256_setzero_ps(); G]; T];
        for token in 0..T {
            let steps = _mm256_set1_ps(tile.scales[token][0]);
            for group in 0..G {
                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[token][group]), scale);
                products[token][group] = _mm256_div_ps(product, steps);
            }
        }
        products
    }
}

/// Ternary rows times tokens.
#[target_feature(enable = "avx2,f16c")]
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
