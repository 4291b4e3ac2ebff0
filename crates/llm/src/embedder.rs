//! Texts as vectors: what a model makes of all tokens of a text, pooled into one and normalized.
//!
//! - [`Embedder`]: a model and its tokenizer; texts in, vectors of length 1 out.
//! - [`Pooling`]: how the vectors of the tokens become one.
//!
//! Encoders see the text as a whole; decoders work too, best those that were trained for it. The vectors are the same bits
//! on every machine, like logits.

use std::sync::Arc;

use crate::gguf::Gguf;
use crate::tokenizer::{Special, Tokenizer};
use crate::{Kernels, LlmError, Model};

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
    /// The vector of a text of these `tokens`, `[embedding length]`, of length 1 (or 0, if all of it is).
    ///
    /// # Errors
    /// [`LlmError`] when there are no tokens, too many, or unknown ones.
    pub fn embed(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>, LlmError> {
        let kernels = self.kernels();
        let mut pooled = vec![0.0; self.config().embedding_length];
        let mut number = 0;
        self.hidden_states(tokens, &mut |hidden| {
            match pooling {
                Pooling::Mean => kernels.add(&mut pooled, hidden),
                Pooling::First if number > 0 => {}
                Pooling::First | Pooling::Last => pooled.copy_from_slice(hidden),
            }
            number += 1;
        })?;
        // The mean is the sum, scaled; the scale goes with the normalization.
        let length = kernels.length(&pooled);
        if !length.is_finite() {
            return Err(LlmError::InvalidEmbedding);
        }
        if length > 0.0 {
            pooled.iter_mut().for_each(|value| *value /= length);
        }
        Ok(pooled)
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
        let model = Model::load_with(gguf, threads, Kernels::detect())?;
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
        self.model.config().embedding_length
    }

    /// The network.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The vector of `text`, [`dimensions`](Self::dimensions) numbers of length 1. The product of two such vectors is the
    /// cosine between them.
    ///
    /// # Errors
    /// [`LlmError::ContextFull`] when the text has more tokens than the model's context; [`LlmError::NoTokens`] when it has
    /// none.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, LlmError> {
        let tokens = self.tokenizer.with_begin_and_end(self.tokenizer.encode(text, Special::Text));
        self.model.embed(&tokens, self.pooling)
    }
}
