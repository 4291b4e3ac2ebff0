//! AVX2 kernels (with F16C for half-precision conversion): the bits of `scalar`, eight rows at a time.
//!
//! A matrix kernel works on a tile of `T` tokens times `G` groups of eight rows: one token and four groups when
//! decoding, so that four streams of weights are in flight; three tokens and two groups in a prompt, so that weights
//! are unpacked once for three tokens and activations loaded once for two groups. Every row of a tile has its own accumulator, so tiling changes no bit.
//!
//! Every function here needs a CPU with AVX2 and F16C. The pointer arithmetic stays inside the slices that the
//! caller passes, by the lengths that each function checks first.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

mod attention;
mod float;

use std::arch::x86_64::*;

use super::elementwise;
use super::{
    Activations, GROUP_ROWS, Q4_BLOCK_BYTES, Q6_BLOCK_BYTES, Q8_BLOCK_BYTES, SCALE_BYTES, TernaryScale,
    UNIT_BYTES,
};
pub(crate) use attention::{attention_scores, attention_values, attention_values_q8};
pub(crate) use float::{float_rows, to_half};

/// The most tokens of a tile: with two groups, what sixteen registers hold.
const PROMPT_TOKENS: usize = 3;
/// Groups of a tile in a prompt.
const PROMPT_GROUPS: usize = 2;
/// Groups of a tile when there is one token.
const DECODE_GROUPS: usize = 4;

/// The activations of a tile's tokens.
#[derive(Clone, Copy)]
struct Tile<'a, const T: usize> {
    values: [&'a [i8]; T],
    scales: [&'a [f32]; T],
    sums: [&'a [i32]; T],
}

impl<'a, const T: usize> Tile<'a, T> {
    #[inline]
    fn new(activations: &'a Activations, first: usize) -> Self {
        let token = |number| activations.token(first + number);
        Self {
            values: std::array::from_fn(|number| token(number).0),
            scales: std::array::from_fn(|number| token(number).1),
            sums: std::array::from_fn(|number| token(number).2),
        }
    }
}

/// A kernel over one tile: reads `G` groups from `packed` and returns the products of their rows.
trait TileKernel {
    /// # Safety
    /// The CPU has AVX2 and F16C; `packed` holds `G` groups of `group_bytes` each, made for the tile's columns.
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T];
}

/// Covers all groups and tokens with tiles. `out` is `[tokens][rows]`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
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
    let groups_each = if tokens == 1 { DECODE_GROUPS } else { PROMPT_GROUPS };
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
                    run_tile::<K, 1, DECODE_GROUPS>(kernel, groups, activations, place, out)
                }
                (1, PROMPT_GROUPS) => {
                    run_tile::<K, 1, PROMPT_GROUPS>(kernel, groups, activations, place, out)
                }
                (1, _) => run_tile::<K, 1, 1>(kernel, groups, activations, place, out),
                (2, PROMPT_GROUPS) => {
                    run_tile::<K, 2, PROMPT_GROUPS>(kernel, groups, activations, place, out)
                }
                (2, _) => run_tile::<K, 2, 1>(kernel, groups, activations, place, out),
                (_, PROMPT_GROUPS) => {
                    run_tile::<K, PROMPT_TOKENS, PROMPT_GROUPS>(kernel, groups, activations, place, out)
                }
                (_, _) => run_tile::<K, PROMPT_TOKENS, 1>(kernel, groups, activations, place, out),
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
#[target_feature(enable = "avx2,f16c")]
fn run_tile<K: TileKernel, const T: usize, const G: usize>(
    kernel: &K,
    groups: &[u8],
    activations: &Activations,
    place: Place,
    out: &mut [f32],
) {
    assert!(groups.len().is_multiple_of(G), "a tile gets whole groups");
    // SAFETY: this function's features are the kernel's, and its callers pass `G` groups.
    let products =
        unsafe { kernel.tile::<T, G>(groups, groups.len() / G, Tile::new(activations, place.token)) };
    for (number, products) in products.iter().enumerate() {
        let out = &mut out[(place.token + number) * place.rows + place.row..][..G * GROUP_ROWS];
        for (group, product) in products.iter().enumerate() {
            // SAFETY: `out` has room for `G` groups of eight.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(group * GROUP_ROWS), *product) };
        }
    }
}

