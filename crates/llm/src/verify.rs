//! Holds this machine's kernels against the scalar ones, which define every bit.
//!
//! Each case is a kernel, run on both over seeded random shapes and values, among them those that break kernels:
//! codes and activations at the ends of their ranges, scales that are zero, subnormal or infinite. It is part of the
//! library so that it can run wherever the kernels do: in the tests of this crate, and in a browser.
//!
//! NaN equals NaN: which NaN an operation gives is not defined everywhere, and no model with one gets past sampling.

use half::{bf16, f16};

use crate::Kernels;
use crate::formats::BlockType;
use crate::host::Half;
use crate::kernels::{
    Activations, FloatType, GROUP_ROWS, Precision, Q8_VALUE_BLOCK_BYTES, SCALE_BYTES, TernaryScale,
    UNIT_BYTES,
};

/// Random shapes of each case; fewer and smaller ones where an interpreter runs the kernels.
const ROUNDS: u64 = if cfg!(miri) { 3 } else { 40 };
/// Values that f16 scales take besides usual ones: zeros, the smallest subnormal, the largest number, infinities.
const SPECIAL_SCALES: [u16; 6] = [0, 0x8000, 1, 0x7bff, 0x7c00, 0xfc00];

/// A comparison over one random shape; the first difference as text.
type Case = fn(&mut Numbers) -> Result<(), String>;

const CASES: [(&str, Case); 20] = [
    ("Q4_0 products", |numbers| blocks(numbers, BlockType::Q4_0)),
    ("Q4_1 products", |numbers| blocks(numbers, BlockType::Q4_1)),
    ("Q5_0 products", |numbers| blocks(numbers, BlockType::Q5_0)),
    ("Q5_1 products", |numbers| blocks(numbers, BlockType::Q5_1)),
    ("Q8_0 products", |numbers| blocks(numbers, BlockType::Q8_0)),
    ("Q2_K products", |numbers| blocks(numbers, BlockType::Q2K)),
    ("Q3_K products", |numbers| blocks(numbers, BlockType::Q3K)),
    ("Q4_K products", |numbers| blocks(numbers, BlockType::Q4K)),
    ("Q5_K products", |numbers| blocks(numbers, BlockType::Q5K)),
    ("Q6_K products", |numbers| blocks(numbers, BlockType::Q6K)),
    ("IQ4_NL products", |numbers| blocks(numbers, BlockType::Iq4Nl)),
    ("IQ4_XS products", |numbers| blocks(numbers, BlockType::Iq4Xs)),
    ("MXFP4 products", |numbers| blocks(numbers, BlockType::Mxfp4)),
    ("ternary products with a scale for each block", |numbers| ternary(numbers, true)),
    ("ternary products with one scale", |numbers| ternary(numbers, false)),
    ("float products", float_products),
    ("attention", attention),
    ("half precision", half_precision),
    ("elementwise loops", elementwise),
    ("quantization of activations", quantization),
];

/// The names of all cases.
pub fn case_names() -> Vec<&'static str> {
    CASES.iter().map(|(name, _)| *name).collect()
}

/// Runs the case called `name`, which stays the same for the same `seed`.
///
/// # Errors
/// The first difference, as text.
pub fn run_case(name: &str, seed: u64) -> Result<(), String> {
    let Some((_, case)) = CASES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("there is no case `{name}`"));
    };
    (0..ROUNDS).try_for_each(|round| {
        let mut numbers = Numbers::new(seed.wrapping_mul(ROUNDS).wrapping_add(round));
        case(&mut numbers).map_err(|problem| format!("seed {seed}, round {round}: {problem}"))
    })
}

