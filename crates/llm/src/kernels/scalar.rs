//! The reference kernels: plain loops that define every bit of the results.
//!
//! Quantized matrices are row-interleaved in groups of eight rows (layouts in [`super`]); each row has one f32
//! accumulator that its blocks enter in ascending order, multiply and add rounded separately.

use half::{bf16, f16};

use crate::formats::{BLOCK_COLUMNS, BlockType, PART_COLUMNS};
use crate::host::Half;

use super::elementwise::{LANES, reduce};
use super::{
    Activations, FloatType, GROUP_ROWS, Q8_VALUE_BLOCK_BYTES, SCALE_BYTES, TernaryScale, UNIT_BYTES, layout,
};

fn scale_of(block: &[u8], row: usize) -> f32 {
    f16::from_le_bytes([block[2 * row], block[2 * row + 1]]).to_f32()
}

/// Runs `row_product(group bytes, row in group, token)` for all rows and tokens; `out` is `[tokens][rows]`.
fn for_each_row(
    packed: &[u8],
    group_bytes: usize,
    activations: &Activations,
    out: &mut [f32],
    row_product: impl Fn(&[u8], usize, usize) -> f32,
) {
    let rows = packed.len() / group_bytes * GROUP_ROWS;
    for (number, group) in packed.chunks_exact(group_bytes).enumerate() {
        for token in 0..activations.tokens() {
            for row in 0..GROUP_ROWS {
                out[token * rows + number * GROUP_ROWS + row] = row_product(group, row, token);
            }
        }
    }
}

/// Rows of blocks times tokens; `out` is `[tokens][rows]`.
///
/// Within 32 columns everything is an exact integer: the sum of `factor · value(code) · activation`, and of types with a
/// minimum that of `minimum factor · activation`; both fit the 24 bits of an f32. Blocks without a minimum add
/// `float(dot) · (scale · activation scale)` for each 32 columns. The others sum `float(dot) · activation scale` over their
/// columns, and likewise for minima, and add `minimum · sum of minima`, then `scale · sum`: two products for 256 columns
/// where each 32 would need two.
pub(crate) fn blocks(kind: BlockType, packed: &[u8], activations: &Activations, out: &mut [f32]) {
    let group_bytes = kind.group_bytes(activations.columns());
    let rows = packed.len() / group_bytes * GROUP_ROWS;
    let out = &mut out[..activations.tokens() * rows];
    out.fill(0.0);
    let parts = BLOCK_COLUMNS / PART_COLUMNS;
    for (group, packed) in packed.chunks_exact(group_bytes).enumerate() {
        for (number, packed) in packed.chunks_exact(kind.packed_bytes()).enumerate() {
            for row in 0..GROUP_ROWS {
                let block = layout::unpack(kind, packed, row);
                let [factors, minima] = kind.factors().read(&block.factors);
                let weights = block.codes.map(|code| kind.value(code));
                let scale = kind.scale(block.scale);
                let minimum = f16::from_bits(block.minimum).to_f32();
                for token in 0..activations.tokens() {
                    let (values, scales, _) = activations.token(token);
                    let sums = activations.pair_sums(token);
                    let accumulator = &mut out[token * rows + group * GROUP_ROWS + row];
                    let (mut sum, mut sum_of_minima) = (0.0, 0.0);
                    for within in 0..kind.columns() / BLOCK_COLUMNS {
                        let at = number * kind.columns() / BLOCK_COLUMNS + within;
                        let (mut dot, mut dot_of_minima) = (0i32, 0i32);
                        for part in 0..parts {
                            let weights = &weights[(within * parts + part) * PART_COLUMNS..][..PART_COLUMNS];
                            let values = &values[(at * parts + part) * PART_COLUMNS..][..PART_COLUMNS];
                            let products = weights.iter().zip(values);
                            let products =
                                products.map(|(&weight, &value)| i32::from(weight) * i32::from(value));
                            dot += i32::from(factors[within * parts + part]) * products.sum::<i32>();
                            let [first, second] = sums[at * parts + part].map(i32::from);
                            dot_of_minima += i32::from(minima[within * parts + part]) * (first + second);
                        }
                        if kind.has_minimum() {
                            sum += dot as f32 * scales[at];
                            sum_of_minima += dot_of_minima as f32 * scales[at];
                        } else {
                            *accumulator += dot as f32 * (scale * scales[at]);
                        }
                    }
                    if kind.has_minimum() {
                        *accumulator += minimum * sum_of_minima;
                        *accumulator += scale * sum;
                    }
                }
            }
        }
    }
}

/// Dot product of `row` of a 128-column unit of codes with `values`, code offset not yet taken off.
fn unit_dot(unit: &[u8], row: usize, values: &[i8]) -> i32 {
    let mut dot = 0i32;
    for vector in 0..8 {
        for byte in 0..4 {
            let codes = unit[vector * 32 + row * 4 + byte];
            for place in 0..4 {
                let code = (codes >> (2 * place)) & 3;
                dot += i32::from(code) * i32::from(values[vector * 16 + place * 4 + byte]);
            }
        }
    }
    dot
}

