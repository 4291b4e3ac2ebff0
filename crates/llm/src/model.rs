//! The forward pass: tokens of one or several sequences in, logits out.

use std::ops::Range;
use std::sync::Arc;

use crate::LlmError;
use crate::attention::Part;
use crate::cache::{KvCache, KvShape, KvType};
use crate::config::Config;
use crate::gguf::Gguf;
use crate::graph::{Graph, Ropes, RunState};
use crate::kernels::Kernels;
use crate::matrix::Machine;
use crate::threads::ThreadPool;
use crate::weights::Weights;

/// Tokens that pass through the layers together: enough to read weights once for many, few enough that their
/// activations stay in the cache. Chunking changes no bit of the logits.
pub(crate) const BATCH_TOKENS: usize = 64;

/// A loaded model. Shared by all sessions; a session's state is its [`KvCache`].
pub struct Model {
    gguf: Arc<Gguf>,
    config: Config,
    weights: Weights,
    ropes: Ropes,
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

/// Sees what a piece of a batch is once it is through the layers.
type VisitPiece<'v> = dyn FnMut(&[Sequence<'_>], &[Span], &mut RunState) + 'v;

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
        let ropes = Ropes::new(&config, &weights);
        Ok(Self { gguf, config, weights, ropes, kernels, pool })
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

    pub(crate) fn kv_shape(&self, kind: KvType) -> KvShape {
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
            self.check_continuation(sequence)?;
        }
        self.forward_checked(sequences, logits);
        Ok(())
    }

    /// [`forward_batch`](Self::forward_batch) of sequences that were [checked](Self::check_continuation).
    pub(crate) fn forward_checked(&self, sequences: &mut [Sequence<'_>], logits: &mut Vec<f32>) {
        logits.clear();
        self.forward_pieces(sequences, BATCH_TOKENS, &mut |sequences, spans, state| {
            self.append_logits(sequences, spans, &state.x, logits);
        });
    }

    /// Whether it can continue a text: encoders, and what else sees each text as a whole, cannot.
    pub fn continues_texts(&self) -> bool {
        self.weights.head.is_some() && self.config.causal
    }

    /// Takes texts of their own through the model; `visit` sees the number of a text and the last hidden state of each of
    /// its tokens, `[E]`, in order.
    pub(crate) fn hidden_states(
        &self,
        texts: &[&[u32]],
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), LlmError> {
        let mut caches: Vec<KvCache> = texts.iter().map(|tokens| self.new_cache(tokens.len())).collect();
        let mut sequences: Vec<Sequence<'_>> = caches
            .iter_mut()
            .zip(texts)
            .map(|(cache, tokens)| Sequence { cache, tokens, logits: Logits::None })
            .collect();
        for sequence in &sequences {
            self.check(sequence)?;
        }
        // What sees a text as a whole has it in one piece.
        let piece_tokens = if self.config.causal { BATCH_TOKENS } else { usize::MAX };
        self.forward_pieces(&mut sequences, piece_tokens, &mut |_, spans, state| {
            self.graph().normalize_output(&mut state.x);
            let mut rows = state.x.chunks_exact(self.config.embedding_length);
            for span in spans {
                rows.by_ref().take(span.tokens.len()).for_each(|row| visit(span.sequence, row));
            }
        });
        Ok(())
    }

    /// Takes the tokens of `sequences` through the layers, so many at a time; `visit` sees each piece.
    fn forward_pieces(
        &self,
        sequences: &mut [Sequence<'_>],
        piece_tokens: usize,
        visit: &mut VisitPiece<'_>,
    ) {
        let mut state = RunState::new(&self.config, &self.weights, 0);
        for spans in spans(sequences, piece_tokens) {
            let rows = spans.iter().map(|span| span.tokens.len()).sum();
            if state.x.len() != rows * self.config.embedding_length {
                state = RunState::new(&self.config, &self.weights, rows);
            }
            self.forward_rows(sequences, &spans, &mut state);
            visit(sequences, &spans, &mut state);
        }
    }

    /// Whether `sequence` can be evaluated for its logits.
    pub(crate) fn check_continuation(&self, sequence: &Sequence<'_>) -> Result<(), LlmError> {
        if !self.continues_texts() {
            return Err(LlmError::Unsupported(format!(
                "the model sees a text as a whole (`{}`) and cannot continue one; it is for embeddings",
                self.config.architecture.name
            )));
        }
        self.check(sequence)
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

    pub(crate) fn graph(&self) -> Graph<'_> {
        let machine = Machine { kernels: self.kernels, pool: &self.pool, file: &self.gguf };
        Graph { machine, config: &self.config, weights: &self.weights, ropes: &self.ropes }
    }

    /// Takes the tokens of `spans` through all layers; leaves the residual stream in `state.x` and their keys and values
    /// in the caches.
    fn forward_rows(&self, sequences: &mut [Sequence<'_>], spans: &[Span], state: &mut RunState) {
        let (mut tokens, mut positions) = (Vec::new(), Vec::new());
        for span in spans {
            let sequence = &mut sequences[span.sequence];
            sequence.cache.extend(span.tokens.len());
            tokens.extend_from_slice(&sequence.tokens[span.tokens.clone()]);
            positions.extend(span.start..span.start + span.tokens.len());
        }
        let graph = self.graph();
        graph.embed(&tokens, &positions, state);
        let angles = self.ropes.angles(&positions);
        for number in 0..self.config.block_count {
            graph.project(number, &positions, &angles, state);
            self.attend(number, sequences, spans, state);
            graph.finish(number, state);
        }
    }

    /// Puts the keys and values of a layer into the caches, and what the tokens of `spans` take of them into
    /// `state.attention`.
    fn attend(&self, number: usize, sequences: &mut [Sequence<'_>], spans: &[Span], state: &mut RunState) {
        let key_value = self.config.key_value_length();
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
        let graph = self.graph();
        graph.attention(number).attend(graph.machine, number, &parts, &state.query, &mut state.attention);
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
        self.graph().normalize_output(&mut wanted);
        let (before, count) = (logits.len(), wanted.len() / self.config.embedding_length);
        logits.resize(before + count * self.config.vocabulary_size, 0.0);
        self.graph().logits(&wanted, &mut logits[before..]);
    }
}

/// Divides the tokens of `sequences`, in their order, into pieces of so many that pass through the layers together.
fn spans(sequences: &[Sequence<'_>], piece_tokens: usize) -> Vec<Vec<Span>> {
    let mut pieces = Vec::new();
    let (mut piece, mut room) = (Vec::new(), piece_tokens);
    for (number, sequence) in sequences.iter().enumerate() {
        let mut next = 0;
        while next < sequence.tokens.len() {
            let end = sequence.tokens.len().min(next.saturating_add(room));
            piece.push(Span { sequence: number, tokens: next..end, start: sequence.cache.len() + next });
            room -= end - next;
            next = end;
            if room == 0 {
                pieces.push(std::mem::take(&mut piece));
                room = piece_tokens;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}
