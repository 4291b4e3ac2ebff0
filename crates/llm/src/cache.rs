//! The KV cache: what attention needs of the tokens so far.

use crate::Kernels;
use crate::host::Half;

/// Keys and values of a sequence, in half precision, as most engines keep them. Grows with the sequence.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// For each layer `[length][key_value_length]`.
    pub(crate) keys: Vec<Vec<Half>>,
    /// For each layer `[length][key_value_length]`.
    pub(crate) values: Vec<Vec<Half>>,
    width: usize,
    length: usize,
    capacity: usize,
}

impl KvCache {
    pub(crate) fn new(layers: usize, width: usize, capacity: usize) -> Self {
        Self { keys: vec![Vec::new(); layers], values: vec![Vec::new(); layers], width, length: 0, capacity }
    }

    /// Tokens in the cache.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no token in the cache.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The most tokens that it may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keeps the first `length` tokens; does nothing when there are fewer.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.length {
            return;
        }
        self.length = length;
        for tokens in self.keys.iter_mut().chain(&mut self.values) {
            tokens.truncate(length * self.width);
        }
    }

    /// Whether it was made for this shape.
    pub(crate) fn fits(&self, layers: usize, width: usize) -> bool {
        self.keys.len() == layers && self.width == width
    }

    /// Puts the keys and values (`[tokens × width]`) of tokens at positions from `start` on into a layer.
    pub(crate) fn write(
        &mut self,
        kernels: Kernels,
        layer: usize,
        start: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        kernels.to_half(keys, &mut self.keys[layer][start * self.width..]);
        kernels.to_half(values, &mut self.values[layer][start * self.width..]);
    }

    /// Makes room for `tokens` more tokens in every layer and counts them; their contents are zero until written.
    pub(crate) fn extend(&mut self, tokens: usize) {
        self.length += tokens;
        for layer in self.keys.iter_mut().chain(&mut self.values) {
            layer.resize(self.length * self.width, Half::default());
        }
    }
}
