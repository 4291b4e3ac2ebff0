//! A page: keys and values of some neighbouring tokens in all layers, laid out as attention reads them.
//!
//! ```text
//! page    [layers][keys, values][heads], each of these:
//! F16     [PAGE_TOKENS][head_length] numbers in half precision
//! Q8_0    keys: a matrix of PAGE_TOKENS rows and head_length columns, packed as Q8_0 weights are ([`crate::kernels`]), so
//!         that the kernels of Q8_0 products give the scores of all its tokens;
//!         values: [PAGE_TOKENS][head_length / 32] blocks of an f16 scale and 32 codes
//! ```
//!
//! A Q8_0 block of 32 elements holds `code = round(x · 127 / max|x|)`, ties to even, and `scale = f16(max|x| / 127)`. Scores
//! are products of Q8_0 rows with queries quantized like activations: exact integers within a block. Values enter as
//! `(probability · scale) · code`, each product rounded on its own.

use std::ops::Range;

use half::f16;

use crate::formats::BlockType;
use crate::host::Half;
use crate::kernels::{Activations, GROUP_ROWS, Precision, Q8_BLOCK_BYTES, Q8_VALUE_BLOCK_BYTES, SCALE_BYTES};
use crate::{Kernels, LlmError};

/// Tokens of a page: few enough that a fork copies little, enough that attention runs over whole tiles.
pub(crate) const PAGE_TOKENS: usize = 32;
/// Elements of a Q8_0 block.
const BLOCK: usize = 32;

/// As what keys and values are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Codes of 8 bits and a scale for each 32 of them: about half of the memory. Heads must be multiples of 32 long.
    Q8_0,
}

/// What the keys and values of a token are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvShape {
    pub layers: usize,
    /// Key (and value) heads of a layer.
    pub heads: usize,
    /// Elements of a head; a multiple of 32 for Q8_0.
    pub head_length: usize,
    pub kind: KvType,
}

impl KvShape {
    /// Whether heads are whole blocks of the type.
    pub fn check(self) -> Result<(), LlmError> {
        if self.kind == KvType::Q8_0 && !self.head_length.is_multiple_of(BLOCK) {
            return Err(LlmError::Unsupported(format!(
                "keys and values of {} elements for each head cannot be kept as Q8_0, whose blocks have {BLOCK}; keep \
                 them as F16",
                self.head_length
            )));
        }
        Ok(())
    }

    /// Elements of the keys (or values) of a token in a layer.
    pub fn width(self) -> usize {
        self.heads * self.head_length
    }

    /// Elements of a page, or bytes for Q8_0, of one head's keys (or values) in one layer.
    fn head_size(self) -> usize {
        PAGE_TOKENS
            * match self.kind {
                KvType::F16 => self.head_length,
                KvType::Q8_0 => self.head_length / BLOCK * Q8_VALUE_BLOCK_BYTES,
            }
    }

    fn page_size(self) -> usize {
        2 * self.layers * self.heads * self.head_size()
    }

    /// Memory of a page, in bytes.
    pub fn page_bytes(self) -> usize {
        match self.kind {
            KvType::F16 => self.page_size() * size_of::<Half>(),
            KvType::Q8_0 => self.page_size(),
        }
    }

    /// Bytes of a saved page: the same on every host.
    pub fn saved_page_bytes(self) -> usize {
        match self.kind {
            KvType::F16 => self.page_size() * size_of::<u16>(),
            KvType::Q8_0 => self.page_size(),
        }
    }

    /// Where one head's keys or values are in a page.
    fn place(self, layer: usize, part: Part, head: usize) -> Range<usize> {
        let number = (2 * layer + part as usize) * self.heads + head;
        number * self.head_size()..(number + 1) * self.head_size()
    }
}

#[derive(Clone, Copy)]
enum Part {
    Keys,
    Values,
}

