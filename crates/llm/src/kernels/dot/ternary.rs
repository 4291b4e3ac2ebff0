//! Ternary weights: two bits a code, activations with one scale for a token.

use super::super::layout::VECTOR_BYTES;
use super::super::{Activations, SCALE_BYTES, TernaryScale, UNIT_BYTES};
use super::{InstructionSet, Machine, Product, Sums, TileKernel, Tokens};

/// Ternary rows times tokens; `out` is `[tokens][rows]`.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
pub(crate) unsafe fn ternary<I: InstructionSet>(
    packed: &[u8],
    scale: TernaryScale,
    activations: &Activations,
    out: &mut [f32],
) {
    let units = activations.columns() / 128;
    match scale {
        TernaryScale::PerBlock => {
            let product = Product { packed, group_bytes: units / 2 * BLOCK_BYTES, activations, out };
            // SAFETY: by this function's contract.
            unsafe { I::multiply(&Blocks, product) };
        }
        TernaryScale::PerTensor(scale) => {
            let product = Product { packed, group_bytes: units * UNIT_BYTES, activations, out };
            // SAFETY: by this function's contract.
            unsafe { I::multiply(&Tensor(scale), product) };
        }
    }
}

/// Bytes of a packed block of 256 columns.
const BLOCK_BYTES: usize = SCALE_BYTES + 2 * UNIT_BYTES;

/// Adds the products of the unit `unit` of `S` strips to `dots`.
///
/// # Safety
/// The processor has the machine's instructions. `packed` holds 256 bytes from `at + group · group_bytes` on for each
/// group of the strips; the tokens have columns `unit · 128 .. unit · 128 + 128`.
#[inline(always)]
unsafe fn add_unit<M: Machine, const T: usize, const S: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    first: usize,
    tokens: &Tokens<'_, T>,
    unit: usize,
    dots: &mut [[M::Integers; S]; T],
) {
    if M::MATRICES {
        // SAFETY: the contract is the same.
        return unsafe { add_matrix::<M, T, S>(packed, at, group_bytes, first, tokens, unit, dots) };
    }
    // SAFETY: inside the unit and the tokens' columns, by this function's contract.
    unsafe {
        let zero = M::Small::start(M::integers(0));
        let (mut sums, mut fourfold) = ([[zero; S]; T], [[zero; S]; T]);
        for token in 0..T {
            for strip in 0..S {
                sums[token][strip] = M::Small::start(dots[token][strip]);
            }
        }
        for vector in 0..UNIT_BYTES / VECTOR_BYTES {
            let mut bytes = [M::table(&[0; 16]); S];
            for strip in 0..S {
                bytes[strip] = M::strip(packed, at + vector * VECTOR_BYTES, group_bytes, first + strip);
            }
            for place in 0..4 {
                let larger = M::FOURFOLD[place];
                let (shift, mask) = if larger { (2 * place - 2, 12) } else { (2 * place, 3) };
                let mut codes = [M::Small::codes(bytes[0]); S];
                for strip in 0..S {
                    codes[strip] = M::Small::codes(M::and(M::down(bytes[strip], shift), mask));
                }
                for token in 0..T {
                    let quad = M::Small::quad(tokens.columns[token], unit * 32 + vector * 4 + place);
                    let sums = if larger { &mut fourfold[token] } else { &mut sums[token] };
                    for strip in 0..S {
                        sums[strip] = M::Small::add(sums[strip], codes[strip], quad);
                    }
                }
            }
        }
        for token in 0..T {
            for strip in 0..S {
                dots[token][strip] = M::Small::total(sums[token][strip]);
                if M::FOURFOLD.contains(&true) {
                    let fourfold = M::down_integers(M::Small::total(fourfold[token][strip]), 2);
                    dots[token][strip] = M::add_integers(dots[token][strip], fourfold);
                }
            }
        }
    }
}

