//! The forward pass of Llama and BitNet b1.58: tokens of one or several sequences in, logits out.

use std::ops::Range;
use std::sync::Arc;

use crate::LlmError;
use crate::attention::{Attention, Part};
use crate::cache::{KvCache, KvShape, KvType};
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

/// The next tokens of a sequence, in a batch with those of others.
#[derive(Debug)]
pub struct Sequence<'a> {
    /// What was computed for the tokens before.
    pub cache: &'a mut KvCache,
    /// The next tokens, at least one.
    pub tokens: &'a [u32],
    /// Behind which of them logits are wanted.
    pub logits: Logits,
}

/// Behind which tokens logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Behind none.
    None,
    /// Behind the last one.
    Last,
    /// Behind each.
    All,
}

/// The tokens of a sequence that pass through the layers together with others.
struct Span {
    /// Which sequence of the batch.
    sequence: usize,
    /// Which of its tokens.
    tokens: Range<usize>,
    /// The position of the first.
    start: usize,
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
        KvCache::new(self.kv_shape(KvType::F16), capacity.min(self.config.context_length))
    }

    /// The same with keys and values of the given type.
    ///
    /// # Errors
    /// [`LlmError::Unsupported`] when the model's heads are no whole blocks of the type.
    pub fn new_cache_of(&self, kind: KvType, capacity: usize) -> Result<KvCache, LlmError> {
        let shape = self.kv_shape(kind);
        shape.check()?;
        Ok(KvCache::new(shape, capacity.min(self.config.context_length)))
    }

    fn kv_shape(&self, kind: KvType) -> KvShape {
        let Config { block_count: layers, head_count_kv: heads, head_length, .. } = self.config;
        KvShape { layers, heads, head_length, kind }
    }

    /// Appends `tokens` to the sequence in `cache` and puts the logits after the last one into `logits`, resized
    /// to the vocabulary. On an error the cache is as it was.
    pub fn forward(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), LlmError> {
        self.forward_batch(&mut [Sequence { cache, tokens, logits: Logits::Last }], logits)
    }

    /// [`forward`](Self::forward) without logits, for the pieces of a prompt before its last.
    pub fn extend(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<(), LlmError> {
        self.forward_batch(&mut [Sequence { cache, tokens, logits: Logits::None }], &mut Vec::new())
    }

    /// Appends to several sequences at once, so that the weights are read once for all of them. The wanted logits,
    /// `[wanted × V]` in the order of the sequences and their tokens, replace what is in `logits`. They are the same bits in
    /// any company.
    ///
    /// # Errors
    /// [`LlmError::NoTokens`], [`LlmError::ForeignCache`], [`LlmError::UnknownToken`] and [`LlmError::ContextFull`], if that
    /// is so for any sequence; all caches are then as they were.
    pub fn forward_batch(
        &self,
        sequences: &mut [Sequence<'_>],
        logits: &mut Vec<f32>,
    ) -> Result<(), LlmError> {
        for sequence in &*sequences {
            self.check(sequence)?;
        }
        logits.clear();
        let mut state = RunState::new(&self.config, 0);
        for spans in spans(sequences) {
            let rows = spans.iter().map(|span| span.tokens.len()).sum();
            if state.x.len() != rows * self.config.embedding_length {
                state = RunState::new(&self.config, rows);
            }
            self.forward_rows(sequences, &spans, &mut state);
            self.append_logits(sequences, &spans, &state.x, logits);
        }
        Ok(())
    }

    /// Whether `sequence` can be evaluated.
    fn check(&self, sequence: &Sequence<'_>) -> Result<(), LlmError> {
        let Sequence { cache, tokens, .. } = sequence;
        if tokens.is_empty() {
            return Err(LlmError::NoTokens);
        }
        if !cache.fits(self.kv_shape(cache.kv_type())) {
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
        Ok(())
    }

    fn machine(&self) -> Machine<'_> {
        Machine { kernels: self.kernels, pool: &self.pool, file: &self.gguf }
    }

    /// Takes the tokens of `spans` through all layers; leaves the residual stream in `state.x` and their keys and values
    /// in the caches.
    fn forward_rows(&self, sequences: &mut [Sequence<'_>], spans: &[Span], state: &mut RunState) {
        let mut rows = state.x.chunks_exact_mut(self.config.embedding_length);
        let mut angles = Vec::new();
        for span in spans {
            let sequence = &mut sequences[span.sequence];
            sequence.cache.extend(span.tokens.len());
            for ((&token, x), position) in
                sequence.tokens[span.tokens.clone()].iter().zip(&mut rows).zip(span.start..)
            {
                self.weights.embed(&self.gguf, token as usize, x);
                angles.push(self.rope.angles(position));
            }
        }
        for (number, layer) in self.weights.layers.iter().enumerate() {
            self.attention_block(layer, number, sequences, spans, &angles, state);
            self.feed_forward_block(layer, state);
        }
    }

    /// Appends the logits that are wanted behind tokens of `spans`, whose residual stream is `x`.
    fn append_logits(&self, sequences: &[Sequence<'_>], spans: &[Span], x: &[f32], logits: &mut Vec<f32>) {
        let mut wanted = Vec::new();
        let mut rows = x.chunks_exact(self.config.embedding_length);
        for span in spans {
            let Sequence { tokens, logits, .. } = &sequences[span.sequence];
            for (token, row) in span.tokens.clone().zip(&mut rows) {
                let is_wanted = match logits {
                    Logits::None => false,
                    Logits::Last => token + 1 == tokens.len(),
                    Logits::All => true,
                };
                if is_wanted {
                    wanted.extend_from_slice(row);
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        let mut hidden = vec![0.0; wanted.len()];
        self.norm(&wanted, &self.weights.output_norm, &mut hidden);
        let (before, count) = (logits.len(), wanted.len() / self.config.embedding_length);
        logits.resize(before + count * self.config.vocabulary_size, 0.0);
        multiply(self.machine(), &hidden, &mut [(&self.weights.head, &mut logits[before..])]);
    }

    /// x += output(sub_norm(attention(rope(query(norm(x))), rope(key(norm(x))), value(norm(x)))))
    fn attention_block(
        &self,
        layer: &Layer,
        number: usize,
        sequences: &mut [Sequence<'_>],
        spans: &[Span],
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
        let (mut keys, mut values) = (&state.key[..], &state.value[..]);
        for span in spans {
            let elements = span.tokens.len() * key_value;
            let (key, value);
            (key, keys) = keys.split_at(elements);
            (value, values) = values.split_at(elements);
            sequences[span.sequence].cache.write(self.kernels, number, span.start, key, value);
        }
        let parts: Vec<Part<'_>> = spans
            .iter()
            .map(|span| Part {
                cache: &*sequences[span.sequence].cache,
                start: span.start,
                tokens: span.tokens.len(),
            })
            .collect();
        self.attention().attend(machine, number, &parts, &state.query, &mut state.attention);

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

/// Divides the tokens of `sequences`, in their order, into pieces that pass through the layers together.
fn spans(sequences: &[Sequence<'_>]) -> Vec<Vec<Span>> {
    let mut pieces = Vec::new();
    let (mut piece, mut room) = (Vec::new(), BATCH_TOKENS);
    for (number, sequence) in sequences.iter().enumerate() {
        let mut next = 0;
        while next < sequence.tokens.len() {
            let end = sequence.tokens.len().min(next + room);
            piece.push(Span { sequence: number, tokens: next..end, start: sequence.cache.len() + next });
            room -= end - next;
            next = end;
            if room == 0 {
                pieces.push(std::mem::take(&mut piece));
                room = BATCH_TOKENS;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}
