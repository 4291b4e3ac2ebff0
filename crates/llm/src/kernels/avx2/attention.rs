//! AVX2 kernels of attention: tiles of several queries, which share each key and value once it is unpacked. Sums of scores
//! are brought together eight at a time.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and column at once")]

use std::arch::x86_64::*;

use super::super::elementwise::LANES;
use super::super::{lanes, scalar};
use super::float::Two;
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

/// Attention output of several rows over f16 values.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_values(
    probabilities: &[f32],
    stride: usize,
    values: &[Half],
    length: usize,
    out: &mut [f32],
) {
    // SAFETY: this function's features are those of the lanes.
    unsafe {
        // Values that are loaded once for four rows leave registers for sixteen of their columns.
        match out.len() / length {
            4.. => lanes::attention_values::<Two, 4, 1>(probabilities, stride, values, length, out),
            _ => lanes::attention_values::<Two, 2, 2>(probabilities, stride, values, length, out),
        }
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
    // SAFETY: this function's features are those of the lanes.
    unsafe { lanes::attention_values_q8::<Two, 2>(probabilities, stride, values, length, out) };
}