/// Deterministic numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from 1 to `last`.
    fn count(&mut self, last: usize) -> usize {
        1 + self.below(last)
    }

    /// From -2 to 2, some much smaller.
    fn float(&mut self) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1u32 << 24) as f32;
        (unit * 4.0 - 2.0) * if self.below(10) == 0 { 0.001 } else { 1.0 }
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Activations: usual ones, or all of one magnitude (codes at ±127), or of one value, or zeros, or tiny or huge.
    fn activations(&mut self, count: usize) -> Vec<f32> {
        match self.below(8) {
            0 => (0..count).map(|_| if self.next() & 1 == 0 { 1.5 } else { -1.5 }).collect(),
            1 => vec![-0.75; count],
            2 => vec![0.0; count],
            3 => self.floats(count).iter().map(|value| value * 1e-39).collect(),
            4 => self.floats(count).iter().map(|value| value * 1e37).collect(),
            _ => self.floats(count),
        }
    }

    /// Random bytes, or all of one value.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        match self.below(4) {
            0 => vec![[0x80, 0xff, 0x7f][self.below(3)]; count],
            _ => (0..count).map(|_| self.next() as u8).collect(),
        }
    }

    /// Blocks of `block_bytes` that begin with so many scales.
    fn blocks(&mut self, count: usize, block_bytes: usize, scales: usize) -> Vec<u8> {
        let mut blocks = self.bytes(count * block_bytes);
        let special = self.below(3) == 0;
        for block in blocks.chunks_exact_mut(block_bytes) {
            for row in 0..scales {
                let scale = match special && self.below(4) == 0 {
                    true => SPECIAL_SCALES[self.below(SPECIAL_SCALES.len())],
                    false => f16::from_f32_const(self.float() * 0.1).to_bits(),
                };
                block[2 * row..2 * row + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        blocks
    }
}

/// Runs `kernel` on all instruction sets into `count` numbers.
fn compare(what: &str, count: usize, kernel: impl Fn(Kernels, &mut [f32])) -> Result<(), String> {
    let mut expected = vec![0.0; count];
    kernel(Kernels::scalar(), &mut expected);
    faster_kernels().into_iter().try_for_each(|kernels| {
        let mut actual = vec![0.0; count];
        kernel(kernels, &mut actual);
        same_bits(what, kernels, &expected, &actual)
    })
}

/// All kernels of this machine but the scalar ones.
fn faster_kernels() -> Vec<Kernels> {
    Kernels::all().split_off(1)
}

fn same_bits(what: &str, kernels: Kernels, expected: &[f32], actual: &[f32]) -> Result<(), String> {
    let differs = |(expected, actual): &(&f32, &f32)| {
        expected.to_bits() != actual.to_bits() && !(expected.is_nan() && actual.is_nan())
    };
    match expected.iter().zip(actual).enumerate().find(|(_, pair)| differs(pair)) {
        None => Ok(()),
        Some((place, (expected, actual))) => Err(format!(
            "{what}: number {place} of {} is {actual} ({:#010x}) instead of {expected} ({:#010x})",
            kernels.name(),
            actual.to_bits(),
            expected.to_bits()
        )),
    }
}

/// Groups of rows, blocks of a row, and tokens.
fn shape(numbers: &mut Numbers) -> (usize, usize, usize) {
    let (groups, blocks, more) = if cfg!(miri) { (5, 1, 2) } else { (9, 5, 20) };
    // Now and then more than kernels take at a time.
    let tokens = if numbers.below(3) == 0 { 15 + numbers.count(more) } else { numbers.count(10) };
    (numbers.count(groups), numbers.count(blocks), tokens)
}

fn blocks(numbers: &mut Numbers, kind: BlockType) -> Result<(), String> {
    let (groups, blocks, tokens) = shape(numbers);
    let columns = blocks * kind.columns();
    let x = numbers.activations(tokens * columns);
    // Exponents are any; all other scales and minima are floats.
    let scales = kind.factors_at() / 2 * usize::from(kind.scale_bytes() == 2);
    let packed = numbers.blocks(groups * blocks, kind.packed_bytes(), scales);
    let what = format!("{} rows of {columns}, {tokens} tokens", groups * GROUP_ROWS);
    compare(&what, tokens * groups * GROUP_ROWS, |kernels, out| {
        let activations = Activations::new(kernels, Precision::Blocks, columns, &x);
        kernels.blocks(kind, &packed, &activations, out);
    })
}

fn ternary(numbers: &mut Numbers, scale_for_each_block: bool) -> Result<(), String> {
    let (groups, blocks, tokens) = shape(numbers);
    let columns = blocks * if scale_for_each_block { 256 } else { 128 };
    let x = numbers.activations(tokens * columns);
    let (packed, scale) = if scale_for_each_block {
        let block_bytes = SCALE_BYTES + 2 * UNIT_BYTES;
        let mut packed = numbers.blocks(groups * blocks, block_bytes, GROUP_ROWS);
        packed.chunks_exact_mut(block_bytes).for_each(|block| clear_code_three(&mut block[SCALE_BYTES..]));
        (packed, TernaryScale::PerBlock)
    } else {
        let mut packed = numbers.bytes(groups * blocks * UNIT_BYTES);
        clear_code_three(&mut packed);
        (packed, TernaryScale::PerTensor(numbers.float()))
    };
    let what = format!("{} rows of {columns}, {tokens} tokens", groups * GROUP_ROWS);
    compare(&what, tokens * groups * GROUP_ROWS, |kernels, out| {
        let activations = Activations::new(kernels, Precision::Token, columns, &x);
        kernels.ternary(&packed, scale, &activations, out);
    })
}

/// Codes 0, 1 and 2 only.
fn clear_code_three(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte &= !((*byte >> 1) & 0x55));
}

fn float_products(numbers: &mut Numbers) -> Result<(), String> {
    let (rows, columns, tokens) = (numbers.count(11), numbers.count(99), numbers.count(10));
    let x = numbers.floats(tokens * columns);
    let weights = numbers.activations(rows * columns);
    for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
        let bytes: Vec<u8> = weights
            .iter()
            .flat_map(|&weight| match float {
                FloatType::F32 => weight.to_le_bytes().to_vec(),
                FloatType::F16 => f16::from_f32_const(weight).to_le_bytes().to_vec(),
                FloatType::Bf16 => bf16::from_f32_const(weight).to_le_bytes().to_vec(),
            })
            .collect();
        let what = format!("{float:?}, {rows} rows of {columns}, {tokens} tokens");
        compare(&what, tokens * rows, |kernels, out| kernels.float_rows(float, &bytes, columns, &x, out))?;
    }
    Ok(())
}

