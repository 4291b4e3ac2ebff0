//! Matrix kernels of instruction sets that sum the products of four bytes in a lane, written once for all of them: the
//! bits of `scalar`.
//!
//! - [`Machine`]: the vectors of one instruction set. A *strip* is what a vector holds: four bytes of each of
//!   [`Machine::ROWS`] rows, which are half a group, a group or two groups.
//! - [`Sums`]: how a machine multiplies codes with activations and sums the products.
//! - [`TileKernel`]: a kernel over a tile of `T` tokens times `N` strips, of which it sums `S` side by side.
//! - [`InstructionSet`]: covers a matrix with tiles of the shapes that suit it, by [`cover`] and [`run_tile`].
//! - [`blocks`], [`ternary`]: products of whole matrices.
//!
//! Every row of a tile has its own accumulator, so tiling changes no bit. The pointer arithmetic stays inside the slices
//! that the caller passes, by the lengths that [`cover`] checks first.
//!
//! A machine's functions are compiled for its instructions, the generic ones here for whoever calls them: they are
//! inlined into [`InstructionSet`]'s functions, which have the instructions enabled.

#![expect(clippy::needless_range_loop, reason = "tiles are indexed by strip and token at once")]

mod blocks;
mod ternary;

use super::{Activations, GROUP_ROWS};

pub(super) use blocks::blocks;
pub(super) use ternary::ternary;

/// The vectors of one instruction set.
///
/// # Safety
/// Each function needs a processor with the instructions. Those that read `packed` do so at `at + group · group_bytes` for
/// each group of a strip, of which they need 4 bytes for each row (`strip`), 2 (`halves`) or 1 (`row_bytes`).
pub(super) trait Machine: Sized {
    /// Rows of a strip: 4, 8 or 16.
    const ROWS: usize;
    /// Which codes of ternary weights are multiplied four times as large: their shifts are spared for one at the end of a
    /// sum, where the machine has registers for a second sum.
    const FOURFOLD: [bool; 4];

    /// Four bytes for each row.
    type Bytes: Copy;
    /// An integer of 32 bits for each row.
    type Integers: Copy;
    /// An f32 for each row.
    type Floats: Copy;
    /// An integer for each row, within 24 bits, in whichever of the two forms is multiplied faster.
    type Weights: Copy;
    /// Products of codes from 0 to 127.
    type Small: Sums<Bytes = Self::Bytes, Integers = Self::Integers>;
    /// Products of signed codes.
    type Signed: Sums<Bytes = Self::Bytes, Integers = Self::Integers>;
    /// Whether tiles of one strip are summed by [`matrix_product`](Self::matrix_product), instead of quad by quad.
    const MATRICES: bool = false;

    /// The sums of products of `T` tokens' quads from `quad` on with `Q` quads of signed codes of a strip, which are `excess`
    /// larger than what they stand for.
    unsafe fn matrix_product<const T: usize, const Q: usize>(
        codes: [Self::Bytes; Q],
        excess: u8,
        tokens: &Tokens<'_, T>,
        quad: usize,
    ) -> [Self::Integers; T] {
        let _ = (codes, excess, tokens, quad);
        unreachable!("only machines with `MATRICES` multiply matrices")
    }