/// [`add_unit`] of one strip, as the product of a matrix.
///
/// # Safety
/// As for [`add_unit`].
#[inline(always)]
unsafe fn add_matrix<M: Machine, const T: usize, const S: usize>(
    packed: &[u8],
    at: usize,
    group_bytes: usize,
    first: usize,
    tokens: &Tokens<'_, T>,
    unit: usize,
    dots: &mut [[M::Integers; S]; T],
) {
    const QUADS: usize = 32;
    assert_eq!(S, 1, "a matrix is of one strip");
    // SAFETY: inside the unit and the tokens' columns, by this function's contract.
    unsafe {
        let mut codes = [M::table(&[0; 16]); QUADS];
        for vector in 0..QUADS / 4 {
            let bytes = M::strip(packed, at + vector * VECTOR_BYTES, group_bytes, first);
            for place in 0..4 {
                codes[4 * vector + place] = M::and(M::down(bytes, 2 * place), 3);
            }
        }
        let products = M::matrix_product(codes, 0, tokens, unit * QUADS);
        for token in 0..T {
            dots[token][0] = M::add_integers(dots[token][0], products[token]);
        }
    }
}

/// A scale for every row and 256 columns.
struct Blocks;

impl TileKernel for Blocks {
    #[inline(always)]
    unsafe fn tile<M: Machine, const T: usize, const N: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tokens: &Tokens<'_, T>,
    ) -> [[M::Floats; N]; T] {
        // SAFETY: both units of each block are inside each group and the tokens' columns, and a block starts with its
        // scales.
        unsafe {
            let mut accumulators = [[M::floats(0.0); N]; T];
            for block in 0..group_bytes / BLOCK_BYTES {
                let at = block * BLOCK_BYTES;
                for first in (0..N).step_by(S) {
                    let mut dots = [[M::integers(0); S]; T];
                    for number in 0..T {
                        let sums = tokens.sums[number];
                        dots[number] = [M::integers(-(sums[2 * block] + sums[2 * block + 1])); S];
                    }
                    for within in 0..2 {
                        let (at, unit) = (at + SCALE_BYTES + within * UNIT_BYTES, 2 * block + within);
                        add_unit::<M, T, S>(packed, at, group_bytes, first, tokens, unit, &mut dots);
                    }
                    let scales = M::halves::<S>(packed, at, group_bytes, first);
                    for number in 0..T {
                        for strip in 0..S {
                            let product = M::multiply(M::to_floats(dots[number][strip]), scales[strip]);
                            let accumulator = &mut accumulators[number][first + strip];
                            *accumulator = M::add(*accumulator, product);
                        }
                    }
                }
            }
            for number in 0..T {
                let steps = M::floats(tokens.scales[number][0]);
                for strip in 0..N {
                    accumulators[number][strip] = M::divide(accumulators[number][strip], steps);
                }
            }
            accumulators
        }
    }
}

/// One scale for the matrix.
struct Tensor(f32);

impl TileKernel for Tensor {
    #[inline(always)]
    unsafe fn tile<M: Machine, const T: usize, const N: usize, const S: usize>(
        &self,
        packed: &[u8],
        group_bytes: usize,
        tokens: &Tokens<'_, T>,
    ) -> [[M::Floats; N]; T] {
        let units = group_bytes / UNIT_BYTES;
        // SAFETY: every unit is inside each group and the tokens' columns.
        unsafe {
            let mut products = [[M::floats(0.0); N]; T];
            for first in (0..N).step_by(S) {
                let mut dots = [[M::integers(0); S]; T];
                for number in 0..T {
                    let sums = tokens.sums[number];
                    dots[number] = [M::integers(-sums[..units].iter().sum::<i32>()); S];
                }
                for unit in 0..units {
                    let at = unit * UNIT_BYTES;
                    add_unit::<M, T, S>(packed, at, group_bytes, first, tokens, unit, &mut dots);
                }
                for number in 0..T {
                    let steps = M::floats(tokens.scales[number][0]);
                    for strip in 0..S {
                        let dot = M::to_floats(dots[number][strip]);
                        products[number][first + strip] =
                            M::divide(M::multiply(dot, M::floats(self.0)), steps);
                    }
                }
            }
            products
        }
    }
}
