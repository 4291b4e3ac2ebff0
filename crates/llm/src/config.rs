//! What a model is: the numbers of its metadata, checked.

use crate::LlmError;
use crate::gguf::Gguf;

/// Stops a hostile file from asking for absurd tables; real models stay below (also for the next limits).
const MAXIMUM_BLOCKS: u32 = 1 << 10;
/// See [`MAXIMUM_BLOCKS`].
const MAXIMUM_HEADS: u32 = 1 << 12;
/// See [`MAXIMUM_BLOCKS`]; keeps a small file from asking for gigabytes of activations, and integer dot products
/// of a row within 32 bits.
const MAXIMUM_WIDTH: u32 = 1 << 18;
/// See [`MAXIMUM_BLOCKS`].
const MAXIMUM_VOCABULARY: u64 = 1 << 22;
/// Positions beyond have no meaning in any model; the cache grows with use, so a large value costs nothing.
const MAXIMUM_CONTEXT: u32 = 1 << 24;

/// Supported model families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and what shares its graph.
    Llama,
    /// BitNet b1.58 with squared ReLU (2B-4T), and `bitnet` with SiLU.
    BitNet,
}

/// Which elements of a head rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Elements 2i and 2i + 1.
    Adjacent,
    /// Elements i and i + half.
    HalfSplit,
}

/// The feed-forward gate's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// max(x, 0)².
    SquaredRelu,
}

/// Hyperparameters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `general.architecture`.
    pub architecture_name: String,
    /// The family it belongs to.
    pub architecture: Architecture,
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
    /// Elements of a head that rotate; even.
    pub rope_dimension: usize,
    /// Base of the rotation frequencies.
    pub rope_frequency_base: f32,
    /// Divisor of all positions (linear rope scaling); 1 for most models.
    pub rope_scale: f32,
    /// Which elements rotate together.
    pub rope_style: RopeStyle,
    /// The feed-forward activation.
    pub activation: Activation,
    /// ε of the RMS norms.
    pub norm_epsilon: f32,
    /// Number of tokens.
    pub vocabulary_size: usize,
}

