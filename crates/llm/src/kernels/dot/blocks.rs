//! Blocks of quantized weights: integers within 32 columns, then floats, as `scalar::blocks` defines.

use std::marker::PhantomData;

use super::super::layout::VECTOR_BYTES;
use super::super::{Activations, GROUP_ROWS};
use super::{InstructionSet, Machine, Product, Sums, TileKernel, Tokens};
use crate::formats::{BLOCK_COLUMNS, BlockType, Factors};

/// A type of blocks, and how its codes are multiplied.
trait Kind {
    const TYPE: BlockType;
    /// How much larger than what they stand for codes are multiplied.
    const OFFSET: u8;
    /// Whether codes only number what they stand for.
    const TABLE: bool;
    /// What multiplies them.
    type Sums<M: Machine>: Sums<Bytes = M::Bytes, Integers = M::Integers>;
}

/// Makes the types, and the product of whichever there is.
macro_rules! kinds {
    ($($name:ident: $sums:ident, $offset:literal, $table:literal;)*) => {
        $(
            struct $name;

            impl Kind for $name {
                const TYPE: BlockType = BlockType::$name;
                const OFFSET: u8 = $offset;
                const TABLE: bool = $table;
                type Sums<M: Machine> = M::$sums;
            }
        )*

        /// Rows of blocks times tokens; `out` is `[tokens][rows]`.
        ///
        /// # Safety
        /// The processor has the instructions.
        #[inline(always)]
        pub(crate) unsafe fn blocks<I: InstructionSet>(
            kind: BlockType,
            packed: &[u8],
            activations: &Activations,
            out: &mut [f32],
        ) {
            let group_bytes = kind.group_bytes(activations.columns());
            let product = Product { packed, group_bytes, activations, out };
            match kind {
                // SAFETY: by this function's contract.
                $(BlockType::$name => unsafe { I::multiply(&BlockTile::<$name>(PhantomData), product) },)*
            }
        }
    };
}

kinds! {
    Q4_0: Small, 8, false;
    Q4_1: Small, 0, false;
    Q5_0: Small, 16, false;
    Q5_1: Small, 0, false;
    Q8_0: Signed, 0, false;
    Q2K: Small, 0, false;
    Q3K: Small, 4, false;
    Q4K: Small, 0, false;
    Q5K: Small, 0, false;
    Q6K: Small, 32, false;
    Iq4Nl: Signed, 0, true;
    Iq4Xs: Signed, 0, true;
    Mxfp4: Small, 12, true;
}

/// How many columns have a factor of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// There are no factors.
    Block,
    /// 32 columns.
    ThirtyTwo,
    /// 16 columns.
    Sixteen,
}

const fn share(kind: BlockType) -> Share {
    match kind.factors() {
        Factors::Ones => Share::Block,
        Factors::SixBitPairs | Factors::SixBitsOfBlocks => Share::ThirtyTwo,
        Factors::Bytes | Factors::Nibbles | Factors::SixBits => Share::Sixteen,
    }
}

/// Where the strips of a tile are read.
#[derive(Clone, Copy)]
struct Strips<'a> {
    packed: &'a [u8],
    group_bytes: usize,
    /// The first strip.
    first: usize,
    /// Where the block begins in each group.
    at: usize,
}

struct BlockTile<K>(PhantomData<K>);

impl<K: Kind> TileKernel for BlockTile<K> {
    #[inline(always)]
    unsafe fn tile<M: Machine, const T: usize, const N: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tokens: &Tokens<'_, T>,
    ) -> [[M::Floats; N]; T] {
        // SAFETY: every block is inside each group, and the tokens have its columns.
        unsafe {
            let table = table::<M, K>();
            let mut accumulators = [[M::floats(0.0); N]; T];
            for number in 0..group_bytes / K::TYPE.packed_bytes() {
                for first in (0..N).step_by(S) {
                    let strips = Strips { packed, group_bytes, first, at: number * K::TYPE.packed_bytes() };
                    if K::TYPE.has_minimum() {
                        add_with_minimum::<M, K, T, N, S>(strips, tokens, number, table, &mut accumulators);
                    } else {
                        add_scaled::<M, K, T, N, S>(strips, tokens, number, table, &mut accumulators);
                    }
                }
            }
            accumulators
        }
    }
}

