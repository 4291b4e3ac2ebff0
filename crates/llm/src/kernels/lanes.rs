//! Kernels on floats, written once for instruction sets that differ in the width of their vectors: matrices that are not
//! quantized, and attention. The bits are those of `scalar`.
//!
//! The sixteen virtual lanes of a sum are as many vectors as it takes; several rows (or tokens) are summed side by side to
//! hide the latency of the additions.
//!
//! The functions are compiled for whoever calls them: they are inlined into functions that have the instructions enabled.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by row and token at once")]

use super::elementwise::LANES;
use super::{FloatType, Q8_VALUE_BLOCK_BYTES, scalar};
use crate::host::Half;

/// Sixteen floats in the vectors of one instruction set.
///
/// # Safety
/// Each function needs a processor with the instructions; those that load or store need sixteen
/// elements, of any alignment.
pub(super) trait Lanes: Copy {
    /// What half precision is kept as on the hosts that have the instructions.
    const HALF: FloatType;

    /// The same number in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen elements of a row, as f32.
    unsafe fn load(float: FloatType, elements: *const u8) -> Self;
    /// Sixteen signed bytes.
    unsafe fn load_codes(codes: *const u8) -> Self;
    /// A number of two bytes in half precision, in all lanes.
    unsafe fn splat_half(half: *const u8) -> Self;
    /// `self · other`.
    unsafe fn multiply(self, other: Self) -> Self;
    /// `self + first · second`, both rounded.
    unsafe fn add_products(self, first: Self, second: Self) -> Self;
    /// Writes sixteen floats.
    unsafe fn store(self, out: *mut f32);
    /// The fixed reduction tree: 16 → 8 → 4 → 2 → 1, lane `i` with lane `i + half`.
    unsafe fn reduce(self) -> f32;
}

/// Dot products of `R` rows with `T` tokens over the virtual lanes.
///
/// # Safety
/// The processor has the instructions; each row and each token has at least `columns` elements.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const T: usize>(
    float: FloatType,
    rows: [*const u8; R],
    tokens: [*const f32; T],
    columns: usize,
) -> [[f32; R]; T] {
    let whole = columns / LANES * LANES;
    // SAFETY: the sixteen elements from each `column` on are within `columns`, and so are the last ones.
    unsafe {
        let mut sums = [[L::splat(0.0); R]; T];
        for column in (0..whole).step_by(LANES) {
            for row in 0..R {
                let weights = L::load(float, rows[row].add(column * float.bytes()));
                for token in 0..T {
                    let x = L::load(FloatType::F32, tokens[token].add(column).cast());
                    sums[token][row] = sums[token][row].add_products(weights, x);
                }
            }
        }
        let mut out = [[0.0; R]; T];
        for token in 0..T {
            for row in 0..R {
                if whole < columns {
                    let mut single = [0.0f32; LANES];
                    sums[token][row].store(single.as_mut_ptr());
                    let elements = std::slice::from_raw_parts(rows[row], columns * float.bytes());
                    for column in whole..columns {
                        let x = *tokens[token].add(column);
                        single[column - whole] += scalar::float_at(float, elements, column) * x;
                    }
                    sums[token][row] = L::load(FloatType::F32, single.as_ptr().cast());
                }
                out[token][row] = sums[token][row].reduce();
            }
        }
        out
    }
}

/// Float rows times tokens: `rows` holds whole rows of `columns` floats, `x` is `[tokens][columns]`, `out` is
/// `[tokens][rows]`. With one token, `A` rows are summed side by side, with more, `A` tokens.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub(super) unsafe fn float_rows<L: Lanes, const A: usize>(
    float: FloatType,
    rows: &[u8],
    columns: usize,
    x: &[f32],
    out: &mut [f32],
) {
    // The type is made a constant of each loop.
    // SAFETY: by this function's contract.
    unsafe {
        match float {
            FloatType::F32 => rows_of::<L, A>(FloatType::F32, rows, columns, x, out),
            FloatType::F16 => rows_of::<L, A>(FloatType::F16, rows, columns, x, out),
            FloatType::Bf16 => rows_of::<L, A>(FloatType::Bf16, rows, columns, x, out),
        }
    }
}

