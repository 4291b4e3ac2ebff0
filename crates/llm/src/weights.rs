//! A model's weights: every tensor found, checked against the configuration, and made ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::LlmError;
use crate::architecture::{FeedForward, NormKind, NormPlacement, Positions, QueryKeyNorm};
use crate::config::{Config, LONG_FACTORS, MAXIMUM_WIDTH, RopeScaling};
use crate::formats;
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::kernels::Kernels;
use crate::matrix::{Matrix, unsupported_type};
use crate::threads::ThreadPool;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
const POSITIONS: &str = "position_embd.weight";
const TOKEN_TYPES: &str = "token_types.weight";

/// A matrix and what is added to its product.
pub(crate) struct Projection {
    pub matrix: Matrix,
    /// `[rows]`
    pub bias: Option<Vec<f32>>,
}

/// A normalization of rows of one width.
pub(crate) enum Norm {
    /// Weight `[width]`.
    Rms(Vec<f32>),
    /// Weight and bias, `[width]` each.
    Layer(Vec<f32>, Vec<f32>),
    /// Only the width.
    PlainLayer(usize),
}

impl Norm {
    /// Normalizes every row of `x` into `out`.
    pub fn apply(&self, kernels: Kernels, epsilon: f32, x: &[f32], out: &mut [f32]) {
        let width = self.width();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            match self {
                Self::Rms(weight) => kernels.rms_norm(x, weight, epsilon, out),
                Self::Layer(weight, bias) => {
                    kernels.standardize(x, epsilon, out);
                    kernels.scale_and_shift(out, weight, bias);
                }
                Self::PlainLayer(_) => kernels.standardize(x, epsilon, out),
            }
        }
    }

    /// Normalizes every row of `x` where it is.
    pub fn apply_in_place(&self, kernels: Kernels, epsilon: f32, x: &mut [f32]) {
        let width = self.width();
        let mut original = vec![0.0; width];
        for row in x.chunks_exact_mut(width) {
            original.copy_from_slice(row);
            self.apply(kernels, epsilon, &original, row);
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Rms(weight) | Self::Layer(weight, _) => weight.len(),
            Self::PlainLayer(width) => *width,
        }
    }
}

/// Where a block is normalized; each over rows of the residual stream's width.
pub(crate) struct BlockNorms {
    /// Its input.
    pub before: Option<Norm>,
    /// Its output.
    pub after: Option<Norm>,
    /// The residual stream, once its output was added.
    pub residual: Option<Norm>,
}

/// The matrices whose products are queries, keys and values.
pub(crate) enum AttentionInput {
    /// `[Q × E]`, `[K × E]`, `[K × E]`.
    Separate { query: Projection, key: Projection, value: Projection },
    /// `[Q + K + K × E]`
    Fused(Projection),
}

impl AttentionInput {
    /// Whether one matrix has them all.
    pub fn is_fused(&self) -> bool {
        matches!(self, Self::Fused(_))
    }
}

/// The matrices before the activation.
pub(crate) enum FeedForwardInput {
    /// `[F × E]` each.
    Gated { gate: Projection, up: Projection },
    /// `[F + F × E]`, the gate first.
    Fused(Projection),
    /// `[F × E]`
    Plain(Projection),
}

/// The weights of one layer. E: embedding, Q: query heads, K: key/value heads, F: feed-forward width.
pub(crate) struct Layer {
    pub attention_norms: BlockNorms,
    pub attention_input: AttentionInput,
    /// Of each query head, or of all.
    pub query_norm: Option<Norm>,
    /// Of each key head, or of all.
    pub key_norm: Option<Norm>,
    /// Of width Q, BitNet only.
    pub attention_sub_norm: Option<Norm>,
    /// `[E × Q]`
    pub attention_output: Projection,
    pub feed_forward_norms: BlockNorms,
    pub feed_forward_input: FeedForwardInput,
    /// Of width F, BitNet only.
    pub feed_forward_sub_norm: Option<Norm>,
    /// `[E × F]`
    pub feed_forward_output: Projection,
}