/// Adds the products of block `number`, which has no minimum, of `S` strips: `float(dot) · (scale · activation scale)` for
/// each 32 columns.
///
/// # Safety
/// The processor has the machine's instructions. The block is inside each group, and the tokens have its columns.
#[inline(always)]
unsafe fn add_scaled<M: Machine, K: Kind, const T: usize, const N: usize, const S: usize>(
    strips: Strips<'_>,
    tokens: &Tokens<'_, T>,
    number: usize,
    table: M::Bytes,
    accumulators: &mut [[M::Floats; N]; T],
) {
    let blocks = K::TYPE.columns() / BLOCK_COLUMNS;
    for within in 0..blocks {
        let block = number * blocks + within;
        // SAFETY: by this function's contract.
        unsafe {
            let dots = dots::<M, K, T, S>(strips, within, tokens, block, table);
            // Of more than 32 columns, each time anew rather than kept in registers.
            let scales = scales::<M, K, S>(strips);
            for token in 0..T {
                let step = M::floats(tokens.scales[token][block]);
                for strip in 0..S {
                    let scale = M::multiply(scales[strip], step);
                    let product = M::multiply(dots[token][strip], scale);
                    let accumulator = &mut accumulators[token][strips.first + strip];
                    *accumulator = M::add(*accumulator, product);
                }
            }
        }
    }
}

/// Adds the products of block `number`, which has a minimum, of `S` strips: sums of `float(dot) · activation scale`, and
/// likewise of minima, which are multiplied with the minimum and the scale at the end.
///
/// # Safety
/// As for [`add_scaled`].
#[inline(always)]
unsafe fn add_with_minimum<M: Machine, K: Kind, const T: usize, const N: usize, const S: usize>(
    strips: Strips<'_>,
    tokens: &Tokens<'_, T>,
    number: usize,
    table: M::Bytes,
    accumulators: &mut [[M::Floats; N]; T],
) {
    let blocks = K::TYPE.columns() / BLOCK_COLUMNS;
    // SAFETY: by this function's contract.
    unsafe {
        let (mut sums, mut sums_of_minima) = ([[M::floats(0.0); S]; T], [[M::floats(0.0); S]; T]);
        for within in 0..blocks {
            let block = number * blocks + within;
            let dots = dots::<M, K, T, S>(strips, within, tokens, block, table);
            let weights = weights::<M, K, S>(strips, 1, within);
            for token in 0..T {
                let step = M::floats(tokens.scales[token][block]);
                let [first, second] = sums_of::<K, T>(tokens, token, block);
                let columns = [M::integers(first), M::integers(second)];
                for strip in 0..S {
                    let product = M::multiply(dots[token][strip], step);
                    sums[token][strip] = M::add(sums[token][strip], product);
                    let product = M::multiply(weighted::<M, K>(columns, weights[strip]), step);
                    sums_of_minima[token][strip] = M::add(sums_of_minima[token][strip], product);
                }
            }
        }
        let scales = scales::<M, K, S>(strips);
        let at = strips.at + K::TYPE.minima_at();
        let minima = M::halves::<S>(strips.packed, at, strips.group_bytes, strips.first);
        for token in 0..T {
            for strip in 0..S {
                let accumulator = &mut accumulators[token][strips.first + strip];
                let product = M::multiply(minima[strip], sums_of_minima[token][strip]);
                *accumulator = M::add(*accumulator, product);
                let product = M::multiply(scales[strip], sums[token][strip]);
                *accumulator = M::add(*accumulator, product);
            }
        }
    }
}

/// What codes number, as they are multiplied.
///
/// # Safety
/// The processor has the machine's instructions.
#[inline(always)]
unsafe fn table<M: Machine, K: Kind>() -> M::Bytes {
    let larger = K::OFFSET + if M::MATRICES { 0 } else { K::Sums::<M>::EXCESS };
    let mut values = [0; 16];
    for code in 0..16 {
        values[code] = (K::TYPE.value(code as u8) as u8).wrapping_add(larger);
    }
    // SAFETY: by this function's contract.
    unsafe { M::table(&values) }
}

