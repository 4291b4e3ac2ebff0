//! The loops that are written once: plain Rust whose float operations are each rounded on their own, so compiling
//! them for a wider instruction set cannot change a bit. The kernels of each instruction set instantiate them.

/// Virtual lanes of a float sum: element `i` is added to lane `i mod 16`.
pub(crate) const LANES: usize = 16;

/// The fixed reduction tree: 16 → 8 → 4 → 2 → 1, lane `i` with lane `i + half`.
#[inline(always)]
pub(crate) fn reduce(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Sum of squares over the virtual lanes.
#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += chunk[i] * chunk[i];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value * value;
    }
    reduce(&lanes)
}

/// `out[i] = x[i] / sqrt(mean(x²) + epsilon) · weight[i]`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = sum_of_squares(x) / x.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// Sum over the virtual lanes.
#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    reduce(&lanes)
}

/// Layer normalization without its weights: `out[i] = (x[i] - mean) / sqrt(variance + epsilon)`.
#[inline(always)]
pub(crate) fn standardize(x: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = sum(x) / x.len() as f32;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let scale = 1.0 / (sum_of_squares(out) / x.len() as f32 + epsilon).sqrt();
    for out in out {
        *out *= scale;
    }
}

/// The weights of layer normalization: `x[i] = x[i] · weight[i] + bias[i]`.
#[inline(always)]
pub(crate) fn scale_and_shift(x: &mut [f32], weight: &[f32], bias: &[f32]) {
    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        *x = *x * weight + bias;
    }
}

/// The length of a vector: the root of the sum of squares.
#[inline(always)]
pub(crate) fn length(x: &[f32]) -> f32 {
    sum_of_squares(x).sqrt()
}

/// Adding and subtracting this rounds an f32 of magnitude below 2²² to the nearest integer, ties to even.
const ROUNDING: f32 = 12_582_912.0;

/// e to the `x`, to about two units in the last place (Cephes `expf`). Saturates at the ends of the f32 range.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const HIGHEST: f32 = 88.0;
    const LOWEST: f32 = -87.0;
    const LOG2_HIGH: f32 = 0.693_359_4;
    const LOG2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > HIGHEST { HIGHEST } else { x };
    let x = if x < LOWEST { LOWEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = x - n * LOG2_HIGH - n * LOG2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let fraction = p * (r * r) + r + 1.0;
    // The low bits of `shifted` are the integer; moved into the exponent field they make 2ⁿ.
    let power = shifted.to_bits().wrapping_add(127) << 23;
    fraction * f32::from_bits(power)
}

/// The hyperbolic tangent, to about two units in the last place (Cephes `tanhf`).
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    /// Below, `1 - 2 / (e²ˣ + 1)` would lose digits.
    const SMALL: f32 = 0.625;
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (exp(magnitude + magnitude) + 1.0);
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_909e-2;
    p = p * square - 5.373_971_6e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let small = p * square * x + x;
    if magnitude < SMALL { small } else { large.copysign(x) }
}

/// Bends `x` smoothly to within ±`cap`: `x[i] = cap · tanh(x[i] / cap)`.
#[inline(always)]
pub(crate) fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * tanh(*x / cap);
    }
}

/// SwiGLU: `gate[i] = silu(gate[i]) · up[i]`.
#[inline(always)]
pub(crate) fn silu_multiply(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        *gate = x / (1.0 + exp(-x)) * up;
    }
}

/// The Gaussian error linear unit in its form with tanh (arXiv:1606.08415):
/// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    const ROOT_OF_TWO_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(ROOT_OF_TWO_OVER_PI * x * (1.0 + 0.044_715 * x * x)))
}

/// `x[i] = gelu(x[i])`.
#[inline(always)]
pub(crate) fn gelu(x: &mut [f32]) {
    for x in x {
        *x = gelu_of(*x);
    }
}

/// GEGLU: `gate[i] = gelu(gate[i]) · up[i]`.
#[inline(always)]
pub(crate) fn gelu_multiply(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = gelu_of(*gate) * up;
    }
}

/// BitNet's feed-forward: `gate[i] = relu(gate[i])² · up[i]`.
#[inline(always)]
pub(crate) fn squared_relu_multiply(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = if *gate > 0.0 { *gate } else { 0.0 };
        *gate = x * x * up;
    }
}