    /// A strip's vector.
    unsafe fn strip(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> Self::Bytes;
    /// Numbers in half precision of the strips from `first` on, one for each row.
    unsafe fn halves<const S: usize>(
        packed: &[u8],
        at: usize,
        group_bytes: usize,
        first: usize,
    ) -> [Self::Floats; S];
    /// A byte for each row of a strip, without a sign.
    unsafe fn row_bytes(packed: &[u8], at: usize, group_bytes: usize, strip: usize) -> Self::Integers;

    /// `bytes & mask`, in each byte.
    unsafe fn and(bytes: Self::Bytes, mask: u8) -> Self::Bytes;
    /// The bits of both.
    unsafe fn or(first: Self::Bytes, second: Self::Bytes) -> Self::Bytes;
    /// Bits moved down by 0 to 7, and among them some of the neighbouring byte's.
    unsafe fn down(bytes: Self::Bytes, count: usize) -> Self::Bytes;
    /// Bits moved up by 0 to 7, and among them some of the neighbouring byte's.
    unsafe fn up(bytes: Self::Bytes, count: usize) -> Self::Bytes;
    /// A table of sixteen bytes.
    unsafe fn table(values: &[u8; 16]) -> Self::Bytes;
    /// The values of a table at the places that `bytes` has, from 0 to 15.
    unsafe fn look_up(table: Self::Bytes, bytes: Self::Bytes) -> Self::Bytes;

    /// The same integer in all rows.
    unsafe fn integers(value: i32) -> Self::Integers;
    /// `first + second`.
    unsafe fn add_integers(first: Self::Integers, second: Self::Integers) -> Self::Integers;
    /// `value & mask`.
    unsafe fn and_integers(value: Self::Integers, mask: i32) -> Self::Integers;
    /// `value << count`, less than 32.
    unsafe fn up_integers(value: Self::Integers, count: u32) -> Self::Integers;
    /// `value >> count`, less than 32, with the sign kept.
    unsafe fn down_integers(value: Self::Integers, count: u32) -> Self::Integers;

    /// Integers as weights.
    unsafe fn weights(value: Self::Integers) -> Self::Weights;
    /// `value · weight`, within 24 bits.
    unsafe fn weighted(value: Self::Integers, weight: Self::Weights) -> Self::Weights;
    /// `first + second`, within 24 bits.
    unsafe fn add_weights(first: Self::Weights, second: Self::Weights) -> Self::Weights;
    /// Weights as floats, exactly.
    unsafe fn weights_to_floats(value: Self::Weights) -> Self::Floats;

    /// The same float in all rows.
    unsafe fn floats(value: f32) -> Self::Floats;
    /// The nearest floats.
    unsafe fn to_floats(value: Self::Integers) -> Self::Floats;
    /// Scales of MXFP4 by their exponent bytes: half of 2^(e - 127), of which the two smallest are subnormal.
    unsafe fn exponents(value: Self::Integers) -> Self::Floats;
    /// `first + second`.
    unsafe fn add(first: Self::Floats, second: Self::Floats) -> Self::Floats;
    /// `first · second`.
    unsafe fn multiply(first: Self::Floats, second: Self::Floats) -> Self::Floats;
    /// `first / second`.
    unsafe fn divide(first: Self::Floats, second: Self::Floats) -> Self::Floats;
    /// Writes a float for each row.
    unsafe fn store(out: *mut f32, value: Self::Floats);
}

/// How a machine sums products of four bytes in each row.
///
/// # Safety
/// Each function needs a processor with the instructions; `quad` needs `4 · (number + 1)` columns.
pub(super) trait Sums {
    /// Four bytes for each row.
    type Bytes: Copy;
    /// An integer for each row.
    type Integers: Copy;
    /// Four codes for each row, ready to be multiplied.
    type Codes: Copy;
    /// Four columns of a token, ready to be multiplied.
    type Quad: Copy;
    /// A sum of products for each row.
    type Sum: Copy;

    /// How much larger than they are codes are multiplied.
    const EXCESS: u8;

    /// Codes as they are.
    unsafe fn codes(bytes: Self::Bytes) -> Self::Codes;
    /// Codes that are larger by [`EXCESS`](Self::EXCESS) already, modulo 256.
    unsafe fn raised_codes(bytes: Self::Bytes) -> Self::Codes;
    /// Columns `4 · number` to `4 · number + 3`.
    unsafe fn quad(columns: Columns<'_>, number: usize) -> Self::Quad;
    /// A sum that starts with `value`.
    unsafe fn start(value: Self::Integers) -> Self::Sum;
    /// `sum` and the four products of each row.
    unsafe fn add(sum: Self::Sum, codes: Self::Codes, quad: Self::Quad) -> Self::Sum;
    /// What it has come to.
    unsafe fn total(sum: Self::Sum) -> Self::Integers;
}

/// The quantized columns of one token.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// The values.
    #[cfg_attr(
        all(target_arch = "wasm32", not(target_feature = "relaxed-simd")),
        expect(dead_code, reason = "without relaxed SIMD, WebAssembly's kernels read them as arranged")
    )]
    pub values: &'a [i8],
    /// What the kernels made of them besides: two words for each four, or nothing.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        expect(dead_code, reason = "only the kernels of WebAssembly SIMD arrange values")
    )]
    pub arranged: &'a [i32],
}

/// The activations of a tile's tokens.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a, const T: usize> {
    columns: [Columns<'a>; T],
    /// The values of all of them, one after the other.
    values: &'a [i8],
    /// Of blocks or of the token.
    scales: [&'a [f32]; T],
    /// Of the columns of blocks or units.
    sums: [&'a [i32]; T],
    /// Of sixteen columns each, if there are scales for blocks.
    pair_sums: [&'a [[i16; 2]]; T],
}

impl<'a, const T: usize> Tokens<'a, T> {
    /// `T` tokens from `token` on.
    #[inline]
    fn new(activations: &'a Activations, token: usize) -> Self {
        let of = |number| activations.token(token + number);
        let columns =
            |number| Columns { values: of(number).0, arranged: activations.arranged(token + number) };
        Self {
            columns: std::array::from_fn(columns),
            values: activations.values(token, T),
            scales: std::array::from_fn(|number| of(number).1),
            sums: std::array::from_fn(|number| of(number).2),
            pair_sums: std::array::from_fn(|number| activations.pair_sums(token + number)),
        }
    }

    /// The tokens' columns from a quad on, and how many bytes after a token's the next one's are.
    #[inline]
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX reads tokens so"))]
    pub fn columns_from(&self, quad: usize) -> (*const i8, usize) {
        (self.values[4 * quad..].as_ptr(), self.values.len() / T)
    }
}

/// A kernel over one tile: reads `N` strips and returns the products of their rows, summing `S` strips side by side (`S`
/// divides `N`).
pub(super) trait TileKernel {
    /// # Safety
    /// The processor has the machine's instructions; `packed` holds the groups of `N` strips, `group_bytes` each, made for
    /// the columns of the tokens.
    unsafe fn tile<M: Machine, const T: usize, const N: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tokens: &Tokens<'_, T>,
    ) -> [[M::Floats; N]; T];
}

/// An instruction set that runs tile kernels.
pub(super) trait InstructionSet {
    /// Covers a matrix with tiles; `out` is `[tokens][rows]`.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn multiply<K: TileKernel>(kernel: &K, product: Product<'_>);
}

/// What there is to multiply.
pub(super) struct Product<'a> {
    /// Whole groups.
    pub packed: &'a [u8],
    /// Bytes of a group.
    pub group_bytes: usize,
    /// A batch of tokens.
    pub activations: &'a Activations,
    /// `[tokens][rows]`.
    pub out: &'a mut [f32],
}

/// A part of a product: so many tokens and groups from here on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The first token.
    pub token: usize,
    /// How many.
    pub tokens: usize,
    /// The first group.
    pub group: usize,
    /// How many.
    pub groups: usize,
}