/// Four activations at `column`, in every lane.
///
/// # Safety
/// `values` has at least four elements from `column` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn broadcast(values: &[i8], column: usize) -> __m256i {
    debug_assert!(column + 4 <= values.len());
    // SAFETY: the four bytes are inside the slice by this function's contract.
    _mm256_set1_epi32(unsafe { values.as_ptr().add(column).cast::<i32>().read_unaligned() })
}

/// The eight f16 scales at `block`, as f32.
///
/// # Safety
/// 16 bytes can be read at `block`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn scales(block: *const u8) -> __m256 {
    // SAFETY: the bytes are readable by this function's contract.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(block.cast()) })
}

/// `accumulator + float(dot) · scale`, each operation rounded on its own.
#[inline]
#[target_feature(enable = "avx2")]
fn accumulate(accumulator: __m256, dot: __m256i, scale: __m256) -> __m256 {
    _mm256_add_ps(accumulator, _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale))
}

struct Q4;

impl TileKernel for Q4 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        let low_nibbles = _mm256_set1_epi8(15);
        let ones = _mm256_set1_epi16(1);
        let mut accumulators = [[_mm256_setzero_ps(); G]; T];
        for block in 0..group_bytes / Q4_BLOCK_BYTES {
            let mut pairs = [[_mm256_setzero_si256(); G]; T];
            for vector in 0..4 {
                let column = block * 32 + vector * 4;
                for group in 0..G {
                    let at = group * group_bytes + block * Q4_BLOCK_BYTES + SCALE_BYTES + vector * 32;
                    // SAFETY: `at + 32` is within the `G` groups.
                    let codes = unsafe { _mm256_loadu_si256(packed.as_ptr().add(at).cast()) };
                    let low = _mm256_and_si256(codes, low_nibbles);
                    let high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_nibbles);
                    for token in 0..T {
                        // SAFETY: the columns of this block are within the token's values.
                        let (x, y) = unsafe {
                            (
                                broadcast(tile.values[token], column),
                                broadcast(tile.values[token], column + 16),
                            )
                        };
                        // Eight products of pairs, each at most 2 · 15 · 127, fit 16 bits.
                        let sum =
                            _mm256_add_epi16(_mm256_maddubs_epi16(low, x), _mm256_maddubs_epi16(high, y));
                        pairs[token][group] = _mm256_add_epi16(pairs[token][group], sum);
                    }
                }
            }
            for group in 0..G {
                // SAFETY: a block starts with its scales.
                let weight_scale =
                    unsafe { scales(packed.as_ptr().add(group * group_bytes + block * Q4_BLOCK_BYTES)) };
                for token in 0..T {
                    let offset = _mm256_set1_epi32(8 * tile.sums[token][block]);
                    let dot = _mm256_sub_epi32(_mm256_madd_epi16(pairs[token][group], ones), offset);
                    let scale = _mm256_mul_ps(weight_scale, _mm256_set1_ps(tile.scales[token][block]));
                    accumulators[token][group] = accumulate(accumulators[token][group], dot, scale);
                }
            }
        }
        accumulators
    }
}

struct Q8;

impl TileKernel for Q8 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        let ones = _mm256_set1_epi16(1);
        let mut accumulators = [[_mm256_setzero_ps(); G]; T];
        for block in 0..group_bytes / Q8_BLOCK_BYTES {
            let mut dots = [[_mm256_setzero_si256(); G]; T];
            for vector in 0..8 {
                for group in 0..G {
                    let at = group * group_bytes + block * Q8_BLOCK_BYTES + SCALE_BYTES + vector * 32;
                    // SAFETY: `at + 32` is within the `G` groups.
                    let codes = unsafe { _mm256_loadu_si256(packed.as_ptr().add(at).cast()) };
                    // Magnitudes (up to 128) times activations with the weight's sign: a pair is at most
                    // 2 · 128 · 127, which fits 16 bits once.
                    let magnitudes = _mm256_abs_epi8(codes);
                    for token in 0..T {
                        // SAFETY: the columns of this block are within the token's values.
                        let x = unsafe { broadcast(tile.values[token], block * 32 + vector * 4) };
                        let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, codes));
                        dots[token][group] =
                            _mm256_add_epi32(dots[token][group], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            for group in 0..G {
                // SAFETY: a block starts with its scales.
                let weight_scale =
                    unsafe { scales(packed.as_ptr().add(group * group_bytes + block * Q8_BLOCK_BYTES)) };
                for token in 0..T {
                    let scale = _mm256_mul_ps(weight_scale, _mm256_set1_ps(tile.scales[token][block]));
                    accumulators[token][group] =
                        accumulate(accumulators[token][group], dots[token][group], scale);
                }
            }
        }
        accumulators
    }
}

