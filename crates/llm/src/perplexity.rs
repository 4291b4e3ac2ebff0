//! Perplexity: how well a model predicts a text, by the definition of llama.cpp's `llama-perplexity`
//! (`tools/perplexity/perplexity.cpp`), so that figures can be compared.
//!
//! The text's tokens, with the beginning that the model wants, are cut into windows that do not overlap; what is left over
//! at the end is not scored. Each window is evaluated on its own, its first token replaced by the beginning if the model
//! wants one. Of a window of n tokens, those behind position n/2 are scored, so that each has at least n/2 before it. With
//! the natural logarithm of their probabilities, −x each:
//!
//! ```text
//! perplexity = exp(mean(x))        error = perplexity · sqrt((mean(x²) − mean(x)²) / (count − 1))
//! ```
//!
//! The figures are the same bits on any machine, as logits are.

use std::ops::ControlFlow;

use crate::model::{Logits, Sequence};
use crate::tokenizer::{Special, Tokenizer};
use crate::{LlmError, Model};

/// Tokens of a window unless it is told otherwise, as in llama.cpp.
pub const WINDOW: usize = 512;

/// The smallest window: two tokens behind its middle.
const SMALLEST_WINDOW: usize = 4;

/// Tokens whose logits are held at the same time: a vocabulary's worth of them each.
const SCORED_TOKENS: usize = 64;

/// A perplexity, of all windows or of those so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// e to the mean surprise.
    pub perplexity: f64,
    /// Its standard error; `None` if all tokens are equally surprising, up to rounding.
    pub error: Option<f64>,
    /// Tokens that were scored.
    pub scored: usize,
    /// Windows that were evaluated.
    pub windows: usize,
    /// Windows of the text.
    pub of: usize,
}

/// Sums over scored tokens.
#[derive(Default)]
struct Sums {
    count: usize,
    /// Surprises, in nats.
    surprise: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, surprise: f64) {
        self.count += 1;
        self.surprise += surprise;
        self.squares += surprise * surprise;
    }

    fn perplexity(&self, windows: usize, of: usize) -> Perplexity {
        let count = self.count as f64;
        let mean = self.surprise / count;
        let perplexity = libm::exp(mean);
        let variance = self.squares / count - mean * mean;
        let error =
            (variance > 0.0 && self.count > 1).then(|| (variance / (count - 1.0)).sqrt() * perplexity);
        Perplexity { perplexity, error, scored: self.count, windows, of }
    }
}

/// The perplexity of `text` in windows of so many tokens. `on_window` is told the estimate after each window, and may end
/// there.
///
/// # Errors
/// [`LlmError::InvalidRequest`] when the window is too small, or larger than the context, or the text has less than two
/// windows; [`LlmError`] when the model fails.
pub fn perplexity(
    model: &Model,
    tokenizer: &Tokenizer,
    text: &str,
    window: usize,
    on_window: &mut dyn FnMut(&Perplexity) -> ControlFlow<()>,
) -> Result<Perplexity, LlmError> {
    let context = model.config().context_length;
    let invalid = |message| Err(LlmError::InvalidRequest { message });
    if window < SMALLEST_WINDOW || window > context {
        return invalid(format!(
            "a window of {window} tokens cannot be scored; the model takes from {SMALLEST_WINDOW} to {context}"
        ));
    }
    let begin = tokenizer.added_begin();
    let mut tokens: Vec<u32> = begin.into_iter().collect();
    tokens.extend(tokenizer.encode(text, Special::Text));
    let of = tokens.len() / window;
    if of < 2 {
        return invalid(format!(
            "the text has {} tokens, less than two windows of {window}; give a longer text or a smaller window",
            tokens.len()
        ));
    }
    let mut sums = Sums::default();
    let mut estimate = None;
    for (number, tokens) in tokens.chunks_exact_mut(window).enumerate() {
        if let Some(begin) = begin {
            tokens[0] = begin;
        }
        score_window(model, tokens, &mut sums)?;
        let so_far = sums.perplexity(number + 1, of);
        estimate = Some(so_far);
        if on_window(&so_far).is_break() {
            break;
        }
    }
    estimate.ok_or(LlmError::NoTokens)
}

/// Scores the tokens behind the middle of a window.
fn score_window(model: &Model, tokens: &[u32], sums: &mut Sums) -> Result<(), LlmError> {
    let middle = tokens.len() / 2;
    let mut cache = model.new_cache(tokens.len());
    model.extend(&mut cache, &tokens[..middle])?;
    let mut logits = Vec::new();
    // The last token has no next one to predict.
    let (predicting, predicted) = (&tokens[middle..tokens.len() - 1], &tokens[middle + 1..]);
    for (predicting, predicted) in predicting.chunks(SCORED_TOKENS).zip(predicted.chunks(SCORED_TOKENS)) {
        let sequence = Sequence { cache: &mut cache, tokens: predicting, logits: Logits::All };
        model.forward_batch(&mut [sequence], &mut logits)?;
        for (&token, logits) in predicted.iter().zip(logits.chunks_exact(model.config().vocabulary_size)) {
            sums.add(surprise(logits, token)?);
        }
    }
    Ok(())
}

/// −ln of the probability that the logits give a token.
fn surprise(logits: &[f32], token: u32) -> Result<f64, LlmError> {
    if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(LlmError::InvalidLogits { token: token as u32 });
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - f64::from(largest))).sum();
    let logit = logits
        .get(token as usize)
        .copied()
        .ok_or(LlmError::UnknownToken { token, vocabulary_size: logits.len() })?;
    Ok(libm::log(sum) + f64::from(largest) - f64::from(logit))
}
