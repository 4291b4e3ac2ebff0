//! The numbers of rotary position embedding.

use super::MAXIMUM_CONTEXT;
use super::metadata::Metadata;
use crate::LlmError;
use crate::architecture::LocalRope;

/// The tensor with the divisors of frequencies for contexts longer than the original one, `[dimension / 2]`.
pub(crate) const LONG_FACTORS: &str = "rope_factors_long.weight";

/// How heads rotate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Elements of a head that rotate; even.
    pub dimension: usize,
    /// Base of the frequencies.
    pub frequency_base: f32,
    /// What is done to them.
    pub scaling: RopeScaling,
    /// Factor of rotated elements.
    pub magnitude: f64,
}

/// What is done to the frequencies of a model so that it holds longer contexts than it was trained on at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// All are divided by this; 1 for most models.
    Linear(f32),
    /// Low ones are divided by the factor, high ones are not (YaRN, arXiv:2309.00071).
    Yarn {
        /// The divisor.
        factor: f32,
        /// The context before it was made longer.
        original_context: usize,
        /// The part of its frequency that a high one keeps; 1 for most models.
        extrapolation: f32,
        /// Turns within the original context from which a frequency is high.
        fast_turns: f32,
        /// Turns up to which it is low.
        slow_turns: f32,
    },
    /// Each has a divisor of its own, from a search (LongRoPE, arXiv:2402.13753). There are two sets, of which one is for
    /// contexts longer than the original one. The model's context chooses it, and not the sequence's length, so that what
    /// a token computes never depends on those behind it.
    Long {
        /// Whether the set for long contexts is taken.
        long: bool,
    },
}

impl RopeConfig {
    /// Reads how heads of `head_length` elements rotate in a model of `context_length` positions.
    pub(super) fn read(
        metadata: &Metadata<'_>,
        head_length: usize,
        context_length: usize,
    ) -> Result<Self, LlmError> {
        let suffix = "rope.dimension_count";
        let dimension =
            metadata.gguf.get_u32(&metadata.key(suffix))?.map_or(head_length, |value| value as usize);
        if dimension % 2 != 0 || dimension == 0 || dimension > head_length {
            let expected = format!("an even number up to the head length {head_length}");
            return Err(metadata.wrong(suffix, expected, dimension));
        }
        let frequency_base = metadata.positive("rope.freq_base")?.unwrap_or(10_000.0);
        // The second is the key's old name.
        let factor = match metadata.positive_unless_zero("rope.scaling.factor")? {
            Some(factor) => factor,
            None => metadata.positive_unless_zero("rope.scale_linear")?.unwrap_or(1.0),
        };
        let original_context = metadata
            .optional_count("rope.scaling.original_context_length", MAXIMUM_CONTEXT)?
            .unwrap_or(context_length);
        let mut magnitude = f64::from(metadata.positive("rope.scaling.attn_factor")?.unwrap_or(1.0));
        // Files of Phi-3 may have the factors and not say so.
        let factors = metadata.gguf.get_tensor(LONG_FACTORS).map(|_| "longrope");
        let scaling = match metadata.gguf.get_string(&metadata.key("rope.scaling.type"))?.or(factors) {
            None | Some("linear") => RopeScaling::Linear(factor),
            Some("none") => RopeScaling::Linear(1.0),
            Some("yarn") => {
                let extrapolation =
                    match metadata.gguf.get_f32(&metadata.key("rope.scaling.yarn_ext_factor"))? {
                        None => 1.0,
                        Some(part) if (0.0..=1.0).contains(&part) => part,
                        Some(other) => {
                            return Err(metadata.wrong(
                                "rope.scaling.yarn_ext_factor",
                                "a number from 0 to 1",
                                other,
                            ));
                        }
                    };
                if extrapolation > 0.0 {
                    magnitude *= yarn_magnitude(metadata, f64::from(factor))?;
                }
                RopeScaling::Yarn {
                    factor,
                    original_context,
                    extrapolation,
                    fast_turns: metadata.positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    slow_turns: metadata.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                }
            }
            Some("longrope") => RopeScaling::Long { long: context_length > original_context },
            Some(other) => {
                return Err(LlmError::Unsupported(format!(
                    "rope scaling of type `{other}` is not supported; `none`, `linear`, `yarn` and `longrope` are"
                )));
            }
        };
        Ok(Self { dimension, frequency_base, scaling, magnitude })
    }

    /// How the heads of layers with a window rotate, if otherwise than these.
    pub(super) fn read_local(
        self,
        metadata: &Metadata<'_>,
        rule: LocalRope,
    ) -> Result<Option<Self>, LlmError> {
        let own_base = metadata.positive("rope.freq_base_swa")?;
        let unscaled = |frequency_base| Self {
            frequency_base,
            scaling: RopeScaling::Linear(1.0),
            magnitude: 1.0,
            ..self
        };
        Ok(match rule {
            LocalRope::Same => own_base.map(|frequency_base| Self { frequency_base, ..self }),
            LocalRope::Unscaled => Some(unscaled(own_base.unwrap_or(self.frequency_base))),
            LocalRope::Base(default) => Some(unscaled(own_base.unwrap_or(default))),
        })
    }
}

/// By how much attention sharpens when frequencies are divided by `factor`: the file says it, or 0.1 ln(factor) + 1, or the
/// ratio of two such terms, of which the second has a weight (`mscale_all_dim` of DeepSeek and Mistral).
fn yarn_magnitude(metadata: &Metadata<'_>, factor: f64) -> Result<f64, LlmError> {
    if let Some(magnitude) = metadata.positive("rope.scaling.yarn_attn_factor")? {
        return Ok(f64::from(magnitude));
    }
    let sharpening = |weight: f64| 1.0 + 0.1 * weight * libm::log(factor.max(1.0));
    let weight = metadata.positive_unless_zero("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0);
    Ok(sharpening(1.0) / sharpening(f64::from(weight)))
}