struct Q6;

impl TileKernel for Q6 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        let mut accumulators = [[_mm256_setzero_ps(); G]; T];
        for block in 0..group_bytes / Q6_BLOCK_BYTES {
            let mut dots = [[_mm256_setzero_si256(); G]; T];
            for part in 0..2 {
                let mut pairs = [[_mm256_setzero_si256(); G]; T];
                for vector in part * 4..part * 4 + 4 {
                    for group in 0..G {
                        let at = group * group_bytes + block * Q6_BLOCK_BYTES + 3 * SCALE_BYTES + vector * 32;
                        // SAFETY: `at + 32` is within the `G` groups.
                        let codes = unsafe { _mm256_loadu_si256(packed.as_ptr().add(at).cast()) };
                        // Four products of pairs, each at most 2 · 32 · 127, fit 16 bits.
                        let magnitudes = _mm256_abs_epi8(codes);
                        for token in 0..T {
                            // SAFETY: the columns of this block are within the token's values.
                            let x = unsafe { broadcast(tile.values[token], block * 32 + vector * 4) };
                            let products = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, codes));
                            pairs[token][group] = _mm256_add_epi16(pairs[token][group], products);
                        }
                    }
                }
                for group in 0..G {
                    let at = group * group_bytes + block * Q6_BLOCK_BYTES + (1 + part) * SCALE_BYTES;
                    // SAFETY: the scales of both parts follow the scales of the block.
                    let part_scales = unsafe { _mm_loadu_si128(packed.as_ptr().add(at).cast()) };
                    let part_scales = _mm256_cvtepi8_epi16(part_scales);
                    for token in 0..T {
                        let dot = _mm256_madd_epi16(pairs[token][group], part_scales);
                        dots[token][group] = _mm256_add_epi32(dots[token][group], dot);
                    }
                }
            }
            for group in 0..G {
                // SAFETY: a block starts with its scales.
                let weight_scale =
                    unsafe { scales(packed.as_ptr().add(group * group_bytes + block * Q6_BLOCK_BYTES)) };
                for token in 0..T {
                    let scale = _mm256_mul_ps(weight_scale, _mm256_set1_ps(tile.scales[token][block]));
                    accumulators[token][group] =
                        accumulate(accumulators[token][group], dots[token][group], scale);
                }
            }
        }
        accumulators
    }
}

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

/// Q4_0 rows times tokens.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn q4_0(packed: &[u8], activations: &Activations, out: &mut [f32]) {
    for_each_tile(&Q4, packed, activations.columns() / 32 * Q4_BLOCK_BYTES, activations, out);
}

/// Q8_0 rows times tokens.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn q8_0(packed: &[u8], activations: &Activations, out: &mut [f32]) {
    for_each_tile(&Q8, packed, activations.columns() / 32 * Q8_BLOCK_BYTES, activations, out);
}

/// Q6_K rows times tokens.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn q6_k(packed: &[u8], activations: &Activations, out: &mut [f32]) {
    for_each_tile(&Q6, packed, activations.columns() / 32 * Q6_BLOCK_BYTES, activations, out);
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

/// Instantiates shared loops for AVX2.
macro_rules! shared {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) $(-> $out:ty)? ;)*) => {
        $(
            /// The shared loop, compiled for AVX2.
            #[target_feature(enable = "avx2")]
            pub(crate) fn $name($($argument: $kind),*) $(-> $out)? {
                elementwise::$name($($argument),*)
            }
        )*
    };
}

shared! {
    rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]);
    standardize(x: &[f32], epsilon: f32, out: &mut [f32]);
    scale_and_shift(x: &mut [f32], weight: &[f32], bias: &[f32]);
    length(x: &[f32]) -> f32;
    gelu(x: &mut [f32]);
    gelu_multiply(gate: &mut [f32], up: &[f32]);
    soft_cap(x: &mut [f32], cap: f32);
    softmax(scores: &mut [f32]);
    distribution(x: &[f32]) -> [f32; 3];
    silu_multiply(gate: &mut [f32], up: &[f32]);
    squared_relu_multiply(gate: &mut [f32], up: &[f32]);
    add(x: &mut [f32], y: &[f32]);
    quantize_blocks(x: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]);
    arrange(values: &[i8]) -> Vec<i32>;
    quantize_token(x: &[f32], values: &mut [i8], sums: &mut [i32]) -> f32;
}