/// Ternary rows times tokens; the result is divided by the token's scale.
pub(crate) fn ternary(packed: &[u8], scale: TernaryScale, activations: &Activations, out: &mut [f32]) {
    let units = activations.columns() / 128;
    match scale {
        TernaryScale::PerBlock => {
            let block_bytes = SCALE_BYTES + 2 * UNIT_BYTES;
            for_each_row(packed, units / 2 * block_bytes, activations, out, |group, row, token| {
                let (values, scales, sums) = activations.token(token);
                let mut accumulator = 0.0;
                for (number, block) in group.chunks_exact(block_bytes).enumerate() {
                    let mut dot = 0;
                    for (within, unit) in block[SCALE_BYTES..].chunks_exact(UNIT_BYTES).enumerate() {
                        let at = number * 2 + within;
                        dot += unit_dot(unit, row, &values[at * 128..][..128]) - sums[at];
                    }
                    accumulator += dot as f32 * scale_of(block, row);
                }
                accumulator / scales[0]
            });
        }
        TernaryScale::PerTensor(scale) => {
            for_each_row(packed, units * UNIT_BYTES, activations, out, |group, row, token| {
                let (values, scales, sums) = activations.token(token);
                let mut dot = 0;
                for (at, unit) in group.chunks_exact(UNIT_BYTES).enumerate() {
                    dot += unit_dot(unit, row, &values[at * 128..][..128]) - sums[at];
                }
                dot as f32 * scale / scales[0]
            });
        }
    }
}

/// Element `column` of a float row, as f32.
pub(crate) fn float_at(float: FloatType, row: &[u8], column: usize) -> f32 {
    match float {
        FloatType::F32 => {
            let at = column * 4;
            f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])
        }
        FloatType::F16 => f16::from_le_bytes([row[2 * column], row[2 * column + 1]]).to_f32(),
        FloatType::Bf16 => bf16::from_le_bytes([row[2 * column], row[2 * column + 1]]).to_f32(),
    }
}

/// Float rows times tokens: `rows` holds whole rows of `columns` floats, `x` is `[tokens][columns]`, `out` is
/// `[tokens][rows]`. Element `i` is added to virtual lane `i mod 16`; the lanes meet in a fixed tree.
pub(crate) fn float_rows(float: FloatType, rows: &[u8], columns: usize, x: &[f32], out: &mut [f32]) {
    let row_count = rows.len() / (columns * float.bytes());
    for (number, row) in rows.chunks_exact(columns * float.bytes()).enumerate() {
        for (token, x) in x.chunks_exact(columns).enumerate() {
            let mut lanes = [0.0; LANES];
            for (column, x) in x.iter().enumerate() {
                lanes[column % LANES] += float_at(float, row, column) * x;
            }
            out[token * row_count + number] = reduce(&lanes);
        }
    }
}

/// Attention scores: `out[row · stride + p] = (queries[row] · keys[p]) · scale`; element `i` is added to virtual lane
/// `i mod 16`, and the lanes meet in the fixed tree.
pub(crate) fn attention_scores(
    queries: &[f32],
    keys: &[Half],
    length: usize,
    scale: f32,
    out: &mut [f32],
    stride: usize,
) {
    for (query, out) in queries.chunks_exact(length).zip(out.chunks_mut(stride)) {
        for (key, out) in keys.chunks_exact(length).zip(out) {
            let mut lanes = [0.0; LANES];
            for (column, (key, query)) in key.iter().zip(query).enumerate() {
                lanes[column % LANES] += key.value() * query;
            }
            *out = reduce(&lanes) * scale;
        }
    }
}

/// Attention output: `out[row][d] += Σ probabilities[row · stride + p] · values[p][d]`, positions ascending.
pub(crate) fn attention_values(
    probabilities: &[f32],
    stride: usize,
    values: &[Half],
    length: usize,
    out: &mut [f32],
) {
    for (probabilities, out) in probabilities.chunks(stride).zip(out.chunks_exact_mut(length)) {
        for (probability, value) in probabilities.iter().zip(values.chunks_exact(length)) {
            for (out, value) in out.iter_mut().zip(value) {
                *out += probability * value.value();
            }
        }
    }
}

/// The same with Q8_0 values: `out[row][d] += (probabilities[row · stride + p] · scale) · code`.
pub(crate) fn attention_values_q8(
    probabilities: &[f32],
    stride: usize,
    values: &[u8],
    length: usize,
    out: &mut [f32],
) {
    let bytes = length / 32 * Q8_VALUE_BLOCK_BYTES;
    for (probabilities, out) in probabilities.chunks(stride).zip(out.chunks_exact_mut(length)) {
        for (probability, value) in probabilities.iter().zip(values.chunks_exact(bytes)) {
            for (block, out) in value.chunks_exact(Q8_VALUE_BLOCK_BYTES).zip(out.chunks_exact_mut(32)) {
                let weight = probability * scale_of(block, 0);
                for (out, code) in out.iter_mut().zip(&block[2..]) {
                    *out += weight * f32::from(*code as i8);
                }
            }
        }
    }
}

/// Rounds to half precision, ties to even.
pub(crate) fn to_half(x: &[f32], out: &mut [Half]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = Half::round(*x);
    }
}
