//! Texts as vectors: what a model makes of all tokens of a text, pooled into one and normalized.
//!
//! - [`Embedder`]: a model and its tokenizer; texts in, vectors of length 1 out.
//! - [`Pooling`]: how the vectors of the tokens become one.
//!
//! Encoders see the text as a whole; decoders work too, best those that were trained for it. The vectors are the same bits
//! on every machine and in any company, like logits.

use std::sync::Arc;

use crate::gguf::Gguf;
use crate::model::BATCH_TOKENS;
use crate::tokenizer::{Special, Tokenizer};
use crate::{LlmError, Model};

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one, that of BERT's `[CLS]`.
    First,
    /// The last one.
    Last,
}

impl Pooling {
    /// Reads the metadata `key`, whose numbers are llama.cpp's.
    pub(crate) fn read(gguf: &Gguf, key: &str) -> Result<Option<Self>, LlmError> {
        match gguf.get_u32(key)? {
            None | Some(0) => Ok(None),
            Some(1) => Ok(Some(Self::Mean)),
            Some(2) => Ok(Some(Self::First)),
            Some(3) => Ok(Some(Self::Last)),
            Some(4) => Err(LlmError::Unsupported("models that rank pairs of texts are not supported".into())),
            Some(other) => Err(LlmError::WrongValue {
                key: key.to_owned(),
                expected: "a number from 0 to 4".into(),
                found: other.to_string(),
            }),
        }
    }
}

impl Model {
    /// Numbers of a text's vector.
    pub fn embedding_dimensions(&self) -> usize {
        self.graph().weights.pooled.last().map_or(self.config().embedding_length, |last| last.matrix.rows())
    }

    /// The vectors of `texts`, given as tokens: [`embedding_dimensions`](Self::embedding_dimensions) numbers each, of length
    /// 1 (or 0, if all of them are). Short texts share the reading of the weights.
    ///
    /// # Errors
    /// [`LlmError`] when a text has no tokens, too many, or unknown ones.
    pub fn embed(&self, texts: &[&[u32]], pooling: Pooling) -> Result<Vec<Vec<f32>>, LlmError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            // Texts until they fill a batch of the forward pass.
            let mut tokens = 0;
            let count = rest
                .iter()
                .take_while(|text| {
                    let more = tokens < BATCH_TOKENS;
                    tokens += text.len();
                    more
                })
                .count();
            let group;
            (group, rest) = rest.split_at(count);
            let first = vectors.len();
            vectors.resize(first + count, vec![0.0; self.config().embedding_length]);
            self.pool(group, pooling, &mut vectors[first..])?;
        }
        let kernels = self.kernels();
        vectors
            .into_iter()
            .map(|pooled| {
                let mut vector = self.graph().finish_pooled(pooled);
                let length = kernels.length(&vector);
                if !length.is_finite() {
                    return Err(LlmError::InvalidEmbedding);
                }
                if length > 0.0 {
                    vector.iter_mut().for_each(|value| *value /= length);
                }
                Ok(vector)
            })
            .collect()
    }

    /// Pools the hidden states of each text into its row of `pooled`, which is zero.
    fn pool(&self, texts: &[&[u32]], pooling: Pooling, pooled: &mut [Vec<f32>]) -> Result<(), LlmError> {
        let mut seen = vec![0; texts.len()];
        self.hidden_states(texts, &mut |text, hidden| {
            match pooling {
                Pooling::Mean => self.kernels().add(&mut pooled[text], hidden),
                Pooling::First if seen[text] > 0 => {}
                Pooling::First | Pooling::Last => pooled[text].copy_from_slice(hidden),
            }
            seen[text] += 1;
        })?;
        if pooling == Pooling::Mean {
            for (text, pooled) in texts.iter().zip(pooled) {
                let count = text.len() as f32;
                pooled.iter_mut().for_each(|value| *value /= count);
            }
        }
        Ok(())
    }
}

/// A model that makes vectors of texts.
#[derive(Debug)]
pub struct Embedder {
    model: Model,
    tokenizer: Tokenizer,
    pooling: Pooling,
}

impl Embedder {
    /// Loads an encoder or a decoder; `threads` compute, 0 means as many as the machine has cores. How vectors are pooled
    /// is what the file says, or else the mean.
    ///
    /// # Errors
    /// [`LlmError`] when a part of the file is missing, damaged or not supported.
    pub fn load(gguf: Arc<Gguf>, threads: usize) -> Result<Self, LlmError> {
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let model = Model::load(gguf, threads)?;
        tokenizer.check_vocabulary(model.config().vocabulary_size)?;
        let pooling = model.config().pooling.unwrap_or(Pooling::Mean);
        Ok(Self { model, tokenizer, pooling })
    }

    /// The same with another pooling.
    #[must_use]
    pub fn with_pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }

    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.model.embedding_dimensions()
    }

    /// The network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The vectors of `texts`, [`dimensions`](Self::dimensions) numbers of length 1 each. The product of two of them is the
    /// cosine between them.
    ///
    /// # Errors
    /// [`LlmError::ContextFull`] when a text has more tokens than the model's context; [`LlmError::NoTokens`] when it has
    /// none.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, LlmError> {
        let tokens =
            |text: &&str| self.tokenizer.with_begin_and_end(self.tokenizer.encode(text, Special::Text));
        let tokens: Vec<Vec<u32>> = texts.iter().map(tokens).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        self.model.embed(&tokens, self.pooling)
    }
}
