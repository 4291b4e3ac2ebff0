//! x86 processors with VNNI, whose instruction `vpdpbusd` sums four products of an unsigned byte with a signed one into 32
//! bits, exactly: codes are the unsigned bytes, activations the signed ones. Signed codes are multiplied 128 larger than
//! they are.
//!
//! - [`avx512`]: vectors of 512 bits in a prompt, where a strip is two groups; otherwise, and for what is left over,
//!   vectors of 256 bits, which read memory as fast.
//! - [`amx`]: the same, but sixteen tokens at a time go to the unit for matrices, which `tiles` speaks to.
//! - [`avx_vnni`]: the same instruction in the encoding of processors that have no AVX-512.
//!
//! Rounding to half precision is that of `avx2`: these processors have all of its instructions. AVX-VNNI has its kernels on
//! floats as well.
//!
//! No processor with these instructions has been at hand. The kernels are run by Miri, which interprets each instruction by
//! its definition (that of AMX is in `tiles`), and were run as they are compiled by the emulator Bochs, mended where it differs
//! from Intel's manual, under Linux, which lends AMX as it does on a processor. Their speed was not measured.

pub(super) mod amx;
pub(super) mod avx512;
pub(super) mod avx_vnni;
mod tiles;

pub(super) use tiles::is_available as is_amx_available;

use std::arch::x86_64::*;

/// Sums of a machine: of codes as they are, and of signed ones, which are raised.
macro_rules! sums {
    ($machine:ident, $signed:ident, $features:literal, $vector:ty, $broadcast:ident, $xor:ident, $bytes:ident, $dot:ident) => {
        /// Sums of products of signed codes.
        pub(super) struct $signed;

        sums!(of $machine, 0, |bytes| bytes, $features, $vector, $broadcast, $dot);
        sums!(of $signed, 128, |bytes| $xor(bytes, $bytes(i8::MIN)), $features, $vector, $broadcast, $dot);
    };
    (of $sums:ident, $excess:literal, |$codes:ident| $raise:expr, $features:literal, $vector:ty, $broadcast:ident, $dot:ident) => {
        impl Sums for $sums {
            type Bytes = $vector;
            type Integers = $vector;
            type Codes = $vector;
            type Quad = $vector;
            type Sum = $vector;

            const EXCESS: u8 = $excess;

            functions! { $features;
                fn codes($codes: $vector) -> $vector { $raise }
                fn raised_codes(bytes: $vector) -> $vector { bytes }
                fn quad(columns: Columns<'_>, number: usize) -> $vector {
                    debug_assert!(4 * number + 4 <= columns.values.len());
                    // SAFETY: there are four values, by this function's contract; they are read unaligned.
                    $broadcast(unsafe { columns.values.as_ptr().add(4 * number).cast::<i32>().read_unaligned() })
                }
                fn start(value: $vector) -> $vector { value }
                fn add(sum: $vector, codes: $vector, quad: $vector) -> $vector { $dot(sum, codes, quad) }
                fn total(sum: $vector) -> $vector { sum }
            }
        }
    };
}