/// Keys and values of [`PAGE_TOKENS`] tokens. What was never written is zero.
#[derive(Clone)]
pub(crate) struct Page {
    shape: KvShape,
    data: Data,
}

#[derive(Clone)]
enum Data {
    F16(Vec<Half>),
    Q8(Vec<u8>),
}

/// Queries as the scores of a page are computed with them.
pub(crate) enum Queries<'a> {
    /// `[rows × head_length]`
    Float(&'a [f32]),
    Quantized(Activations),
}

impl<'a> Queries<'a> {
    /// Makes `queries` (`[rows × head_length]`) ready for pages of this shape.
    pub fn new(kernels: Kernels, shape: KvShape, queries: &'a [f32]) -> Self {
        match shape.kind {
            KvType::F16 => Self::Float(queries),
            KvType::Q8_0 => {
                Self::Quantized(Activations::new(kernels, Precision::Blocks, shape.head_length, queries))
            }
        }
    }
}

impl Page {
    pub fn new(shape: KvShape) -> Self {
        let data = match shape.kind {
            KvType::F16 => Data::F16(vec![Half::default(); shape.page_size()]),
            KvType::Q8_0 => Data::Q8(vec![0; shape.page_size()]),
        };
        Self { shape, data }
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.shape.page_bytes()
    }

    /// Appends the page to `out`, with zeros for all but its first `tokens` tokens.
    pub fn save(&self, tokens: usize, out: &mut Vec<u8>) {
        let mut cleared;
        let mut page = self;
        if tokens < PAGE_TOKENS {
            cleared = self.clone();
            let zeros = vec![0.0; self.shape.width()];
            for layer in 0..self.shape.layers {
                for place in tokens..PAGE_TOKENS {
                    cleared.write(Kernels::scalar(), layer, place, &zeros, &zeros);
                }
            }
            page = &cleared;
        }
        match &page.data {
            Data::F16(data) => out.extend(data.iter().flat_map(|half| half.to_bits().to_le_bytes())),
            Data::Q8(data) => out.extend_from_slice(data),
        }
    }

    /// The page that was saved to `bytes`, of which there are as many as a saved page has.
    pub fn restore(shape: KvShape, bytes: &[u8]) -> Self {
        let half = |bytes: &[u8]| Half::from_bits(u16::from_le_bytes([bytes[0], bytes[1]]));
        let data = match shape.kind {
            KvType::F16 => Data::F16(bytes.chunks_exact(2).map(half).collect()),
            KvType::Q8_0 => Data::Q8(bytes.to_vec()),
        };
        Self { shape, data }
    }

    /// Puts the key and the value of a token (`[heads × head_length]`) into a layer, at `place` in the page.
    pub fn write(&mut self, kernels: Kernels, layer: usize, place: usize, key: &[f32], value: &[f32]) {
        let shape = self.shape;
        let length = shape.head_length;
        for (part, elements) in [(Part::Keys, key), (Part::Values, value)] {
            for (head, elements) in elements.chunks_exact(length).enumerate() {
                let range = shape.place(layer, part, head);
                match &mut self.data {
                    Data::F16(data) => {
                        kernels.to_half(elements, &mut data[range][place * length..][..length]);
                    }
                    Data::Q8(data) => write_codes(kernels, part, place, elements, &mut data[range]),
                }
            }
        }
    }

