//! AMX beside AVX-512: sixteen tokens at a time are multiplied by the unit for matrices, everything else is `avx512`.

use super::super::dot;
use super::super::{Activations, TernaryScale};
use super::avx512::Avx512;
use crate::formats::BlockType;

pub(crate) use super::avx512::{
    add, arrange, attention_scores, attention_values, attention_values_q8, distribution, float_rows, gelu,
    gelu_multiply, length, pair_sums, quantize_blocks, quantize_token, rms_norm, scale_and_shift,
    silu_multiply, soft_cap, softmax, squared_relu_multiply, standardize, to_half,
};

dot::products!("avx2,f16c,avx512f,avx512bw,avx512vl,avx512vnni", Avx512<true>);
