//! AVX2 kernels (with F16C for half-precision conversion): the bits of `scalar`, eight rows at a time.
//!
//! A matrix kernel works on a tile of `T` tokens times `G` groups of eight rows: one token and four groups when
//! decoding, so that four streams of weights are in flight; four tokens and one group in a prompt, so that weights
//! are unpacked once for four tokens. Every row of a tile has its own accumulator, so tiling changes no bit.
//!
//! Every function here needs a CPU with AVX2 and F16C. The pointer arithmetic stays inside the slices that the
//! caller passes, by the lengths that each function checks first.

use std::arch::x86_64::*;

use super::elementwise::{self, LANES};
use super::{
    Activations, FloatType, GROUP_ROWS, Q4_BLOCK_BYTES, Q8_BLOCK_BYTES, SCALE_BYTES, TernaryScale, UNIT_BYTES,
};

/// The most tokens of a tile.
const TOKENS: usize = 4;
/// Groups of a tile when there is one token.
const GROUPS: usize = 4;

/// The activations of a tile's tokens.
#[derive(Clone, Copy)]
struct Tile<'a, const T: usize> {
    values: [&'a [i8]; T],
    scales: [&'a [f32]; T],
    sums: [&'a [i32]; T],
}

impl<'a, const T: usize> Tile<'a, T> {
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
    let rows = packed.len() / group_bytes * GROUP_ROWS;
    let tokens = activations.tokens();
    assert!(out.len() >= tokens * rows, "the output is smaller than tokens times rows");
    let mut groups = packed.chunks_exact(GROUPS * group_bytes);
    let mut row = 0;
    if tokens == 1 {
        for groups in groups.by_ref() {
            run_tile::<K, 1, GROUPS>(kernel, groups, group_bytes, activations, 0, out, rows, row);
            row += GROUPS * GROUP_ROWS;
        }
    }
    for group in packed[row / GROUP_ROWS * group_bytes..].chunks_exact(group_bytes) {
        let mut token = 0;
        while token + TOKENS <= tokens {
            run_tile::<K, TOKENS, 1>(kernel, group, group_bytes, activations, token, out, rows, row);
            token += TOKENS;
        }
        match tokens - token {
            0 => {}
            1 => run_tile::<K, 1, 1>(kernel, group, group_bytes, activations, token, out, rows, row),
            2 => run_tile::<K, 2, 1>(kernel, group, group_bytes, activations, token, out, rows, row),
            _ => run_tile::<K, 3, 1>(kernel, group, group_bytes, activations, token, out, rows, row),
        }
        row += GROUP_ROWS;
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
#[expect(clippy::too_many_arguments, reason = "a private helper of one caller")]
fn run_tile<K: TileKernel, const T: usize, const G: usize>(
    kernel: &K,
    groups: &[u8],
    group_bytes: usize,
    activations: &Activations,
    token: usize,
    out: &mut [f32],
    rows: usize,
    row: usize,
) {
    assert!(groups.len() == G * group_bytes, "a tile gets exactly its groups");
    // SAFETY: this function's features are the kernel's, and the length was checked.
    let products = unsafe { kernel.tile::<T, G>(groups, group_bytes, Tile::new(activations, token)) };
    for (number, products) in products.iter().enumerate() {
        let out = &mut out[(token + number) * rows + row..][..G * GROUP_ROWS];
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

/// Eight elements of a float row at `column`, as f32.
///
/// # Safety
/// `row` holds eight elements from `column` on.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn load_floats(float: FloatType, row: *const u8, column: usize) -> __m256 {
    // SAFETY: the elements are readable by this function's contract; all loads are unaligned ones.
    unsafe {
        match float {
            FloatType::F32 => _mm256_loadu_ps(row.cast::<f32>().add(column)),
            FloatType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(row.cast::<u16>().add(column).cast())),
            FloatType::Bf16 => {
                let upper = _mm256_cvtepu16_epi32(_mm_loadu_si128(row.cast::<u16>().add(column).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32(upper, 16))
            }
        }
    }
}

/// Dot products of `R` rows with `T` tokens over the virtual lanes. `rest(row, column)` gives the elements after
/// the last whole sixteen.
///
/// # Safety
/// Each row and each token has at least `columns` elements.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn float_tile<const R: usize, const T: usize>(
    float: FloatType,
    rows: [*const u8; R],
    tokens: [*const f32; T],
    columns: usize,
) -> [[f32; R]; T] {
    let mut lanes = [[[_mm256_setzero_ps(); 2]; R]; T];
    let whole = columns / LANES * LANES;
    for column in (0..whole).step_by(LANES) {
        for row in 0..R {
            for half in 0..2 {
                let at = column + half * 8;
                // SAFETY: eight elements from `at` on are within `columns`.
                unsafe {
                    let weights = load_floats(float, rows[row], at);
                    for token in 0..T {
                        let product = _mm256_mul_ps(weights, _mm256_loadu_ps(tokens[token].add(at)));
                        lanes[token][row][half] = _mm256_add_ps(lanes[token][row][half], product);
                    }
                }
            }
        }
    }
    let mut out = [[0.0; R]; T];
    for token in 0..T {
        for row in 0..R {
            let mut sums = [0.0f32; LANES];
            // SAFETY: `sums` has sixteen elements.
            unsafe {
                _mm256_storeu_ps(sums.as_mut_ptr(), lanes[token][row][0]);
                _mm256_storeu_ps(sums.as_mut_ptr().add(8), lanes[token][row][1]);
            }
            for column in whole..columns {
                // SAFETY: `column` is within the row and the token.
                unsafe {
                    let weight = match float {
                        FloatType::F32 => rows[row].cast::<f32>().add(column).read_unaligned(),
                        FloatType::F16 => {
                            let bits = rows[row].cast::<u16>().add(column).read_unaligned();
                            _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
                        }
                        FloatType::Bf16 => {
                            let bits = rows[row].cast::<u16>().add(column).read_unaligned();
                            f32::from_bits(u32::from(bits) << 16)
                        }
                    };
                    sums[column % LANES] += weight * *tokens[token].add(column);
                }
            }
            out[token][row] = elementwise::reduce(&sums);
        }
    }
    out
}

/// Float rows times tokens, `R` rows and `T` tokens at a time.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    // The type is made a constant of each loop.
    match float {
        FloatType::F32 => float_rows_of(FloatType::F32, rows, columns, x, out),
        FloatType::F16 => float_rows_of(FloatType::F16, rows, columns, x, out),
        FloatType::Bf16 => float_rows_of(FloatType::Bf16, rows, columns, x, out),
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn float_rows_of(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    let row_bytes = columns * float.bytes();
    let row_count = rows.len() / row_bytes;
    let tokens = x.len() / columns;
    assert!(out.len() >= tokens * row_count, "the output is smaller than tokens times rows");
    let row_at = |number: usize| rows[number * row_bytes..][..row_bytes].as_ptr();
    let token_at = |number: usize| x[number * columns..][..columns].as_ptr();
    let mut row = 0;
    while row < row_count {
        if tokens == 1 && row + 4 <= row_count {
            let pointers = [row_at(row), row_at(row + 1), row_at(row + 2), row_at(row + 3)];
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<4, 1>(float, pointers, [token_at(0)], columns) };
            out[row..row + 4].copy_from_slice(&dots[0]);
            row += 4;
            continue;
        }
        let mut token = 0;
        while token + TOKENS <= tokens {
            let pointers = [token_at(token), token_at(token + 1), token_at(token + 2), token_at(token + 3)];
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, TOKENS>(float, [row_at(row)], pointers, columns) };
            for (number, dot) in dots.iter().enumerate() {
                out[(token + number) * row_count + row] = dot[0];
            }
            token += TOKENS;
        }
        for token in token..tokens {
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { float_tile::<1, 1>(float, [row_at(row)], [token_at(token)], columns) };
            out[token * row_count + row] = dots[0][0];
        }
        row += 1;
    }
}

/// Attention scores of one query head over f16 keys.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_scores(query: &[f32], keys: &[u16], stride: usize, scale: f32, out: &mut [f32]) {
    let columns = query.len();
    let key_at = |position: usize| keys[position * stride..][..columns].as_ptr().cast::<u8>();
    let mut position = 0;
    while position + 4 <= out.len() {
        let pointers = [key_at(position), key_at(position + 1), key_at(position + 2), key_at(position + 3)];
        // SAFETY: each pointer is the start of a key of `columns` elements.
        let dots = unsafe { float_tile::<4, 1>(FloatType::F16, pointers, [query.as_ptr()], columns) };
        for (out, dot) in out[position..].iter_mut().zip(dots[0]) {
            *out = dot * scale;
        }
        position += 4;
    }
    for position in position..out.len() {
        // SAFETY: the pointer is the start of a key of `columns` elements.
        let dots =
            unsafe { float_tile::<1, 1>(FloatType::F16, [key_at(position)], [query.as_ptr()], columns) };
        out[position] = dots[0][0] * scale;
    }
}

/// Attention output of one query head over f16 values.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn attention_values(probabilities: &[f32], values: &[u16], stride: usize, out: &mut [f32]) {
    let columns = out.len();
    let last = probabilities.len().saturating_sub(1);
    assert!(
        probabilities.is_empty() || values.len() >= last * stride + columns,
        "a value for every position"
    );
    let mut column = 0;
    while column + 32 <= columns {
        let mut sums = [_mm256_setzero_ps(); 4];
        for (position, probability) in probabilities.iter().enumerate() {
            let probability = _mm256_set1_ps(*probability);
            for (number, sum) in sums.iter_mut().enumerate() {
                let at = position * stride + column + number * 8;
                // SAFETY: `at + 8` is within the position's value, which is within the slice.
                let value = unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.as_ptr().add(at).cast())) };
                *sum = _mm256_add_ps(*sum, _mm256_mul_ps(probability, value));
            }
        }
        for (number, sum) in sums.iter().enumerate() {
            // SAFETY: `column + 32` is within `out`.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(column + number * 8), *sum) };
        }
        column += 32;
    }
    if column < columns {
        super::scalar::attention_values(probabilities, &values[column..], stride, &mut out[column..]);
    }
}

/// Rounds to half precision, ties to even.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn to_half(x: &[f32], out: &mut [u16]) {
    let whole = x.len().min(out.len()) / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: `at + 8` is within both slices.
        unsafe {
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr().add(at)));
            _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), halves);
        }
    }
    super::scalar::to_half(&x[whole..], &mut out[whole..]);
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
    softmax(scores: &mut [f32]);
    silu_multiply(gate: &mut [f32], up: &[f32]);
    squared_relu_multiply(gate: &mut [f32], up: &[f32]);
    add(x: &mut [f32], y: &[f32]);
    quantize_blocks(x: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]);
    quantize_token(x: &[f32], values: &mut [i8], sums: &mut [i32]) -> f32;
}
