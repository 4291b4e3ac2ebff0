//! Factors of packed blocks: small integers of eight rows, each twice in 16 bits, as the multiplication of pairs wants
//! them.

use std::arch::x86_64::*;

/// Takes the factors of one group's block apart.
pub(super) trait Factors: Copy {
    /// How many there are for 32 columns.
    const PARTS: usize;

    /// What stands for the factors at `factors` until they are needed.
    ///
    /// # Safety
    /// The CPU has AVX2; the factor bytes of eight rows can be read at `factors`, as long as the result is used.
    unsafe fn new(factors: *const u8) -> Self;

    /// Factor `number`.
    ///
    /// # Safety
    /// The CPU has AVX2; the block has so many factors.
    unsafe fn factor(&self, number: usize) -> __m256i;

    /// Factor `number` of the minimum, in types with a minimum.
    ///
    /// # Safety
    /// The CPU has AVX2; the block has so many factors.
    unsafe fn minimum(&self, number: usize) -> __m256i;
}

/// Eight unsigned bytes, each twice.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unsigned_pairs(bytes: *const u8) -> __m256i {
    let places = _mm256_setr_epi8(
        0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7,
        -1, 7, -1,
    );
    // SAFETY: by this function's contract; the load needs no alignment.
    let bytes = unsafe { _mm256_set1_epi64x(bytes.cast::<i64>().read_unaligned()) };
    _mm256_shuffle_epi8(bytes, places)
}

/// Eight signed bytes, each twice.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn signed_pairs(bytes: *const u8) -> __m256i {
    // SAFETY: by this function's contract; the load needs no alignment.
    let bytes = unsafe { _mm_loadl_epi64(bytes.cast()) };
    _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes))
}

/// Four vectors of eight bytes: a byte of 32 of each of four neighbouring factors, `mask`ed after a shift to the right.
#[inline]
#[target_feature(enable = "avx2")]
fn field(bytes: __m256i, right: i32, mask: i8) -> __m256i {
    _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128(right)), _mm256_set1_epi8(mask))
}

/// There are none.
#[derive(Clone, Copy)]
pub(super) struct Ones;

impl Factors for Ones {
    const PARTS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(_: *const u8) -> Self {
        Self
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, _: usize) -> __m256i {
        _mm256_set1_epi16(1)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, _: usize) -> __m256i {
        _mm256_set1_epi16(1)
    }
}

/// Signed bytes, in their place.
#[derive(Clone, Copy)]
pub(super) struct Bytes(*const u8);

impl Factors for Bytes {
    const PARTS: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(factors: *const u8) -> Self {
        Self(factors)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        unsafe { signed_pairs(self.0.add(8 * number)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, _: usize) -> __m256i {
        _mm256_setzero_si256()
    }
}

/// Two in a byte, in their place.
#[derive(Clone, Copy)]
pub(super) struct Nibbles(*const u8);

impl Factors for Nibbles {
    const PARTS: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(factors: *const u8) -> Self {
        Self(factors)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        _mm256_and_si256(unsafe { unsigned_pairs(self.0.add(8 * number)) }, _mm256_set1_epi16(15))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        _mm256_srli_epi16(unsafe { unsigned_pairs(self.0.add(8 * number)) }, 4)
    }
}

/// Sixteen of six bits.
#[derive(Clone, Copy)]
pub(super) struct SixBits([__m256i; 4]);

impl Factors for SixBits {
    const PARTS: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(factors: *const u8) -> Self {
        // SAFETY: twelve bytes of eight rows, by this function's contract; the loads need no alignment.
        let [first, second, upper] = unsafe {
            let vectors = factors.cast::<__m256i>();
            [
                _mm256_loadu_si256(vectors),
                _mm256_loadu_si256(vectors.add(1)),
                _mm256_loadu_si256(vectors.add(2)),
            ]
        };
        let less = |low, high| _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
        let upper_bits = _mm256_set1_epi8(48);
        Self([
            less(field(first, 0, 15), _mm256_and_si256(_mm256_slli_epi16(upper, 4), upper_bits)),
            less(field(second, 0, 15), _mm256_and_si256(_mm256_slli_epi16(upper, 2), upper_bits)),
            less(field(first, 4, 15), _mm256_and_si256(upper, upper_bits)),
            less(field(second, 4, 15), field(upper, 2, 48)),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        unsafe { signed_pairs(self.0.as_ptr().cast::<u8>().add(8 * number)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, _: usize) -> __m256i {
        _mm256_setzero_si256()
    }
}

/// Eight of six bits, and as many of the minimum.
#[derive(Clone, Copy)]
pub(super) struct SixBitPairs([[__m256i; 2]; 2]);

impl Factors for SixBitPairs {
    const PARTS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(factors: *const u8) -> Self {
        // SAFETY: twelve bytes of eight rows, by this function's contract; the loads need no alignment.
        let [first, minima, low] = unsafe {
            let vectors = factors.cast::<__m256i>();
            [
                _mm256_loadu_si256(vectors),
                _mm256_loadu_si256(vectors.add(1)),
                _mm256_loadu_si256(vectors.add(2)),
            ]
        };
        Self([
            [field(first, 0, 63), _mm256_or_si256(field(low, 0, 15), field(first, 2, 48))],
            [field(minima, 0, 63), _mm256_or_si256(field(low, 4, 15), field(minima, 2, 48))],
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        unsafe { unsigned_pairs(self.0[0].as_ptr().cast::<u8>().add(8 * number)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        unsafe { unsigned_pairs(self.0[1].as_ptr().cast::<u8>().add(8 * number)) }
    }
}

/// Eight of six bits, those with even numbers first.
#[derive(Clone, Copy)]
pub(super) struct SixBitsOfBlocks([__m256i; 2]);

impl Factors for SixBitsOfBlocks {
    const PARTS: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn new(factors: *const u8) -> Self {
        // SAFETY: six bytes of eight rows, by this function's contract; the loads need no alignment.
        let (upper, low) = unsafe {
            (_mm_loadu_si128(factors.cast()), _mm256_loadu_si256(factors.add(16).cast::<__m256i>()))
        };
        // Of factors 0, 2, 4 and 6, and of 1, 3, 5 and 7.
        let upper = _mm256_permute4x64_epi64(_mm256_castsi128_si256(upper), 0b01_01_00_00);
        let upper = [
            _mm256_srlv_epi64(upper, _mm256_setr_epi64x(0, 4, 0, 4)),
            _mm256_srlv_epi64(upper, _mm256_setr_epi64x(2, 6, 2, 6)),
        ];
        let factor = |low, upper| {
            let upper = _mm256_and_si256(_mm256_slli_epi16(upper, 4), _mm256_set1_epi8(48));
            _mm256_sub_epi8(_mm256_or_si256(low, upper), _mm256_set1_epi8(32))
        };
        Self([factor(field(low, 0, 15), upper[0]), factor(field(low, 4, 15), upper[1])])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn factor(&self, number: usize) -> __m256i {
        // SAFETY: there are so many, by this function's contract.
        unsafe { signed_pairs(self.0.as_ptr().cast::<u8>().add(number % 2 * 32 + number / 2 * 8)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn minimum(&self, _: usize) -> __m256i {
        _mm256_setzero_si256()
    }
}
