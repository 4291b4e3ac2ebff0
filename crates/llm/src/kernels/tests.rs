//! Every kernel of the fastest instruction set gives the bits of the scalar one.

use proptest::prelude::*;

use super::*;

/// Deterministic floats in about ±2 with a wide spread of magnitudes.
fn floats(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..count).map(|_| (next() * 4.0 - 2.0) * if next() < 0.1 { 0.001 } else { 1.0 }).collect()
}

/// Arbitrary bytes with sensible f16 scales at the start of every block of `block_bytes`.
fn packed(seed: u64, bytes: usize, block_bytes: Option<usize>) -> Vec<u8> {
    let noise = floats(seed, bytes);
    let mut out: Vec<u8> = noise.iter().map(|value| (value * 1e6) as i32 as u8).collect();
    if let Some(block_bytes) = block_bytes {
        for (number, block) in out.chunks_exact_mut(block_bytes).enumerate() {
            for row in 0..GROUP_ROWS {
                let scale = half::f16::from_f32(noise[(number * 8 + row) % noise.len()] * 0.1);
                block[2 * row..2 * row + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
    }
    out
}

/// Bytes of ternary codes 0, 1 and 2.
fn clear_code_three(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte &= !((*byte >> 1) & 0x55));
}

fn assert_same_bits(left: &[f32], right: &[f32]) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(left), bits(right));
}

/// Runs `kernel` on both instruction sets and compares.
fn compare(count: usize, kernel: impl Fn(Kernels, &mut [f32])) {
    let (mut expected, mut actual) = (vec![0.0; count], vec![0.0; count]);
    kernel(Kernels::scalar(), &mut expected);
    kernel(Kernels::detect(), &mut actual);
    assert_same_bits(&expected, &actual);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn quantized_products_have_the_same_bits(
        seed: u64, groups in 1usize..10, blocks in 1usize..9, tokens in 1usize..11,
    ) {
        let columns = blocks * 256;
        let rows = groups * GROUP_ROWS;
        let x = floats(seed, tokens * columns);

        let activations = Activations::new(Kernels::scalar(), Precision::Blocks, columns, &x);
        let weights = packed(seed, groups * columns / 32 * Q4_BLOCK_BYTES, Some(Q4_BLOCK_BYTES));
        compare(tokens * rows, |kernels, out| kernels.q4_0(&weights, &activations, out));
        let weights = packed(seed, groups * columns / 32 * Q8_BLOCK_BYTES, Some(Q8_BLOCK_BYTES));
        compare(tokens * rows, |kernels, out| kernels.q8_0(&weights, &activations, out));

        let mut weights = packed(seed, groups * columns / 32 * Q6_BLOCK_BYTES, Some(Q6_BLOCK_BYTES));
        for block in weights.chunks_exact_mut(Q6_BLOCK_BYTES) {
            let (scales, codes) = block[SCALE_BYTES..].split_at_mut(2 * SCALE_BYTES);
            scales.chunks_exact_mut(2).for_each(|pair| pair[1] = pair[0]);
            codes.iter_mut().for_each(|code| *code = (*code & 63).wrapping_sub(32));
        }
        compare(tokens * rows, |kernels, out| kernels.q6_k(&weights, &activations, out));

        let activations = Activations::new(Kernels::scalar(), Precision::Token, columns, &x);
        let block_bytes = SCALE_BYTES + 2 * UNIT_BYTES;
        let mut weights = packed(seed, groups * blocks * block_bytes, Some(block_bytes));
        weights.chunks_exact_mut(block_bytes).for_each(|block| clear_code_three(&mut block[SCALE_BYTES..]));
        compare(tokens * rows, |kernels, out| kernels.ternary(&weights, TernaryScale::PerBlock, &activations, out));
    }

    #[test]
    fn per_tensor_ternary_products_have_the_same_bits(
        seed: u64, groups in 1usize..10, units in 1usize..9, tokens in 1usize..11, scale in 1e-3f32..10.0,
    ) {
        let columns = units * 128;
        let x = floats(seed, tokens * columns);
        let activations = Activations::new(Kernels::scalar(), Precision::Token, columns, &x);
        let mut weights = packed(seed, groups * units * UNIT_BYTES, None);
        clear_code_three(&mut weights);
        compare(tokens * groups * GROUP_ROWS, |kernels, out| {
            kernels.ternary(&weights, TernaryScale::PerTensor(scale), &activations, out);
        });
    }

    #[test]
    fn float_products_have_the_same_bits(
        seed: u64, rows in 1usize..12, columns in 1usize..100, tokens in 1usize..11,
    ) {
        let x = floats(seed, tokens * columns);
        let weights = floats(!seed, rows * columns);
        let bytes = |float: FloatType| -> Vec<u8> {
            weights.iter().flat_map(|&weight| match float {
                FloatType::F32 => weight.to_le_bytes().to_vec(),
                FloatType::F16 => half::f16::from_f32(weight).to_le_bytes().to_vec(),
                FloatType::Bf16 => half::bf16::from_f32(weight).to_le_bytes().to_vec(),
            }).collect()
        };
        for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            let weights = bytes(float);
            compare(tokens * rows, |kernels, out| kernels.float_rows(float, &weights, columns, &x, out));
        }
    }

    #[test]
    fn attention_has_the_same_bits(seed: u64, positions in 1usize..40, heads in 1usize..4, length in 1usize..80) {
        let stride = heads * length;
        let query = floats(seed, length);
        let mut cache = vec![0; positions * stride];
        Kernels::scalar().to_half(&floats(!seed, positions * stride), &mut cache);
        compare(positions, |kernels, out| {
            kernels.attention_scores(&query, &cache[stride - length..], stride, 0.125, out);
            kernels.softmax(out);
        });
        let mut probabilities = floats(seed, positions);
        Kernels::scalar().softmax(&mut probabilities);
        compare(length, |kernels, out| {
            kernels.attention_values(&probabilities, &cache[stride - length..], stride, out);
        });
    }

    #[test]
    fn elementwise_loops_have_the_same_bits(seed: u64, count in 1usize..300) {
        let (x, y) = (floats(seed, count), floats(!seed, count));
        compare(count, |kernels, out| kernels.rms_norm(&x, &y, 1e-5, out));
        compare(count, |kernels, out| { out.copy_from_slice(&x); kernels.silu_multiply(out, &y); });
        compare(count, |kernels, out| { out.copy_from_slice(&x); kernels.squared_relu_multiply(out, &y); });
        compare(count, |kernels, out| { out.copy_from_slice(&x); kernels.add(out, &y); });
        let halves = |kernels: Kernels| { let mut out = vec![0; count]; kernels.to_half(&x, &mut out); out };
        prop_assert_eq!(halves(Kernels::scalar()), halves(Kernels::detect()));
    }

    #[test]
    fn quantization_of_activations_has_the_same_bits(seed: u64, units in 1usize..5, tokens in 1usize..4) {
        let columns = units * 128;
        let x = floats(seed, tokens * columns);
        for precision in [Precision::Blocks, Precision::Token] {
            let expected = Activations::new(Kernels::scalar(), precision, columns, &x);
            let actual = Activations::new(Kernels::detect(), precision, columns, &x);
            for token in 0..tokens {
                prop_assert_eq!(expected.token(token), actual.token(token));
            }
        }
    }
}
