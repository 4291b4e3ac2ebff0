//! What a model is: the numbers of its metadata, checked.

mod metadata;
mod rope;

use self::metadata::Metadata;
pub(crate) use self::rope::LONG_FACTORS;
pub use self::rope::{RopeConfig, RopeScaling};
use crate::LlmError;
use crate::architecture::{Architecture, NormKind, Positions};
use crate::embedder::Pooling;
use crate::gguf::Gguf;

/// Stops a hostile file from asking for absurd tables; real models stay below (also for the next limits).
const MAXIMUM_BLOCKS: u32 = 1 << 10;
/// See [`MAXIMUM_BLOCKS`].
const MAXIMUM_HEADS: u32 = 1 << 12;
/// See [`MAXIMUM_BLOCKS`]; keeps a small file from asking for gigabytes of activations, and integer dot products
/// of a row within 32 bits.
pub(crate) const MAXIMUM_WIDTH: u32 = 1 << 18;
/// See [`MAXIMUM_BLOCKS`].
const MAXIMUM_VOCABULARY: u64 = 1 << 22;
/// Positions beyond have no meaning in any model; the cache grows with use, so a large value costs nothing.
const MAXIMUM_CONTEXT: u32 = 1 << 24;

/// Hyperparameters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What its architecture does differently from others.
    pub architecture: &'static Architecture,
    /// `general.name`, or an empty string.
    pub name: String,
    /// The most tokens of a sequence.
    pub context_length: usize,
    /// Width of the residual stream.
    pub embedding_length: usize,
    /// Number of layers.
    pub block_count: usize,
    /// Width of the feed-forward layer.
    pub feed_forward_length: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub head_count_kv: usize,
    /// Elements of a head.
    pub head_length: usize,
    /// How heads rotate; `None` where positions are learned, or where nothing says where a token is.
    pub rope: Option<RopeConfig>,
    /// How the heads of layers with a window rotate, if otherwise.
    pub local_rope: Option<RopeConfig>,
    /// Positions that a token sees in a layer with a window, its own included; where it sees what comes behind it too, half of
    /// them on each side, and its own.
    pub window: Option<usize>,
    /// Whether each layer has the window, `[block_count]`.
    window_layers: Vec<bool>,
    /// Whether a token sees only what comes before it, and itself.
    pub causal: bool,
    /// ε of the norms.
    pub norm_epsilon: f32,
    /// Factor of embeddings.
    pub embedding_scale: f32,
    /// Factor of attention scores.
    pub attention_scale: f32,
    /// Factor of what a block adds to the residual stream.
    pub residual_scale: f32,
    /// Divisor of logits.
    pub logit_divisor: f32,
    /// Attention scores are bent to within ± this.
    pub score_cap: Option<f32>,
    /// Logits are bent to within ± this.
    pub logit_cap: Option<f32>,
    /// Queries, keys and values are cut off at ± this.
    pub projection_limit: Option<f32>,
    /// How queries grow with their position.
    pub position_scale: Option<PositionScale>,
    /// How an embedding comes from those of the tokens, if the file says.
    pub pooling: Option<Pooling>,
    /// Number of tokens.
    pub vocabulary_size: usize,
}

/// Queries at position p are multiplied by 1 + weight · ln(⌊p / length⌋ + 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionScale {
    /// The weight.
    pub weight: f32,
    /// The length.
    pub length: usize,
}

impl PositionScale {
    /// The factor at `position`.
    pub(crate) fn at(self, position: usize) -> f32 {
        (1.0 + f64::from(self.weight) * libm::log((position / self.length + 1) as f64)) as f32
    }
}