/// `x[i] += y[i]`.
#[inline(always)]
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Turns scores into probabilities in place. The sum runs over the virtual lanes.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in scores.chunks(LANES) {
        for (most, &score) in most.iter_mut().zip(chunk) {
            *most = larger(*most, score);
        }
    }
    let maximum = most.iter().fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    let mut lanes = [0.0; LANES];
    for chunk in scores.chunks_mut(LANES) {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *score = exp(*score - maximum);
            *lane += *score;
        }
    }
    let inverse = 1.0 / reduce(&lanes);
    for score in scores {
        *score *= inverse;
    }
}

/// What a softmax of `x` is made of: the largest value, and with `d = x - largest`, the sums of `eᵈ` and of `d·eᵈ`, over
/// the virtual lanes.
#[inline(always)]
pub(crate) fn distribution(x: &[f32]) -> [f32; 3] {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in x.chunks(LANES) {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = larger(*most, value);
        }
    }
    let maximum = most.iter().fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    let (mut sums, mut moments) = ([0.0; LANES], [0.0; LANES]);
    for chunk in x.chunks(LANES) {
        for ((sum, moment), &value) in sums.iter_mut().zip(&mut moments).zip(chunk) {
            let difference = value - maximum;
            let power = exp(difference);
            *sum += power;
            *moment += power * difference;
        }
    }
    [maximum, reduce(&sums), reduce(&moments)]
}

/// Largest magnitude, by comparing bits: independent of order, and NaN wins.
#[inline(always)]
fn largest_magnitude(x: &[f32]) -> f32 {
    let mut bits = 0;
    for value in x {
        bits = bits.max(value.to_bits() & 0x7fff_ffff);
    }
    f32::from_bits(bits)
}

/// `round(x · scale)`, ties to even, held to ±127.
#[inline(always)]
fn to_code(x: f32, scale: f32) -> i8 {
    let scaled = x * scale;
    let scaled = if scaled > 127.0 { 127.0 } else { scaled };
    let scaled = if scaled < -127.0 { -127.0 } else { scaled };
    // The low byte of the shifted number is the integer in two's complement; NaN becomes 0.
    let bits = (scaled + ROUNDING).to_bits();
    if scaled.is_nan() { 0 } else { bits as i8 }
}

/// Quantizes blocks of 32: `scales[b] = max|x| / 127`, codes `round(x · 127 / max|x|)`, `sums[b]` the codes' sum.
#[inline(always)]
pub(crate) fn quantize_blocks(x: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    let blocks = x.chunks_exact(32).zip(values.chunks_exact_mut(32));
    for (((x, values), scale), sum) in blocks.zip(scales).zip(sums) {
        let largest = largest_magnitude(x);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        *scale = largest / 127.0;
        let mut total = 0;
        for (value, &x) in values.iter_mut().zip(x) {
            *value = to_code(x, inverse);
            total += i32::from(*value);
        }
        *sum = total;
    }
}

/// Sums of each 16 of `values`: of the first and second of each four, and of the third and fourth.
#[inline(always)]
pub(crate) fn pair_sums(values: &[i8], sums: &mut [[i16; 2]]) {
    for (values, sums) in values.chunks_exact(16).zip(sums) {
        *sums = [0; 2];
        for (place, value) in values.iter().enumerate() {
            sums[place % 4 / 2] += i16::from(*value);
        }
    }
}

/// What kernels want of quantized values besides the values: most want nothing.
#[inline(always)]
pub(crate) fn arrange(_: &[i8]) -> Vec<i32> {
    Vec::new()
}

/// Smallest magnitude that BitNet scales to full range; keeps a zero vector from dividing by zero.
const SMALLEST_LARGEST: f32 = 1e-5;

/// Quantizes a token as BitNet does: codes `round(x · s)` with `s = 127 / max(max|x|, 1e-5)`, which is returned;
/// `sums[u]` is the sum of the codes of unit `u` of 128.
#[inline(always)]
pub(crate) fn quantize_token(x: &[f32], values: &mut [i8], sums: &mut [i32]) -> f32 {
    let largest = largest_magnitude(x);
    let scale = 127.0 / if largest < SMALLEST_LARGEST { SMALLEST_LARGEST } else { largest };
    for ((x, values), sum) in x.chunks_exact(128).zip(values.chunks_exact_mut(128)).zip(sums) {
        let mut total = 0;
        for (value, &x) in values.iter_mut().zip(x) {
            *value = to_code(x, scale);
            total += i32::from(*value);
        }
        *sum = total;
    }
    scale
}

