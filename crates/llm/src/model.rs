//! The forward pass of Llama and BitNet b1.58: tokens in, logits of the last one out.

use std::sync::Arc;

use crate::LlmError;
use crate::attention::Attention;
use crate::cache::KvCache;
use crate::config::{Activation, Config};
use crate::gguf::Gguf;
use crate::kernels::Kernels;
use crate::matrix::{Machine, multiply};
use crate::rope::Rope;
use crate::threads::ThreadPool;
use crate::weights::{Layer, Weights};

/// Tokens that pass through the layers together: enough to read weights once for many, few enough that their
/// activations stay in the cache. Chunking changes no bit of the logits.
const BATCH_TOKENS: usize = 64;

/// A loaded model. Shared by all sessions; a session's state is its [`KvCache`].
pub struct Model {
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
    rope: Rope,
    kernels: Kernels,
    pool: ThreadPool,
}

/// Activations of a batch. T: tokens of the batch; E, Q, K, F as in [`Layer`].
struct RunState {
    /// `[T × E]`, the residual stream.
    x: Vec<f32>,
    /// `[T × E]`, normalized input of a block, later its output.
    hidden: Vec<f32>,
    /// `[T × Q]`
    query: Vec<f32>,
    /// `[T × K]`
    key: Vec<f32>,
    /// `[T × K]`
    value: Vec<f32>,
    /// `[T × Q]`, attention output.
    attention: Vec<f32>,
    /// `[T × F]`
    gate: Vec<f32>,
    /// `[T × F]`
    up: Vec<f32>,
    /// `[T × max(Q, F)]`, sub-normed input of the second matrix of a BitNet block.
    normed: Vec<f32>,
}

impl RunState {
    fn new(config: &Config, tokens: usize) -> Self {
        let zeros = |width: usize| vec![0.0; tokens * width];
        Self {
            x: zeros(config.embedding_length),
            hidden: zeros(config.embedding_length),
            query: zeros(config.query_length()),
            key: zeros(config.key_value_length()),
            value: zeros(config.key_value_length()),
            attention: zeros(config.query_length()),
            gate: zeros(config.feed_forward_length),
            up: zeros(config.feed_forward_length),
            normed: zeros(config.query_length().max(config.feed_forward_length)),
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("kernels", &self.kernels).finish()
    }
}

impl Model {
    /// Loads the model in `gguf` on the fastest kernels of this machine and `threads` threads; 0 takes all cores.
    pub fn load(gguf: Arc<Gguf>, threads: usize) -> Result<Self, LlmError> {
        Self::load_with(gguf, threads, Kernels::detect())
    }

    /// Loads the model with given kernels; the logits are the same bits with any.
    pub fn load_with(mut gguf: Arc<Gguf>, threads: usize, kernels: Kernels) -> Result<Self, LlmError> {
        let config = Config::read(&gguf)?;
        let pool = ThreadPool::new(threads);
        let weights = Weights::load(&mut gguf, &config, &pool)?;
        let rope = Rope::new(&config, weights.rope_factors.as_deref());
        Ok(Self { gguf, config, weights, rope, kernels, pool })
    }

    /// The model's hyperparameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file that it was loaded from. If that was in memory of its own and nobody else held it, the weights in it
    /// have been rearranged in place, and its bytes are no longer those of the file.
    pub fn gguf(&self) -> &Arc<Gguf> {
        &self.gguf
    }

    /// Threads that it computes on.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The kernels that it computes with.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// An empty cache for up to `capacity` tokens, at most the model's context. Memory is taken as it fills.
    pub fn new_cache(&self, capacity: usize) -> KvCache {
        let capacity = capacity.min(self.config.context_length);
        KvCache::new(self.config.block_count, self.config.key_value_length(), capacity)
    }

    /// Appends `tokens` to the sequence in `cache` and puts the logits after the last one into `logits`, resized
    /// to the vocabulary. On an error the cache is as it was.
    pub fn forward(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), LlmError> {
        let residual = self.evaluate(cache, tokens)?;
        let mut hidden = vec![0.0; residual.len()];
        self.kernels.rms_norm(&residual, &self.weights.output_norm, self.config.norm_epsilon, &mut hidden);
        logits.resize(self.config.vocabulary_size, 0.0);
        multiply(self.machine(), &hidden, &mut [(&self.weights.head, logits)]);
        Ok(())
    }