/// A machine of 256 bits: a strip is a group.
macro_rules! narrow {
    ($machine:ident, $signed:ident, $features:literal, $dot:ident) => {
        impl Machine for $machine {
            const ROWS: usize = 8;
            const FOURFOLD: [bool; 4] = [false, true, false, true];

            type Bytes = __m256i;
            type Integers = __m256i;
            type Floats = __m256;
            type Weights = __m256;
            type Small = Self;
            type Signed = $signed;

            functions! { $features;
                fn strip(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> __m256i {
                    // SAFETY: the group has 32 bytes there, by this function's contract.
                    unsafe { _mm256_loadu_si256(packed.as_ptr().add(at + strip * group_bytes).cast()) }
                }
                fn halves<const S: usize>(packed: &[u8], at: usize, group_bytes: usize, first: usize) -> [__m256; S] {
                    let mut floats = [_mm256_setzero_ps(); S];
                    for (strip, floats) in floats.iter_mut().enumerate() {
                        // SAFETY: the group has 16 bytes there, by this function's contract.
                        *floats = unsafe { halves_of_group(packed.as_ptr().add(at + (first + strip) * group_bytes)) };
                    }
                    floats
                }
                fn row_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> __m256i {
                    // SAFETY: the group has 8 bytes there, by this function's contract.
                    _mm256_cvtepu8_epi32(unsafe {
                        _mm_loadl_epi64(packed.as_ptr().add(at + strip * group_bytes).cast())
                    })
                }
                fn and(bytes: __m256i, mask: u8) -> __m256i { _mm256_and_si256(bytes, _mm256_set1_epi8(mask as i8)) }
                fn or(first: __m256i, second: __m256i) -> __m256i { _mm256_or_si256(first, second) }
                fn down(bytes: __m256i, count: usize) -> __m256i { by_count!(_mm256_srli_epi16, bytes, count) }
                fn up(bytes: __m256i, count: usize) -> __m256i { by_count!(_mm256_slli_epi16, bytes, count) }
                fn table(values: &[u8; 16]) -> __m256i {
                    // SAFETY: a table has sixteen bytes.
                    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
                }
                fn look_up(table: __m256i, bytes: __m256i) -> __m256i { _mm256_shuffle_epi8(table, bytes) }
                fn integers(value: i32) -> __m256i { _mm256_set1_epi32(value) }
                fn add_integers(first: __m256i, second: __m256i) -> __m256i { _mm256_add_epi32(first, second) }
                fn and_integers(value: __m256i, mask: i32) -> __m256i { _mm256_and_si256(value, _mm256_set1_epi32(mask)) }
                fn up_integers(value: __m256i, count: u32) -> __m256i {
                    _mm256_sllv_epi32(value, _mm256_set1_epi32(count as i32))
                }
                fn down_integers(value: __m256i, count: u32) -> __m256i {
                    _mm256_srav_epi32(value, _mm256_set1_epi32(count as i32))
                }
                fn weights(value: __m256i) -> __m256 { _mm256_cvtepi32_ps(value) }
                fn weighted(value: __m256i, weight: __m256) -> __m256 { _mm256_mul_ps(_mm256_cvtepi32_ps(value), weight) }
                fn add_weights(first: __m256, second: __m256) -> __m256 { _mm256_add_ps(first, second) }
                fn weights_to_floats(value: __m256) -> __m256 { value }
                fn floats(value: f32) -> __m256 { _mm256_set1_ps(value) }
                fn to_floats(value: __m256i) -> __m256 { _mm256_cvtepi32_ps(value) }
                fn exponents(value: __m256i) -> __m256 {
                    let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(value, _mm256_set1_epi32(1)));
                    let smallest = _mm256_min_epi32(value, _mm256_set1_epi32(1));
                    let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), smallest);
                    _mm256_castsi256_ps(_mm256_max_epi32(normal, subnormal))
                }
                fn add(first: __m256, second: __m256) -> __m256 { _mm256_add_ps(first, second) }
                fn multiply(first: __m256, second: __m256) -> __m256 { _mm256_mul_ps(first, second) }
                fn divide(first: __m256, second: __m256) -> __m256 { _mm256_div_ps(first, second) }
                fn store(out: *mut f32, value: __m256) {
                    // SAFETY: there is room for eight, by this function's contract.
                    unsafe { _mm256_storeu_ps(out, value) };
                }
            }
        }

        sums!($machine, $signed, $features, __m256i, _mm256_set1_epi32, _mm256_xor_si256, _mm256_set1_epi8, $dot);
    };
}

use {narrow, sums};

/// Eight numbers in half precision.
///
/// # Safety
/// 16 bytes can be read there.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves_of_group(halves: *const u8) -> __m256 {
    // SAFETY: by this function's contract.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.cast()) })
}
