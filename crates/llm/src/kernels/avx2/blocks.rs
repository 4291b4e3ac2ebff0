//! The tile of all types with blocks: integers within 32 columns, then floats, as `scalar::blocks` defines.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::super::Activations;
use super::codes::{self, Codes};
use super::factors::{self, Factors};
use super::{Tile, TileKernel, accumulate, broadcast, for_each_tile, look_ahead, scales};
use crate::formats::{BLOCK_COLUMNS, BlockType, PART_COLUMNS};

/// A type of blocks, and what takes its blocks apart.
trait Kind {
    const TYPE: BlockType;
    type Codes: Codes;
    type Factors: Factors;
}

/// Names the codes and the factors of each type, and the call of its tile.
macro_rules! kinds {
    ($($name:ident: $codes:ty, $factors:ty;)*) => {
        $(
            struct $name;

            impl Kind for $name {
                const TYPE: BlockType = BlockType::$name;
                type Codes = $codes;
                type Factors = $factors;
            }
        )*

        /// Rows of blocks times tokens.
        #[target_feature(enable = "avx2,f16c")]
        pub(crate) fn blocks(kind: BlockType, packed: &[u8], activations: &Activations, out: &mut [f32]) {
            let group_bytes = kind.group_bytes(activations.columns());
            match kind {
                $(BlockType::$name => {
                    for_each_tile(&BlockTile::<$name>(PhantomData), packed, group_bytes, activations, out);
                })*
            }
        }
    };
}

kinds! {
    Q4_0: codes::FourBits<8>, factors::Ones;
    Q4_1: codes::FourBits<0>, factors::Ones;
    Q5_0: codes::FiveBits<16>, factors::Ones;
    Q5_1: codes::FiveBits<0>, factors::Ones;
    Q8_0: codes::Bytes, factors::Ones;
    Q2K: codes::TwoBits, factors::Nibbles;
    Q3K: codes::ThreeBits, factors::SixBits;
    Q4K: codes::FourBits<0>, factors::SixBitPairs;
    Q5K: codes::FiveBits<0>, factors::SixBitPairs;
    Q6K: codes::SixBits, factors::Bytes;
    Iq4Nl: codes::NonLinear, factors::Ones;
    Iq4Xs: codes::NonLinear, factors::SixBitsOfBlocks;
    Mxfp4: codes::Float4, factors::Ones;
}

struct BlockTile<K>(PhantomData<K>);

impl<K: Kind> TileKernel for BlockTile<K> {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn tile<const T: usize, const G: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tile: Tile<'_, T>,
    ) -> [[__m256; G]; T] {
        let blocks = K::TYPE.columns() / BLOCK_COLUMNS;
        let mut accumulators = [[_mm256_setzero_ps(); G]; T];
        for number in 0..group_bytes / K::TYPE.packed_bytes() {
            // SAFETY: this block is inside each of the `G` groups, and the tile has its columns.
            unsafe {
                let block =
                    |group: usize| packed.as_ptr().add(group * group_bytes + number * K::TYPE.packed_bytes());
                let mut factors = [K::Factors::new(block(0).add(K::TYPE.factors_at())); G];
                for group in 1..G {
                    factors[group] = K::Factors::new(block(group).add(K::TYPE.factors_at()));
                }
                if K::TYPE.has_minimum() {
                    let mut sums = [[_mm256_setzero_ps(); G]; T];
                    for within in 0..blocks {
                        let dots = minima::<K, T, G>(&factors, &tile, number * blocks + within, within);
                        add_products(&mut sums, &dots, &tile, number * blocks + within, blocks == 1);
                    }
                    for group in 0..G {
                        let minimum = scales(block(group).add(K::TYPE.minima_at()));
                        for token in 0..T {
                            let product = _mm256_mul_ps(minimum, sums[token][group]);
                            accumulators[token][group] = _mm256_add_ps(accumulators[token][group], product);
                        }
                    }
                    let mut sums = [[_mm256_setzero_ps(); G]; T];
                    for within in 0..blocks {
                        let at = number * blocks + within;
                        let dots = dots::<K, T, G>(&block, group_bytes, &factors, &tile, at, within);
                        add_products(&mut sums, &dots, &tile, at, blocks == 1);
                    }
                    for group in 0..G {
                        let scale = block_scale::<K>(block(group));
                        for token in 0..T {
                            let product = _mm256_mul_ps(scale, sums[token][group]);
                            accumulators[token][group] = _mm256_add_ps(accumulators[token][group], product);
                        }
                    }
                } else {
                    let mut weight_scales = [_mm256_setzero_ps(); G];
                    for group in 0..G {
                        weight_scales[group] = block_scale::<K>(block(group));
                    }
                    for within in 0..blocks {
                        let at = number * blocks + within;
                        let dots = dots::<K, T, G>(&block, group_bytes, &factors, &tile, at, within);
                        for token in 0..T {
                            let step = _mm256_set1_ps(*tile.scales[token].get_unchecked(at));
                            for group in 0..G {
                                let scale = _mm256_mul_ps(weight_scales[group], step);
                                accumulators[token][group] =
                                    accumulate(accumulators[token][group], dots[token][group], scale);
                            }
                        }
                    }
                }
            }
        }
        accumulators
    }
}

