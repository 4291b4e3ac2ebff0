//! VNNI without AVX-512: sixteen registers of 256 bits.

use std::arch::x86_64::*;

use super::super::dot::{
    self, Columns, InstructionSet, Machine, Part, Product, Sums, TileKernel, by_count, cover, functions,
    run_tile,
};
use super::super::{Activations, TernaryScale, elementwise};
use super::{halves_of_group, narrow, sums};
use crate::formats::BlockType;

pub(crate) use super::super::avx2::{
    attention_scores, attention_values, attention_values_q8, float_rows, to_half,
};

/// Groups of a tile when there is one token: so many streams of weights are in flight.
const DECODE_GROUPS: usize = 4;
/// The most tokens of a tile: their sums and accumulators fill half of the registers.
const PROMPT_TOKENS: usize = 4;

/// Vectors of 256 bits.
struct Narrow;
narrow!(Narrow, SignedNarrow, "avx2,f16c,avxvnni", _mm256_dpbusd_avx_epi32);

/// The instruction set.
struct AvxVnni;

/// Runs a tile of one group for each strip.
#[target_feature(enable = "avx2,f16c,avxvnni")]
fn run<K: TileKernel, const T: usize, const N: usize>(kernel: &K, product: &mut Product<'_>, part: Part) {
    // SAFETY: this function's features are the machine's.
    unsafe { run_tile::<Narrow, K, T, N, N>(kernel, product, part) };
}

impl InstructionSet for AvxVnni {
    #[target_feature(enable = "avx2,f16c,avxvnni")]
    unsafe fn multiply<K: TileKernel>(kernel: &K, mut product: Product<'_>) {
        let groups_of = |tokens, left| if tokens == 1 && left >= DECODE_GROUPS { DECODE_GROUPS } else { 1 };
        let tokens_of = |left, _| if left >= PROMPT_TOKENS { PROMPT_TOKENS } else { 1 };
        cover(&mut product, groups_of, tokens_of, |product, part| match (part.tokens, part.groups) {
            (1, DECODE_GROUPS) => run::<K, 1, DECODE_GROUPS>(kernel, product, part),
            (1, _) => run::<K, 1, 1>(kernel, product, part),
            _ => run::<K, PROMPT_TOKENS, 1>(kernel, product, part),
        });
    }
}

dot::products!("avx2,f16c,avxvnni", AvxVnni);
elementwise::instantiate!("avx2,f16c,avxvnni");