/// Float rows times tokens, `A` rows or `A` tokens at a time.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn rows_of<L: Lanes, const A: usize>(
    float: FloatType,
    rows: &[u8],
    columns: usize,
    x: &[f32],
    out: &mut [f32],
) {
    let row_bytes = columns * float.bytes();
    let row_count = rows.len() / row_bytes;
    let tokens = x.len() / columns;
    assert!(out.len() >= tokens * row_count, "the output is smaller than tokens times rows");
    let row_at = |number: usize| rows[number * row_bytes..][..row_bytes].as_ptr();
    let token_at = |number: usize| x[number * columns..][..columns].as_ptr();
    let mut row = 0;
    while row < row_count {
        if tokens == 1 && row + A <= row_count {
            let pointers = std::array::from_fn(|number| row_at(row + number));
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { tile::<L, A, 1>(float, pointers, [token_at(0)], columns) };
            out[row..row + A].copy_from_slice(&dots[0]);
            row += A;
            continue;
        }
        let mut token = 0;
        while token + A <= tokens {
            let pointers = std::array::from_fn(|number| token_at(token + number));
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { tile::<L, 1, A>(float, [row_at(row)], pointers, columns) };
            for (number, dot) in dots.iter().enumerate() {
                out[(token + number) * row_count + row] = dot[0];
            }
            token += A;
        }
        for token in token..tokens {
            // SAFETY: each pointer is the start of a whole row or token.
            let dots = unsafe { tile::<L, 1, 1>(float, [row_at(row)], [token_at(token)], columns) };
            out[token * row_count + row] = dots[0][0];
        }
        row += 1;
    }
}

/// Attention scores, as `scalar` has them, of `A` keys and `Q` queries at a time.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub(super) unsafe fn attention_scores<L: Lanes, const A: usize, const Q: usize>(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    let mut next = 0;
    let mut many = queries.chunks_exact(Q * length);
    for queries in many.by_ref() {
        // SAFETY: by this function's contract.
        unsafe { scores_of::<L, A, Q>(queries, keys, length, scale, &mut out[next..], stride) };
        next += Q * stride;
    }
    for query in many.remainder().chunks_exact(length) {
        // SAFETY: by this function's contract.
        unsafe { scores_of::<L, A, 1>(query, keys, length, scale, &mut out[next..], stride) };
        next += stride;
    }
}

/// Scores of `Q` queries.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn scores_of<L: Lanes, const A: usize, const Q: usize>(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    let queries: [_; Q] = std::array::from_fn(|row| queries[row * length..][..length].as_ptr());
    let mut write = |position: usize, dots: &[&[f32]]| {
        for (row, dots) in dots.iter().enumerate() {
            let out = &mut out[row * stride + position..][..dots.len()];
            out.iter_mut().zip(*dots).for_each(|(out, dot)| *out = dot * scale);
        }
    };
    let key_at = |position: usize| keys[position * length..][..length].as_ptr().cast::<u8>();
    let positions = keys.len() / length;
    let mut position = 0;
    while position + A <= positions {
        let keys = std::array::from_fn(|number| key_at(position + number));
        // SAFETY: each pointer is the start of a key or query of `length` elements.
        let dots = unsafe { tile::<L, A, Q>(L::HALF, keys, queries, length) };
        write(position, &dots.each_ref().map(|dots| &dots[..]));
        position += A;
    }
    for position in position..positions {
        // SAFETY: each pointer is the start of a key or query of `length` elements.
        let dots = unsafe { tile::<L, 1, Q>(L::HALF, [key_at(position)], queries, length) };
        write(position, &dots.each_ref().map(|dots| &dots[..]));
    }
}

/// Values of the cache, sixteen columns at a time.
trait Values<L: Lanes>: Copy {
    /// `C` times sixteen columns from `column` on of the value at `position`, and the factor of its probability.
    ///
    /// # Safety
    /// The processor has the instructions; the position is one of the values, and the columns are within it.
    unsafe fn load<const C: usize>(self, position: usize, column: usize) -> ([L; C], Option<L>);
}