    /// [`forward`](Self::forward) without logits, for the pieces of a prompt before its last.
    pub fn extend(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<(), LlmError> {
        self.evaluate(cache, tokens).map(|_| ())
    }

    /// Appends `tokens` to the sequence in `cache`; returns the residual stream of the last one.
    fn evaluate(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, LlmError> {
        if tokens.is_empty() {
            return Err(LlmError::NoTokens);
        }
        if !cache.fits(self.config.block_count, self.config.key_value_length()) {
            return Err(LlmError::ForeignCache);
        }
        let vocabulary_size = self.config.vocabulary_size;
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary_size) {
            return Err(LlmError::UnknownToken { token, vocabulary_size });
        }
        let needed = cache.len().saturating_add(tokens.len());
        if needed > cache.capacity() {
            return Err(LlmError::ContextFull { needed, capacity: cache.capacity() });
        }

        let mut state = RunState::new(&self.config, tokens.len().min(BATCH_TOKENS));
        for batch in tokens.chunks(BATCH_TOKENS) {
            if state.x.len() != batch.len() * self.config.embedding_length {
                state = RunState::new(&self.config, batch.len());
            }
            self.forward_batch(cache, batch, &mut state);
        }
        let last = state.x.len() - self.config.embedding_length;
        Ok(state.x.split_off(last))
    }

    fn machine(&self) -> Machine<'_> {
        Machine { kernels: self.kernels, pool: &self.pool, file: &self.gguf }
    }

    /// Takes `tokens` through all layers; leaves the residual stream in `state.x` and their keys and values in
    /// the cache.
    fn forward_batch(&self, cache: &mut KvCache, tokens: &[u32], state: &mut RunState) {
        let start = cache.len();
        cache.extend(tokens.len());
        let width = self.config.embedding_length;
        for (&token, x) in tokens.iter().zip(state.x.chunks_exact_mut(width)) {
            self.weights.embed(&self.gguf, token as usize, x);
        }
        let angles: Vec<_> = (0..tokens.len()).map(|number| self.rope.angles(start + number)).collect();
        for (number, layer) in self.weights.layers.iter().enumerate() {
            self.attention_block(layer, number, cache, start, &angles, state);
            self.feed_forward_block(layer, state);
        }
    }

    /// x += output(sub_norm(attention(rope(query(norm(x))), rope(key(norm(x))), value(norm(x)))))
    fn attention_block(
        &self,
        layer: &Layer,
        number: usize,
        cache: &mut KvCache,
        start: usize,
        angles: &[Vec<(f32, f32)>],
        state: &mut RunState,
    ) {
        let machine = self.machine();
        let (head_length, key_value) = (self.config.head_length, self.config.key_value_length());
        self.norm(&state.x, &layer.attention_norm, &mut state.hidden);
        multiply(
            machine,
            &state.hidden,
            &mut [
                (&layer.query, &mut state.query),
                (&layer.key, &mut state.key),
                (&layer.value, &mut state.value),
            ],
        );

        let query_length = self.config.query_length();
        for (token, angles) in angles.iter().enumerate() {
            self.rope.rotate(&mut state.query[token * query_length..][..query_length], head_length, angles);
            self.rope.rotate(&mut state.key[token * key_value..][..key_value], head_length, angles);
        }
        self.kernels.to_half(&state.key, &mut cache.keys[number][start * key_value..]);
        self.kernels.to_half(&state.value, &mut cache.values[number][start * key_value..]);

        let (keys, values) = (&cache.keys[number], &cache.values[number]);
        self.attention().attend(machine, keys, values, start, &state.query, &mut state.attention);

        let attended = match &layer.attention_sub_norm {
            Some(weight) => {
                let normed = &mut state.normed[..state.attention.len()];
                self.norm(&state.attention, weight, normed);
                normed
            }
            None => &mut state.attention[..],
        };
        multiply(machine, attended, &mut [(&layer.output, &mut state.hidden)]);
        self.kernels.add(&mut state.x, &state.hidden);
    }

    /// Grouped-query attention over all tokens so far.
    fn attention(&self) -> Attention {
        let Config { head_count, head_count_kv, head_length, .. } = self.config;
        let scale = 1.0 / (head_length as f32).sqrt();
        Attention {
            head_count,
            head_count_kv,
            head_length,
            scale,
            window: None,
            soft_cap: None,
            causal: true,
        }
    }

    /// x += down(sub_norm(activation(gate(norm(x))) · up(norm(x))))
    fn feed_forward_block(&self, layer: &Layer, state: &mut RunState) {
        let machine = self.machine();
        self.norm(&state.x, &layer.feed_forward_norm, &mut state.hidden);
        multiply(machine, &state.hidden, &mut [(&layer.gate, &mut state.gate), (&layer.up, &mut state.up)]);
        match self.config.activation {
            Activation::Silu => self.kernels.silu_multiply(&mut state.gate, &state.up),
            Activation::SquaredRelu => self.kernels.squared_relu_multiply(&mut state.gate, &state.up),
        }
        let gated = match &layer.feed_forward_sub_norm {
            Some(weight) => {
                let normed = &mut state.normed[..state.gate.len()];
                self.norm(&state.gate, weight, normed);
                normed
            }
            None => &mut state.gate[..],
        };
        multiply(machine, gated, &mut [(&layer.down, &mut state.hidden)]);
        self.kernels.add(&mut state.x, &state.hidden);
    }

    /// RMS norm of every token of `x`, `[T × weight.len()]`.
    fn norm(&self, x: &[f32], weight: &[f32], out: &mut [f32]) {
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            self.kernels.rms_norm(x, weight, self.config.norm_epsilon, out);
        }
    }
}
