//! Rotary position embedding, with frequencies and angles from `libm` so that they are the same everywhere.

use crate::config::{Config, RopeStyle};

/// The rotation of each pair of a head's elements.
pub(crate) struct Rope {
    style: RopeStyle,
    /// Radians per position, `[rope_dimension / 2]`.
    frequencies: Vec<f64>,
}

impl Rope {
    /// `factors` divide the frequencies (`rope_freqs.weight`), `[rope_dimension / 2]`.
    pub fn new(config: &Config, factors: Option<&[f32]>) -> Self {
        let pairs = config.rope_dimension / 2;
        let frequency = |pair: usize| {
            let exponent = -2.0 * pair as f64 / config.rope_dimension as f64;
            let factor =
                factors.and_then(|factors| factors.get(pair)).map_or(1.0, |&factor| f64::from(factor));
            libm::pow(f64::from(config.rope_frequency_base), exponent) / factor / f64::from(config.rope_scale)
        };
        Self { style: config.rope_style, frequencies: (0..pairs).map(frequency).collect() }
    }

    /// Cosine and sine of each pair at `position`.
    pub fn angles(&self, position: usize) -> Vec<(f32, f32)> {
        let angle = |frequency: &f64| {
            let (sine, cosine) = libm::sincos(position as f64 * frequency);
            (cosine as f32, sine as f32)
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