/// Makes functions of these loops that are compiled for an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! instantiate {
    ($features:literal) => {
        $crate::kernels::elementwise::instantiate! { $features;
            rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]);
            standardize(x: &[f32], epsilon: f32, out: &mut [f32]);
            scale_and_shift(x: &mut [f32], weight: &[f32], bias: &[f32]);
            length(x: &[f32]) -> f32;
            gelu(x: &mut [f32]);
            gelu_multiply(gate: &mut [f32], up: &[f32]);
            soft_cap(x: &mut [f32], cap: f32);
            softmax(scores: &mut [f32]);
            distribution(x: &[f32]) -> [f32; 3];
            silu_multiply(gate: &mut [f32], up: &[f32]);
            squared_relu_multiply(gate: &mut [f32], up: &[f32]);
            add(x: &mut [f32], y: &[f32]);
            pair_sums(values: &[i8], sums: &mut [[i16; 2]]);
            quantize_blocks(x: &[f32], values: &mut [i8], scales: &mut [f32], sums: &mut [i32]);
            arrange(values: &[i8]) -> Vec<i32>;
            quantize_token(x: &[f32], values: &mut [i8], sums: &mut [i32]) -> f32;
        }
    };
    ($features:literal; $($name:ident($($argument:ident: $kind:ty),*) $(-> $out:ty)?;)*) => {
        $(
            /// The shared loop, compiled for these instructions.
            #[target_feature(enable = $features)]
            pub(crate) fn $name($($argument: $kind),*) $(-> $out)? {
                $crate::kernels::elementwise::$name($($argument),*)
            }
        )*
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use instantiate;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value() {
        for step in -8700..8800 {
            let x = step as f32 / 100.0;
            let exact = libm::exp(f64::from(x));
            let relative = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(relative < 3e-7, "exp({x}) is off by {relative}");
        }
    }

    #[test]
    fn tanh_is_close_to_the_exact_value() {
        for step in -20_000..=20_000 {
            let x = step as f32 / 1000.0;
            let exact = libm::tanh(f64::from(x));
            let difference = (f64::from(tanh(x)) - exact).abs();
            assert!(difference <= 3e-7 * exact.abs(), "tanh({x}) is off by {difference}");
        }
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, -0.0].map(tanh), [1.0, -1.0, -0.0]);
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(tanh(1e-30), 1e-30);
    }

    #[test]
    fn gelu_is_close_to_its_formula() {
        for step in -2000..=2000 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044_715 * exact.powi(3));
            let exact = 0.5 * exact * (1.0 + libm::tanh(inner));
            let difference = (f64::from(gelu_of(x)) - exact).abs();
            assert!(difference <= 1e-6 * exact.abs().max(0.1), "gelu({x}) is off by {difference}");
        }
    }

    #[test]
    fn a_standardized_row_has_mean_0_and_deviation_1() {
        let x: Vec<f32> = (0..77).map(|number| (number * 37 % 29) as f32 + 100.0).collect();
        let mut out = vec![0.0; x.len()];
        standardize(&x, 1e-6, &mut out);
        assert!((sum(&out) / 77.0).abs() < 1e-5);
        assert!((sum_of_squares(&out) / 77.0 - 1.0).abs() < 1e-5);
        assert!(out.windows(2).zip(x.windows(2)).all(|(out, x)| (out[0] < out[1]) == (x[0] < x[1])));
        scale_and_shift(&mut out, &vec![2.0; 77], &vec![3.0; 77]);
        assert!((sum(&out) / 77.0 - 3.0).abs() < 1e-5);
    }

    #[test]
    fn codes_round_half_to_even_and_stay_in_range() {
        let codes: Vec<i8> = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, f32::NAN].map(|x| to_code(x, 1.0)).into();
        assert_eq!(codes, [0, 2, 2, 0, -2, 127, -127, 0]);
    }
}