/// The scales of the block at `block`, as f32.
///
/// # Safety
/// A block of the type can be read there.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn block_scale<K: Kind>(block: *const u8) -> __m256 {
    if K::TYPE.scale_bytes() == 2 {
        // SAFETY: a block starts with its scales.
        return unsafe { scales(block) };
    }
    // SAFETY: a block starts with its scales, which are bytes.
    let exponents = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(block.cast()) });
    let one = _mm256_set1_epi32(1);
    let normal = _mm256_slli_epi32(_mm256_sub_epi32(exponents, one), 23);
    let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x0020_0000), exponents);
    let is_normal = _mm256_cmpgt_epi32(exponents, one);
    _mm256_castsi256_ps(_mm256_blendv_epi8(subnormal, normal, is_normal))
}

/// Adds `float(dot) · token scale` to `sums`, or makes them so if they are the `first`.
///
/// # Safety
/// The tile has 32 columns from `32 · at` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_products<const T: usize, const G: usize>(
    sums: &mut [[__m256; G]; T],
    dots: &[[__m256i; G]; T],
    tile: &Tile<'_, T>,
    at: usize,
    first: bool,
) {
    for token in 0..T {
        // SAFETY: by this function's contract.
        let step = _mm256_set1_ps(unsafe { *tile.scales[token].get_unchecked(at) });
        for group in 0..G {
            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[token][group]), step);
            // The sum of zero and a product is the product, but for the sign of a zero, which no accumulator keeps.
            sums[token][group] = if first { product } else { _mm256_add_ps(sums[token][group], product) };
        }
    }
}

/// The pair sums of `token` over part `part` of block `at`, or over both parts if there is one factor for them.
///
/// # Safety
/// The tile has 32 columns from `32 · at` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_sums<const T: usize>(
    tile: &Tile<'_, T>,
    token: usize,
    at: usize,
    part: usize,
    parts: usize,
) -> __m256i {
    // SAFETY: each 32 columns have two pairs of sums, by this function's contract; the loads need no alignment.
    unsafe {
        let pairs = tile.pair_sums[token].as_ptr().add(2 * at).cast::<i32>();
        if parts == 2 {
            return _mm256_set1_epi32(pairs.add(part).read_unaligned());
        }
        let [first, second] = [pairs.read_unaligned(), pairs.add(1).read_unaligned()];
        _mm256_add_epi16(_mm256_set1_epi32(first), _mm256_set1_epi32(second))
    }
}

/// Sums of minimum factors and activations of block `at` of a row, which is block `within` of its factors.
///
/// # Safety
/// The factors are of the tile's columns.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn minima<K: Kind, const T: usize, const G: usize>(
    factors: &[K::Factors; G],
    tile: &Tile<'_, T>,
    at: usize,
    within: usize,
) -> [[__m256i; G]; T] {
    let parts = K::Factors::PARTS;
    let mut dots = [[_mm256_setzero_si256(); G]; T];
    for part in 0..parts {
        for group in 0..G {
            // SAFETY: there are so many factors.
            let factor = unsafe { factors[group].minimum(within * parts + part) };
            for token in 0..T {
                // SAFETY: by this function's contract.
                let dot = _mm256_madd_epi16(unsafe { pair_sums(tile, token, at, part, parts) }, factor);
                let sum = &mut dots[token][group];
                *sum = if part == 0 { dot } else { _mm256_add_epi32(*sum, dot) };
            }
        }
    }
    dots
}

