//! AVX2 kernels of attention: tiles of several queries, which share each key and value once it is unpacked.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and column at once")]

use std::arch::x86_64::*;

use super::super::elementwise::LANES;
use super::super::{Q8_VALUE_BLOCK_BYTES, scalar};
use crate::host::Half;

/// Keys whose sums are brought together at once: as many as a register has lanes.
const KEYS: usize = 8;

/// Attention scores of several queries over f16 keys.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_scores(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    if !length.is_multiple_of(LANES) {
        return scalar::attention_scores(queries, keys, length, scale, out, stride);
    }
    let mut rows = queries.chunks_exact(4 * length);
    let mut next = 0;
    for queries in rows.by_ref() {
        score_rows::<4>(queries, keys, length, scale, &mut out[next..], stride);
        next += 4 * stride;
    }
    let mut rows = rows.remainder().chunks_exact(2 * length);
    for queries in rows.by_ref() {
        score_rows::<2>(queries, keys, length, scale, &mut out[next..], stride);
        next += 2 * stride;
    }
    for query in rows.remainder().chunks_exact(length) {
        score_rows::<1>(query, keys, length, scale, &mut out[next..], stride);
        next += stride;
    }
}

/// Scores of `R` queries; `length` is a multiple of sixteen.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn score_rows<const R: usize>(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    assert!(queries.len() == R * length && length.is_multiple_of(LANES), "a tile gets whole queries");
    let positions = keys.len() / length;
    for start in (0..positions).step_by(KEYS) {
        let count = (positions - start).min(KEYS);
        let mut sums = [[_mm256_setzero_ps(); KEYS]; R];
        for number in 0..count {
            let key = keys[(start + number) * length..][..length].as_ptr();
            let mut lanes = [[_mm256_setzero_ps(); 2]; R];
            for column in (0..length).step_by(LANES) {
                for half in 0..2 {
                    let at = column + half * 8;
                    // SAFETY: `at + 8` is within the key and within each query, which are `length` long.
                    unsafe {
                        let key = _mm256_cvtph_ps(_mm_loadu_si128(key.add(at).cast()));
                        for row in 0..R {
                            let query = _mm256_loadu_ps(queries.as_ptr().add(row * length + at));
                            lanes[row][half] = _mm256_add_ps(lanes[row][half], _mm256_mul_ps(key, query));
                        }
                    }
                }
            }
            for row in 0..R {
                sums[row][number] = _mm256_add_ps(lanes[row][0], lanes[row][1]);
            }
        }
        for row in 0..R {
            let scores = _mm256_mul_ps(reduce(sums[row]), _mm256_set1_ps(scale));
            let mut all = [0.0; KEYS];
            // SAFETY: there is room for eight.
            unsafe { _mm256_storeu_ps(all.as_mut_ptr(), scores) };
            out[row * stride + start..][..count].copy_from_slice(&all[..count]);
        }
    }
}

/// The rest of the fixed reduction tree, 8 → 4 → 2 → 1, of eight sums at once; lane `i` is the sum of the lanes of `sums[i]`.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(sums: [__m256; KEYS]) -> __m256 {
    let four = |a: __m256, b: __m256| {
        _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    };
    let two = |a: __m256, b: __m256| {
        let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
        _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
    };
    let [a, b, c, d, e, f, g, h] = sums;
    // The lower half of each register goes on with the sums 0 to 3, the upper one with 4 to 7.
    let (first, second) = (two(four(a, e), four(b, f)), two(four(c, g), four(d, h)));
    _mm256_add_ps(
        _mm256_shuffle_ps::<0b10_00_10_00>(first, second),
        _mm256_shuffle_ps::<0b11_01_11_01>(first, second),
    )
}

/// Values of a tile: `C` registers of neighbouring columns at a position.
trait Values {
    /// Columns of them at `column` of the value at `position`, and the factor of their row's probability.
    ///
    /// # Safety
    /// `position` is one of the values, and `8 · C` columns from `column` on are within it.
    unsafe fn load<const C: usize>(&self, position: usize, column: usize) -> ([__m256; C], Option<__m256>);
}

/// `[positions × length]` numbers in half precision.
struct HalfValues<'a> {
    values: &'a [Half],
    length: usize,
}

impl Values for HalfValues<'_> {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load<const C: usize>(&self, position: usize, column: usize) -> ([__m256; C], Option<__m256>) {
        let mut columns = [_mm256_setzero_ps(); C];
        for (number, columns) in columns.iter_mut().enumerate() {
            let at = position * self.length + column + number * 8;
            debug_assert!(at + 8 <= self.values.len());
            // SAFETY: the columns are within the value by this function's contract.
            *columns = unsafe { _mm256_cvtph_ps(_mm_loadu_si128(self.values.as_ptr().add(at).cast())) };
        }
        (columns, None)
    }
}

/// `[positions][length / 32]` Q8_0 blocks; a tile is one block wide.
struct Q8Values<'a> {
    values: &'a [u8],
    length: usize,
}