fn attention(numbers: &mut Numbers) -> Result<(), String> {
    let (positions, rows) = (numbers.count(39), numbers.count(9));
    let length = [numbers.count(79), 16 * numbers.count(8)][numbers.below(2)];
    let (stride, count) = (positions + numbers.below(5), rows * length);
    let queries = numbers.floats(count);
    let mut cache = vec![Half::default(); positions * length];
    Kernels::scalar().to_half(&numbers.activations(positions * length), &mut cache);
    let what = format!("{rows} rows, {positions} positions of {length}");
    compare(&format!("scores, {what}"), rows * stride, |kernels, out| {
        kernels.attention_scores(&queries, &cache, length, 0.125, out, stride);
    })?;
    let mut scores = numbers.floats(rows * stride);
    compare(&format!("softmax, {what}"), scores.len(), |kernels, out| {
        out.copy_from_slice(&scores);
        kernels.softmax(out);
    })?;
    compare(&format!("distribution, {what}"), 3, |kernels, out| {
        out.copy_from_slice(&kernels.distribution(&scores));
    })?;
    scores.chunks_mut(stride).for_each(|scores| Kernels::scalar().softmax(scores));
    compare(&format!("values, {what}"), count, |kernels, out| {
        out.copy_from_slice(&queries);
        kernels.attention_values(&scores, stride, &cache, length, out);
    })?;
    let blocks = numbers.count(4);
    let mut values = numbers.bytes(positions * blocks * Q8_VALUE_BLOCK_BYTES);
    for block in values.chunks_exact_mut(Q8_VALUE_BLOCK_BYTES) {
        block[..2].copy_from_slice(&f16::from_f32_const(numbers.float()).to_le_bytes());
    }
    let before = numbers.floats(rows * blocks * 32);
    compare(&format!("Q8_0 values, {rows} rows, {positions} positions"), before.len(), |kernels, out| {
        out.copy_from_slice(&before);
        kernels.attention_values_q8(&scores, stride, &values, blocks * 32, out);
    })
}