/// The scales of a block.
///
/// # Safety
/// The processor has the machine's instructions, and the block is inside each group.
#[inline(always)]
unsafe fn scales<M: Machine, K: Kind, const S: usize>(strips: Strips<'_>) -> [M::Floats; S] {
    let Strips { packed, group_bytes, first, at } = strips;
    // SAFETY: a block starts with its scales.
    unsafe {
        if K::TYPE.scale_bytes() == 2 {
            return M::halves::<S>(packed, at, group_bytes, first);
        }
        let mut scales = [M::floats(0.0); S];
        for strip in 0..S {
            scales[strip] = M::exponents(M::row_bytes(packed, at, group_bytes, first + strip));
        }
        scales
    }
}

/// The sums of products of 32 columns with factors and values: integers.
///
/// # Safety
/// The processor has the machine's instructions. The block is inside each group, and the tokens have columns
/// `32 · block .. 32 · block + 32`.
#[inline(always)]
unsafe fn dots<M: Machine, K: Kind, const T: usize, const S: usize>(
    strips: Strips<'_>,
    within: usize,
    tokens: &Tokens<'_, T>,
    block: usize,
    table: M::Bytes,
) -> [[M::Floats; S]; T] {
    // SAFETY: by this function's contract.
    unsafe {
        let at = strips.at + K::TYPE.codes_at() + within * K::TYPE.code_bytes();
        let codes = Strips { at, ..strips };
        let totals = if M::MATRICES {
            matrix_totals::<M, K, T, S>(codes, tokens, block, table)
        } else {
            totals::<M, K, T, S>(codes, tokens, block, table)
        };
        let weights = weights::<M, K, S>(strips, 0, within);
        let mut dots = [[M::floats(0.0); S]; T];
        for token in 0..T {
            for strip in 0..S {
                let totals = [0, 1].map(|part| totals[token][part][strip]);
                dots[token][strip] = weighted::<M, K>(totals, weights[strip]);
            }
        }
        dots
    }
}

/// Sums of products of tokens, of the first and second sixteen columns or of all and nothing, and of strips.
type Totals<M, const T: usize, const S: usize> = [[[<M as Machine>::Integers; S]; 2]; T];

/// The sums of products of 32 columns with what their codes stand for, quad by quad.
///
/// # Safety
/// As for [`dots`]; the codes of the columns begin at `codes.at`.
#[inline(always)]
unsafe fn totals<M: Machine, K: Kind, const T: usize, const S: usize>(
    codes: Strips<'_>,
    tokens: &Tokens<'_, T>,
    block: usize,
    table: M::Bytes,
) -> Totals<M, T, S> {
    let offset = i32::from(K::OFFSET) + i32::from(K::Sums::<M>::EXCESS);
    // SAFETY: by this function's contract.
    unsafe {
        let zero = K::Sums::<M>::start(M::integers(0));
        let mut sums = [[[zero; S]; 2]; T];
        if offset > 0 {
            for token in 0..T {
                let starts = sums_of::<K, T>(tokens, token, block);
                for (part, start) in starts.into_iter().enumerate() {
                    sums[token][part] = [K::Sums::<M>::start(M::integers(-offset * start)); S];
                }
            }
        }
        // Written out, so that each place among the codes is a constant. Vectors of nibbles are used up one by one.
        macro_rules! quads {
            ($($quad:literal),*) => {
                $(add_quad::<M, K, T, S, $quad>(codes, tokens, block, table, &mut sums);)*
            };
        }
        if matches!(K::TYPE.bits(), 4..=6) {
            quads!(0, 4, 1, 5, 2, 6, 3, 7);
        } else {
            quads!(0, 1, 2, 3, 4, 5, 6, 7);
        }
        let mut totals = [[[M::integers(0); S]; 2]; T];
        for token in 0..T {
            for part in 0..2 {
                for strip in 0..S {
                    totals[token][part][strip] = K::Sums::<M>::total(sums[token][part][strip]);
                }
            }
        }
        totals
    }
}

