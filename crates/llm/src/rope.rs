//! Rotary position embedding (arXiv:2104.09864), with frequencies and angles from `libm` so that they are the same
//! everywhere.

use crate::architecture::RopeStyle;
use crate::config::{RopeConfig, RopeScaling};

/// The rotation of each pair of a head's elements.
pub(crate) struct Rope {
    style: RopeStyle,
    /// Radians per position, `[dimension / 2]`.
    frequencies: Vec<f64>,
    /// Factor of what was rotated.
    magnitude: f64,
}

impl Rope {
    /// `factors` divide the frequencies (`rope_freqs.weight` and the like), `[dimension / 2]`.
    pub fn new(config: &RopeConfig, style: RopeStyle, factors: Option<&[f32]>) -> Self {
        let pairs = config.dimension / 2;
        let frequency = |pair: usize| {
            let exponent = -2.0 * pair as f64 / config.dimension as f64;
            let factor =
                factors.and_then(|factors| factors.get(pair)).map_or(1.0, |&factor| f64::from(factor));
            let frequency = libm::pow(f64::from(config.frequency_base), exponent) / factor;
            match config.scaling {
                RopeScaling::Linear(divisor) => frequency / f64::from(divisor),
                RopeScaling::Yarn { factor, extrapolation, .. } => {
                    let kept = high_part(config, pair) * f64::from(extrapolation);
                    frequency * ((1.0 - kept) / f64::from(factor) + kept)
                }
                RopeScaling::Long { .. } => frequency,
            }
        };
        Self { style, frequencies: (0..pairs).map(frequency).collect(), magnitude: config.magnitude }
    }

    /// Cosine and sine of each pair at `position`.
    pub fn angles(&self, position: usize) -> Vec<(f32, f32)> {
        let angle = |frequency: &f64| {
            let (sine, cosine) = libm::sincos(position as f64 * frequency);
            ((cosine * self.magnitude) as f32, (sine * self.magnitude) as f32)
        };
        self.frequencies.iter().map(angle).collect()
    }

    /// Rotates every head of `x`, which is `[heads][head_length]`, by `angles`.
    pub fn rotate(&self, x: &mut [f32], head_length: usize, angles: &[(f32, f32)]) {
        let pairs = angles.len();
        for head in x.chunks_exact_mut(head_length) {
            for (pair, (cosine, sine)) in angles.iter().enumerate() {
                let (first, second) = match self.style {
                    RopeStyle::Adjacent => (2 * pair, 2 * pair + 1),
                    RopeStyle::HalfSplit => (pair, pair + pairs),
                };
                let (a, b) = (head[first], head[second]);
                head[first] = a * cosine - b * sine;
                head[second] = a * sine + b * cosine;
            }
        }
    }
}

/// How high the frequency of `pair` is for YaRN: 0 for those that turn less than slow in the original context, 1 for those
/// that turn more than fast, and on a line between. The ends are whole pairs, as in llama.cpp.
fn high_part(config: &RopeConfig, pair: usize) -> f64 {
    /// Keeps a line of no length from dividing by zero.
    const SHORTEST_LINE: f64 = 0.001;
    let RopeScaling::Yarn { original_context, fast_turns, slow_turns, .. } = config.scaling else {
        return 1.0;
    };
    let dimension = config.dimension as f64;
    // The pair that makes so many turns.
    let pair_of = |turns: f32| {
        let wavelength = original_context as f64 / (f64::from(turns) * 2.0 * std::f64::consts::PI);
        dimension * libm::log(wavelength) / (2.0 * libm::log(f64::from(config.frequency_base)))
    };
    let first = libm::floor(pair_of(fast_turns)).max(0.0);
    let last = libm::ceil(pair_of(slow_turns)).min(dimension - 1.0);
    1.0 - ((pair as f64 - first) / (last - first).max(SHORTEST_LINE)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(scaling: RopeScaling) -> Vec<f64> {
        let config = RopeConfig { dimension: 64, frequency_base: 10_000.0, scaling, magnitude: 1.0 };
        Rope::new(&config, RopeStyle::HalfSplit, None).frequencies
    }

    #[test]
    fn yarn_keeps_high_frequencies_divides_low_ones_and_lies_between_in_between() {
        let plain = frequencies(RopeScaling::Linear(1.0));
        let scaled = frequencies(RopeScaling::Yarn {
            factor: 4.0,
            original_context: 4096,
            extrapolation: 1.0,
            fast_turns: 32.0,
            slow_turns: 1.0,
        });
        let ratio: Vec<f64> = plain.iter().zip(&scaled).map(|(plain, scaled)| plain / scaled).collect();
        // 32 turns in 4096 positions is pair 10.47, one turn pair 22.5.
        assert!(ratio[..=10].iter().all(|ratio| (ratio - 1.0).abs() < 1e-12), "{ratio:?}");
        assert!(ratio[11..23].windows(2).all(|pair| 1.0 < pair[0] && pair[0] < pair[1] && pair[1] < 4.0));
        assert!(ratio[23..].iter().all(|ratio| (ratio - 4.0).abs() < 1e-12), "{ratio:?}");
    }
}
