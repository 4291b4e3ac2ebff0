//! The KV cache: what attention needs of the tokens so far.
//!
//! - [`KvCache`]: keys and values of one sequence, in pages. A clone shares the pages; whoever writes into a shared page
//!   gets a copy of it first.
//! - [`KvType`]: as what they are kept.
//! - `prefix`: beginnings of sequences that others may share.
//! - `page`: how a page is laid out, and attention over it.

mod page;
mod prefix;

use std::ops::Range;
use std::sync::Arc;

use crate::Kernels;
pub use page::KvType;
use page::Page;
pub(crate) use page::{KvShape, PAGE_TOKENS, Queries};
pub use prefix::PrefixStatistics;
pub(crate) use prefix::SharedPrefixes;

/// Keys and values of a sequence. Grows with the sequence, a page at a time.
#[derive(Clone)]
pub struct KvCache {
    shape: KvShape,
    /// Page `n` holds the tokens at positions from `n · PAGE_TOKENS` on.
    pages: Vec<Arc<Page>>,
    length: usize,
    capacity: usize,
}

impl std::fmt::Debug for KvCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvCache")
            .field("shape", &self.shape)
            .field("length", &self.length)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl KvCache {
    pub(crate) fn new(shape: KvShape, capacity: usize) -> Self {
        Self { shape, pages: Vec::new(), length: 0, capacity }
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

    /// As what keys and values are kept.
    pub fn kv_type(&self) -> KvType {
        self.shape.kind
    }

    /// Memory of its pages, in bytes; of those that it shares, too.
    pub fn bytes(&self) -> usize {
        self.pages.len() * self.shape.page_bytes()
    }

    /// Keeps the first `length` tokens; does nothing when there are fewer.
    pub fn truncate(&mut self, length: usize) {
        if length < self.length {
            self.length = length;
            self.pages.truncate(length.div_ceil(PAGE_TOKENS));
        }
    }

    /// Holds the first `length` tokens of another sequence from now on, of which it held fewer; `pages` are theirs.
    pub(crate) fn continue_with(&mut self, pages: Vec<Arc<Page>>, length: usize) {
        debug_assert!(pages.len() == length.div_ceil(PAGE_TOKENS) && length <= self.capacity);
        self.pages = pages;
        self.length = length;
    }

    /// Holds the first `length` tokens that `ahead`, a clone of it that went on, holds.
    pub(crate) fn catch_up(&mut self, ahead: &Self, length: usize) {
        self.pages.truncate(self.length / PAGE_TOKENS);
        let from = self.pages.len();
        self.pages.extend_from_slice(&ahead.pages[from..length.div_ceil(PAGE_TOKENS)]);
        self.length = length;
    }

    /// Appends the pages to `out`; what no token has written is zero there.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        out.reserve(self.pages.len() * self.shape.saved_page_bytes());
        for (page, within) in self.pages(0..self.length) {
            page.save(within.end, out);
        }
    }

    /// The cache of `length` tokens whose pages were saved to `bytes`; `None` if these are not as long.
    pub(crate) fn restore(shape: KvShape, capacity: usize, length: usize, bytes: &[u8]) -> Option<Self> {
        let each = shape.saved_page_bytes();
        let expected = length.div_ceil(PAGE_TOKENS).checked_mul(each)?;
        if length > capacity || bytes.len() != expected {
            return None;
        }
        let pages = bytes.chunks_exact(each).map(|bytes| Arc::new(Page::restore(shape, bytes))).collect();
        Some(Self { shape, pages, length, capacity })
    }

    pub(crate) fn shape(&self) -> KvShape {
        self.shape
    }

    /// Whether it was made for this shape.
    pub(crate) fn fits(&self, shape: KvShape) -> bool {
        self.shape == shape
    }

    /// Counts `tokens` more tokens, whose keys and values are to be [written](Self::write).
    pub(crate) fn extend(&mut self, tokens: usize) {
        self.length += tokens;
        self.pages.resize_with(self.length.div_ceil(PAGE_TOKENS), || Arc::new(Page::new(self.shape)));
    }

    /// Puts the keys and values (`[tokens × K]`) of tokens at positions from `start` on into a layer.
    pub(crate) fn write(
        &mut self,
        kernels: Kernels,
        layer: usize,
        start: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let width = self.shape.width();
        let rows = keys.chunks_exact(width).zip(values.chunks_exact(width));
        for (position, (key, value)) in (start..).zip(rows) {
            let page = Arc::make_mut(&mut self.pages[position / PAGE_TOKENS]);
            page.write(kernels, layer, position % PAGE_TOKENS, key, value);
        }
    }

    /// The pages that hold the tokens at `positions`, each with those of its tokens (counted within the page).
    pub(crate) fn pages(&self, positions: Range<usize>) -> impl Iterator<Item = (&Page, Range<usize>)> {
        let first = positions.start / PAGE_TOKENS;
        let pages = &self.pages[first..positions.end.div_ceil(PAGE_TOKENS).max(first)];
        pages.iter().zip(first..).map(move |(page, number)| {
            let before = number * PAGE_TOKENS;
            let start = positions.start.saturating_sub(before);
            (&**page, start..(positions.end - before).min(PAGE_TOKENS))
        })
    }
}