impl Config {
    /// Reads and checks the metadata of `gguf`.
    pub fn read(gguf: &Gguf) -> Result<Self, LlmError> {
        let name = gguf.string("general.architecture")?;
        let Some(architecture) = Architecture::by_name(name) else {
            let names: Vec<&str> = Architecture::names().collect();
            return Err(LlmError::Unsupported(format!(
                "the model has the architecture `{name}`, which is not supported; supported are {}",
                names.join(", ")
            )));
        };
        let metadata = Metadata { gguf, architecture };
        if gguf.get_u32(&metadata.key("expert_count"))?.is_some_and(|count| count > 0) {
            return Err(LlmError::Unsupported("mixtures of experts are not supported".into()));
        }

        let context_length = metadata.count("context_length", MAXIMUM_CONTEXT)?;
        let embedding_length = metadata.count("embedding_length", MAXIMUM_WIDTH)?;
        let block_count = metadata.count("block_count", MAXIMUM_BLOCKS)?;
        let required = |suffix: &str, maximum: u32| {
            metadata
                .layer_count(suffix, maximum, block_count)?
                .ok_or_else(|| LlmError::MissingKey { key: metadata.key(suffix) })
        };
        let head_count = required("attention.head_count", MAXIMUM_HEADS)?;
        let head_count_kv = metadata
            .layer_count("attention.head_count_kv", MAXIMUM_HEADS, block_count)?
            .unwrap_or(head_count);
        if !head_count.is_multiple_of(head_count_kv) {
            let expected = format!("a divisor of the {head_count} query heads");
            return Err(metadata.wrong("attention.head_count_kv", expected, head_count_kv));
        }
        let head_length = head_length(&metadata, embedding_length, head_count)?;

        let mut rope = match architecture.positions {
            Positions::Rope(_) => Some(RopeConfig::read(&metadata, head_length, context_length)?),
            Positions::Learned => None,
        };
        if architecture.scales && gguf.get_bool(&metadata.key("rope.scaling.finetuned"))? == Some(false) {
            // With this, Granite says that its model has no positions.
            rope = None;
        }
        let (window, window_layers) = windows(&metadata, block_count)?;
        let local_rope = match (rope, architecture.window, window) {
            (Some(rope), Some(rule), Some(_)) => rope.read_local(&metadata, rule.rope)?,
            _ => None,
        };

        let epsilon = match architecture.norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer | NormKind::PlainLayer => "attention.layer_norm_epsilon",
        };
        let norm_epsilon =
            metadata.positive(epsilon)?.ok_or_else(|| LlmError::MissingKey { key: metadata.key(epsilon) })?;
        let scale = |suffix: &str| match architecture.scales {
            true => metadata.positive_unless_zero(suffix),
            false => Ok(None),
        };
        let embedding_scale = match architecture.root_embedding_scale {
            true => (embedding_length as f32).sqrt(),
            false => scale("embedding_scale")?.unwrap_or(1.0),
        };
        let query_width = match architecture.width_scaled_queries {
            Some(layers) if layers as usize == block_count => embedding_length / head_count,
            _ => head_length,
        };
        let cap = |suffix: &str, default: Option<f32>| -> Result<Option<f32>, LlmError> {
            match gguf.get_f32(&metadata.key(suffix))? {
                None => Ok(default),
                Some(_) => metadata.positive_unless_zero(suffix),
            }
        };
        Ok(Self {
            architecture,
            name: gguf.get_string("general.name")?.unwrap_or_default().to_owned(),
            context_length,
            embedding_length,
            block_count,
            feed_forward_length: required("feed_forward_length", MAXIMUM_WIDTH)?,
            head_count,
            head_count_kv,
            head_length,
            rope,
            local_rope,
            window,
            window_layers,
            causal: gguf.get_bool(&metadata.key("attention.causal"))?.unwrap_or(!architecture.encoder),
            norm_epsilon,
            embedding_scale,
            attention_scale: scale("attention.scale")?.unwrap_or(1.0 / (query_width as f32).sqrt()),
            residual_scale: scale("residual_scale")?.unwrap_or(1.0),
            logit_divisor: scale("logit_scale")?.unwrap_or(1.0),
            // Only architectures that have a bound by themselves have one at all.
            score_cap: match architecture.score_cap {
                Some(_) => cap("attn_logit_softcapping", architecture.score_cap)?,
                None => None,
            },
            logit_cap: cap("final_logit_softcapping", architecture.logit_cap)?,
            projection_limit: metadata.positive_unless_zero("attention.clamp_kqv")?,
            position_scale: position_scale(&metadata, context_length)?,
            pooling: Pooling::read(gguf, &metadata.key("pooling_type"))?,
            vocabulary_size: vocabulary_size(&metadata)?,
        })
    }

    /// Width of the concatenated query heads.
    pub fn query_length(&self) -> usize {
        self.head_count * self.head_length
    }

    /// Width of the concatenated key (or value) heads.
    pub fn key_value_length(&self) -> usize {
        self.head_count_kv * self.head_length
    }

    /// Positions that a token sees in `layer`, its own included; `None`: all.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        self.window.filter(|_| self.window_layers.get(layer).copied().unwrap_or(false))
    }

    /// Whether the heads of `layer` rotate, if any do.
    pub fn rotates(&self, layer: usize) -> bool {
        self.architecture.unrotated_period.is_none_or(|period| !(layer + 1).is_multiple_of(period))
    }

    /// Elements of all layers' matrices: multiply-accumulates of a token of a prompt, without attention.
    pub fn matrix_elements(&self) -> u64 {
        let attention = 2 * (self.query_length() + self.key_value_length()) as u64;
        let feed_forward = 3 * self.feed_forward_length as u64;
        (attention + feed_forward) * self.embedding_length as u64 * self.block_count as u64
    }
}