impl Config {
    /// Reads and checks the metadata of `gguf`.
    pub fn read(gguf: &Gguf) -> Result<Self, LlmError> {
        let name = gguf.string("general.architecture")?;
        let (architecture, rope_style, activation) = match name {
            "llama" => (Architecture::Llama, RopeStyle::Adjacent, Activation::Silu),
            "bitnet-b1.58" => (Architecture::BitNet, RopeStyle::HalfSplit, Activation::SquaredRelu),
            "bitnet" => (Architecture::BitNet, RopeStyle::HalfSplit, Activation::Silu),
            other => {
                return Err(LlmError::Unsupported(format!(
                    "the model has the architecture `{other}`; `llama`, `bitnet-b1.58` and `bitnet` are supported"
                )));
            }
        };
        let key = |suffix: &str| format!("{name}.{suffix}");
        let bounded = |suffix: &str, maximum: u32| -> Result<usize, LlmError> {
            let value = gguf.u32(&key(suffix))?;
            if value == 0 || value > maximum {
                return Err(wrong(&key(suffix), format!("a number from 1 to {maximum}"), value));
            }
            Ok(value as usize)
        };
        let positive = |suffix: &str, default: Option<f32>| -> Result<f32, LlmError> {
            let value = match (gguf.get_f32(&key(suffix))?, default) {
                (Some(value), _) | (None, Some(value)) => value,
                (None, None) => return Err(LlmError::MissingKey { key: key(suffix) }),
            };
            if !(value.is_finite() && value > 0.0) {
                return Err(wrong(&key(suffix), "a positive number".into(), value));
            }
            Ok(value)
        };

        let embedding_length = bounded("embedding_length", MAXIMUM_WIDTH)?;
        let head_count = bounded("attention.head_count", MAXIMUM_HEADS)?;
        let head_count_kv = match gguf.get_u32(&key("attention.head_count_kv"))? {
            Some(_) => bounded("attention.head_count_kv", MAXIMUM_HEADS)?,
            None => head_count,
        };
        if head_count % head_count_kv != 0 {
            let expected = format!("a divisor of the {head_count} query heads");
            return Err(wrong(&key("attention.head_count_kv"), expected, head_count_kv));
        }
        let head_length = match gguf.get_u32(&key("attention.key_length"))? {
            Some(_) => bounded("attention.key_length", MAXIMUM_WIDTH)?,
            None if embedding_length % head_count == 0 => embedding_length / head_count,
            None => {
                let expected = format!("a divisor of the embedding length {embedding_length}");
                return Err(wrong(&key("attention.head_count"), expected, head_count));
            }
        };
        if gguf.get_u32(&key("attention.value_length"))?.is_some_and(|length| length as usize != head_length)
        {
            return Err(LlmError::Unsupported(
                "keys and values of different length are not supported".into(),
            ));
        }
        if head_count * head_length > MAXIMUM_WIDTH as usize {
            return Err(wrong(
                &key("attention.key_length"),
                format!("heads of at most {MAXIMUM_WIDTH} in all"),
                head_length,
            ));
        }
        let rope_dimension = match gguf.get_u32(&key("rope.dimension_count"))? {
            Some(value) => value as usize,
            None => head_length,
        };
        if rope_dimension % 2 != 0 || rope_dimension == 0 || rope_dimension > head_length {
            let expected = format!("an even number up to the head length {head_length}");
            return Err(wrong(&key("rope.dimension_count"), expected, rope_dimension));
        }
        let rope_scale = match gguf.get_string(&key("rope.scaling.type"))? {
            None | Some("none") => positive("rope.scale_linear", Some(1.0))?,
            Some("linear") => positive("rope.scaling.factor", Some(1.0))?,
            Some(other) => {
                return Err(LlmError::Unsupported(format!(
                    "rope scaling of type `{other}` is not supported"
                )));
            }
        };
        let vocabulary = gguf.tensor("token_embd.weight")?.rows();
        if vocabulary > MAXIMUM_VOCABULARY {
            return Err(wrong(&key("vocab_size"), format!("at most {MAXIMUM_VOCABULARY}"), vocabulary));
        }
        if let Some(size) = gguf.get_u32(&key("vocab_size"))?
            && u64::from(size) != vocabulary
        {
            return Err(wrong(
                &key("vocab_size"),
                format!("{vocabulary}, the rows of token_embd.weight"),
                size,
            ));
        }
        if gguf.get_u32(&key("expert_count"))?.is_some_and(|count| count > 0) {
            return Err(LlmError::Unsupported("mixtures of experts are not supported".into()));
        }
        Ok(Self {
            architecture_name: name.to_owned(),
            architecture,
            name: gguf.get_string("general.name")?.unwrap_or_default().to_owned(),
            context_length: bounded("context_length", MAXIMUM_CONTEXT)?,
            embedding_length,
            block_count: bounded("block_count", MAXIMUM_BLOCKS)?,
            feed_forward_length: bounded("feed_forward_length", MAXIMUM_WIDTH)?,
            head_count,
            head_count_kv,
            head_length,
            rope_dimension,
            rope_frequency_base: positive("rope.freq_base", Some(10_000.0))?,
            rope_scale,
            rope_style,
            activation,
            norm_epsilon: positive("attention.layer_norm_rms_epsilon", None)?,
            vocabulary_size: vocabulary as usize,
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

    /// Elements of all layers' matrices: multiply-accumulates of a token of a prompt, without attention.
    pub fn matrix_elements(&self) -> u64 {
        let attention = 2 * (self.query_length() + self.key_value_length()) as u64;
        let feed_forward = 3 * self.feed_forward_length as u64;
        (attention + feed_forward) * self.embedding_length as u64 * self.block_count as u64
    }
}

fn wrong(key: &str, expected: String, found: impl ToString) -> LlmError {
    LlmError::WrongValue { key: key.to_owned(), expected, found: found.to_string() }
}
