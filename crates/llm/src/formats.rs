//! Element formats: decoding rows to f32 or to ternary codes, and encoding rows for tests and generated models.
//!
//! The layouts are ggml's; see [`crate::gguf::TensorType`] for each in words.

use half::{bf16, f16};

use crate::gguf::TensorType;

/// Elements of a TQ1_0 or TQ2_0 block.
pub(crate) const TERNARY_BLOCK: usize = 256;
/// Elements of an I2_S unit; two of them are as long as a TQ block.
pub(crate) const I2S_UNIT: usize = 128;
/// Bytes of a Q6_K block of 256 elements.
pub(crate) const Q6K_BYTES: usize = 210;
/// Bytes of a Q3_K block of 256 elements.
pub(crate) const Q3K_BYTES: usize = 110;
/// Bytes of a Q5_0 and of an IQ4_NL block.
pub(crate) const Q5_BYTES: usize = 22;
pub(crate) const IQ4_BYTES: usize = 18;
/// Elements of a Q8_0, Q4_0, Q5_0 or IQ4_NL block.
pub(crate) const QUANTIZED_BLOCK: usize = 32;

/// What the nibbles of IQ4_NL number: ggml's table of values that are denser near zero.
const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
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
        _ => {
            for (place, codes) in codes.chunks_exact_mut(32).enumerate() {
                for (code, byte) in codes.iter_mut().zip(block) {
                    let bits = (byte >> (6 - 2 * place)) & 3;
                    // Code 3 is zero in the reference decoder.
                    *code = if bits == 3 { 1 } else { bits };
                }
            }
        }
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

/// Unpacks the codes (−32 to 31) of a Q6_K block.
pub(crate) fn q6k_codes(block: &[u8], codes: &mut [i8; 256]) {
    for (half, codes) in codes.chunks_exact_mut(128).enumerate() {
        let (low, high) = (&block[half * 64..][..64], &block[128 + half * 32..][..32]);
        for (place, codes) in codes.chunks_exact_mut(32).enumerate() {
            let low = &low[place % 2 * 32..][..32];
            for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
                let nibble = if place < 2 { low & 15 } else { low >> 4 };
                *code = (nibble | ((high >> (2 * place)) & 3) << 4) as i8 - 32;
            }
        }
    }
}

/// Unpacks the codes (−16 to 15) of a Q5_0 block.
pub(crate) fn q5_codes(block: &[u8], codes: &mut [i8; QUANTIZED_BLOCK]) {
    let upper = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (number, byte) in block[6..Q5_BYTES].iter().enumerate() {
        let bit = |place: usize| ((upper >> place & 1) << 4) as u8;
        codes[number] = (byte & 15 | bit(number)) as i8 - 16;
        codes[number + 16] = (byte >> 4 | bit(number + 16)) as i8 - 16;
    }
}

/// Unpacks the codes (−127 to 113) of an IQ4_NL block.
pub(crate) fn iq4_codes(block: &[u8], codes: &mut [i8; QUANTIZED_BLOCK]) {
    for (number, byte) in block[2..IQ4_BYTES].iter().enumerate() {
        codes[number] = IQ4_VALUES[usize::from(byte & 15)];
        codes[number + 16] = IQ4_VALUES[usize::from(byte >> 4)];
    }
}

/// Unpacks the codes (−4 to 3) of a Q3_K block.
pub(crate) fn q3k_codes(block: &[u8], codes: &mut [i8; 256]) {
    let upper = &block[..32];
    for (number, code) in codes.iter_mut().enumerate() {
        let (half, place, byte) = (number / 128, number % 128 / 32, number % 32);
        let low = block[32 + half * 32 + byte] >> (2 * place) & 3;
        let high = upper[byte] >> (half * 4 + place) & 1;
        *code = (low | high << 2) as i8 - 4;
    }
}