/// The sums of [`totals`], of one strip, as products of matrices.
///
/// # Safety
/// As for [`totals`].
#[inline(always)]
unsafe fn matrix_totals<M: Machine, K: Kind, const T: usize, const S: usize>(
    codes: Strips<'_>,
    tokens: &Tokens<'_, T>,
    block: usize,
    table: M::Bytes,
) -> Totals<M, T, S> {
    assert_eq!(S, 1, "a matrix is of one strip");
    // SAFETY: by this function's contract.
    unsafe {
        let mut totals = [[[M::integers(0); S]; 2]; T];
        let mut set = |part: usize, sums: [M::Integers; T]| {
            for token in 0..T {
                totals[token][part] = [sums[token]; S];
            }
        };
        if share(K::TYPE) == Share::Sixteen {
            for part in 0..2 {
                let quads = quads::<M, K, 4>(codes, 4 * part, table);
                set(part, M::matrix_product(quads, K::OFFSET, tokens, block * 8 + 4 * part));
            }
        } else {
            let quads = quads::<M, K, 8>(codes, 0, table);
            set(0, M::matrix_product(quads, K::OFFSET, tokens, block * 8));
        }
        totals
    }
}

/// `Q` quads of columns from `first` on: their codes, or what those number.
///
/// # Safety
/// As for [`totals`].
#[inline(always)]
unsafe fn quads<M: Machine, K: Kind, const Q: usize>(
    codes: Strips<'_>,
    first: usize,
    table: M::Bytes,
) -> [M::Bytes; Q] {
    let mut quads = [table; Q];
    for number in 0..Q {
        // SAFETY: by this function's contract.
        unsafe {
            let bytes = code_bytes::<M, K>(codes, 0, first + number);
            quads[number] = if K::TABLE { M::look_up(table, bytes) } else { bytes };
        }
    }
    quads
}

/// Sums of tokens, of the first and second sixteen columns, and of strips.
type PartSums<M, K, const T: usize, const S: usize> = [[[<<K as Kind>::Sums<M> as Sums>::Sum; S]; 2]; T];

/// Adds the products of one quad of columns.
///
/// # Safety
/// As for [`dots`]; the codes of the columns begin at `strips.at`.
#[inline(always)]
unsafe fn add_quad<M: Machine, K: Kind, const T: usize, const S: usize, const QUAD: usize>(
    strips: Strips<'_>,
    tokens: &Tokens<'_, T>,
    block: usize,
    table: M::Bytes,
    sums: &mut PartSums<M, K, T, S>,
) {
    let part = if share(K::TYPE) == Share::Sixteen { QUAD / 4 } else { 0 };
    // SAFETY: by this function's contract.
    unsafe {
        let mut codes = [K::Sums::<M>::codes(table); S];
        for strip in 0..S {
            let bytes = code_bytes::<M, K>(strips, strip, QUAD);
            codes[strip] = if K::TABLE {
                K::Sums::<M>::raised_codes(M::look_up(table, bytes))
            } else {
                K::Sums::<M>::codes(bytes)
            };
        }
        for token in 0..T {
            let quad = K::Sums::<M>::quad(tokens.columns[token], block * 8 + QUAD);
            for strip in 0..S {
                let sum = &mut sums[token][part][strip];
                *sum = K::Sums::<M>::add(*sum, codes[strip], quad);
            }
        }
    }
}

/// The codes of one quad of columns, put together of the planes that have their bits.
///
/// # Safety
/// As for [`dots`]; the codes of the columns begin at `strips.at`.
#[inline(always)]
unsafe fn code_bytes<M: Machine, K: Kind>(strips: Strips<'_>, strip: usize, quad: usize) -> M::Bytes {
    let Strips { packed, group_bytes, first, at } = strips;
    // SAFETY: the vectors are inside the codes of 32 columns, by this function's contract.
    unsafe {
        let vector = |number: usize| M::strip(packed, at + number * VECTOR_BYTES, group_bytes, first + strip);
        let bits = |vector: M::Bytes, from: usize, count: usize, to: usize| {
            let moved = if from >= to { M::down(vector, from - to) } else { M::up(vector, to - from) };
            M::and(moved, (0xff >> (8 - count)) << to)
        };
        let nibble = || bits(vector(quad % 4), quad / 4 * 4, 4, 0);
        let two_bits = || bits(vector(quad / 4), quad % 4 * 2, 2, 0);
        match K::TYPE.bits() {
            2 => two_bits(),
            3 => M::or(two_bits(), bits(vector(2), quad, 1, 2)),
            4 => nibble(),
            5 => M::or(nibble(), bits(vector(4), quad, 1, 4)),
            6 => M::or(nibble(), bits(vector(4 + quad / 4), quad % 4 * 2, 2, 4)),
            _ => vector(quad),
        }
    }
}