fn half_precision(numbers: &mut Numbers) -> Result<(), String> {
    let count = numbers.count(299);
    let mut x: Vec<f32> = (0..count).map(|_| f32::from_bits(numbers.next() as u32)).collect();
    x.extend(numbers.floats(count));
    x.extend([0.0, -0.0, 65504.0, 65519.996, 65520.0, -65536.0, 6.1e-5, 5.96e-8, 2.98e-8, f32::INFINITY]);
    let exact: Vec<f32> = x.iter().map(|&value| f16::from_f32_const(value).to_f32()).collect();
    // Rounding to half precision is an instruction that the interpreter lacks.
    let rounding = if cfg!(miri) { Vec::new() } else { Kernels::all() };
    for kernels in rounding {
        let mut halves = vec![Half::default(); x.len()];
        kernels.to_half(&x, &mut halves);
        let values: Vec<f32> = halves.iter().map(|half| half.value()).collect();
        same_bits("to half precision", kernels, &exact, &values)?;
    }
    // And back, for all that there are: as a row of one column each, times 1.
    let step = if cfg!(miri) { 64 } else { 1 };
    let all: Vec<u8> = (0..=u16::MAX).step_by(step).flat_map(u16::to_le_bytes).collect();
    compare("from half precision", (1 << 16) / step, |kernels, out| {
        kernels.float_rows(FloatType::F16, &all, 1, &[1.0], out);
    })?;
    let mut ones = [0.0; 16];
    ones[numbers.below(16)] = 1.0;
    compare("from half precision, sixteen at a time", (1 << 12) / step, |kernels, out| {
        kernels.float_rows(FloatType::F16, &all, 16, &ones, out);
    })
}

fn elementwise(numbers: &mut Numbers) -> Result<(), String> {
    let count = numbers.count(299);
    let (x, y) = (numbers.activations(count), numbers.floats(count));
    compare("rms_norm", count, |kernels, out| kernels.rms_norm(&x, &y, 1e-5, out))?;
    let in_place = |what: &str, kernel: fn(Kernels, &mut [f32], &[f32])| {
        compare(what, count, |kernels, out| {
            out.copy_from_slice(&x);
            kernel(kernels, out, &y);
        })
    };
    in_place("silu_multiply", Kernels::silu_multiply)?;
    in_place("squared_relu_multiply", Kernels::squared_relu_multiply)?;
    in_place("add", Kernels::add)?;
    in_place("gelu_multiply", Kernels::gelu_multiply)?;
    in_place("gelu", |kernels, x, _| kernels.gelu(x))?;
    in_place("scale_and_shift", |kernels, x, y| kernels.scale_and_shift(x, y, y))?;
    compare("standardize", count, |kernels, out| kernels.standardize(&x, 1e-5, out))?;
    compare("length", 1, |kernels, out| out.fill(kernels.length(&x)))?;
    in_place("soft_cap", |kernels, x, _| kernels.soft_cap(x, 1.5))
}

fn quantization(numbers: &mut Numbers) -> Result<(), String> {
    let (units, tokens) = (numbers.count(4), numbers.count(3));
    let columns = units * 128;
    let mut x = numbers.activations(tokens * columns);
    if numbers.below(4) == 0 {
        let place = numbers.below(x.len());
        x[place] = [f32::NAN, f32::INFINITY, -0.0][numbers.below(3)];
    }
    for precision in [Precision::Blocks, Precision::Token] {
        let expected = Activations::new(Kernels::scalar(), precision, columns, &x);
        for kernels in faster_kernels() {
            let actual = Activations::new(kernels, precision, columns, &x);
            for token in 0..tokens {
                let ((values, scales, sums), actual) = (expected.token(token), actual.token(token));
                same_bits("scales", kernels, scales, actual.1)?;
                if (values, sums) != (actual.0, actual.2) {
                    return Err(format!(
                        "{precision:?}: the codes of token {token} of {columns} columns differ on {}",
                        kernels.name()
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 8 }))]

        #[test]
        fn every_kernel_of_this_machine_gives_the_bits_of_the_scalar_one(seed: u64) {
            for name in case_names() {
                prop_assert_eq!(run_case(name, seed), Ok(()), "{}", name);
            }
        }
    }

    #[test]
    fn a_difference_is_told() {
        let problem =
            same_bits("sums", Kernels::scalar(), &[1.0, f32::NAN, 0.0], &[1.0, f32::NAN, -0.0]).unwrap_err();
        assert!(problem.contains("number 2") && problem.contains("0x80000000"), "{problem}");
        assert!(run_case("nothing", 0).unwrap_err().contains("no case"));
    }
}
