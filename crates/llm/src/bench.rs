//! Measures a model: load time, prefill and decode speed, peak memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gguf::Gguf;
use crate::{Kernels, LlmError, Model};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    /// Threads; 0 takes all cores.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens decoded one by one after it.
    pub decode_tokens: usize,
    /// The best of so many runs is reported.
    pub repetitions: usize,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { threads: 0, prompt_tokens: 128, decode_tokens: 32, repetitions: 2 }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchReport {
    /// `general.name`, or the architecture.
    pub model: String,
    /// Threads that computed.
    pub threads: usize,
    /// The kernels that computed.
    pub kernels: &'static str,
    /// Mapping, checking and repacking.
    pub load_time: Duration,
    /// Tokens of the prompt that was evaluated.
    pub prompt_tokens: usize,
    /// Tokens that were decoded.
    pub decode_tokens: usize,
    /// Tokens of the prompt for each second.
    pub prefill_tokens_per_second: f64,
    /// Decoded tokens for each second.
    pub decode_tokens_per_second: f64,
    /// Largest resident memory of the process so far, in bytes; only Linux tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Loads the model at `path` and measures it.
pub fn run(path: impl AsRef<Path>, options: &BenchOptions) -> Result<BenchReport, LlmError> {
    let start = Instant::now();
    let gguf = Arc::new(Gguf::open(path)?);
    measure(gguf, start, options)
}

/// Measures the model in `gguf`, whose loading began at `start`.
pub fn measure(gguf: Arc<Gguf>, start: Instant, options: &BenchOptions) -> Result<BenchReport, LlmError> {
    let model = Model::load_with(gguf, options.threads, Kernels::detect())?;
    let load_time = start.elapsed();
    let config = model.config();

    // At least one token each, together within the context.
    let prompt_tokens = options.prompt_tokens.clamp(1, (config.context_length - 1).max(1));
    let decode_tokens = options.decode_tokens.clamp(1, (config.context_length - prompt_tokens).max(1));
    let token = |number: usize| (number * 7919 % config.vocabulary_size) as u32;
    let prompt: Vec<u32> = (0..prompt_tokens).map(token).collect();
    let mut logits = Vec::new();
    // The first pass reads pages and wakes the threads.
    model.forward(&mut model.new_cache(1), &prompt[..1], &mut logits)?;

    let (mut prefill, mut decode) = (Duration::MAX, Duration::MAX);
    for _ in 0..options.repetitions.max(1) {
        let mut cache = model.new_cache(prompt_tokens + decode_tokens);
        let begin = Instant::now();
        model.forward(&mut cache, &prompt, &mut logits)?;
        prefill = prefill.min(begin.elapsed());
        let begin = Instant::now();
        for number in 0..decode_tokens.min(cache.capacity() - prompt_tokens) {
            model.forward(&mut cache, &[token(number)], &mut logits)?;
        }
        decode = decode.min(begin.elapsed());
    }
    let name = if config.name.is_empty() { &config.architecture_name } else { &config.name };
    Ok(BenchReport {
        model: name.clone(),
        threads: model.threads(),
        kernels: model.kernels().name(),
        load_time,
        prompt_tokens,
        decode_tokens,
        prefill_tokens_per_second: prompt_tokens as f64 / prefill.as_secs_f64(),
        decode_tokens_per_second: decode_tokens as f64 / decode.as_secs_f64(),
        peak_memory_bytes: peak_memory(),
    })
}

/// `VmHWM` of this process.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