/// Sums of factors, values of codes and activations of block `at` of a row, which is block `within` of its packed block.
///
/// # Safety
/// `block` gives each group's packed block, whose factors are `factors`; the tile has its columns.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dots<K: Kind, const T: usize, const G: usize>(
    block: &impl Fn(usize) -> *const u8,
    group_bytes: usize,
    factors: &[K::Factors; G],
    tile: &Tile<'_, T>,
    at: usize,
    within: usize,
) -> [[__m256i; G]; T] {
    let parts = K::Factors::PARTS;
    let codes_at = K::TYPE.codes_at() + within * K::TYPE.code_bytes();
    // With eight bits, memory keeps arithmetic waiting as it is, and asking costs more than it saves.
    if T == 1 && K::TYPE.bits() < 8 {
        look_ahead::<G>(block(0).wrapping_add(codes_at), K::TYPE.code_bytes(), group_bytes);
    }
    let mut dots = [[_mm256_setzero_si256(); G]; T];
    let mut pairs = [[_mm256_setzero_si256(); G]; T];
    macro_rules! begin {
        ($part:expr) => {
            for token in 0..T {
                pairs[token] = [_mm256_setzero_si256(); G];
                if K::Codes::OFFSET != 0 {
                    // SAFETY: by this function's contract.
                    let sums = unsafe { pair_sums(tile, token, at, $part, 8 / K::Codes::VECTORS) };
                    pairs[token] = [_mm256_mullo_epi16(sums, _mm256_set1_epi16(-K::Codes::OFFSET)); G];
                }
            }
        };
    }
    macro_rules! add_quad {
        ($quad:literal, $part:expr) => {
            let column = at * BLOCK_COLUMNS + $part * PART_COLUMNS + $quad * 4;
            for group in 0..G {
                // SAFETY: the codes of this block are inside the packed block.
                let codes = unsafe { K::Codes::quad::<$quad>(block(group).add(codes_at), $part) };
                for token in 0..T {
                    // SAFETY: the columns of this block are within the token's values.
                    let x = unsafe { broadcast(tile.values[token], column) };
                    pairs[token][group] = if K::Codes::VECTORS == 1 {
                        // Magnitudes (up to 128) times activations with the weight's sign: a pair is at most
                        // 2 · 128 · 127, which fits 16 bits once.
                        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
                    } else {
                        _mm256_add_epi16(pairs[token][group], _mm256_maddubs_epi16(codes, x))
                    };
                }
            }
        };
    }
    macro_rules! end {
        ($part:expr) => {
            for group in 0..G {
                let part = if parts == 2 { $part } else { 0 };
                // SAFETY: there are so many factors.
                let factor = unsafe { factors[group].factor(within * parts + part) };
                for token in 0..T {
                    let dot = _mm256_madd_epi16(pairs[token][group], factor);
                    dots[token][group] = _mm256_add_epi32(dots[token][group], dot);
                }
            }
        };
    }
    // Written out, so that shifts are by constants. Quads that share a vector of nibbles are neighbours where they can be.
    macro_rules! each_quad {
        ($($quad:literal)*) => {
            match K::Codes::VECTORS {
                8 => {
                    begin!(0);
                    $(
                        add_quad!($quad, 0);
                        add_quad!($quad, 1);
                    )*
                    end!(0);
                }
                4 => {
                    for part in 0..2 {
                        // Were the parts known, the vectors that they share would be kept in more registers than there are.
                        let part = std::hint::black_box(part);
                        begin!(part);
                        $(add_quad!($quad, part);)*
                        end!(part);
                    }
                }
                _ => {
                    $(
                        add_quad!($quad, 0);
                        end!(0);
                        add_quad!($quad, 1);
                        end!(1);
                    )*
                }
            }
        };
    }
    each_quad!(0 1 2 3);
    dots
}
