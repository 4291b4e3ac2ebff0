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
    /// Shared with the other models of as many threads.
    pool: Arc<ThreadPool>,
    /// Which model it is: [`Gguf::identity`].
    identity: [u8; 32],
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
        let identity = gguf.identity();
        let pool = ThreadPool::shared(threads);
        let weights = Weights::load(&mut gguf, &config, &pool)?;
        let ropes = Ropes::new(&config, &weights);
        Ok(Self { gguf, config, weights, ropes, kernels, pool, identity })
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

    /// Which model it is: a hash of the file's header and of samples of its weights.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
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
        self.forward_pieces(sequences, &mut |sequences, spans, state| {
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
        let mut visit_rows = |spans: &[Span], x: &mut [f32]| {
            self.graph().normalize_output(x);
            let mut rows = x.chunks_exact(self.config.embedding_length);
            for span in spans {
                rows.by_ref().take(span.tokens.len()).for_each(|row| visit(span.sequence, row));
            }
        };
        if self.config.causal {
            self.forward_pieces(&mut sequences, &mut |_, spans, state| visit_rows(spans, &mut state.x));
        } else {
            self.forward_whole(&mut sequences, &mut visit_rows);
        }
        Ok(())
    }

    /// Takes texts that are seen as a whole through the layers: all of them through one layer before the next, in pieces, of
    /// which first all keys and values are computed. `visit` sees each piece's residual stream in the end.
    fn forward_whole(&self, sequences: &mut [Sequence<'_>], visit: &mut dyn FnMut(&[Span], &mut [f32])) {
        let Config { embedding_length, block_count, .. } = self.config;
        let query_length = self.config.query_length();
        let pieces = spans(sequences);
        let total: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
        let state = |tokens: usize| RunState::new(&self.config, &self.weights, tokens);
        // All pieces but the last are full.
        let mut states = [state(BATCH_TOKENS.min(total)), state(total % BATCH_TOKENS)];
        let of_piece = |rows: usize| usize::from(rows < BATCH_TOKENS);
        let inputs: Vec<(Vec<u32>, Vec<usize>)> =
            pieces.iter().map(|spans| tokens_and_positions(sequences, spans)).collect();
        let angles: Vec<_> = inputs.iter().map(|(_, positions)| self.ropes.angles(positions)).collect();
        for sequence in &mut *sequences {
            sequence.cache.extend(sequence.tokens.len());
        }

        let graph = self.graph();
        let (mut x, mut queries) = (vec![0.0; total * embedding_length], vec![0.0; total * query_length]);
        for ((tokens, positions), x) in inputs.iter().zip(x.chunks_mut(BATCH_TOKENS * embedding_length)) {
            let state = &mut states[of_piece(tokens.len())];
            graph.embed(tokens, positions, state);
            x.copy_from_slice(&state.x);
        }
        for number in 0..block_count {
            let rows = x.chunks(BATCH_TOKENS * embedding_length);
            let rows = rows.zip(queries.chunks_mut(BATCH_TOKENS * query_length));
            for (((spans, (_, positions)), angles), (x, query)) in
                pieces.iter().zip(&inputs).zip(&angles).zip(rows)
            {
                let state = &mut states[of_piece(positions.len())];
                state.x.copy_from_slice(x);
                graph.project(number, positions, angles, state);
                self.remember(number, sequences, spans, state);
                query.copy_from_slice(&state.query);
            }
            let rows = x.chunks_mut(BATCH_TOKENS * embedding_length);
            let rows = rows.zip(queries.chunks(BATCH_TOKENS * query_length));
            for (spans, (x, query)) in pieces.iter().zip(rows) {
                let state = &mut states[of_piece(query.len() / query_length)];
                state.x.copy_from_slice(x);
                state.query.copy_from_slice(query);
                self.attend(number, sequences, spans, state);
                graph.finish(number, state);
                x.copy_from_slice(&state.x);
            }
        }
        for (spans, x) in pieces.iter().zip(x.chunks_mut(BATCH_TOKENS * embedding_length)) {
            visit(spans, x);
        }
    }

    /// Takes the tokens of `sequences` through the layers, piece by piece; `visit` sees each piece.
    fn forward_pieces(&self, sequences: &mut [Sequence<'_>], visit: &mut VisitPiece<'_>) {
        let mut state = RunState::new(&self.config, &self.weights, 0);
        for spans in spans(sequences) {
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
        let (tokens, positions) = tokens_and_positions(sequences, spans);
        for span in spans {
            sequences[span.sequence].cache.extend(span.tokens.len());
        }
        let graph = self.graph();
        graph.embed(&tokens, &positions, state);
        let angles = self.ropes.angles(&positions);
        for number in 0..self.config.block_count {
            graph.project(number, &positions, &angles, state);
            self.remember(number, sequences, spans, state);
            self.attend(number, sequences, spans, state);
            graph.finish(number, state);
        }
    }

    /// Puts the keys and values of a layer into the caches.
    fn remember(&self, number: usize, sequences: &mut [Sequence<'_>], spans: &[Span], state: &RunState) {
        let key_value = self.config.key_value_length();
        let (mut keys, mut values) = (&state.key[..], &state.value[..]);
        for span in spans {
            let elements = span.tokens.len() * key_value;
            let (key, value);
            (key, keys) = keys.split_at(elements);
            (value, values) = values.split_at(elements);
            sequences[span.sequence].cache.write(self.kernels, number, span.start, key, value);
        }
    }

    /// Puts what the tokens of `spans` take of the caches' keys and values into `state.attention`.
    fn attend(&self, number: usize, sequences: &[Sequence<'_>], spans: &[Span], state: &mut RunState) {
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

/// The tokens of `spans`, and their positions.
fn tokens_and_positions(sequences: &[Sequence<'_>], spans: &[Span]) -> (Vec<u32>, Vec<usize>) {
    let (mut tokens, mut positions) = (Vec::new(), Vec::new());
    for span in spans {
        tokens.extend_from_slice(&sequences[span.sequence].tokens[span.tokens.clone()]);
        positions.extend(span.start..span.start + span.tokens.len());
    }
    (tokens, positions)
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