/// Unpacks the scales (−32 to 31) of a Q3_K block: four low bits of two in a byte, two high bits of four in a byte.
pub(crate) fn q3k_scales(block: &[u8]) -> [i8; 16] {
    let packed = &block[96..108];
    std::array::from_fn(|number| {
        let low = packed[number % 8] >> (number / 8 * 4) & 15;
        let high = packed[8 + number % 4] >> (number / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    })
}

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
        TensorType::Q8_0 => {
            for (values, block) in out.chunks_exact_mut(QUANTIZED_BLOCK).zip(row.chunks_exact(34)) {
                let scale = half_at(block, 0);
                for (value, &code) in values.iter_mut().zip(&block[2..]) {
                    *value = f32::from(code as i8) * scale;
                }
            }
        }
        TensorType::Q4_0 => {
            for (values, block) in out.chunks_exact_mut(QUANTIZED_BLOCK).zip(row.chunks_exact(18)) {
                let scale = half_at(block, 0);
                for (number, &byte) in block[2..].iter().enumerate() {
                    values[number] = (f32::from(byte & 15) - 8.0) * scale;
                    values[number + 16] = (f32::from(byte >> 4) - 8.0) * scale;
                }
            }
        }
        TensorType::Q6K => {
            let mut codes = [0; 256];
            for (values, block) in out.chunks_exact_mut(256).zip(row.chunks_exact(Q6K_BYTES)) {
                let scale = half_at(block, 208);
                q6k_codes(block, &mut codes);
                for (number, (value, code)) in values.iter_mut().zip(&codes).enumerate() {
                    *value = scale * f32::from(block[192 + number / 16] as i8) * f32::from(*code);
                }
            }
        }
        TensorType::Q5_0 | TensorType::Iq4Nl => {
            let mut codes = [0; QUANTIZED_BLOCK];
            let bytes = if tensor_type == TensorType::Q5_0 { Q5_BYTES } else { IQ4_BYTES };
            for (values, block) in out.chunks_exact_mut(QUANTIZED_BLOCK).zip(row.chunks_exact(bytes)) {
                let scale = half_at(block, 0);
                if tensor_type == TensorType::Q5_0 {
                    q5_codes(block, &mut codes);
                } else {
                    iq4_codes(block, &mut codes);
                }
                for (value, code) in values.iter_mut().zip(&codes) {
                    *value = f32::from(*code) * scale;
                }
            }
        }
        TensorType::Q3K => {
            let mut codes = [0; 256];
            for (values, block) in out.chunks_exact_mut(256).zip(row.chunks_exact(Q3K_BYTES)) {
                let scale = half_at(block, 108);
                let scales = q3k_scales(block);
                q3k_codes(block, &mut codes);
                for (number, (value, code)) in values.iter_mut().zip(&codes).enumerate() {
                    *value = scale * f32::from(scales[number / 16]) * f32::from(*code);
                }
            }
        }
        TensorType::Tq2_0 | TensorType::Tq1_0 => {
            let bytes = if tensor_type == TensorType::Tq2_0 { 66 } else { 54 };
            let mut codes = [0; TERNARY_BLOCK];
            for (values, block) in out.chunks_exact_mut(TERNARY_BLOCK).zip(row.chunks_exact(bytes)) {
                let scale = half_at(block, bytes - 2);
                ternary_codes(tensor_type, block, &mut codes);
                for (value, &code) in values.iter_mut().zip(&codes) {
                    *value = (f32::from(code) - 1.0) * scale;
                }
            }
        }
        TensorType::I2S => {
            let mut codes = [0; I2S_UNIT];
            for (values, block) in out.chunks_exact_mut(I2S_UNIT).zip(row.chunks_exact(32)) {
                ternary_codes(tensor_type, block, &mut codes);
                for (value, &code) in values.iter_mut().zip(&codes) {
                    *value = (f32::from(code) - 1.0) * scale;
                }
            }
        }
        TensorType::Other(_) => out.fill(0.0),
    }
}

/// Encodes `row` as `tensor_type` at the end of `out`. Ternary types take each block's largest magnitude as its
/// scale; I2_S takes `scale` (the tensor's largest magnitude), and its trailer comes from [`encode_i2s_trailer`].
///
/// # Panics
/// When the row is not whole blocks, or for [`TensorType::Other`]: callers are generators with fixed shapes.
pub fn encode_row(tensor_type: TensorType, row: &[f32], scale: f32, out: &mut Vec<u8>) {
    match tensor_type {
        TensorType::F32 => row.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
        TensorType::F16 => {
            row.iter().for_each(|&value| out.extend_from_slice(&f16::from_f32(value).to_le_bytes()));
        }
        TensorType::Bf16 => {
            row.iter().for_each(|&value| out.extend_from_slice(&bf16::from_f32(value).to_le_bytes()));
        }
        TensorType::Q8_0 => row.chunks(QUANTIZED_BLOCK).for_each(|block| encode_q8_0(block, out)),
        TensorType::Q4_0 => row.chunks(QUANTIZED_BLOCK).for_each(|block| encode_q4_0(block, out)),
        TensorType::Q6K => row.chunks(256).for_each(|block| encode_q6k(block, out)),
        TensorType::Q5_0 => row.chunks(QUANTIZED_BLOCK).for_each(|block| encode_q5_0(block, out)),
        TensorType::Iq4Nl => row.chunks(QUANTIZED_BLOCK).for_each(|block| encode_iq4(block, out)),
        TensorType::Q3K => row.chunks(256).for_each(|block| encode_q3k(block, out)),
        TensorType::Tq2_0 | TensorType::Tq1_0 => {
            for block in row.chunks(TERNARY_BLOCK) {
                let scale = f16::from_f32(maximum(block));
                let codes = codes_of(block, scale.to_f32());
                if tensor_type == TensorType::Tq2_0 {
                    pack_tq2_0(&codes, out);
                } else {
                    pack_tq1_0(&codes, out);
                }
                out.extend_from_slice(&scale.to_le_bytes());
            }
        }
        TensorType::I2S => {
            for unit in row.chunks(I2S_UNIT) {
                let codes = codes_of(unit, scale);
                for byte in 0..32 {
                    let packed = (0..4).fold(0, |bits, group| bits << 2 | codes[group * 32 + byte]);
                    out.push(packed);
                }
            }
        }
        TensorType::Other(_) => panic!("only types with a known layout can be encoded"),
    }
}