fn head_length(
    metadata: &Metadata<'_>,
    embedding_length: usize,
    head_count: usize,
) -> Result<usize, LlmError> {
    let head_length = match metadata.optional_count("attention.key_length", MAXIMUM_WIDTH)? {
        Some(length) => length,
        None if embedding_length.is_multiple_of(head_count) => embedding_length / head_count,
        None => {
            let expected = format!("a divisor of the embedding length {embedding_length}");
            return Err(metadata.wrong("attention.head_count", expected, head_count));
        }
    };
    for suffix in ["attention.value_length", "attention.key_length_swa", "attention.value_length_swa"] {
        let length = metadata.gguf.get_u32(&metadata.key(suffix))?;
        if length.is_some_and(|length| length as usize != head_length) {
            return Err(LlmError::Unsupported(format!(
                "the model has heads of different length (`{}`), which is not supported",
                metadata.key(suffix)
            )));
        }
    }
    if head_count * head_length > MAXIMUM_WIDTH as usize {
        let expected = format!("heads of at most {MAXIMUM_WIDTH} in all");
        return Err(metadata.wrong("attention.key_length", expected, head_length));
    }
    Ok(head_length)
}

/// The positions that a token sees in layers with a window, and which layers have it.
fn windows(metadata: &Metadata<'_>, block_count: usize) -> Result<(Option<usize>, Vec<bool>), LlmError> {
    let Some(rule) = metadata.architecture.window else { return Ok((None, vec![false; block_count])) };
    let suffix = "attention.sliding_window";
    let length = match (metadata.gguf.get_u32(&metadata.key(suffix))?, rule.default_length) {
        (None, None) | (Some(0), None) => return Ok((None, vec![false; block_count])),
        (Some(0), Some(default)) => {
            return Err(metadata.wrong(suffix, format!("a number of tokens, such as {default}"), 0));
        }
        (Some(length), _) | (None, Some(length)) => length as usize,
    };
    let suffix = "attention.sliding_window_pattern";
    let key = metadata.key(suffix);
    if metadata.gguf.is_array(&key) {
        let layers = metadata.gguf.get_flags(&key)?.unwrap_or_default();
        if layers.len() != block_count {
            let expected = format!("a boolean for each of the {block_count} layers");
            return Err(metadata.wrong(suffix, expected, format!("{} elements", layers.len())));
        }
        return Ok((Some(length), layers));
    }
    let period = metadata.gguf.get_u32(&key)?.unwrap_or(rule.period) as usize;
    // No number of layers is a multiple of 0.
    Ok((Some(length), (1..=block_count).map(|count| !count.is_multiple_of(period)).collect()))
}

fn position_scale(metadata: &Metadata<'_>, context_length: usize) -> Result<Option<PositionScale>, LlmError> {
    if !metadata.architecture.position_scale {
        return Ok(None);
    }
    let weight = metadata.positive_unless_zero("attention.temperature_scale")?;
    let length = metadata.optional_count("rope.scaling.original_context_length", MAXIMUM_CONTEXT)?;
    Ok(weight.map(|weight| PositionScale { weight, length: length.unwrap_or(context_length) }))
}