/// All weights. V: vocabulary.
pub(crate) struct Weights {
    /// `[V × E]`, in the file; rows are decoded when looked up.
    embedding: TensorInfo,
    /// Whether `head` is the embedding.
    tied: bool,
    /// `[E]`, added to every embedding of BERT: the first type of tokens, which all of them have.
    pub token_type: Option<Vec<f32>>,
    /// `[context × E]`, in the file: an encoder's learned positions.
    pub positions: Option<TensorInfo>,
    /// Of embeddings, BERT only.
    pub embedding_norm: Option<Norm>,
    /// `[layers]`
    pub layers: Vec<Layer>,
    /// Of the last layer's output; none where that is normalized already.
    pub output_norm: Option<Norm>,
    /// What the pooled vector of a text goes through, one after the other, if the model has that: rows of the last are the
    /// vector's dimensions.
    pub pooled: Vec<Projection>,
    /// `[V × E]`; the embedding when the file has no `output.weight`. Encoders have none.
    pub head: Option<Projection>,
    /// `[dimension / 2]`, divisors of the rotation frequencies.
    pub rope_factors: Option<Vec<f32>>,
}

struct Loader<'a> {
    gguf: &'a mut Arc<Gguf>,
    config: &'a Config,
    pool: &'a ThreadPool,
    used: BTreeSet<String>,
}

