//! VNNI with AVX-512: 32 registers of 512 bits, or of 256.

use std::arch::x86_64::*;

use super::super::dot::{
    self, Columns, InstructionSet, Machine, Part, Product, Sums, TileKernel, Tokens, by_count, cover,
    functions, run_tile,
};
use super::super::lanes::{self, Lanes};
use super::super::{Activations, FloatType, TernaryScale, elementwise};
use super::tiles::{self, Tiles};
use super::{halves_of_group, narrow, sums};
use crate::formats::BlockType;
use crate::host::Half;

pub(crate) use super::super::avx2::to_half;

/// Groups of a tile when there is one token: so many streams of weights are in flight.
const DECODE_GROUPS: usize = 4;
/// The most tokens of a tile: with one strip of two groups, their sums and accumulators take half of the registers.
const PROMPT_TOKENS: usize = 8;
/// Tokens of a tile where there are fewer.
const BATCH_TOKENS: usize = 4;

/// Vectors of 256 bits: a strip is a group.
struct Narrow;
narrow!(Narrow, SignedNarrow, "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni", _mm256_dpbusd_epi32);

/// Vectors of 512 bits: a strip is two groups.
struct Wide;
sums!(
    Wide,
    SignedWide,
    "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni",
    __m512i,
    _mm512_set1_epi32,
    _mm512_xor_si512,
    _mm512_set1_epi8,
    _mm512_dpbusd_epi32
);

/// Strips of two groups, and whether the unit for matrices sums their products.
struct Strips<const MATRICES: bool>;

impl<const MATRICES: bool> Machine for Strips<MATRICES> {
    const ROWS: usize = 16;
    const FOURFOLD: [bool; 4] = [false, true, false, true];
    const MATRICES: bool = MATRICES;

    type Bytes = __m512i;
    type Integers = __m512i;
    type Floats = __m512;
    type Weights = __m512;
    type Small = Wide;
    type Signed = SignedWide;

    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn matrix_product<const T: usize, const Q: usize>(
        mut codes: [__m512i; Q],
        excess: u8,
        tokens: &Tokens<'_, T>,
        quad: usize,
    ) -> [__m512i; T] {
        let lower = _mm512_set1_epi8(excess as i8);
        for codes in &mut codes {
            *codes = _mm512_sub_epi8(*codes, lower);
        }
        let (values, stride) = tokens.columns_from(quad);
        // SAFETY: the tokens have the columns, by this function's contract.
        unsafe { tiles::product(&codes, values, stride) }
    }

