//! What a layer computes: the one graph of all architectures, whose optional parts are there or not.
//!
//! The layers see rows of tokens and their positions; which sequences the tokens belong to, and what they see of them, is
//! the caller's: a layer is [`Graph::project`], attention by the caller from `query`, `key` and `value` into
//! `attention`, and [`Graph::finish`].
//!
//! ```text
//! block(x): x → norm before → attention or feed-forward → norm after → · residual scale → + x → norm of the residual
//! attention: query, key, value (+ bias, cut off) → norm of queries and keys → rotation → attention → sub-norm → output
//! feed-forward: activation(gate) · up → sub-norm → down
//! ```

use crate::architecture::{Activation, Architecture, FeedForward, Positions};
use crate::attention::Attention;
use crate::config::Config;
use crate::matrix::{Machine, multiply};
use crate::rope::Rope;
use crate::weights::{AttentionInput, BlockNorms, FeedForwardInput, Projection, Weights, decode_table_row};

/// Activations of a batch. T: tokens of the batch; E, Q, K, F as in [`Layer`](crate::weights::Layer).
pub(crate) struct RunState {
    /// `[T × E]`, the residual stream.
    pub x: Vec<f32>,
    /// `[T × E]`, normalized input of a block, later its output.
    hidden: Vec<f32>,
    /// `[T × Q]`
    pub query: Vec<f32>,
    /// `[T × K]`
    pub key: Vec<f32>,
    /// `[T × K]`
    pub value: Vec<f32>,
    /// `[T × Q]`, attention output.
    pub attention: Vec<f32>,
    /// `[T × F]`
    gate: Vec<f32>,
    /// `[T × F]`; empty without a gate.
    up: Vec<f32>,
    /// `[T × max(Q + 2 K, 2 F)]`, products of fused matrices; empty without them.
    fused: Vec<f32>,
}

impl RunState {
    /// State for a batch of so many tokens.
    pub fn new(config: &Config, weights: &Weights, tokens: usize) -> Self {
        let zeros = |width: usize| vec![0.0; tokens * width];
        let Architecture { feed_forward, .. } = *config.architecture;
        let (query, key_value) = (config.query_length(), config.key_value_length());
        let fused_attention = weights.layers.iter().any(|layer| layer.attention_input.is_fused());
        let fused_attention = if fused_attention { query + 2 * key_value } else { 0 };
        let fused_feed_forward = match feed_forward {
            FeedForward::Fused => 2 * config.feed_forward_length,
            FeedForward::Gated | FeedForward::Plain => 0,
        };
        Self {
            x: zeros(config.embedding_length),
            hidden: zeros(config.embedding_length),
            query: zeros(query),
            key: zeros(key_value),
            value: zeros(key_value),
            attention: zeros(query),
            gate: zeros(config.feed_forward_length),
            up: zeros(if feed_forward == FeedForward::Plain { 0 } else { config.feed_forward_length }),
            fused: zeros(fused_attention.max(fused_feed_forward)),
        }
    }
}

/// What rotates heads: of all layers, or of those with a window if that is otherwise.
pub(crate) struct Ropes {
    all: Option<Rope>,
    local: Option<Rope>,
}

/// Cosines and sines of a batch's positions, for each of [`Ropes`].
pub(crate) struct Angles {
    all: Vec<Vec<(f32, f32)>>,
    local: Vec<Vec<(f32, f32)>>,
}

impl Ropes {
    /// The rotations of a model.
    pub fn new(config: &Config, weights: &Weights) -> Self {
        let Positions::Rope(style) = config.architecture.positions else {
            return Self { all: None, local: None };
        };
        Self {
            all: config.rope.map(|rope| Rope::new(&rope, style, weights.rope_factors.as_deref())),
            local: config.local_rope.map(|rope| Rope::new(&rope, style, None)),
        }
    }

    /// The angles at `positions`.
    pub fn angles(&self, positions: &[usize]) -> Angles {
        let of = |rope: &Option<Rope>| match rope {
            Some(rope) => positions.iter().map(|&position| rope.angles(position)).collect(),
            None => Vec::new(),
        };
        Angles { all: of(&self.all), local: of(&self.local) }
    }
}

/// A model's layers and the machine that computes them.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    pub machine: Machine<'a>,
    pub config: &'a Config,
    pub weights: &'a Weights,
    pub ropes: &'a Ropes,
}

