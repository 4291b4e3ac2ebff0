//! Element formats: decoding rows to f32, and encoding rows for tests and generated models.
//!
//! - `block`: quantized blocks taken apart; `ternary`: codes of ternary types; `encode`: floats to any type.
//!
//! The layouts are ggml's; see [`crate::gguf::TensorType`] for each in words.

mod block;
mod encode;
mod ternary;

use half::{bf16, f16};

use crate::gguf::TensorType;

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
pub(crate) use block::Factors;
pub(crate) use block::{BLOCK_COLUMNS, Block, BlockType, PART_COLUMNS};
pub use encode::{encode_i2s_trailer, encode_row};
pub(crate) use ternary::{I2S_UNIT, TERNARY_BLOCK, i2s_scale, ternary_codes};

/// Decodes one row of `out.len()` elements from `row`. `scale` is the tensor's scale for I2_S and unused otherwise.
pub(crate) fn decode_row(tensor_type: TensorType, row: &[u8], scale: f32, out: &mut [f32]) {
    match tensor_type {
        TensorType::F32 => {
            for (value, raw) in out.iter_mut().zip(row.chunks_exact(4)) {
                *value = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
            }
        }
        TensorType::F16 => {
            for (value, raw) in out.iter_mut().zip(row.chunks_exact(2)) {
                *value = f16::from_le_bytes([raw[0], raw[1]]).to_f32();
            }
        }
        TensorType::Bf16 => {
            for (value, raw) in out.iter_mut().zip(row.chunks_exact(2)) {
                *value = bf16::from_le_bytes([raw[0], raw[1]]).to_f32();
            }
        }
        TensorType::Tq2_0 | TensorType::Tq1_0 => {
            let bytes = if tensor_type == TensorType::Tq2_0 { 66 } else { 54 };
            let mut codes = [0; TERNARY_BLOCK];
            for (values, block) in out.chunks_exact_mut(TERNARY_BLOCK).zip(row.chunks_exact(bytes)) {
                let scale = f16::from_le_bytes([block[bytes - 2], block[bytes - 1]]).to_f32();
                ternary_codes(tensor_type, block, &mut codes);
                for (value, &code) in values.iter_mut().zip(&codes) {
                    *value = (f32::from(code) - 1.0) * scale;
                }
            }
        }
        TensorType::I2S(_) => {
            let mut codes = [0; I2S_UNIT];
            for (values, block) in out.chunks_exact_mut(I2S_UNIT).zip(row.chunks_exact(32)) {
                ternary_codes(tensor_type, block, &mut codes);
                for (value, &code) in values.iter_mut().zip(&codes) {
                    *value = (f32::from(code) - 1.0) * scale;
                }
            }
        }
        _ => match BlockType::of(tensor_type) {
            Some(kind) => {
                let blocks = out.chunks_exact_mut(kind.columns()).zip(row.chunks_exact(kind.bytes()));
                blocks.for_each(|(values, block)| Block::read(kind, block).decode(kind, values));
            }
            None => out.fill(0.0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::I2sPacking;

    #[test]
    fn ternary_types_decode_to_what_was_encoded() {
        let row: Vec<f32> = (0..512).map(|i| [0.5, 0.0, -0.5][(i * 7 + i / 3) % 3]).collect();
        for tensor_type in [
            TensorType::Tq1_0,
            TensorType::Tq2_0,
            TensorType::I2S(I2sPacking::X86),
            TensorType::I2S(I2sPacking::Arm),
        ] {
            let (mut bytes, mut decoded) = (Vec::new(), vec![0.0; 512]);
            encode_row(tensor_type, &row, 0.5, &mut bytes);
            assert_eq!(bytes.len() as u64, tensor_type.row_bytes(512).unwrap());
            decode_row(tensor_type, &bytes, 0.5, &mut decoded);
            assert_eq!(decoded, row, "{tensor_type:?}");
        }
    }

    #[test]
    fn quantized_types_stay_within_half_a_step() {
        let row: Vec<f32> = (0..256).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        for (tensor_type, step) in [
            (TensorType::Q8_0, 1.0 / 127.0),
            (TensorType::Q4_0, 1.0 / 8.0),
            (TensorType::Q6K, 1.0 / 31.0),
            (TensorType::Q5_0, 0.5 / 15.0),
            (TensorType::Q3K, 0.6 / 3.0),
            (TensorType::Iq4Nl, 12.5 / 113.0),
            (TensorType::Iq4Xs, 13.0 / 113.0),
            (TensorType::Q4_1, 1.0 / 15.0),
            (TensorType::Q4K, 1.1 / 15.0),
            (TensorType::Q5_1, 1.0 / 31.0),
            (TensorType::Q5K, 1.1 / 31.0),
            (TensorType::Q2K, 1.2 / 3.0),
            (TensorType::Mxfp4, 1.0 / 3.9),
        ] {
            let (mut bytes, mut decoded) = (Vec::new(), vec![0.0; 256]);
            encode_row(tensor_type, &row, 0.0, &mut bytes);
            decode_row(tensor_type, &bytes, 0.0, &mut decoded);
            for (value, original) in decoded.iter().zip(&row) {
                assert!((value - original).abs() <= step * 1.01, "{tensor_type:?}: {value} {original}");
            }
        }
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        /// In hexadecimal.
        bytes: String,
        weights: Vec<f32>,
    }

    #[test]
    fn random_blocks_have_the_weights_that_the_gguf_package_gives_them() {
        // Made by `golden/blocks.py`.
        let golden: std::collections::BTreeMap<String, Golden> =
            serde_json::from_str(include_str!("../../tests/golden/blocks.json")).unwrap();
        for tensor_type in TensorType::COMPUTED {
            let Some((_, golden)) = golden.iter().find(|(name, _)| **name == tensor_type.name()) else {
                assert!(tensor_type.block().unwrap().0 == 1 || matches!(tensor_type, TensorType::I2S(_)));
                continue;
            };
            let bytes: Vec<u8> = (0..golden.bytes.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&golden.bytes[at..at + 2], 16).unwrap())
                .collect();
            let mut found = vec![0.0; golden.weights.len()];
            decode_row(tensor_type, &bytes, 1.0, &mut found);
            // The package rounds in another order.
            let largest = golden.weights.iter().fold(0.0f32, |most, weight| weight.abs().max(most));
            for (number, (found, expected)) in found.iter().zip(&golden.weights).enumerate() {
                let difference = (found - expected).abs();
                assert!(difference <= 3e-7 * largest, "{tensor_type:?} {number}: {found} {expected}");
            }
        }
    }

    #[test]
    fn blocks_are_written_as_they_are_read() {
        let mut state = 7u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for kind in BlockType::ALL {
            for _ in 0..50 {
                let bytes: Vec<u8> = (0..kind.bytes()).map(|_| byte()).collect();
                let block = Block::read(kind, &bytes);
                let mut written = Vec::new();
                block.write(kind, &mut written);
                assert_eq!(written, bytes, "{kind:?}");
                assert_eq!(
                    kind.factors().write(&kind.factors().read(&block.factors)),
                    block.factors,
                    "{kind:?}"
                );
            }
        }
    }
}