    functions! { "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni";
        fn strip(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> __m512i {
            let [first, second] = groups(packed, at, group_bytes, strip);
            // SAFETY: both groups have 32 bytes there, by this function's contract.
            let [first, second] = unsafe { [_mm256_loadu_si256(first.cast()), _mm256_loadu_si256(second.cast())] };
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
        }
        fn halves<const S: usize>(packed: &[u8], at: usize, group_bytes: usize, first: usize) -> [__m512; S] {
            let mut floats = [_mm512_setzero_ps(); S];
            for (strip, floats) in floats.iter_mut().enumerate() {
                let [first, second] = groups(packed, at, group_bytes, first + strip);
                // SAFETY: both groups have 16 bytes there, by this function's contract.
                *floats = unsafe { joined(halves_of_group(first), halves_of_group(second)) };
            }
            floats
        }
        fn row_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> __m512i {
            let [first, second] = groups(packed, at, group_bytes, strip);
            // SAFETY: both groups have 8 bytes there, by this function's contract.
            let [first, second] = unsafe { [_mm_loadl_epi64(first.cast()), _mm_loadl_epi64(second.cast())] };
            _mm512_cvtepu8_epi32(_mm_unpacklo_epi64(first, second))
        }
        fn and(bytes: __m512i, mask: u8) -> __m512i { _mm512_and_si512(bytes, _mm512_set1_epi8(mask as i8)) }
        fn or(first: __m512i, second: __m512i) -> __m512i { _mm512_or_si512(first, second) }
        fn down(bytes: __m512i, count: usize) -> __m512i { by_count!(_mm512_srli_epi16, bytes, count) }
        fn up(bytes: __m512i, count: usize) -> __m512i { by_count!(_mm512_slli_epi16, bytes, count) }
        fn table(values: &[u8; 16]) -> __m512i {
            // SAFETY: a table has sixteen bytes.
            _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
        }
        fn look_up(table: __m512i, bytes: __m512i) -> __m512i { _mm512_shuffle_epi8(table, bytes) }
        fn integers(value: i32) -> __m512i { _mm512_set1_epi32(value) }
        fn add_integers(first: __m512i, second: __m512i) -> __m512i { _mm512_add_epi32(first, second) }
        fn and_integers(value: __m512i, mask: i32) -> __m512i { _mm512_and_si512(value, _mm512_set1_epi32(mask)) }
        fn up_integers(value: __m512i, count: u32) -> __m512i {
            _mm512_sllv_epi32(value, _mm512_set1_epi32(count as i32))
        }
        fn down_integers(value: __m512i, count: u32) -> __m512i {
            _mm512_srav_epi32(value, _mm512_set1_epi32(count as i32))
        }
        fn weights(value: __m512i) -> __m512 { _mm512_cvtepi32_ps(value) }
        fn weighted(value: __m512i, weight: __m512) -> __m512 { _mm512_mul_ps(_mm512_cvtepi32_ps(value), weight) }
        fn add_weights(first: __m512, second: __m512) -> __m512 { _mm512_add_ps(first, second) }
        fn weights_to_floats(value: __m512) -> __m512 { value }
        fn floats(value: f32) -> __m512 { _mm512_set1_ps(value) }
        fn to_floats(value: __m512i) -> __m512 { _mm512_cvtepi32_ps(value) }
        fn exponents(value: __m512i) -> __m512 {
            let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(value, _mm512_set1_epi32(1)));
            let smallest = _mm512_min_epi32(value, _mm512_set1_epi32(1));
            let subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(1 << 21), smallest);
            _mm512_castsi512_ps(_mm512_max_epi32(normal, subnormal))
        }
        fn add(first: __m512, second: __m512) -> __m512 { _mm512_add_ps(first, second) }
        fn multiply(first: __m512, second: __m512) -> __m512 { _mm512_mul_ps(first, second) }
        fn divide(first: __m512, second: __m512) -> __m512 { _mm512_div_ps(first, second) }
        fn store(out: *mut f32, value: __m512) {
            // SAFETY: there is room for sixteen, by this function's contract.
            unsafe { _mm512_storeu_ps(out, value) };
        }
    }
}

/// Where the two groups of a strip have what begins at `at` in each.
#[inline(always)]
fn groups(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> [*const u8; 2] {
    let first = packed.as_ptr().wrapping_add(at + 2 * strip * group_bytes);
    [first, first.wrapping_add(group_bytes)]
}

/// The instruction set, with the unit for matrices or without.
pub(super) struct Avx512<const MATRICES: bool>;

/// Runs a tile in vectors of 256 bits.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn narrow<K: TileKernel, const T: usize, const N: usize>(kernel: &K, product: &mut Product<'_>, part: Part) {
    // SAFETY: this function's features are the machine's.
    unsafe { run_tile::<Narrow, K, T, N, N>(kernel, product, part) };
}

/// Runs a tile in vectors of 512 bits.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn wide<K: TileKernel, const T: usize>(kernel: &K, product: &mut Product<'_>, part: Part) {
    // SAFETY: this function's features are the machine's.
    unsafe { run_tile::<Strips<false>, K, T, 1, 1>(kernel, product, part) };
}

/// Runs a tile on the unit for matrices.
///
/// # Safety
/// This thread has tiles.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tiled<K: TileKernel>(kernel: &K, product: &mut Product<'_>, part: Part) {
    // SAFETY: this function's features are the machine's, and by its contract.
    unsafe { run_tile::<Strips<true>, K, { tiles::TOKENS }, 1, 1>(kernel, product, part) };
}