impl Values for Q8Values<'_> {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load<const C: usize>(&self, position: usize, column: usize) -> ([__m256; C], Option<__m256>) {
        let at = (position * self.length + column) / 32 * Q8_VALUE_BLOCK_BYTES;
        debug_assert!(C == 4 && at + Q8_VALUE_BLOCK_BYTES <= self.values.len());
        let mut columns = [_mm256_setzero_ps(); C];
        // SAFETY: the block is within the value by this function's contract: a scale of two bytes, then 32 codes.
        unsafe {
            let block = self.values.as_ptr().add(at);
            for (number, columns) in columns.iter_mut().enumerate() {
                let codes = _mm_loadl_epi64(block.add(2 + number * 8).cast());
                *columns = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
            }
            let scale = block.cast::<i16>().read_unaligned();
            (columns, Some(_mm256_cvtph_ps(_mm_set1_epi16(scale))))
        }
    }
}

/// Adds the values of all positions to `8 · C` columns of `R` rows.
///
/// # Safety
/// `values` has `positions` values of `length` columns; `8 · C` columns from `column` on are within them; `probabilities`
/// has `positions` numbers from each multiple of `stride` below `R · stride` on; `out` has `R · length` numbers.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn value_tile<V: Values, const R: usize, const C: usize>(
    values: &V,
    positions: usize,
    probabilities: &[f32],
    stride: usize,
    length: usize,
    column: usize,
    out: &mut [f32],
) {
    let mut sums = [[_mm256_setzero_ps(); C]; R];
    for row in 0..R {
        for number in 0..C {
            // SAFETY: the columns are within the row.
            sums[row][number] =
                unsafe { _mm256_loadu_ps(out.as_ptr().add(row * length + column + number * 8)) };
        }
    }
    for position in 0..positions {
        // SAFETY: the position and the columns are within the values, the probability within its row.
        unsafe {
            let (columns, factor) = values.load::<C>(position, column);
            for row in 0..R {
                let weight = _mm256_set1_ps(*probabilities.as_ptr().add(row * stride + position));
                let weight = factor.map_or(weight, |factor| _mm256_mul_ps(weight, factor));
                for number in 0..C {
                    sums[row][number] =
                        _mm256_add_ps(sums[row][number], _mm256_mul_ps(weight, columns[number]));
                }
            }
        }
    }
    for row in 0..R {
        for number in 0..C {
            // SAFETY: the columns are within the row.
            unsafe {
                let out = out.as_mut_ptr().add(row * length + column + number * 8);
                _mm256_storeu_ps(out, sums[row][number]);
            }
        }
    }
}

/// Adds the values of all positions to `R` rows, `8 · C` columns at a time and then eight; `length` is a multiple of eight.
///
/// # Safety
/// As for [`value_tile`].
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn value_rows<V: Values, const R: usize, const C: usize>(
    values: &V,
    positions: usize,
    probabilities: &[f32],
    stride: usize,
    length: usize,
    out: &mut [f32],
) {
    let whole = length / (8 * C) * (8 * C);
    for column in (0..whole).step_by(8 * C) {
        // SAFETY: the columns are within `length`; the rest is this function's contract.
        unsafe { value_tile::<V, R, C>(values, positions, probabilities, stride, length, column, out) };
    }
    for column in (whole..length).step_by(8) {
        // SAFETY: as above.
        unsafe { value_tile::<V, R, 1>(values, positions, probabilities, stride, length, column, out) };
    }
}

/// Checks what the tiles rely on: a probability for every row and position.
fn check(probabilities: &[f32], stride: usize, positions: usize, rows: usize) {
    let last = rows.saturating_sub(1) * stride + positions;
    assert!(positions <= stride && last <= probabilities.len(), "a probability for every row and position");
}

/// Attention output of several rows over f16 values.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_values(
    probabilities: &[f32],
    stride: usize,
    values: &[Half],
    length: usize,
    out: &mut [f32],
) {
    if !length.is_multiple_of(8) {
        return scalar::attention_values(probabilities, stride, values, length, out);
    }
    let (positions, rows) = (values.len() / length, out.len() / length);
    check(probabilities, stride, positions, rows);
    let values = HalfValues { values, length };
    let mut row = 0;
    while row < rows {
        let (probabilities, out) = (&probabilities[row * stride..], &mut out[row * length..]);
        // SAFETY: `check` found a probability for every row and position, and `out` has the rows that are left.
        row += unsafe {
            match rows - row {
                4.. => {
                    value_rows::<_, 4, 2>(&values, positions, probabilities, stride, length, out);
                    4
                }
                2 | 3 => {
                    value_rows::<_, 2, 4>(&values, positions, probabilities, stride, length, out);
                    2
                }
                _ => {
                    value_rows::<_, 1, 4>(&values, positions, probabilities, stride, length, out);
                    1
                }
            }
        };
    }
}

/// Attention output of several rows over Q8_0 values.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_values_q8(
    probabilities: &[f32],
    stride: usize,
    values: &[u8],
    length: usize,
    out: &mut [f32],
) {
    assert!(length.is_multiple_of(32), "values are whole blocks");
    let (positions, rows) = (values.len() / (length / 32 * Q8_VALUE_BLOCK_BYTES), out.len() / length);
    check(probabilities, stride, positions, rows);
    let values = Q8Values { values, length };
    let mut row = 0;
    while row < rows {
        let (probabilities, out) = (&probabilities[row * stride..], &mut out[row * length..]);
        // SAFETY: as in `attention_values`; a row is whole tiles of a block.
        row += unsafe {
            if rows - row >= 2 {
                value_rows::<_, 2, 4>(&values, positions, probabilities, stride, length, out);
                2
            } else {
                value_rows::<_, 1, 4>(&values, positions, probabilities, stride, length, out);
                1
            }
        };
    }
}
