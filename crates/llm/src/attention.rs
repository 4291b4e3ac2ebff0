//! Attention: what a token takes of the tokens that it sees.
//!
//! For each query head: scores of all visible positions, softmax over all of them, and the sum of their values, positions
//! ascending. A window leaves positions out; it does not change how the others are added.

use std::ops::Range;

use crate::Kernels;
use crate::cache::{KvCache, Queries};
use crate::matrix::Machine;
use crate::threads::SharedSlice;

/// Multiply-accumulates of attention below which waking threads costs more than it saves.
const SMALLEST_PARALLEL_ATTENTION: u64 = 1 << 19;

/// Rows (tokens times the query heads that share a key head) of a task: each key and value is unpacked once for them.
const BLOCK_ROWS: usize = 32;
/// Scores of a task: they stay in a core's cache.
const BLOCK_SCORES: usize = 1 << 16;

/// The attention of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Attention {
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`. Neighbouring query heads share one.
    pub head_count_kv: usize,
    /// Elements of a head.
    pub head_length: usize,
    /// Factor of every score.
    pub scale: f32,
    /// How many positions a token sees, the last one its own, or, if it sees what comes behind it too, half of them on each
    /// side; `None`: all.
    pub window: Option<usize>,
    /// Bends every score `s` to `cap · tanh(s / cap)`.
    pub soft_cap: Option<f32>,
    /// Whether a token sees only what comes before it, and itself.
    pub causal: bool,
}

impl Attention {
    /// The positions that the token at `position` sees in a sequence of `length` tokens.
    fn visible(&self, position: usize, length: usize) -> Range<usize> {
        match (self.window, self.causal) {
            (None, true) => 0..position + 1,
            (None, false) => 0..length,
            (Some(window), true) => (position + 1).saturating_sub(window)..position + 1,
            (Some(window), false) => {
                let half = window / 2;
                position.saturating_sub(half)..position.saturating_add(half + 1).min(length)
            }
        }
    }

    /// Attention of `query` (`[T × Q]`, the tokens of all `parts` in their order) in one layer, into `out` (`[T × Q]`).
    pub fn attend(
        &self,
        machine: Machine<'_>,
        layer: usize,
        parts: &[Part<'_>],
        query: &[f32],
        out: &mut [f32],
    ) {
        let (tasks, work) = self.tasks(parts);
        let shared = SharedSlice::new(out);
        let run = |number: usize| self.run(machine.kernels, layer, &tasks[number], query, &shared);
        if work < SMALLEST_PARALLEL_ATTENTION {
            (0..tasks.len()).for_each(run);
        } else {
            machine.pool.run(tasks.len(), &run);
        }
    }

    /// The work, divided by sequence, key head and block of tokens; and the multiply-accumulates of it.
    fn tasks<'a>(&self, parts: &[Part<'a>]) -> (Vec<Task<'a>>, u64) {
        let heads = self.head_count / self.head_count_kv;
        let mut tasks = Vec::new();
        let (mut work, mut row) = (0, 0);
        for &Part { cache, start, tokens } in parts {
            let length = cache.len();
            let longest = self.window.map_or(length, |window| (window + 1 + BLOCK_ROWS).min(length));
            let each = (BLOCK_SCORES / longest.max(1)).min(BLOCK_ROWS) / heads;
            for head in 0..self.head_count_kv {
                for first in (0..tokens).step_by(each.max(1)) {
                    let tokens = each.max(1).min(tokens - first);
                    tasks.push(Task { cache, head, start: start + first, tokens, length, row: row + first });
                }
            }
            work += (tokens * longest) as u64 * (2 * self.head_count * self.head_length) as u64;
            row += tokens;
        }
        (tasks, work)
    }

    /// Attention of the queries of one key head and some tokens.
    fn run(
        &self,
        kernels: Kernels,
        layer: usize,
        task: &Task<'_>,
        query: &[f32],
        out: &SharedSlice<'_, f32>,
    ) {
        let &Task { cache, head, start, tokens, length, row } = task;
        let heads = self.head_count / self.head_count_kv;
        // The queries of a token lie side by side: `[heads × head_length]`.
        let width = heads * self.head_length;
        let place = |token: usize| ((row + token) * self.head_count_kv + head) * width;
        let mut queries = Vec::with_capacity(tokens * width);
        for token in 0..tokens {
            queries.extend_from_slice(&query[place(token)..][..width]);
        }

        let visible = |token: usize| self.visible(start + token, length);
        let all = visible(0).start..visible(tokens - 1).end;
        let stride = all.len();
        let mut scores = vec![0.0; tokens * heads * stride];
        let ready = Queries::new(kernels, cache.shape(), &queries);
        let mut done = 0;
        for (page, within) in cache.pages(all.clone()) {
            let count = within.len();
            page.scores(kernels, layer, head, within, &ready, self.scale, &mut scores[done..], stride);
            done += count;
        }

        for (number, scores) in scores.chunks_exact_mut(stride).enumerate() {
            let visible = visible(number / heads);
            let scores = &mut scores[visible.start - all.start..visible.end - all.start];
            if let Some(cap) = self.soft_cap {
                kernels.soft_cap(scores, cap);
            }
            kernels.softmax(scores);
        }

        let mut sums = vec![0.0; tokens * width];
        let mut position = all.start;
        for (page, within) in cache.pages(all.clone()) {
            // What the token sees of this page; neighbours that see the same are done together.
            let seen = |token: usize| {
                let visible = visible(token);
                let start = visible.start.clamp(position, position + within.len());
                start..visible.end.clamp(start, position + within.len())
            };
            let mut token = 0;
            while token < tokens {
                let positions = seen(token);
                let same = (token..tokens).take_while(|&other| seen(other) == positions).count();
                let first = within.start + positions.start - position;
                let probabilities = &scores[token * heads * stride + positions.start - all.start..];
                let sums = &mut sums[token * width..(token + same) * width];
                let tokens = first..first + positions.len();
                page.add_values(kernels, layer, head, tokens, probabilities, stride, sums);
                token += same;
            }
            position += within.len();
        }
        for (token, sums) in sums.chunks_exact(width).enumerate() {
            // SAFETY: each token and key head is in one task only.
            unsafe { out.range(place(token), width) }.copy_from_slice(sums);
        }
    }
}

/// Some tokens of one sequence and the query heads of one key head.
struct Task<'a> {
    cache: &'a KvCache,
    /// The key head.
    head: usize,
    /// The position of the first token.
    start: usize,
    tokens: usize,
    /// Tokens of the sequence.
    length: usize,
    /// Which row of the batch the first token is.
    row: usize,
}

/// Tokens of one sequence among those of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Keys and values of what comes before them, of them, and of what comes behind them if they see it.
    pub cache: &'a KvCache,
    /// The position of the first.
    pub start: usize,
    /// How many.
    pub tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{KvShape, KvType};
    use crate::gguf::{Gguf, GgufWriter};
    use crate::host::Half;
    use crate::threads::ThreadPool;

    /// More than two pages.
    const LENGTH: usize = 70;
    const HEAD: usize = 32;

    const PLAIN: Attention = Attention {
        head_count: 2,
        head_count_kv: 1,
        head_length: HEAD,
        scale: 0.1,
        window: None,
        soft_cap: None,
        causal: true,
    };

    fn number(index: usize) -> f32 {
        ((index * 37 + 11) % 29) as f32 / 7.0 - 2.0
    }

    /// Attention of two heads, whose keys and values are one head's, over the last tokens of a sequence.
    fn attend(attention: &Attention, kind: KvType, tokens: usize) -> Vec<f32> {
        let numbers = |first: usize| -> Vec<f32> { (first..first + LENGTH * HEAD).map(number).collect() };
        let mut cache = KvCache::new(KvShape { layers: 1, heads: 1, head_length: HEAD, kind }, LENGTH);
        cache.extend(LENGTH);
        cache.write(Kernels::detect(), 0, 0, &numbers(0), &numbers(100));
        let query: Vec<f32> = (0..LENGTH * 2 * HEAD).map(number).collect();
        let file =
            Gguf::from_vec(GgufWriter::new(Vec::new(), &[], vec![]).unwrap().finish().unwrap()).unwrap();
        let machine = Machine { kernels: Kernels::detect(), pool: &ThreadPool::new(1), file: &file };
        let mut out = vec![0.0; tokens * 2 * HEAD];
        let start = LENGTH - tokens;
        let part = Part { cache: &cache, start, tokens };
        attention.attend(machine, 0, &[part], &query[start * 2 * HEAD..], &mut out);
        out
    }

    /// The same in double precision, score by score, on keys and values in half precision.
    fn expected(attention: &Attention, tokens: usize) -> Vec<f64> {
        let half = |index: usize| f64::from(Half::round(number(index)).value());
        let mut out = Vec::new();
        for position in LENGTH - tokens..LENGTH {
            for head in 0..2 {
                let sees = |other: usize| {
                    let (behind, near) = (other > position, position.abs_diff(other));
                    match (attention.window, attention.causal) {
                        (None, causal) => !(causal && behind),
                        (Some(window), true) => !behind && near < window,
                        (Some(window), false) => near <= window / 2,
                    }
                };
                let seen: Vec<usize> = (0..LENGTH).filter(|&other| sees(other)).collect();
                let score = |other: usize| -> f64 {
                    let product =
                        |i| f64::from(number((position * 2 + head) * HEAD + i)) * half(other * HEAD + i);
                    let score = (0..HEAD).map(product).sum::<f64>() * f64::from(attention.scale);
                    attention.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                };
                let scores: Vec<f64> = seen.iter().map(|&other| score(other).exp()).collect();
                let total: f64 = scores.iter().sum();
                for i in 0..HEAD {
                    let value = |(other, score): (&usize, &f64)| score / total * half(100 + other * HEAD + i);
                    out.push(seen.iter().zip(&scores).map(value).sum());
                }
            }
        }
        out
    }

    #[test]
    fn windows_caps_and_direction_are_those_of_the_definition() {
        for attention in [
            PLAIN,
            Attention { window: Some(1), ..PLAIN },
            Attention { window: Some(3), ..PLAIN },
            Attention { window: Some(40), ..PLAIN },
            Attention { window: Some(100), ..PLAIN },
            Attention { soft_cap: Some(1.5), ..PLAIN },
            Attention { causal: false, ..PLAIN },
            Attention { window: Some(4), soft_cap: Some(50.0), causal: false, ..PLAIN },
        ] {
            for tokens in [1, 4, 45, LENGTH] {
                let expected = expected(&attention, tokens);
                for (kind, tolerance) in [(KvType::F16, 2e-5), (KvType::Q8_0, 0.05)] {
                    for (actual, expected) in attend(&attention, kind, tokens).iter().zip(&expected) {
                        let difference = (f64::from(*actual) - expected).abs();
                        assert!(difference < tolerance, "{attention:?}, {kind:?}, {tokens}: {difference}");
                    }
                }
            }
        }
    }
}