/// Appends what follows the packed rows of an I2_S tensor: its scale and padding.
pub fn encode_i2s_trailer(scale: f32, out: &mut Vec<u8>) {
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&[0; 28]);
}

fn maximum(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

fn codes_of(values: &[f32], scale: f32) -> Vec<u8> {
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    values.iter().map(|value| ((value * inverse).round().clamp(-1.0, 1.0) + 1.0) as u8).collect()
}

fn encode_q8_0(block: &[f32], out: &mut Vec<u8>) {
    let scale = maximum(block) / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    out.extend_from_slice(&f16::from_f32(scale).to_le_bytes());
    out.extend(block.iter().map(|value| (value * inverse).round() as i8 as u8));
}

fn encode_q4_0(block: &[f32], out: &mut Vec<u8>) {
    let extreme =
        block.iter().fold(0.0f32, |most, &value| if value.abs() > most.abs() { value } else { most });
    let scale = extreme / -8.0;
    let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
    let code = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    out.extend_from_slice(&f16::from_f32(scale).to_le_bytes());
    out.extend((0..16).map(|number| code(block[number]) | code(block[number + 16]) << 4));
}

fn encode_q5_0(block: &[f32], out: &mut Vec<u8>) {
    let scale = f16::from_f32(maximum(block) / 15.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    let codes: Vec<u8> =
        block.iter().map(|value| ((value * inverse).round().clamp(-16.0, 15.0) + 16.0) as u8).collect();
    let upper =
        codes.iter().enumerate().fold(0u32, |upper, (place, code)| upper | u32::from(code >> 4) << place);
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(&upper.to_le_bytes());
    out.extend((0..16).map(|number| codes[number] & 15 | codes[number + 16] << 4));
}

fn encode_iq4(block: &[f32], out: &mut Vec<u8>) {
    let scale = f16::from_f32(maximum(block) / 113.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    let nearest = |value: f32| {
        let distance = |code: usize| (value * inverse - f32::from(IQ4_VALUES[code])).abs();
        (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best }) as u8
    };
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend((0..16).map(|number| nearest(block[number]) | nearest(block[number + 16]) << 4));
}

fn encode_q3k(block: &[f32], out: &mut Vec<u8>) {
    let scale = f16::from_f32(maximum(block) / (3.0 * 31.0));
    let inverse = |scale: f32| if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let (mut scales, mut codes) = (Vec::new(), Vec::new());
    for part in block.chunks(16) {
        let part_scale = (maximum(part) / 3.0 * inverse(scale.to_f32())).round().min(31.0);
        let step = inverse(scale.to_f32() * part_scale);
        scales.push(part_scale as u8 + 32);
        codes.extend(part.iter().map(|value| ((value * step).round().clamp(-4.0, 3.0) + 4.0) as u8));
    }
    out.extend(
        (0..32).map(|byte| (0..8).fold(0, |bits, place| bits | codes[place * 32 + byte] >> 2 << place)),
    );
    for half in codes.chunks(128) {
        out.extend(
            (0..32).map(|byte| {
                (0..4).fold(0, |bits, place| bits | (half[place * 32 + byte] & 3) << (2 * place))
            }),
        );
    }
    out.extend((0..8).map(|number| scales[number] & 15 | scales[number + 8] << 4));
    out.extend(
        (0..4).map(|number| {
            (0..4).fold(0, |bits, place| bits | scales[place * 4 + number] >> 4 << (2 * place))
        }),
    );
    out.extend_from_slice(&scale.to_le_bytes());
}

fn encode_q6k(block: &[f32], out: &mut Vec<u8>) {
    let scale = f16::from_f32(maximum(block) / (31.0 * 127.0));
    let inverse = |scale: f32| if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let (mut scales, mut codes) = (Vec::new(), Vec::new());
    for part in block.chunks(16) {
        let part_scale = (maximum(part) / 31.0 * inverse(scale.to_f32())).round().min(127.0);
        let step = inverse(scale.to_f32() * part_scale);
        scales.push(part_scale as i8 as u8);
        codes.extend(part.iter().map(|value| ((value * step).round().clamp(-32.0, 31.0) + 32.0) as u8));
    }
    for half in codes.chunks(128) {
        out.extend((0..64).map(|at| half[at] & 15 | (half[at + 64] & 15) << 4));
    }
    for half in codes.chunks(128) {
        out.extend(
            (0..32).map(|at| (0..4).fold(0, |bits, place| bits | half[place * 32 + at] >> 4 << (2 * place))),
        );
    }
    out.extend(scales);
    out.extend_from_slice(&scale.to_le_bytes());
}

fn pack_tq2_0(codes: &[u8], out: &mut Vec<u8>) {
    for half in codes.chunks(128) {
        out.extend(
            (0..32).map(|byte| (0..4).fold(0, |bits, group| bits | half[group * 32 + byte] << (2 * group))),
        );
    }
}

fn pack_tq1_0(codes: &[u8], out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ternary_types_decode_to_what_was_encoded() {
        let row: Vec<f32> = (0..512).map(|i| [0.5, 0.0, -0.5][(i * 7 + i / 3) % 3]).collect();
        for tensor_type in [TensorType::Tq1_0, TensorType::Tq2_0, TensorType::I2S] {
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
        ] {
            let (mut bytes, mut decoded) = (Vec::new(), vec![0.0; 256]);
            encode_row(tensor_type, &row, 0.0, &mut bytes);
            decode_row(tensor_type, &bytes, 0.0, &mut decoded);
            for (value, original) in decoded.iter().zip(&row) {
                assert!((value - original).abs() <= step * 1.01, "{tensor_type:?}: {value} {original}");
            }
        }
    }

    /// Pseudo-random bytes.
    fn bytes(count: usize) -> Vec<u8> {
        let mut state = 7u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn blocks_are_unpacked_as_ggml_describes_them() {
        // Written down once more, in the order in which ggml's own loops go.
        for block in bytes(50 * Q3K_BYTES).chunks(Q3K_BYTES) {
            let (mask, codes, packed) = (&block[..32], &block[32..96], &block[96..108]);
            let word =
                |at: usize| u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
            let (a, b, c) = (word(0), word(4), word(8));
            let (low, high) = (0x0f0f_0f0f, 0x0303_0303);
            let words = [
                (a & low) | (c & high) << 4,
                (b & low) | (c >> 2 & high) << 4,
                (a >> 4 & low) | (c >> 4 & high) << 4,
                (b >> 4 & low) | (c >> 6 & high) << 4,
            ];
            let scales: Vec<i8> =
                words.iter().flat_map(|word| word.to_le_bytes()).map(|scale| scale as i8 - 32).collect();
            assert_eq!(q3k_scales(block).to_vec(), scales);
            let mut expected = Vec::new();
            let mut bit = 1u8;
            for half in codes.chunks(32) {
                for shift in [0, 2, 4, 6] {
                    for (code, mask) in half.iter().zip(mask) {
                        expected.push((code >> shift & 3) as i8 - if mask & bit != 0 { 0 } else { 4 });
                    }
                    bit = bit.wrapping_shl(1);
                }
            }
            let mut found = [0; 256];
            q3k_codes(block, &mut found);
            assert_eq!(found.to_vec(), expected);
        }
        for block in bytes(50 * Q5_BYTES).chunks(Q5_BYTES) {
            let upper = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
            let mut found = [0; 32];
            q5_codes(block, &mut found);
            for number in 0..16 {
                let (first, second) = (upper >> number << 4 & 16, upper >> (number + 12) & 16);
                let byte = u32::from(block[6 + number]);
                assert_eq!(i32::from(found[number]), (byte & 15 | first) as i32 - 16);
                assert_eq!(i32::from(found[number + 16]), (byte >> 4 | second) as i32 - 16);
            }
        }
    }
}
