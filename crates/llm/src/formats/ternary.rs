//! Ternary weights: the codes of TQ1_0, TQ2_0 and I2_S.

use crate::gguf::{I2sPacking, TensorType};

/// Elements of a TQ1_0 or TQ2_0 block.
pub(crate) const TERNARY_BLOCK: usize = 256;
/// Elements of an I2_S unit; two of them are as long as a TQ block.
pub(crate) const I2S_UNIT: usize = 128;

/// Bytes among which the quantizer spread four times as many weights.
fn i2s_block_bytes(packing: I2sPacking) -> usize {
    match packing {
        I2sPacking::X86 => 32,
        I2sPacking::Arm => 16,
    }
}

/// Appends the codes of I2_S weights.
pub(super) fn pack_i2s(packing: I2sPacking, codes: &[u8], out: &mut Vec<u8>) {
    let bytes = i2s_block_bytes(packing);
    for codes in codes.chunks_exact(4 * bytes) {
        out.extend(
            (0..bytes).map(|byte| (0..4).fold(0, |bits, place| bits << 2 | codes[place * bytes + byte])),
        );
    }
}

/// The f32 scale that follows the packed codes of an I2_S tensor of `elements` weights.
pub(crate) fn i2s_scale(tensor: &[u8], elements: usize) -> f32 {
    let at = elements / 4;
    f32::from_le_bytes([tensor[at], tensor[at + 1], tensor[at + 2], tensor[at + 3]])
}

/// Unpacks the codes (weight + 1: 0, 1 or 2) of one ternary block of `codes.len()` elements: 256 for TQ types,
/// 128 for I2_S. Code 3, which no writer produces, becomes what it decodes to.
pub(crate) fn ternary_codes(tensor_type: TensorType, block: &[u8], codes: &mut [u8]) {
    match tensor_type {
        TensorType::Tq2_0 => {
            for (codes, bytes) in codes.chunks_exact_mut(128).zip(block.chunks_exact(32)) {
                for (place, codes) in codes.chunks_exact_mut(32).enumerate() {
                    for (code, byte) in codes.iter_mut().zip(bytes) {
                        // ggml's code 3 would be a weight of +2; no ternary file has it, and it is taken as +1.
                        *code = ((byte >> (2 * place)) & 3).min(2);
                    }
                }
            }
        }
        TensorType::Tq1_0 => {
            digits(&block[..32], &mut codes[..160]);
            digits(&block[32..48], &mut codes[160..240]);
            digits(&block[48..52], &mut codes[240..256]);
        }
        TensorType::I2S(packing) => {
            let bytes = i2s_block_bytes(packing);
            for (codes, block) in codes.chunks_exact_mut(4 * bytes).zip(block.chunks_exact(bytes)) {
                for (place, codes) in codes.chunks_exact_mut(bytes).enumerate() {
                    for (code, byte) in codes.iter_mut().zip(block) {
                        let bits = (byte >> (6 - 2 * place)) & 3;
                        // Code 3 is zero in the reference decoder.
                        *code = if bits == 3 { 1 } else { bits };
                    }
                }
            }
        }
        _ => codes.fill(1),
    }
}

/// Base-3 digits of TQ1_0: digit `place` of every byte, then the next place.
fn digits(bytes: &[u8], codes: &mut [u8]) {
    let mut power = 1u8;
    for codes in codes.chunks_exact_mut(bytes.len()) {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
        }
        power = power.wrapping_mul(3);
    }
}

/// Appends the codes of a TQ2_0 block.
pub(super) fn pack_tq2_0(codes: &[u8], out: &mut Vec<u8>) {
    for half in codes.chunks(128) {
        out.extend(
            (0..32).map(|byte| (0..4).fold(0, |bits, group| bits | half[group * 32 + byte] << (2 * group))),
        );
    }
}

/// Appends the codes of a TQ1_0 block.
pub(super) fn pack_tq1_0(codes: &[u8], out: &mut Vec<u8>) {
    // Five base-3 digits as a fraction of 243, scaled to 256 and rounded up, so that multiplying by three carries
    // the digits out one by one.
    let byte = |digits: &mut dyn Iterator<Item = u8>| {
        let number = digits.fold(0u16, |number, digit| number * 3 + u16::from(digit));
        (number * 256).div_ceil(243) as u8
    };
    for at in 0..32 {
        out.push(byte(&mut (0..5).map(|place| codes[place * 32 + at])));
    }
    for at in 0..16 {
        out.push(byte(&mut (0..5).map(|place| codes[160 + place * 16 + at])));
    }
    for at in 0..4 {
        out.push(byte(&mut (0..5).map(|place| if place < 4 { codes[240 + place * 4 + at] } else { 0 })));
    }
}