impl Loader<'_> {
    fn projection(&mut self, name: &str, rows: usize, columns: usize) -> Result<Projection, LlmError> {
        let info = self.table(&format!("{name}.weight"), rows, columns)?;
        let scale = format!("{name}.scale");
        let factor = match self.has(&scale) {
            true => self.vector(&scale, 1)?[0],
            false => 1.0,
        };
        let bias = format!("{name}.bias");
        let bias = self.has(&bias).then(|| self.vector(&bias, rows)).transpose()?;
        let matrix = Matrix::load(self.gguf, &info, factor, self.pool)?;
        Ok(Projection { matrix, bias })
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.get_tensor(name).is_some()
    }

    /// A tensor of this shape.
    fn table(&mut self, name: &str, rows: usize, columns: usize) -> Result<TensorInfo, LlmError> {
        let info = self.gguf.tensor(name)?.clone();
        info.expect_shape(&[columns as u64, rows as u64])?;
        check_table(self.gguf, self.config, &info)?;
        self.used.insert(info.name.clone());
        Ok(info)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LlmError> {
        let info = self.gguf.tensor(name)?;
        info.expect_shape(&[length as u64])?;
        if !matches!(info.tensor_type, TensorType::F32 | TensorType::F16 | TensorType::Bf16) {
            return Err(LlmError::Tensor {
                name: name.to_owned(),
                problem: format!("has the type {} instead of a float type", info.tensor_type.name()),
            });
        }
        self.used.insert(name.to_owned());
        let mut values = vec![0.0; length];
        formats::decode_row(info.tensor_type, self.gguf.tensor_bytes(info), 1.0, &mut values);
        Ok(values)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm, LlmError> {
        Ok(match self.config.architecture.norm {
            NormKind::Rms => Norm::Rms(self.vector(&format!("{name}.weight"), width)?),
            NormKind::Layer => Norm::Layer(
                self.vector(&format!("{name}.weight"), width)?,
                self.vector(&format!("{name}.bias"), width)?,
            ),
            NormKind::PlainLayer => Norm::PlainLayer(width),
        })
    }

    fn norm_if(&mut self, exists: bool, name: &str, width: usize) -> Result<Option<Norm>, LlmError> {
        exists.then(|| self.norm(name, width)).transpose()
    }

    fn block_norms(&mut self, before: &str, after: &str, residual: &str) -> Result<BlockNorms, LlmError> {
        use NormPlacement::{After, AfterResidual, Before, BeforeAndAfter};
        let (placement, width) = (self.config.architecture.norm_placement, self.config.embedding_length);
        Ok(BlockNorms {
            before: self.norm_if(matches!(placement, Before | BeforeAndAfter), before, width)?,
            after: self.norm_if(matches!(placement, After | BeforeAndAfter), after, width)?,
            residual: self.norm_if(placement == AfterResidual, residual, width)?,
        })
    }

    fn layer(&mut self, number: usize) -> Result<Layer, LlmError> {
        let config = self.config;
        let (width, feed_forward) = (config.embedding_length, config.feed_forward_length);
        let (query, key_value) = (config.query_length(), config.key_value_length());
        let name = |part: &str| format!("blk.{number}.{part}");
        let (query_norm, key_norm) = match config.architecture.query_key_norm {
            QueryKeyNorm::None => (None, None),
            QueryKeyNorm::Head => (Some(config.head_length), Some(config.head_length)),
            QueryKeyNorm::Full => (Some(query), Some(key_value)),
        };
        let sub_norms = config.architecture.sub_norms;
        Ok(Layer {
            attention_norms: self.block_norms(
                &name("attn_norm"),
                &name("post_attention_norm"),
                &name("attn_output_norm"),
            )?,
            attention_input: if self.has(&name("attn_qkv.weight")) {
                AttentionInput::Fused(self.projection(&name("attn_qkv"), query + 2 * key_value, width)?)
            } else {
                AttentionInput::Separate {
                    query: self.projection(&name("attn_q"), query, width)?,
                    key: self.projection(&name("attn_k"), key_value, width)?,
                    value: self.projection(&name("attn_v"), key_value, width)?,
                }
            },
            query_norm: query_norm.map(|width| self.norm(&name("attn_q_norm"), width)).transpose()?,
            key_norm: key_norm.map(|width| self.norm(&name("attn_k_norm"), width)).transpose()?,
            attention_sub_norm: self.norm_if(sub_norms, &name("attn_sub_norm"), query)?,
            attention_output: self.projection(&name("attn_output"), width, query)?,
            feed_forward_norms: self.block_norms(
                &name("ffn_norm"),
                &name("post_ffw_norm"),
                &name("layer_output_norm"),
            )?,
            feed_forward_input: match config.architecture.feed_forward {
                FeedForward::Gated => FeedForwardInput::Gated {
                    gate: self.projection(&name("ffn_gate"), feed_forward, width)?,
                    up: self.projection(&name("ffn_up"), feed_forward, width)?,
                },
                FeedForward::Fused => {
                    FeedForwardInput::Fused(self.projection(&name("ffn_up"), 2 * feed_forward, width)?)
                }
                FeedForward::Plain => {
                    FeedForwardInput::Plain(self.projection(&name("ffn_up"), feed_forward, width)?)
                }
            },
            feed_forward_sub_norm: self.norm_if(sub_norms, &name("ffn_sub_norm"), feed_forward)?,
            feed_forward_output: self.projection(&name("ffn_down"), width, feed_forward)?,
        })
    }

    /// The first row of BERT's table of token types.
    fn first_row(&mut self, info: &TensorInfo) -> Result<Vec<f32>, LlmError> {
        let width = self.config.embedding_length;
        if info.shape.first() != Some(&(width as u64)) || info.rows() == 0 {
            let problem = format!("has rows of {} numbers instead of {width}", info.columns());
            return Err(LlmError::Tensor { name: info.name.clone(), problem });
        }
        if let TensorType::Other(_) = info.tensor_type {
            return Err(unsupported_type(info));
        }
        check_table(self.gguf, self.config, info)?;
        self.used.insert(info.name.clone());
        let mut row = vec![0.0; width];
        decode_table_row(self.gguf, info, 0, &mut row);
        Ok(row)
    }

    /// The dense layers behind the pooling of Sentence Transformers, of which two are written to files.
    fn pooled(&mut self) -> Result<Vec<Projection>, LlmError> {
        let (mut layers, mut width) = (Vec::new(), self.config.embedding_length);
        for name in ["dense_2", "dense_3"] {
            let Some(info) = self.gguf.get_tensor(&format!("{name}.weight")) else { continue };
            let rows = info.rows();
            if rows > u64::from(MAXIMUM_WIDTH) {
                let problem = format!("has {rows} rows instead of at most {MAXIMUM_WIDTH}");
                return Err(LlmError::Tensor { name: info.name.clone(), problem });
            }
            layers.push(self.projection(name, rows as usize, width)?);
            width = rows as usize;
        }
        Ok(layers)
    }

    /// Divisors of the rotation frequencies.
    fn rope_factors(&mut self) -> Result<Option<Vec<f32>>, LlmError> {
        const FACTORS: &str = "rope_freqs.weight";
        const SHORT_FACTORS: &str = "rope_factors_short.weight";
        let Some(rope) = self.config.rope else { return Ok(None) };
        let name = match rope.scaling {
            RopeScaling::Long { long } => {
                self.used.extend([LONG_FACTORS.to_owned(), SHORT_FACTORS.to_owned()]);
                if long { LONG_FACTORS } else { SHORT_FACTORS }
            }
            RopeScaling::Linear(_) | RopeScaling::Yarn { .. } if self.has(FACTORS) => FACTORS,
            RopeScaling::Linear(_) | RopeScaling::Yarn { .. } => return Ok(None),
        };
        let factors = self.vector(name, rope.dimension / 2)?;
        if factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            return Err(LlmError::Tensor {
                name: name.into(),
                problem: "has factors that are not positive".into(),
            });
        }
        Ok(Some(factors))
    }
}

