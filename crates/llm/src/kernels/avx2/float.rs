//! AVX2 kernels on floats: matrices that are not quantized, half precision.
//!
//! The sixteen virtual lanes of a sum are two registers.

use std::arch::x86_64::*;

use super::super::dot::functions;
use super::super::lanes::{self, Lanes};
use super::super::{FloatType, scalar};
use crate::host::Half;

/// The sixteen virtual lanes.
#[derive(Clone, Copy)]
pub(super) struct Two([__m256; 2]);

impl Lanes for Two {
    const HALF: FloatType = FloatType::F16;

    functions! { "avx2,f16c";
        fn splat(value: f32) -> Self { Self([_mm256_set1_ps(value); 2]) }
        fn load(float: FloatType, elements: *const u8) -> Self {
            // SAFETY: there are sixteen elements, by this function's contract; the loads need no alignment.
            unsafe {
                let half = |number: usize| {
                    let elements = elements.add(8 * number * float.bytes());
                    match float {
                        FloatType::F32 => _mm256_loadu_ps(elements.cast()),
                        FloatType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(elements.cast())),
                        FloatType::Bf16 => {
                            let upper = _mm256_cvtepu16_epi32(_mm_loadu_si128(elements.cast()));
                            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper))
                        }
                    }
                };
                Self([half(0), half(1)])
            }
        }
        fn load_codes(codes: *const u8) -> Self {
            // SAFETY: there are sixteen, by this function's contract.
            let halves = unsafe { [_mm_loadl_epi64(codes.cast()), _mm_loadl_epi64(codes.add(8).cast())] };
            let [first, second] = halves;
            Self([
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(first)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(second)),
            ])
        }
        fn splat_half(half: *const u8) -> Self {
            // SAFETY: there are two bytes, by this function's contract; they are read unaligned.
            let half = _mm_set1_epi16(unsafe { half.cast::<i16>().read_unaligned() });
            Self([_mm256_cvtph_ps(half); 2])
        }
        fn multiply(self, other: Self) -> Self {
            Self([_mm256_mul_ps(self.0[0], other.0[0]), _mm256_mul_ps(self.0[1], other.0[1])])
        }
        fn add_products(self, first: Self, second: Self) -> Self {
            let half = |number: usize| {
                _mm256_add_ps(self.0[number], _mm256_mul_ps(first.0[number], second.0[number]))
            };
            Self([half(0), half(1)])
        }
        fn store(self, out: *mut f32) {
            // SAFETY: there is room for sixteen, by this function's contract.
            unsafe {
                _mm256_storeu_ps(out, self.0[0]);
                _mm256_storeu_ps(out.add(8), self.0[1]);
            }
        }
        fn reduce(self) -> f32 {
            let eight = _mm256_add_ps(self.0[0], self.0[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// Float rows times tokens.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    // SAFETY: this function's features are those of the lanes.
    unsafe { lanes::float_rows::<Two, 4>(float, rows, columns, x, out) };
}

/// Rounds to half precision, ties to even.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn to_half(x: &[f32], out: &mut [Half]) {
    let whole = x.len().min(out.len()) / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: `at + 8` is within both slices.
        unsafe {
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr().add(at)));
            _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), halves);
        }
    }
    scalar::to_half(&x[whole..], &mut out[whole..]);
}