/// The rows of the embedding, with which all else has to agree.
fn vocabulary_size(metadata: &Metadata<'_>) -> Result<usize, LlmError> {
    let vocabulary = metadata.gguf.tensor("token_embd.weight")?.rows();
    if vocabulary > MAXIMUM_VOCABULARY {
        return Err(metadata.wrong("vocab_size", format!("at most {MAXIMUM_VOCABULARY}"), vocabulary));
    }
    match metadata.gguf.get_u32(&metadata.key("vocab_size"))? {
        Some(size) if u64::from(size) != vocabulary => {
            Err(metadata.wrong("vocab_size", format!("{vocabulary}, the rows of token_embd.weight"), size))
        }
        _ => Ok(vocabulary as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::MetadataValue::{self, Bool, F32, I32s, String, U32};
    use crate::gguf::{GgufWriter, TensorSpecification, TensorType};

    /// Reads a configuration of two layers with these settings, which replace usual ones.
    fn read(architecture: &str, settings: &[(&str, MetadataValue)]) -> Result<Config, LlmError> {
        let usual = [
            ("context_length", U32(64)),
            ("embedding_length", U32(32)),
            ("block_count", U32(2)),
            ("feed_forward_length", U32(48)),
            ("attention.head_count", U32(4)),
            ("attention.layer_norm_rms_epsilon", F32(1e-5)),
            ("attention.layer_norm_epsilon", F32(1e-5)),
        ];
        let given = |name: &str| settings.iter().any(|(known, _)| *known == name);
        let kept = usual.into_iter().filter(|(name, _)| !given(name));
        let mut metadata = vec![("general.architecture".to_owned(), String(architecture.to_owned()))];
        metadata.extend(
            kept.chain(settings.iter().cloned())
                .map(|(name, value)| (format!("{architecture}.{name}"), value)),
        );
        let embedding = TensorSpecification::new("token_embd.weight", &[32, 10], TensorType::F32);
        let mut writer = GgufWriter::new(Vec::new(), &metadata, vec![embedding]).unwrap();
        writer.tensor([[0; 32 * 10 * 4]]).unwrap();
        Config::read(&Gguf::from_vec(writer.finish().unwrap()).unwrap())
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_by_name() {
        let not_numbers = || [f32::NAN, f32::INFINITY, -1.0].map(F32).to_vec();
        for (architecture, name, values) in [
            ("llama", "block_count", vec![U32(0), U32(u32::MAX), String("2".into())]),
            ("llama", "attention.head_count", vec![U32(0), U32(3), I32s(vec![4]), I32s(vec![4, -1])]),
            ("llama", "attention.head_count_kv", vec![U32(3), I32s(vec![2, 4]), I32s(vec![0, 0])]),
            ("llama", "feed_forward_length", vec![U32(0), I32s(vec![48, 48, 48]), F32(48.0)]),
            ("qwen3", "attention.key_length", vec![U32(0), U32(1 << 17), U32(u32::MAX)]),
            ("qwen3", "attention.value_length", vec![U32(7)]),
            ("gemma3", "attention.key_length_swa", vec![U32(16)]),
            ("gemma2", "attention.sliding_window", vec![U32(0), F32(2.0)]),
            ("gemma2", "attn_logit_softcapping", not_numbers()),
            ("gemma2", "final_logit_softcapping", not_numbers()),
            ("olmo", "attention.clamp_kqv", not_numbers()),
            ("granite", "embedding_scale", not_numbers()),
            ("granite", "logit_scale", not_numbers()),
            ("llama", "rope.freq_base", [not_numbers(), vec![F32(0.0)]].concat()),
            ("llama", "rope.scaling.factor", not_numbers()),
            ("llama", "rope.scaling.original_context_length", vec![U32(0), U32(u32::MAX)]),
            ("llama", "rope.scaling.attn_factor", [not_numbers(), vec![F32(0.0)]].concat()),
            ("llama", "rope.dimension_count", vec![U32(0), U32(3), U32(10)]),
            ("bert", "pooling_type", vec![U32(5), F32(1.0)]),
            ("bert", "attention.causal", vec![U32(1)]),
        ] {
            for value in values {
                let error = read(architecture, &[(name, value.clone())]).expect_err(name).to_string();
                let key = format!("`{architecture}.{name}`");
                assert!(error.contains(&key), "{key} {value:?}: {error}");
            }
        }
        let yarn = ("rope.scaling.type", String("yarn".into()));
        for (name, value) in [
            ("rope.scaling.yarn_ext_factor", F32(f32::NAN)),
            ("rope.scaling.yarn_ext_factor", F32(2.0)),
            ("rope.scaling.yarn_attn_factor", F32(-1.0)),
            ("rope.scaling.yarn_beta_fast", F32(0.0)),
            ("rope.scaling.yarn_beta_slow", F32(f32::NAN)),
            ("rope.scaling.yarn_log_multiplier", F32(f32::INFINITY)),
        ] {
            let error = read("qwen2", &[yarn.clone(), (name, value)]).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(read("qwen2", &[("rope.scaling.type", String("dynamic".into()))]).is_err());
        assert!(read("llama", &[("expert_count", U32(8))]).is_err());
        assert!(read("bert", &[("pooling_type", U32(4))]).is_err());
    }

    #[test]
    fn numbers_may_be_said_once_for_each_layer() {
        let config = read("llama", &[("attention.head_count_kv", I32s(vec![2, 2]))]).unwrap();
        assert_eq!((config.head_count, config.head_count_kv, config.head_length), (4, 2, 8));
    }

    #[test]
    fn windows_are_in_the_layers_that_the_architecture_or_the_file_says() {
        let windows = |architecture: &str, settings: &[(&str, MetadataValue)]| {
            let config = read(architecture, settings).unwrap();
            (0..config.block_count).map(|layer| config.layer_window(layer)).collect::<Vec<_>>()
        };
        let layers = ("block_count", U32(7));
        let window = ("attention.sliding_window", U32(5));
        let some = Some(5);
        assert_eq!(windows("gemma2", &[]), [Some(4096), None]);
        assert_eq!(windows("gemma3", std::slice::from_ref(&layers)), [None; 7]);
        assert_eq!(windows("gemma3", &[layers, window.clone()]), [some, some, some, some, some, None, some]);
        assert_eq!(windows("phi3", &[("attention.sliding_window", U32(0))]), [None; 2]);
        assert_eq!(windows("phi3", std::slice::from_ref(&window)), [some; 2]);
        assert_eq!(windows("llama", std::slice::from_ref(&window)), [None; 2]);
        let pattern = |values: Vec<i32>| ("attention.sliding_window_pattern", I32s(values));
        assert_eq!(windows("olmo2", &[window.clone(), pattern(vec![0, 1])]), [None, some]);
        let error = read("olmo2", &[window, pattern(vec![0, 1, 1])]).unwrap_err().to_string();
        assert!(error.contains("sliding_window_pattern") && error.contains("2 layers"), "{error}");
    }

    #[test]
    fn positions_that_a_model_does_not_use_rotate_nothing() {
        let layers = ("block_count", U32(5));
        let config = read("smollm3", &[layers]).unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|layer| config.rotates(layer)), [true, true, true, false, true]);
        assert_eq!(read("granite", &[("rope.scaling.finetuned", Bool(false))]).unwrap().rope, None);
        assert!(read("granite", &[]).unwrap().rope.is_some());
        assert_eq!(read("bert", &[]).unwrap().rope, None);
    }

    #[test]
    fn the_largest_gemmas_divide_queries_by_the_width_of_a_head_of_the_embedding() {
        let wide = [("attention.key_length", U32(16)), ("block_count", U32(46))];
        assert_eq!(read("gemma2", &wide).unwrap().attention_scale, 1.0 / 8f32.sqrt());
        assert_eq!(read("gemma2", &wide[..1]).unwrap().attention_scale, 1.0 / 4.0);
        assert_eq!(read("gemma3", &wide).unwrap().attention_scale, 1.0 / 4.0);
    }
}