/// Calls `run` with parts that cover a product: `shape` says how many tokens and groups to take of those that are left.
/// The groups of a part are the same for all tokens.
#[inline(always)]
pub(super) fn cover(
    product: &mut Product<'_>,
    groups_of: impl Fn(usize, usize) -> usize,
    tokens_of: impl Fn(usize, usize) -> usize,
    mut run: impl FnMut(&mut Product<'_>, Part),
) {
    let all = product.packed.len() / product.group_bytes;
    let tokens = product.activations.tokens();
    assert!(product.out.len() >= tokens * all * GROUP_ROWS, "the output is smaller than tokens times rows");
    let mut group = 0;
    while group < all {
        let groups = groups_of(tokens, all - group);
        let mut token = 0;
        while token < tokens {
            let width = tokens_of(tokens - token, groups);
            assert!(group + groups <= all && token + width <= tokens, "a part is of what is left");
            run(product, Part { token, tokens: width, group, groups });
            token += width;
        }
        group += groups;
    }
}

/// Runs a kernel over a part of `T` tokens and the groups of `N` strips, and writes its products.
///
/// # Safety
/// The processor has the machine's instructions.
#[inline(always)]
pub(super) unsafe fn run_tile<M: Machine, K: TileKernel, const T: usize, const N: usize, const S: usize>(
    kernel: &K,
    product: &mut Product<'_>,
    part: Part,
) {
    assert!(part.tokens == T && part.groups * GROUP_ROWS == N * M::ROWS, "the tile has the part's shape");
    let Product { packed, group_bytes, activations, out } = product;
    let rows = packed.len() / *group_bytes * GROUP_ROWS;
    let packed = &packed[part.group * *group_bytes..][..part.groups * *group_bytes];
    let tokens = Tokens::new(activations, part.token);
    // SAFETY: the groups are whole, and the caller has the instructions.
    let products = unsafe { kernel.tile::<M, T, N, S>(packed, *group_bytes, &tokens) };
    for token in 0..T {
        let out = &mut out[(part.token + token) * rows + part.group * GROUP_ROWS..][..N * M::ROWS];
        for strip in 0..N {
            // SAFETY: `out` has room for `N` strips.
            unsafe { M::store(out.as_mut_ptr().add(strip * M::ROWS), products[token][strip]) };
        }
    }
}

/// Unsafe functions that are compiled for an instruction set.
macro_rules! functions {
    ($features:literal; $(
        fn $name:ident $(<const $parameter:ident: usize>)? ($($arguments:tt)*) $(-> $out:ty)? $body:block
    )*) => {
        $(
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn $name $(<const $parameter: usize>)? ($($arguments)*) $(-> $out)? $body
        )*
    };
}
pub(super) use functions;

/// The products of whole matrices of an instruction set, compiled for it.
macro_rules! products {
    ($features:literal, $set:ty) => {
        /// Rows of blocks times tokens.
        #[target_feature(enable = $features)]
        pub(crate) fn blocks(kind: BlockType, packed: &[u8], activations: &Activations, out: &mut [f32]) {
            // SAFETY: this function's features are the instruction set's.
            unsafe { dot::blocks::<$set>(kind, packed, activations, out) };
        }

        /// Ternary rows times tokens.
        #[target_feature(enable = $features)]
        pub(crate) fn ternary(
            packed: &[u8],
            scale: TernaryScale,
            activations: &Activations,
            out: &mut [f32],
        ) {
            // SAFETY: this function's features are the instruction set's.
            unsafe { dot::ternary::<$set>(packed, scale, activations, out) };
        }
    };
}
pub(super) use products;

/// A shift by a constant: `count` is one wherever these functions are inlined.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! by_count {
    ($shift:ident, $bytes:ident, $count:ident) => {
        match $count {
            0 => $bytes,
            1 => $shift::<1>($bytes),
            2 => $shift::<2>($bytes),
            3 => $shift::<3>($bytes),
            4 => $shift::<4>($bytes),
            5 => $shift::<5>($bytes),
            6 => $shift::<6>($bytes),
            _ => $shift::<7>($bytes),
        }
    };
}
#[cfg(not(target_arch = "wasm32"))]
pub(super) use by_count;