impl<const MATRICES: bool> InstructionSet for Avx512<MATRICES> {
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply<K: TileKernel>(kernel: &K, mut product: Product<'_>) {
        let groups_of = |tokens, left| match (tokens, left) {
            (1, DECODE_GROUPS..) => DECODE_GROUPS,
            (2.., 2..) => 2,
            _ => 1,
        };
        // SAFETY: an instruction set with the unit is only chosen where it is available.
        let tiles =
            (MATRICES && product.activations.tokens() >= tiles::TOKENS).then(|| unsafe { Tiles::new() });
        // Few shapes, since each of them is compiled for every type.
        let tokens_of = |left, groups| match (left, groups) {
            (_, 1) => 1,
            (tiles::TOKENS.., _) if tiles.is_some() => tiles::TOKENS,
            (PROMPT_TOKENS.., _) => PROMPT_TOKENS,
            (BATCH_TOKENS.., _) => BATCH_TOKENS,
            _ => 1,
        };
        cover(&mut product, groups_of, tokens_of, |product, part| match (part.tokens, part.groups) {
            (_, 1) => narrow::<K, 1, 1>(kernel, product, part),
            (_, DECODE_GROUPS) => narrow::<K, 1, DECODE_GROUPS>(kernel, product, part),
            // SAFETY: parts are so large only where this thread has tiles.
            (tiles::TOKENS, _) => unsafe { tiled(kernel, product, part) },
            (PROMPT_TOKENS, _) => wide::<K, PROMPT_TOKENS>(kernel, product, part),
            (BATCH_TOKENS, _) => wide::<K, BATCH_TOKENS>(kernel, product, part),
            _ => wide::<K, 1>(kernel, product, part),
        });
    }
}

dot::products!("avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni", Avx512<false>);
elementwise::instantiate!("avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni");

impl Lanes for __m512 {
    const HALF: FloatType = FloatType::F16;

    functions! { "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni";
        fn splat(value: f32) -> Self { _mm512_set1_ps(value) }
        fn load(float: FloatType, elements: *const u8) -> Self {
            // SAFETY: there are sixteen elements, by this function's contract; the loads need no alignment.
            unsafe {
                match float {
                    FloatType::F32 => _mm512_loadu_ps(elements.cast()),
                    FloatType::F16 => joined(halves_of_group(elements), halves_of_group(elements.add(16))),
                    FloatType::Bf16 => {
                        let upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(elements.cast()));
                        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper))
                    }
                }
            }
        }
        fn load_codes(codes: *const u8) -> Self {
            // SAFETY: there are sixteen, by this function's contract.
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(codes.cast()) }))
        }
        fn splat_half(half: *const u8) -> Self {
            // SAFETY: there are two bytes, by this function's contract; they are read unaligned.
            let half = _mm_set1_epi16(unsafe { half.cast::<i16>().read_unaligned() });
            _mm512_broadcastss_ps(_mm_cvtph_ps(half))
        }
        fn multiply(self, other: Self) -> Self { _mm512_mul_ps(self, other) }
        fn add_products(self, first: Self, second: Self) -> Self { _mm512_add_ps(self, _mm512_mul_ps(first, second)) }
        fn store(self, out: *mut f32) {
            // SAFETY: there is room for sixteen, by this function's contract.
            unsafe { _mm512_storeu_ps(out, self) };
        }
        fn reduce(self) -> f32 {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
            let eight = _mm256_add_ps(_mm512_castps512_ps256(self), upper);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// Two halves of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn joined(first: __m256, second: __m256) -> __m512 {
    let first = _mm512_castps_pd(_mm512_castps256_ps512(first));
    _mm512_castpd_ps(_mm512_insertf64x4::<1>(first, _mm256_castps_pd(second)))
}

lanes::float_kernels!(
    "avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni",
    __m512,
    abreast 4,
    queries 4,
    rows 4
);
