//! Measures a model: load time, prefill and decode speed, peak memory, and how much of this machine's memory bandwidth
//! decoding uses.

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
    /// What computes.
    pub kernels: Kernels,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { threads: 0, prompt_tokens: 128, decode_tokens: 32, repetitions: 2, kernels: Kernels::detect() }
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
    /// What as many threads read from memory in a second, one after the other, and nothing else.
    pub bandwidth_bytes_per_second: f64,
    /// Bytes of weights that a decoded token needs once each.
    pub decode_bytes: u64,
}

impl BenchReport {
    /// The part of the bandwidth that decoding uses.
    pub fn bandwidth_share(&self) -> f64 {
        self.decode_tokens_per_second * self.decode_bytes as f64 / self.bandwidth_bytes_per_second
    }
}

/// Loads the model at `path` and measures it.
pub fn run(path: impl AsRef<Path>, options: &BenchOptions) -> Result<BenchReport, LlmError> {
    let start = Instant::now();
    let gguf = Arc::new(Gguf::open(path)?);
    measure(gguf, start, options)
}

/// Measures the model in `gguf`, whose loading began at `start`.
pub fn measure(gguf: Arc<Gguf>, start: Instant, options: &BenchOptions) -> Result<BenchReport, LlmError> {
    let decode_bytes = decode_bytes(&gguf);
    let model = Model::load_with(gguf, options.threads, options.kernels)?;
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
    let name = if config.name.is_empty() { config.architecture.name } else { &config.name };
    Ok(BenchReport {
        model: name.to_owned(),
        threads: model.threads(),
        kernels: model.kernels().name(),
        load_time,
        prompt_tokens,
        decode_tokens,
        prefill_tokens_per_second: prompt_tokens as f64 / prefill.as_secs_f64(),
        decode_tokens_per_second: decode_tokens as f64 / decode.as_secs_f64(),
        // Before the bandwidth is measured, which takes memory of its own.
        peak_memory_bytes: peak_memory(),
        bandwidth_bytes_per_second: read_bandwidth(model.threads()),
        decode_bytes,
    })
}

/// Bytes of all weights, of the token embedding only if it is the output matrix too.
fn decode_bytes(gguf: &Gguf) -> u64 {
    let has_output = gguf.get_tensor("output.weight").is_some();
    let is_read = |name: &str| !(has_output && name == "token_embd.weight");
    gguf.tensors().iter().filter(|tensor| is_read(&tensor.name)).map(|tensor| tensor.bytes).sum()
}

/// Bytes per second that so many threads read: the best of several passes over more than any cache holds.
fn read_bandwidth(threads: usize) -> f64 {
    const BYTES: usize = 512 << 20;
    const PASSES: usize = 5;
    let words = BYTES / threads.max(1) / size_of::<u64>();
    let blocks: Vec<Vec<u64>> = (0..threads.max(1)).map(|_| vec![1; words]).collect();
    let mut best = Duration::MAX;
    for _ in 0..PASSES {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for block in &blocks {
                scope.spawn(|| {
                    std::hint::black_box(block.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)))
                });
            }
        });
        best = best.min(begin.elapsed());
    }
    (words * size_of::<u64>() * blocks.len()) as f64 / best.as_secs_f64()
}

/// `VmHWM` of this process.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