/// `[positions × length]` numbers in half precision.
#[derive(Clone, Copy)]
struct HalfValues<'a>(&'a [Half], usize);

impl<L: Lanes> Values<L> for HalfValues<'_> {
    #[inline(always)]
    unsafe fn load<const C: usize>(self, position: usize, column: usize) -> ([L; C], Option<L>) {
        let at = position * self.1 + column;
        debug_assert!(at + C * LANES <= self.0.len());
        // SAFETY: the columns are within the value, by this function's contract.
        unsafe {
            let mut columns = [L::splat(0.0); C];
            for number in 0..C {
                columns[number] = L::load(L::HALF, self.0.as_ptr().add(at + number * LANES).cast());
            }
            (columns, None)
        }
    }
}

/// `[positions][length / 32]` blocks of Q8_0.
#[derive(Clone, Copy)]
struct Q8Values<'a>(&'a [u8], usize);

impl<L: Lanes> Values<L> for Q8Values<'_> {
    #[inline(always)]
    unsafe fn load<const C: usize>(self, position: usize, column: usize) -> ([L; C], Option<L>) {
        let at = (position * self.1 + column) / 32 * Q8_VALUE_BLOCK_BYTES;
        debug_assert!(C == 2 && at + Q8_VALUE_BLOCK_BYTES <= self.0.len());
        // SAFETY: the block is within the value, by this function's contract: a scale of two bytes, then 32 codes.
        unsafe {
            let block = self.0.as_ptr().add(at);
            let mut columns = [L::splat(0.0); C];
            for number in 0..C {
                columns[number] = L::load_codes(block.add(2 + number * LANES));
            }
            (columns, Some(L::splat_half(block)))
        }
    }
}

/// Adds the values of all positions to `C` times sixteen columns of `R` rows.
///
/// # Safety
/// The processor has the instructions. The columns from `column` on are within `length`, which is that of the values;
/// `probabilities` has `positions` numbers from each multiple of `stride` below `R · stride` on, and `out` has `R` rows.
#[inline(always)]
unsafe fn value_tile<L: Lanes, V: Values<L>, const R: usize, const C: usize>(
    values: V,
    positions: usize,
    probabilities: &[f32],
    stride: usize,
    length: usize,
    column: usize,
    out: &mut [f32],
) {
    // SAFETY: by this function's contract.
    unsafe {
        let mut sums = [[L::splat(0.0); C]; R];
        for row in 0..R {
            for number in 0..C {
                let out = out.as_ptr().add(row * length + column + number * LANES);
                sums[row][number] = L::load(FloatType::F32, out.cast());
            }
        }
        for position in 0..positions {
            let (columns, factor) = values.load::<C>(position, column);
            for row in 0..R {
                let mut weight = L::splat(*probabilities.as_ptr().add(row * stride + position));
                if let Some(factor) = factor {
                    weight = weight.multiply(factor);
                }
                for number in 0..C {
                    sums[row][number] = sums[row][number].add_products(weight, columns[number]);
                }
            }
        }
        for row in 0..R {
            for number in 0..C {
                sums[row][number].store(out.as_mut_ptr().add(row * length + column + number * LANES));
            }
        }
    }
}

/// Adds the values of all positions to all rows, tiles of `R` rows and of `C` times sixteen columns, then of single rows.
/// `length` is a multiple of 32, or of 16 if values may be loaded so.
///
/// # Safety
/// The processor has the instructions, and `values` has `positions` values of `length` columns.
#[inline(always)]
unsafe fn value_rows<L: Lanes, V: Values<L>, const R: usize, const C: usize>(
    values: V,
    positions: usize,
    probabilities: &[f32],
    stride: usize,
    length: usize,
    out: &mut [f32],
) {
    let rows = out.len() / length;
    let last = rows.saturating_sub(1) * stride + positions;
    assert!(positions <= stride && last <= probabilities.len(), "a probability for every row and position");
    let mut row = 0;
    while row < rows {
        let (probabilities, out) = (&probabilities[row * stride..], &mut out[row * length..]);
        let many = rows - row >= R;
        let mut column = 0;
        while column < length {
            // SAFETY: there is a probability for every row and position, `out` has the rows that are left, and the columns
            // are within `length`.
            unsafe {
                macro_rules! tile {
                    ($rows:expr, $columns:expr) => {{
                        value_tile::<L, V, { $rows }, { $columns }>(
                            values,
                            positions,
                            probabilities,
                            stride,
                            length,
                            column,
                            out,
                        );
                        $columns
                    }};
                }
                column += LANES
                    * match (many, length - column >= 2 * LANES) {
                        (true, true) => tile!(R, C),
                        (true, false) => tile!(R, 1),
                        (false, true) => tile!(1, 2),
                        (false, false) => tile!(1, 1),
                    };
            }
        }
        row += if many { R } else { 1 };
    }
}

