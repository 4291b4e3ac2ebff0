//! Floats to any type: simple encoders for tests and generated models.

use half::{bf16, f16};

use crate::gguf::TensorType;

use super::block::{BLOCK_COLUMNS, Block, BlockType, Factors, IQ4_VALUES, MXFP4_VALUES, PART_COLUMNS};
use super::ternary::{TERNARY_BLOCK, pack_i2s, pack_tq1_0, pack_tq2_0};

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
        TensorType::I2S(packing) => pack_i2s(packing, &codes_of(row, scale), out),
        _ => {
            let kind = BlockType::of(tensor_type).expect("only types with a known layout can be encoded");
            for values in row.chunks(kind.columns()) {
                encode_block(kind, values).write(kind, out);
            }
        }
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

/// `1 / x`, or 0 if that would be infinite or of no use.
fn inverse(x: f32) -> f32 {
    if x > 0.0 { 1.0 / x } else { 0.0 }
}

/// The number of the value in `table` that is nearest to `value`.
fn nearest(table: &[i8; 16], value: f32) -> u8 {
    let distance = |code: usize| (value - f32::from(table[code])).abs();
    (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best }) as u8
}

fn encode_block(kind: BlockType, values: &[f32]) -> Block {
    let mut block = Block::zero();
    match kind {
        BlockType::Q8_0 => {
            let scale = maximum(values) / 127.0;
            block.scale = f16::from_f32(scale).to_bits();
            fill_codes(&mut block, values, |value| (value * inverse(scale)).round() as i8 as u8);
        }
        BlockType::Q4_0 => {
            let larger = |most: f32, &value: &f32| if value.abs() > most.abs() { value } else { most };
            let scale = values.iter().fold(0.0, larger) / -8.0;
            let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
            block.scale = f16::from_f32(scale).to_bits();
            fill_codes(&mut block, values, |value| ((value * inverse + 8.5) as u8).min(15));
        }
        BlockType::Q5_0 => {
            let step = set_scale(&mut block, maximum(values) / 15.0);
            fill_codes(&mut block, values, |value| {
                ((value * inverse(step)).round().clamp(-16.0, 15.0) + 16.0) as u8
            });
        }
        BlockType::Iq4Nl => {
            let step = set_scale(&mut block, maximum(values) / 113.0);
            fill_codes(&mut block, values, |value| nearest(&IQ4_VALUES, value * inverse(step)));
        }
        BlockType::Mxfp4 => {
            // The largest power of two is that of the largest value's exponent (OCP Microscaling Formats 1.0, 6.3).
            let exponent = (maximum(values).to_bits() >> 23).saturating_sub(2).min(254);
            block.scale = exponent as u16;
            let step = kind.scale(block.scale);
            fill_codes(&mut block, values, |value| nearest(&MXFP4_VALUES, value / step));
        }
        BlockType::Q4_1 | BlockType::Q5_1 => {
            let most = ((1u32 << kind.bits()) - 1) as f32;
            let (low, high) = (minimum(values), -minimum(&values.iter().map(|x| -x).collect::<Vec<_>>()));
            let step = set_scale(&mut block, (high - low) / most);
            let low = f16::from_f32(low);
            block.minimum = low.to_bits();
            fill_codes(&mut block, values, |value| {
                ((value - low.to_f32()) * inverse(step)).round().clamp(0.0, most) as u8
            });
        }
        BlockType::Q3K => encode_scaled(kind, values, &mut block, [3.0, 4.0], 31.0, PART_COLUMNS),
        BlockType::Q6K => encode_scaled(kind, values, &mut block, [31.0, 32.0], 127.0, PART_COLUMNS),
        BlockType::Iq4Xs => encode_scaled(kind, values, &mut block, [113.0, 0.0], 31.0, BLOCK_COLUMNS),
        BlockType::Q2K => encode_with_minima(kind, values, &mut block, 15.0, PART_COLUMNS),
        BlockType::Q4K | BlockType::Q5K => encode_with_minima(kind, values, &mut block, 63.0, BLOCK_COLUMNS),
    }
    block
}

fn fill_codes(block: &mut Block, values: &[f32], code: impl Fn(f32) -> u8) {
    block.codes.iter_mut().zip(values).for_each(|(target, &value)| *target = code(value));
}

/// Sets the scale, and gives it as it was rounded.
fn set_scale(block: &mut Block, scale: f32) -> f32 {
    let scale = f16::from_f32(scale);
    block.scale = scale.to_bits();
    scale.to_f32()
}

/// The smallest value.
fn minimum(values: &[f32]) -> f32 {
    values.iter().fold(f32::INFINITY, |least, value| value.min(least))
}

/// Blocks with factors of at most `most_factor` for each `columns` columns. Codes are `range[0]` at most, and begin
/// `range[1]` below zero, unless they number a table.
fn encode_scaled(
    kind: BlockType,
    values: &[f32],
    block: &mut Block,
    range: [f32; 2],
    most_factor: f32,
    columns: usize,
) {
    let [most, below] = range;
    let scale = set_scale(block, maximum(values) / (most * most_factor));
    let mut factors = [[0; 16]; 2];
    for (number, part) in values.chunks(columns).enumerate() {
        let factor = (maximum(part) / most * inverse(scale)).round().min(most_factor);
        let each = columns / PART_COLUMNS;
        factors[0][number * each..(number + 1) * each].fill(factor as i8);
        let step = inverse(scale * factor);
        for (code, &value) in block.codes[number * columns..].iter_mut().zip(part) {
            *code = match kind.factors() {
                Factors::SixBitsOfBlocks => nearest(&IQ4_VALUES, value * step),
                _ => ((value * step).round().clamp(-below, most) + below) as u8,
            };
        }
    }
    block.factors = kind.factors().write(&factors);
}

/// Blocks with factors, and factors of the minimum, of at most `most_factor` for each `columns` columns.
fn encode_with_minima(kind: BlockType, values: &[f32], block: &mut Block, most_factor: f32, columns: usize) {
    let most = ((1u32 << kind.bits()) - 1) as f32;
    // What is subtracted is not negative.
    let offsets: Vec<f32> = values.chunks(columns).map(|part| (-minimum(part)).max(0.0)).collect();
    let above = |part: &[f32]| part.iter().fold(0.0f32, |most, value| value.max(most));
    let parts = values.chunks(columns).zip(&offsets);
    let steps: Vec<f32> = parts.map(|(part, offset)| (above(part) + offset) / most).collect();
    let scale = set_scale(block, maximum(&steps) / most_factor);
    let least = f16::from_f32(-maximum(&offsets) / most_factor);
    block.minimum = least.to_bits();
    let mut factors = [[0; 16]; 2];
    for (number, part) in values.chunks(columns).enumerate() {
        let factor = (steps[number] * inverse(scale)).round().min(most_factor);
        let of_minimum = (offsets[number] * inverse(-least.to_f32())).round().min(most_factor);
        let each = columns / PART_COLUMNS;
        factors[0][number * each..(number + 1) * each].fill(factor as i8);
        factors[1][number * each..(number + 1) * each].fill(of_minimum as i8);
        let (step, offset) = (inverse(scale * factor), -least.to_f32() * of_minimum);
        for (code, &value) in block.codes[number * columns..].iter_mut().zip(part) {
            *code = ((value + offset) * step).round().clamp(0.0, most) as u8;
        }
    }
    block.factors = kind.factors().write(&factors);
}
