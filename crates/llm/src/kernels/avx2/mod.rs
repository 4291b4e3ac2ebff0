//! AVX2 kernels (with F16C for half-precision conversion): the bits of `scalar`, eight rows at a time.
//!
//! A matrix kernel works on a tile of `T` tokens times `G` groups of eight rows: one token and four groups when
//! decoding, so that four streams of weights are in flight; three tokens and two groups in a prompt, so that weights
//! are unpacked once for three tokens and activations loaded once for two groups. Every row of a tile has its own
//! accumulator, so tiling changes no bit.
//!
//! - `blocks`: the tile of all types with blocks, of what `codes` and `factors` take apart; `ternary`, `float`: the others.
//!
//! Every function here needs a CPU with AVX2 and F16C. The pointer arithmetic stays inside the slices that the
//! caller passes, by the lengths that each function checks first.

mod attention;
mod blocks;
mod codes;
mod factors;
mod float;
mod ternary;

use std::arch::x86_64::*;

use super::elementwise;
use super::{Activations, GROUP_ROWS};
pub(crate) use attention::{attention_scores, attention_values, attention_values_q8};
pub(crate) use blocks::blocks;
pub(crate) use float::{float_rows, to_half};
pub(crate) use ternary::ternary;

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
    pair_sums: [&'a [[i16; 2]]; T],
}

impl<'a, const T: usize> Tile<'a, T> {
    #[inline]
    fn new(activations: &'a Activations, first: usize) -> Self {
        let token = |number| activations.token(first + number);
        Self {
            values: std::array::from_fn(|number| token(number).0),
            scales: std::array::from_fn(|number| token(number).1),
            sums: std::array::from_fn(|number| token(number).2),
            pair_sums: std::array::from_fn(|number| activations.pair_sums(first + number)),
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
    // These are the same for all groups.
    let rest = tokens % PROMPT_TOKENS;
    let tiles: Vec<Tile<'_, PROMPT_TOKENS>> =
        (0..tokens - rest).step_by(PROMPT_TOKENS).map(|token| Tile::new(activations, token)).collect();
    let mut group = 0;
    while group < group_count {
        let count = if group + groups_each <= group_count { groups_each } else { 1 };
        let groups = &packed[group * group_bytes..][..count * group_bytes];
        let row = group * GROUP_ROWS;
        for (number, tile) in tiles.iter().enumerate() {
            let place = Place { token: number * PROMPT_TOKENS, rows, row };
            match count {
                PROMPT_GROUPS => {
                    run_tile::<K, PROMPT_TOKENS, PROMPT_GROUPS>(kernel, groups, *tile, place, out)
                }
                _ => run_tile::<K, PROMPT_TOKENS, 1>(kernel, groups, *tile, place, out),
            }
        }
        let place = Place { token: tokens - rest, rows, row };
        match rest {
            1 => {
                let tile = Tile::new(activations, place.token);
                match count {
                    DECODE_GROUPS => run_tile::<K, 1, DECODE_GROUPS>(kernel, groups, tile, place, out),
                    PROMPT_GROUPS => run_tile::<K, 1, PROMPT_GROUPS>(kernel, groups, tile, place, out),
                    _ => run_tile::<K, 1, 1>(kernel, groups, tile, place, out),
                }
            }
            2 => {
                let tile = Tile::new(activations, place.token);
                match count {
                    PROMPT_GROUPS => run_tile::<K, 2, PROMPT_GROUPS>(kernel, groups, tile, place, out),
                    _ => run_tile::<K, 2, 1>(kernel, groups, tile, place, out),
                }
            }
            _ => {}
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
    tile: Tile<'_, T>,
    place: Place,
    out: &mut [f32],
) {
    assert!(groups.len().is_multiple_of(G), "a tile gets whole groups");
    // SAFETY: this function's features are the kernel's, and its callers pass `G` groups.
    let products = unsafe { kernel.tile::<T, G>(groups, groups.len() / G, tile) };
    for (number, products) in products.iter().enumerate() {
        let out = &mut out[(place.token + number) * place.rows + place.row..][..G * GROUP_ROWS];
        for (group, product) in products.iter().enumerate() {
            // SAFETY: `out` has room for `G` groups of eight.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(group * GROUP_ROWS), *product) };
        }
    }
}

/// What of the first cache may be filled with weights that are not needed yet.
const LOOK_AHEAD_BYTES: usize = 24 << 10;

/// Asks for the weights of the next tile that are where this one's `bytes` weights are, in each of `G` groups, whether they
/// exist or not: a tile's streams begin where the processor does not expect them. They come to the first cache if there is room.
#[inline]
#[target_feature(enable = "avx2")]
fn look_ahead<const G: usize>(weights: *const u8, bytes: usize, group_bytes: usize) {
    const LINE_BYTES: usize = 64;
    for group in G..2 * G {
        for line in (0..bytes).step_by(LINE_BYTES) {
            let line = weights.wrapping_add(group * group_bytes + line).cast();
            if G * group_bytes <= LOOK_AHEAD_BYTES {
                _mm_prefetch::<_MM_HINT_T0>(line);
            } else {
                _mm_prefetch::<_MM_HINT_T1>(line);
            }
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

elementwise::instantiate!("avx2");