/// Attention output, as `scalar` has it, of `R` rows and `C` times sixteen columns, one or two, at a time.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub(super) unsafe fn attention_values<L: Lanes, const R: usize, const C: usize>(
    probabilities: &[f32],
    stride: usize,
    values: &[Half],
    length: usize,
    out: &mut [f32],
) {
    if !length.is_multiple_of(LANES) {
        return scalar::attention_values(probabilities, stride, values, length, out);
    }
    let positions = values.len() / length;
    // SAFETY: by this function's contract.
    unsafe {
        value_rows::<L, _, R, C>(HalfValues(values, length), positions, probabilities, stride, length, out);
    }
}

/// Attention output over values of Q8_0, as `scalar` has it, of `R` rows at a time.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub(super) unsafe fn attention_values_q8<L: Lanes, const R: usize>(
    probabilities: &[f32],
    stride: usize,
    values: &[u8],
    length: usize,
    out: &mut [f32],
) {
    assert!(length.is_multiple_of(32), "values are whole blocks");
    let positions = values.len() / (length / 32 * Q8_VALUE_BLOCK_BYTES);
    // SAFETY: by this function's contract.
    unsafe {
        value_rows::<L, _, R, 2>(Q8Values(values, length), positions, probabilities, stride, length, out);
    }
}

/// The kernels on floats of an instruction set, compiled for it: `$abreast` rows, tokens or keys, `$queries` queries and
/// `$rows` rows of attention's output are computed side by side.
macro_rules! float_kernels {
    ($features:literal, $lanes:ty, abreast $abreast:literal, queries $queries:literal, rows $rows:literal) => {
        /// Float rows times tokens.
        #[target_feature(enable = $features)]
        pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
            // SAFETY: this function's features are those of the lanes.
            unsafe { lanes::float_rows::<$lanes, $abreast>(float, rows, columns, x, out) };
        }

        /// Attention scores of several queries.
        #[target_feature(enable = $features)]
        pub(crate) fn attention_scores(
            queries: &[f32],
            keys: &[Half],
            length: usize,
            scale: f32,
            out: &mut [f32],
            stride: usize,
        ) {
            // SAFETY: this function's features are those of the lanes.
            unsafe {
                lanes::attention_scores::<$lanes, $abreast, $queries>(
                    queries, keys, length, scale, out, stride,
                );
            }
        }

        /// Attention output of several rows.
        #[target_feature(enable = $features)]
        pub(crate) fn attention_values(
            probabilities: &[f32],
            stride: usize,
            values: &[Half],
            length: usize,
            out: &mut [f32],
        ) {
            // SAFETY: this function's features are those of the lanes.
            unsafe {
                lanes::attention_values::<$lanes, $rows, 2>(probabilities, stride, values, length, out)
            };
        }

        /// Attention output of several rows over values of Q8_0.
        #[target_feature(enable = $features)]
        pub(crate) fn attention_values_q8(
            probabilities: &[f32],
            stride: usize,
            values: &[u8],
            length: usize,
            out: &mut [f32],
        ) {
            // SAFETY: this function's features are those of the lanes.
            unsafe {
                lanes::attention_values_q8::<$lanes, $rows>(probabilities, stride, values, length, out)
            };
        }
    };
}
pub(super) use float_kernels;
