//! A batch of tokens quantized to 8 bits, as the quantized kernels take it.

use crate::formats::PART_COLUMNS;

use super::Kernels;

/// How activations are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// One scale for every 32 columns (quantized weights that are not ternary).
    Blocks,
    /// One scale for a token (ternary weights).
    Token,
}

/// Quantized activations of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Activations {
    precision: Precision,
    columns: usize,
    /// `[tokens][columns]`, each in ±127.
    values: Vec<i8>,
    /// Blocks: `[tokens][columns / 32]`, the value of one step. Token: `[tokens]`, steps per unit.
    scales: Vec<f32>,
    /// Sums of values. Blocks: `[tokens][columns / 32]`. Token: `[tokens][columns / 128]`.
    sums: Vec<i32>,
    /// Blocks: `[tokens][columns / 16]`, sums of values of 16 columns: of the first and second of each four, and of the
    /// third and fourth.
    pair_sums: Vec<[i16; 2]>,
    /// The values as the kernels want them besides, `[tokens][columns / 2]` if they do.
    arranged: Vec<i32>,
}

impl Activations {
    /// Quantizes `x`, which is `[tokens][columns]`. `columns` is a multiple of 32 for blocks, of 128 for tokens.
    pub fn new(kernels: Kernels, precision: Precision, columns: usize, x: &[f32]) -> Self {
        let tokens = x.len() / columns;
        let (scales_each, sums_each) = Self::extents(precision, columns);
        let mut out = Self {
            precision,
            columns,
            values: vec![0; tokens * columns],
            scales: vec![0.0; tokens * scales_each],
            sums: vec![0; tokens * sums_each],
            pair_sums: Vec::new(),
            arranged: Vec::new(),
        };
        for (token, x) in x.chunks_exact(columns).enumerate() {
            let values = &mut out.values[token * columns..][..columns];
            let scales = &mut out.scales[token * scales_each..][..scales_each];
            let sums = &mut out.sums[token * sums_each..][..sums_each];
            match precision {
                Precision::Blocks => kernels.quantize_blocks(x, values, scales, sums),
                Precision::Token => scales[0] = kernels.quantize_token(x, values, sums),
            }
        }
        if precision == Precision::Blocks {
            out.pair_sums = vec![[0; 2]; tokens * columns / PART_COLUMNS];
            kernels.pair_sums(&out.values, &mut out.pair_sums);
        }
        out.arranged = kernels.arrange(&out.values);
        out
    }

    fn extents(precision: Precision, columns: usize) -> (usize, usize) {
        match precision {
            Precision::Blocks => (columns / 32, columns / 32),
            Precision::Token => (1, columns / 128),
        }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Elements of a token.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of token `token` as the kernels want them besides; empty if they do not, or if the activations
    /// were made by other kernels.
    #[inline]
    #[cfg_attr(
        not(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            all(target_arch = "wasm32", target_feature = "simd128")
        )),
        expect(dead_code, reason = "the scalar kernels have no use for it")
    )]
    pub fn arranged(&self, token: usize) -> &[i32] {
        self.arranged.get(token * self.columns / 2..(token + 1) * self.columns / 2).unwrap_or_default()
    }

    /// The sums of 16 columns each of token `token`; empty if it has one scale.
    #[inline]
    pub fn pair_sums(&self, token: usize) -> &[[i16; 2]] {
        let each = self.columns / PART_COLUMNS;
        self.pair_sums.get(token * each..(token + 1) * each).unwrap_or_default()
    }

    /// The values of `count` tokens from `token` on.
    #[inline]
    pub fn values(&self, token: usize, count: usize) -> &[i8] {
        &self.values[token * self.columns..][..count * self.columns]
    }

    /// Values, scales and sums of token `token`.
    #[inline]
    pub fn token(&self, token: usize) -> (&[i8], &[f32], &[i32]) {
        let (scales_each, sums_each) = Self::extents(self.precision, self.columns);
        (
            &self.values[token * self.columns..][..self.columns],
            &self.scales[token * scales_each..][..scales_each],
            &self.sums[token * sums_each..][..sums_each],
        )
    }
}