impl Weights {
    /// Loads everything; fails when a tensor is missing, has another shape, or would be ignored. Weights are repacked
    /// in the file's own memory where that can be; after a failure such a file is of no use any more.
    pub fn load(gguf: &mut Arc<Gguf>, config: &Config, pool: &ThreadPool) -> Result<Self, LlmError> {
        let (width, encoder) = (config.embedding_length, config.architecture.encoder);
        let mut loader = Loader { gguf, config, pool, used: BTreeSet::new() };
        let embedding = loader.table(EMBEDDING, config.vocabulary_size, width)?;

        // The largest matrix comes first: while it is repacked, both copies are in memory.
        let tied = is_tied(loader.gguf, config);
        let head_name = if tied { "token_embd" } else { "output" };
        let head =
            (!encoder).then(|| loader.projection(head_name, config.vocabulary_size, width)).transpose()?;

        let token_type = match loader.gguf.get_tensor(TOKEN_TYPES).cloned() {
            Some(info) if config.architecture.typed_embeddings => Some(loader.first_row(&info)?),
            _ => None,
        };
        let positions = match config.architecture.positions {
            Positions::Learned => Some(loader.table(POSITIONS, config.context_length, width)?),
            Positions::Rope(_) => None,
        };
        let typed = config.architecture.typed_embeddings;
        let embedding_norm = loader.norm_if(typed, "token_embd_norm", width)?;
        let layers = (0..config.block_count).map(|number| loader.layer(number)).collect::<Result<_, _>>()?;
        let normalized = config.architecture.norm_placement == NormPlacement::AfterResidual;
        let output_norm = loader.norm_if(!normalized, "output_norm", width)?;
        let pooled = loader.pooled()?;
        let rope_factors = loader.rope_factors()?;
        // What is only looked up is no matrix, so its type was not checked yet.
        let looked_up = [Some(&embedding), positions.as_ref()];
        if let Some(table) =
            looked_up.into_iter().flatten().find(|table| matches!(table.tensor_type, TensorType::Other(_)))
        {
            return Err(unsupported_type(table));
        }
        if let Some(extra) = loader.gguf.tensors().iter().find(|tensor| !loader.used.contains(&tensor.name)) {
            return Err(LlmError::Unsupported(format!(
                "the model has the tensor `{}`, which its architecture `{}` does not use here; running without it \
                 would give wrong results",
                extra.name, config.architecture.name
            )));
        }
        Ok(Self {
            embedding,
            tied,
            token_type,
            positions,
            embedding_norm,
            layers,
            output_norm,
            pooled,
            head,
            rope_factors,
        })
    }

    /// Decodes the embedding of `token` into `out`, `[E]`.
    pub fn embed(&self, gguf: &Gguf, token: usize, out: &mut [f32]) {
        if let Some(head) = self.head.as_ref().filter(|_| self.tied)
            && head.matrix.decode_row(gguf, token, out)
        {
            return;
        }
        decode_table_row(gguf, &self.embedding, token, out);
    }
}

/// Whether the output is computed with the table of embeddings.
fn is_tied(gguf: &Gguf, config: &Config) -> bool {
    !config.architecture.encoder && gguf.get_tensor(OUTPUT).is_none()
}

/// Whether the rows of a tensor are looked up one by one, and it is no matrix.
pub(crate) fn is_table(gguf: &Gguf, config: &Config, name: &str) -> bool {
    match name {
        EMBEDDING => !is_tied(gguf, config),
        POSITIONS | TOKEN_TYPES => true,
        _ => false,
    }
}

/// Fails if the rows of a table cannot be looked up.
fn check_table(gguf: &Gguf, config: &Config, info: &TensorInfo) -> Result<(), LlmError> {
    if info.interleaved && is_table(gguf, config, &info.name) {
        let problem = "is interleaved, though its rows are looked up one by one".to_owned();
        return Err(LlmError::Tensor { name: info.name.clone(), problem });
    }
    Ok(())
}

/// The scale of all rows of a table.
fn table_scale(gguf: &Gguf, info: &TensorInfo) -> f32 {
    match info.tensor_type {
        TensorType::I2S(_) => {
            formats::i2s_scale(gguf.tensor_bytes(info), (info.rows() * info.columns()) as usize)
        }
        _ => 1.0,
    }
}

/// Decodes a row of a table that is in the file as it was.
pub(crate) fn decode_table_row(gguf: &Gguf, info: &TensorInfo, row: usize, out: &mut [f32]) {
    let row_bytes = info.tensor_type.row_bytes(out.len() as u64).unwrap_or(0) as usize;
    let bytes = &gguf.tensor_bytes(info)[row * row_bytes..][..row_bytes];
    formats::decode_row(info.tensor_type, bytes, table_scale(gguf, info), out);
}