/// The sums of a token's 32 columns: of each 16 if they have factors of their own, or of all and nothing.
#[inline(always)]
fn sums_of<K: Kind, const T: usize>(tokens: &Tokens<'_, T>, token: usize, block: usize) -> [i32; 2] {
    if share(K::TYPE) != Share::Sixteen {
        return [tokens.sums[token][block], 0];
    }
    let pairs = &tokens.pair_sums[token][2 * block..][..2];
    [pairs[0], pairs[1]].map(|[first, second]| i32::from(first) + i32::from(second))
}

/// `values[0] · weights[0] + values[1] · weights[1]`, as far as there are factors.
///
/// # Safety
/// The processor has the machine's instructions.
#[inline(always)]
unsafe fn weighted<M: Machine, K: Kind>(values: [M::Integers; 2], weights: [M::Weights; 2]) -> M::Floats {
    // SAFETY: by this function's contract.
    unsafe {
        match share(K::TYPE) {
            Share::Block => M::to_floats(values[0]),
            Share::ThirtyTwo => M::weights_to_floats(M::weighted(values[0], weights[0])),
            Share::Sixteen => {
                let [first, second] =
                    [M::weighted(values[0], weights[0]), M::weighted(values[1], weights[1])];
                M::weights_to_floats(M::add_weights(first, second))
            }
        }
    }
}

/// The factors (`of_minima` 0) or those of the minima (1) of columns `32 · within .. 32 · within + 32` of a block: one for
/// each 16, or twice the same.
///
/// # Safety
/// The processor has the machine's instructions, and the block is inside each group.
#[inline(always)]
unsafe fn weights<M: Machine, K: Kind, const S: usize>(
    strips: Strips<'_>,
    of_minima: usize,
    within: usize,
) -> [[M::Weights; 2]; S] {
    // SAFETY: by this function's contract.
    unsafe {
        let mut weights = [[M::weights(M::integers(1)); 2]; S];
        for strip in 0..S {
            match share(K::TYPE) {
                Share::Block => {}
                Share::ThirtyTwo => {
                    weights[strip] = [M::weights(factor::<M, K>(strips, strip, of_minima, within)); 2];
                }
                Share::Sixteen => {
                    for part in 0..2 {
                        weights[strip][part] =
                            M::weights(factor::<M, K>(strips, strip, of_minima, 2 * within + part));
                    }
                }
            }
        }
        weights
    }
}

/// Factor `number` of a block, as [`Factors`] describes them.
///
/// # Safety
/// As for [`weights`].
#[inline(always)]
unsafe fn factor<M: Machine, K: Kind>(
    strips: Strips<'_>,
    strip: usize,
    of_minima: usize,
    number: usize,
) -> M::Integers {
    let Strips { packed, group_bytes, first, at } = strips;
    // SAFETY: the factors are inside the block, which is inside each group.
    unsafe {
        let byte = |number: usize| {
            M::row_bytes(packed, at + K::TYPE.factors_at() + number * GROUP_ROWS, group_bytes, first + strip)
        };
        let bits = |value: M::Integers, from: usize, mask: i32| {
            M::and_integers(M::down_integers(value, from as u32), mask)
        };
        // Neither has a bit that the other has.
        let joined = |low: M::Integers, high: M::Integers, place: u32| {
            M::add_integers(low, M::up_integers(high, place))
        };
        match K::TYPE.factors() {
            Factors::Ones => M::integers(1),
            Factors::Bytes => M::down_integers(M::up_integers(byte(number), 24), 24),
            Factors::Nibbles => bits(byte(number), 4 * of_minima, 15),
            Factors::SixBits => {
                let low = bits(byte(number % 8), number / 8 * 4, 15);
                let high = bits(byte(8 + number % 4), number / 4 * 2, 3);
                M::add_integers(joined(low, high, 4), M::integers(-32))
            }
            Factors::SixBitPairs => {
                let own = byte(4 * of_minima + number % 4);
                if number < 4 {
                    return bits(own, 0, 63);
                }
                joined(bits(byte(4 + number), 4 * of_minima, 15), bits(own, 6, 3), 4)
            }
            Factors::SixBitsOfBlocks => {
                let low = bits(byte(2 + number / 2), number % 2 * 4, 15);
                let high = bits(byte(number / 4), number % 4 * 2, 3);
                M::add_integers(joined(low, high, 4), M::integers(-32))
            }
        }
    }
}
