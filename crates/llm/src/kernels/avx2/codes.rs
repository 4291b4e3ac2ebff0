//! Codes of packed blocks, four columns of eight rows at a time.

use std::arch::x86_64::*;

use crate::formats::BlockType;

/// Takes codes apart, and says what may be done with them.
pub(super) trait Codes {
    /// What an unsigned code is larger by than the value that it stands for.
    const OFFSET: i16;
    /// Vectors of four columns whose products with activations, summed in pairs, fit 16 bits once the offset is taken off;
    /// sums may leave the 16 bits on the way, for they come back. Four are 16 columns, eight are 32. One: codes are
    /// signed.
    const VECTORS: usize;

    /// The codes of columns `4 · QUAD` to `4 · QUAD + 3` of part `part` of the 32 columns that begin at `codes`, one byte each.
    ///
    /// # Safety
    /// The CPU has AVX2; the codes of 32 columns of eight rows can be read at `codes`.
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i;
}

/// Vector `number`.
///
/// # Safety
/// It can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn vector(codes: *const u8, number: usize) -> __m256i {
    // SAFETY: by this function's contract; the load needs no alignment.
    unsafe { _mm256_loadu_si256(codes.add(32 * number).cast()) }
}

/// `bits` moved by `left` places, or to the right if that is negative, of which those of `mask` are kept in each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn moved(bits: __m256i, left: i32, mask: i8) -> __m256i {
    let moved = if left < 0 {
        _mm256_srl_epi16(bits, _mm_cvtsi32_si128(-left))
    } else {
        _mm256_sll_epi16(bits, _mm_cvtsi32_si128(left))
    };
    _mm256_and_si256(moved, _mm256_set1_epi8(mask))
}

/// `bits` with those of part 1 in the place of those of part 0, which are four places lower, if they are wanted.
#[inline]
#[target_feature(enable = "avx2")]
fn of_part(bits: __m256i, part: usize) -> __m256i {
    _mm256_srl_epi16(bits, _mm_cvtsi32_si128(4 * part as i32))
}

/// Nibbles, in four vectors.
///
/// # Safety
/// Four vectors can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibbles<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
    // SAFETY: by this function's contract.
    _mm256_and_si256(of_part(unsafe { vector(codes, QUAD) }, part), _mm256_set1_epi8(15))
}

/// Codes of four bits.
pub(super) struct FourBits<const OFFSET: i16>;

impl<const OFFSET: i16> Codes for FourBits<OFFSET> {
    const OFFSET: i16 = OFFSET;
    // 16 · 15 · 127 is 30480.
    const VECTORS: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of four bits are four vectors.
        unsafe { nibbles::<QUAD>(codes, part) }
    }
}

/// Nibbles that number the values of E2M1.
pub(super) struct Float4;

/// What makes the values of MXFP4 unsigned.
const FLOAT4_OFFSET: i8 = 12;

impl Codes for Float4 {
    const OFFSET: i16 = FLOAT4_OFFSET as i16;
    // 16 · 12 · 127 is 24384.
    const VECTORS: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of four bits are four vectors.
        let nibbles = unsafe { nibbles::<QUAD>(codes, part) };
        look_up(const { &values(BlockType::Mxfp4, FLOAT4_OFFSET) }, nibbles)
    }
}

/// Nibbles that number the values of IQ4_NL.
pub(super) struct NonLinear;

impl Codes for NonLinear {
    const OFFSET: i16 = 0;
    const VECTORS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of four bits are four vectors.
        look_up(const { &values(BlockType::Iq4Nl, 0) }, unsafe { nibbles::<QUAD>(codes, part) })
    }
}

/// What codes of four bits stand for, and `offset`.
const fn values(kind: BlockType, offset: i8) -> [i8; 16] {
    let mut values = [0; 16];
    let mut code = 0;
    while code < 16 {
        values[code] = kind.value(code as u8) + offset;
        code += 1;
    }
    values
}

/// The entries of `table` that `numbers` number.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: &[i8; 16], numbers: __m256i) -> __m256i {
    // SAFETY: the table has sixteen bytes.
    let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), numbers)
}

/// Codes of five bits.
pub(super) struct FiveBits<const OFFSET: i16>;

impl<const OFFSET: i16> Codes for FiveBits<OFFSET> {
    const OFFSET: i16 = OFFSET;
    // 16 · 16 · 127 is 32512, and 8 · 31 · 127 is 31496.
    const VECTORS: usize = if OFFSET == 16 { 8 } else { 4 };

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of five bits are four vectors and one.
        let (low, high) = unsafe { (nibbles::<QUAD>(codes, part), vector(codes, 4)) };
        _mm256_or_si256(low, moved(of_part(high, part), 4 - QUAD as i32, 16))
    }
}

/// Codes of six bits, 32 larger than their values.
pub(super) struct SixBits;

impl Codes for SixBits {
    const OFFSET: i16 = 32;
    // 8 · 32 · 127 is 32512.
    const VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of six bits are four vectors and two.
        let (low, high) = unsafe { (nibbles::<QUAD>(codes, part), vector(codes, 4 + part)) };
        _mm256_or_si256(low, moved(high, 4 - 2 * QUAD as i32, 48))
    }
}

/// Codes of two bits.
pub(super) struct TwoBits;

impl Codes for TwoBits {
    const OFFSET: i16 = 0;
    const VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of two bits are two vectors.
        moved(unsafe { vector(codes, part) }, -2 * QUAD as i32, 3)
    }
}

/// Codes of three bits, 4 larger than their values.
pub(super) struct ThreeBits;

impl Codes for ThreeBits {
    const OFFSET: i16 = 4;
    const VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of three bits are two vectors and one.
        let (low, high) = unsafe { (TwoBits::quad::<QUAD>(codes, part), vector(codes, 2)) };
        _mm256_or_si256(low, moved(of_part(high, part), 2 - QUAD as i32, 4))
    }
}

/// Signed bytes.
pub(super) struct Bytes;

impl Codes for Bytes {
    const OFFSET: i16 = 0;
    const VECTORS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quad<const QUAD: usize>(codes: *const u8, part: usize) -> __m256i {
        // SAFETY: codes of eight bits are eight vectors.
        unsafe { vector(codes, 4 * part + QUAD) }
    }
}