    /// Scores of the page's `tokens` for all `queries`: `out[row · stride + n] = (query · key of the nth) · scale`.
    #[expect(clippy::too_many_arguments, reason = "a head of a page, tokens of it, and a product's operands")]
    pub fn scores(
        &self,
        kernels: Kernels,
        layer: usize,
        head: usize,
        tokens: Range<usize>,
        queries: &Queries<'_>,
        scale: f32,
        out: &mut [f32],
        stride: usize,
    ) {
        let length = self.shape.head_length;
        let range = self.shape.place(layer, Part::Keys, head);
        match (&self.data, queries) {
            (Data::F16(data), Queries::Float(queries)) => {
                let keys = &data[range][tokens.start * length..tokens.end * length];
                kernels.attention_scores(queries, keys, length, scale, out, stride);
            }
            (Data::Q8(data), Queries::Quantized(queries)) => {
                let group = length / BLOCK * Q8_BLOCK_BYTES;
                let groups = tokens.start / GROUP_ROWS..tokens.end.div_ceil(GROUP_ROWS);
                let rows = groups.len() * GROUP_ROWS;
                let mut products = vec![0.0; queries.tokens() * rows];
                let keys = &data[range][groups.start * group..groups.end * group];
                kernels.blocks(BlockType::Q8_0, keys, queries, &mut products);
                let first = tokens.start - groups.start * GROUP_ROWS;
                for (products, out) in products.chunks_exact(rows).zip(out.chunks_mut(stride)) {
                    for (out, product) in out.iter_mut().zip(&products[first..][..tokens.len()]) {
                        *out = product * scale;
                    }
                }
            }
            _ => unreachable!("queries are made for the type of the pages"),
        }
    }

    /// Adds the values of the page's `tokens` to each row of `out` (`[rows × head_length]`), in their order:
    /// `out[row] += probabilities[row · stride + n] · value of the nth`.
    #[expect(clippy::too_many_arguments, reason = "a head of a page, tokens of it, and a product's operands")]
    pub fn add_values(
        &self,
        kernels: Kernels,
        layer: usize,
        head: usize,
        tokens: Range<usize>,
        probabilities: &[f32],
        stride: usize,
        out: &mut [f32],
    ) {
        let length = self.shape.head_length;
        let range = self.shape.place(layer, Part::Values, head);
        match &self.data {
            Data::F16(data) => {
                let values = &data[range][tokens.start * length..tokens.end * length];
                kernels.attention_values(probabilities, stride, values, length, out);
            }
            Data::Q8(data) => {
                let bytes = length / BLOCK * Q8_VALUE_BLOCK_BYTES;
                let values = &data[range][tokens.start * bytes..tokens.end * bytes];
                kernels.attention_values_q8(probabilities, stride, values, length, out);
            }
        }
    }
}

/// Quantizes the elements of a head, at `place` in the page, into the `data` of one head and part.
fn write_codes(kernels: Kernels, part: Part, place: usize, elements: &[f32], data: &mut [u8]) {
    let blocks = elements.len() / BLOCK;
    let (mut codes, mut scales, mut sums) = (vec![0; elements.len()], vec![0.0; blocks], vec![0; blocks]);
    kernels.quantize_blocks(elements, &mut codes, &mut scales, &mut sums);
    for (number, (codes, scale)) in codes.chunks_exact(BLOCK).zip(scales).enumerate() {
        let scale = f16::from_f32(scale).to_le_bytes();
        match part {
            Part::Keys => {
                let (group, row) = (place / GROUP_ROWS, place % GROUP_ROWS);
                let block = &mut data[(group * blocks + number) * Q8_BLOCK_BYTES..][..Q8_BLOCK_BYTES];
                block[2 * row..2 * row + 2].copy_from_slice(&scale);
                let vectors = block[SCALE_BYTES..].chunks_exact_mut(4 * GROUP_ROWS);
                for (quad, vector) in codes.chunks_exact(4).zip(vectors) {
                    copy_codes(quad, &mut vector[4 * row..4 * row + 4]);
                }
            }
            Part::Values => {
                let block =
                    &mut data[(place * blocks + number) * Q8_VALUE_BLOCK_BYTES..][..Q8_VALUE_BLOCK_BYTES];
                block[..2].copy_from_slice(&scale);
                copy_codes(codes, &mut block[2..]);
            }
        }
    }
}

fn copy_codes(codes: &[i8], out: &mut [u8]) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = *code as u8;
    }
}
