//! A model's weights: every tensor found, checked against the configuration, and made ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::LlmError;
use crate::config::{Architecture, Config};
use crate::formats;
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::matrix::{Matrix, unsupported_type};
use crate::threads::ThreadPool;

/// The weights of one layer. E: embedding, Q: query heads, K: key/value heads, F: feed-forward width.
pub(crate) struct Layer {
    /// `[E]`
    pub attention_norm: Vec<f32>,
    /// `[Q × E]`
    pub query: Matrix,
    /// `[K × E]`
    pub key: Matrix,
    /// `[K × E]`
    pub value: Matrix,
    /// `[Q]`, BitNet only.
    pub attention_sub_norm: Option<Vec<f32>>,
    /// `[E × Q]`
    pub output: Matrix,
    /// `[E]`
    pub feed_forward_norm: Vec<f32>,
    /// `[F × E]`
    pub gate: Matrix,
    /// `[F × E]`
    pub up: Matrix,
    /// `[F]`, BitNet only.
    pub feed_forward_sub_norm: Option<Vec<f32>>,
    /// `[E × F]`
    pub down: Matrix,
}

/// All weights. V: vocabulary.
pub(crate) struct Weights {
    /// `[V × E]`, in the file; rows are decoded when looked up.
    embedding: TensorInfo,
    /// Whether `head` is the embedding.
    tied: bool,
    /// `[layers]`
    pub layers: Vec<Layer>,
    /// `[E]`
    pub output_norm: Vec<f32>,
    /// `[V × E]`; the embedding when the file has no `output.weight`.
    pub head: Matrix,
    /// `[rope_dimension / 2]`, divisors of the rotation frequencies.
    pub rope_factors: Option<Vec<f32>>,
}

struct Loader<'a> {
    gguf: &'a mut Arc<Gguf>,
    pool: &'a ThreadPool,
    used: BTreeSet<String>,
}

impl Loader<'_> {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LlmError> {
        self.matrix_of(name, rows, columns, false)
    }

    fn matrix_of(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
        looked_up: bool,
    ) -> Result<Matrix, LlmError> {
        let info = self.gguf.tensor(&format!("{name}.weight"))?.clone();
        info.expect_shape(&[columns as u64, rows as u64])?;
        let scale = format!("{name}.scale");
        let factor = match self.gguf.get_tensor(&scale) {
            Some(_) => self.vector(&scale, 1)?[0],
            None => 1.0,
        };
        self.used.insert(info.name.clone());
        Matrix::load(self.gguf, &info, factor, looked_up, self.pool)
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
}

impl Weights {
    /// Loads everything; fails when a tensor is missing, has another shape, or would be ignored. Weights are repacked
    /// in the file's own memory where that can be; after a failure such a file is of no use any more.
    pub fn load(gguf: &mut Arc<Gguf>, config: &Config, pool: &ThreadPool) -> Result<Self, LlmError> {
        let (embedding_length, feed_forward) = (config.embedding_length, config.feed_forward_length);
        let mut loader = Loader { gguf, pool, used: BTreeSet::new() };
        let embedding = loader.gguf.tensor("token_embd.weight")?.clone();
        embedding.expect_shape(&[embedding_length as u64, config.vocabulary_size as u64])?;
        loader.used.insert(embedding.name.clone());

        // The largest matrix comes first: while it is repacked, both copies are in memory.
        let tied = loader.gguf.get_tensor("output.weight").is_none();
        let head_name = if tied { "token_embd" } else { "output" };
        let head = loader.matrix_of(head_name, config.vocabulary_size, embedding_length, tied)?;

        let bit_net = config.architecture == Architecture::BitNet;
        let mut layers = Vec::new();
        for number in 0..config.block_count {
            let name = |part: &str| format!("blk.{number}.{part}");
            let (query, key_value) = (config.query_length(), config.key_value_length());
            let sub_norm = |loader: &mut Loader<'_>, part: &str, length: usize| {
                bit_net.then(|| loader.vector(&format!("blk.{number}.{part}.weight"), length)).transpose()
            };
            layers.push(Layer {
                attention_norm: loader.vector(&name("attn_norm.weight"), embedding_length)?,
                query: loader.matrix(&name("attn_q"), query, embedding_length)?,
                key: loader.matrix(&name("attn_k"), key_value, embedding_length)?,
                value: loader.matrix(&name("attn_v"), key_value, embedding_length)?,
                attention_sub_norm: sub_norm(&mut loader, "attn_sub_norm", query)?,
                output: loader.matrix(&name("attn_output"), embedding_length, query)?,
                feed_forward_norm: loader.vector(&name("ffn_norm.weight"), embedding_length)?,
                gate: loader.matrix(&name("ffn_gate"), feed_forward, embedding_length)?,
                up: loader.matrix(&name("ffn_up"), feed_forward, embedding_length)?,
                feed_forward_sub_norm: sub_norm(&mut loader, "ffn_sub_norm", feed_forward)?,
                down: loader.matrix(&name("ffn_down"), embedding_length, feed_forward)?,
            });
        }
        let output_norm = loader.vector("output_norm.weight", embedding_length)?;
        let rope_factors = match loader.gguf.get_tensor("rope_freqs.weight") {
            Some(_) => {
                let factors = loader.vector("rope_freqs.weight", config.rope_dimension / 2)?;
                if factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
                    return Err(LlmError::Tensor {
                        name: "rope_freqs.weight".into(),
                        problem: "has factors that are not positive".into(),
                    });
                }
                Some(factors)
            }
            None => None,
        };
        if let TensorType::Other(_) = embedding.tensor_type {
            // With a separate output the embedding is no matrix, so its type was not checked yet.
            return Err(unsupported_type(&embedding));
        }
        if let Some(extra) = loader.gguf.tensors().iter().find(|tensor| !loader.used.contains(&tensor.name)) {
            return Err(LlmError::Unsupported(format!(
                "the model has the tensor `{}`, which its architecture `{}` does not use here; running without it \
                 would give wrong results",
                extra.name, config.architecture_name
            )));
        }
        Ok(Self { embedding, tied, layers, output_norm, head, rope_factors })
    }

    /// Decodes the embedding of `token` into `out`, `[E]`.
    pub fn embed(&self, gguf: &Gguf, token: usize, out: &mut [f32]) {
        let bytes = gguf.tensor_bytes(&self.embedding);
        let (kind, columns, rows) = (self.embedding.tensor_type, out.len(), self.embedding.rows() as usize);
        let scale = if kind == TensorType::I2S { formats::i2s_scale(bytes, rows * columns) } else { 1.0 };
        let mut row = Vec::new();
        if self.tied && self.head.row_bytes(gguf, token, &mut row) {
            formats::decode_row(kind, &row, scale, out);
            return;
        }
        let row_bytes = kind.row_bytes(columns as u64).unwrap_or(0) as usize;
        formats::decode_row(kind, &bytes[token * row_bytes..][..row_bytes], scale, out);
    }
}
