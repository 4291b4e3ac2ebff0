//! Perplexity: the definition, and what holds for any model.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_llm::gguf::Gguf;
use glasshouse_llm::perplexity::{Perplexity, perplexity};
use glasshouse_llm::tokenizer::{Special, Tokenizer};
use glasshouse_llm::{LlmError, Model};

const TEXT: &str = "The quick brown fox jumps over the lazy dog; a model that was never taught anything expects each of \
    these letters about as much as any other, and so the perplexity is near the number of tokens.";

struct Loaded {
    model: Model,
    tokenizer: Tokenizer,
}

fn loaded(file: Vec<u8>, threads: usize) -> Loaded {
    let gguf = Arc::new(Gguf::from_vec(file).unwrap());
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    Loaded { model: Model::load(gguf, threads).unwrap(), tokenizer }
}

impl Loaded {
    fn of(&self, text: &str, window: usize) -> Result<Perplexity, LlmError> {
        perplexity(&self.model, &self.tokenizer, text, window, &mut |_| ControlFlow::Continue(()))
    }
}

#[test]
fn a_model_that_finds_all_tokens_equally_likely_has_its_vocabulary_as_perplexity() {
    let mut file = support::model_file();
    // The weights of the last norm are the file's last tensor; without them every logit is 0.
    let norm = file.len() - 32 * 4;
    assert!(file[norm..].chunks_exact(4).all(|weight| weight == 1f32.to_le_bytes()));
    file[norm..].fill(0);
    let loaded = loaded(file, 1);
    let vocabulary = loaded.model.config().vocabulary_size as f64;
    let found = loaded.of(TEXT, 32).unwrap();
    assert!((found.perplexity - vocabulary).abs() < 1e-9, "{found:?}");
    assert!(found.error.is_none_or(|error| error < 1e-3), "{found:?}");
}

#[test]
fn it_is_what_the_definition_gives_token_by_token() {
    let loaded = loaded(support::model_file(), 2);
    let tokens = loaded.tokenizer.encode(TEXT, Special::Text);
    for window in [4, 5, 32, 90] {
        let found = loaded.of(TEXT, window).unwrap();
        let mut surprises = Vec::new();
        for tokens in tokens.chunks_exact(window) {
            let mut cache = loaded.model.new_cache(window);
            let mut logits = Vec::new();
            for (position, pair) in tokens.windows(2).enumerate() {
                loaded.model.forward(&mut cache, &pair[..1], &mut logits).unwrap();
                if position >= window / 2 {
                    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
                    surprises.push(sum.ln() - f64::from(logits[pair[1] as usize]));
                }
            }
        }
        let count = surprises.len() as f64;
        let mean = surprises.iter().sum::<f64>() / count;
        let deviation =
            (surprises.iter().map(|surprise| (surprise - mean).powi(2)).sum::<f64>() / count / (count - 1.0))
                .sqrt();
        assert_eq!((found.scored, found.windows), (surprises.len(), tokens.len() / window));
        assert_eq!(found.scored, found.windows * (window - 1 - window / 2));
        assert!((found.perplexity / mean.exp() - 1.0).abs() < 1e-9, "{window}: {found:?}");
        assert!((found.error.unwrap() / (deviation * mean.exp()) - 1.0).abs() < 1e-6, "{window}: {found:?}");
    }
}

#[test]
fn it_is_the_same_for_any_number_of_threads_and_can_be_ended_after_any_window() {
    let (one, three) = (loaded(support::model_file(), 1), loaded(support::model_file(), 3));
    let mut seen = Vec::new();
    let whole = perplexity(&one.model, &one.tokenizer, TEXT, 40, &mut |estimate| {
        seen.push(*estimate);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(three.of(TEXT, 40).unwrap(), whole);
    assert_eq!(seen.len(), whole.of);
    assert_eq!(seen.last(), Some(&whole));
    let first = perplexity(&one.model, &one.tokenizer, TEXT, 40, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(first, seen[0]);
}

#[test]
fn a_text_or_a_window_that_cannot_be_scored_is_refused_with_a_way_out() {
    let loaded = loaded(support::model_file(), 1);
    let context = support::CONTEXT as usize;
    for (text, window, words) in [
        ("short", 32, "a longer text"),
        ("", 32, "a longer text"),
        (TEXT, 3, "from 4 to 160"),
        (TEXT, context + 1, "from 4 to 160"),
    ] {
        let message = loaded.of(text, window).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