impl Graph<'_> {
    /// Puts the embeddings of `tokens` at `positions` into `state.x`.
    pub fn embed(&self, tokens: &[u32], positions: &[usize], state: &mut RunState) {
        let Self { machine, config, weights, .. } = *self;
        let mut learned = vec![0.0; config.embedding_length];
        let rows = state.x.chunks_exact_mut(config.embedding_length);
        for ((&token, &position), x) in tokens.iter().zip(positions).zip(rows) {
            weights.embed(machine.file, token as usize, x);
            if let Some(token_type) = &weights.token_type {
                machine.kernels.add(x, token_type);
            }
            if let Some(table) = &weights.positions {
                decode_table_row(machine.file, table, position, &mut learned);
                machine.kernels.add(x, &learned);
            }
        }
        multiply_by(config.embedding_scale, &mut state.x);
        if let Some(norm) = &weights.embedding_norm {
            norm.apply_in_place(machine.kernels, config.norm_epsilon, &mut state.x);
        }
    }

    /// The first part of a layer: from `state.x` to queries, keys and values of tokens at `positions`, whose `angles` these
    /// are.
    pub fn project(&self, number: usize, positions: &[usize], angles: &Angles, state: &mut RunState) {
        let Self { machine, config, .. } = *self;
        let layer = &self.weights.layers[number];
        let input = self.block_input(&layer.attention_norms, &state.x, &mut state.hidden);
        let (query, key, value) = (&mut state.query, &mut state.key, &mut state.value);
        match &layer.attention_input {
            AttentionInput::Separate { query: of_query, key: of_key, value: of_value } => {
                self.products(input, &mut [(of_query, query), (of_key, key), (of_value, value)]);
            }
            AttentionInput::Fused(all) => {
                let fused = &mut state.fused[..query.len() + key.len() + value.len()];
                self.products(input, &mut [(all, fused)]);
                let (of_query, of_key) = (config.query_length(), config.key_value_length());
                split(fused, &mut [(query, of_query), (key, of_key), (value, of_key)]);
            }
        }
        if let Some(limit) = config.projection_limit {
            for values in [&mut state.query, &mut state.key, &mut state.value] {
                values.iter_mut().for_each(|value| *value = value.clamp(-limit, limit));
            }
        }
        let normed = [(&layer.query_norm, &mut state.query), (&layer.key_norm, &mut state.key)];
        for (norm, values) in normed {
            if let Some(norm) = norm {
                norm.apply_in_place(machine.kernels, config.norm_epsilon, values);
            }
        }
        self.rotate(number, positions, angles, state);
    }

    fn rotate(&self, number: usize, positions: &[usize], angles: &Angles, state: &mut RunState) {
        let Self { config, ropes, .. } = *self;
        let (query_length, key_length) = (config.query_length(), config.key_value_length());
        let (rope, angles) = match (&ropes.local, config.layer_window(number)) {
            (Some(local), Some(_)) => (Some(local), &angles.local),
            _ => (ropes.all.as_ref(), &angles.all),
        };
        if let Some(rope) = rope.filter(|_| config.rotates(number)) {
            for (token, angles) in angles.iter().enumerate() {
                let query = &mut state.query[token * query_length..][..query_length];
                rope.rotate(query, config.head_length, angles);
                rope.rotate(&mut state.key[token * key_length..][..key_length], config.head_length, angles);
            }
        }
        if let Some(scale) = config.position_scale {
            for (query, &position) in state.query.chunks_exact_mut(query_length).zip(positions) {
                multiply_by(scale.at(position), query);
            }
        }
    }

    /// What the attention of a layer is.
    pub fn attention(&self, number: usize) -> Attention {
        let config = self.config;
        Attention {
            head_count: config.head_count,
            head_count_kv: config.head_count_kv,
            head_length: config.head_length,
            scale: config.attention_scale,
            window: config.layer_window(number),
            soft_cap: config.score_cap,
            causal: config.causal,
        }
    }

    /// The rest of a layer, from `state.attention` to `state.x`.
    pub fn finish(&self, number: usize, state: &mut RunState) {
        let Self { machine, config, .. } = *self;
        let layer = &self.weights.layers[number];
        if let Some(norm) = &layer.attention_sub_norm {
            norm.apply_in_place(machine.kernels, config.norm_epsilon, &mut state.attention);
        }
        self.products(&state.attention, &mut [(&layer.attention_output, &mut state.hidden)]);
        self.add_block(&layer.attention_norms, &mut state.x, &mut state.hidden);

        let input = self.block_input(&layer.feed_forward_norms, &state.x, &mut state.hidden);
        let (gate, up) = (&mut state.gate, &mut state.up);
        match &layer.feed_forward_input {
            FeedForwardInput::Gated { gate: of_gate, up: of_up } => {
                self.products(input, &mut [(of_gate, gate), (of_up, up)]);
            }
            FeedForwardInput::Fused(both) => {
                let fused = &mut state.fused[..gate.len() + up.len()];
                self.products(input, &mut [(both, fused)]);
                split(fused, &mut [(gate, config.feed_forward_length), (up, config.feed_forward_length)]);
            }
            FeedForwardInput::Plain(of_up) => self.products(input, &mut [(of_up, gate)]),
        }
        self.activate(gate, up);
        if let Some(norm) = &layer.feed_forward_sub_norm {
            norm.apply_in_place(machine.kernels, config.norm_epsilon, gate);
        }
        self.products(gate, &mut [(&layer.feed_forward_output, &mut state.hidden)]);
        self.add_block(&layer.feed_forward_norms, &mut state.x, &mut state.hidden);
    }

    /// gate = activation(gate) · up, or activation(gate) if there is no `up`.
    fn activate(&self, gate: &mut [f32], up: &[f32]) {
        let kernels = self.machine.kernels;
        match self.config.architecture.activation {
            Activation::Silu => kernels.silu_multiply(gate, up),
            Activation::SquaredRelu => kernels.squared_relu_multiply(gate, up),
            Activation::Gelu if up.is_empty() => kernels.gelu(gate),
            Activation::Gelu => kernels.gelu_multiply(gate, up),
        }
    }

    /// The final norm of rows of the residual stream, if the last layer has not normalized them.
    pub fn normalize_output(&self, x: &mut [f32]) {
        if let Some(norm) = &self.weights.output_norm {
            norm.apply_in_place(self.machine.kernels, self.config.norm_epsilon, x);
        }
    }

    /// Logits of rows that [`normalize_output`](Self::normalize_output) has normalized, `[T × E]`, into `logits`, `[T × V]`.
    /// There are none without a head.
    pub fn logits(&self, x: &[f32], logits: &mut [f32]) {
        let Some(head) = &self.weights.head else { return };
        self.products(x, &mut [(head, logits)]);
        if self.config.logit_divisor != 1.0 {
            logits.iter_mut().for_each(|logit| *logit /= self.config.logit_divisor);
        }
        if let Some(cap) = self.config.logit_cap {
            self.machine.kernels.soft_cap(logits, cap);
        }
    }

    /// Takes the pooled vector of a text through what comes behind the pooling.
    pub fn finish_pooled(&self, mut pooled: Vec<f32>) -> Vec<f32> {
        for projection in &self.weights.pooled {
            let mut out = vec![0.0; projection.matrix.rows()];
            self.products(&pooled, &mut [(projection, &mut out)]);
            pooled = out;
        }
        pooled
    }

    /// `x`, or its norm, in `hidden`, if the block has one before it.
    fn block_input<'x>(&self, norms: &BlockNorms, x: &'x [f32], hidden: &'x mut [f32]) -> &'x [f32] {
        let Some(norm) = &norms.before else { return x };
        norm.apply(self.machine.kernels, self.config.norm_epsilon, x, hidden);
        hidden
    }

    /// Adds what a block computed to the residual stream.
    fn add_block(&self, norms: &BlockNorms, x: &mut [f32], block: &mut [f32]) {
        let (kernels, epsilon) = (self.machine.kernels, self.config.norm_epsilon);
        if let Some(norm) = &norms.after {
            norm.apply_in_place(kernels, epsilon, block);
        }
        multiply_by(self.config.residual_scale, block);
        kernels.add(x, block);
        if let Some(norm) = &norms.residual {
            norm.apply_in_place(kernels, epsilon, x);
        }
    }

    /// Products of one batch with several matrices, and their biases.
    fn products(&self, x: &[f32], products: &mut [(&Projection, &mut [f32])]) {
        let mut matrices: Vec<_> =
            products.iter_mut().map(|(projection, out)| (&projection.matrix, &mut **out)).collect();
        multiply(self.machine, x, &mut matrices);
        for (projection, out) in products {
            if let Some(bias) = &projection.bias {
                out.chunks_exact_mut(bias.len()).for_each(|row| self.machine.kernels.add(row, bias));
            }
        }
    }
}

/// Multiplies all of `x`, unless by 1.
fn multiply_by(factor: f32, x: &mut [f32]) {
    if factor != 1.0 {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Takes rows apart: each part, of its width, goes to a slice of its own.
fn split(rows: &[f32], parts: &mut [(&mut Vec<f32>, usize)]) {
    let width: usize = parts.iter().map(|(_, width)| width).sum();
    for (number, row) in rows.chunks_exact(width).enumerate() {
        let mut start = 0;
        for (part, width) in parts.iter_mut() {
            part[number * *width..][..*width].copy_from_slice(&row[start..start + *width]);
            start += *width;
        }
    }
}
