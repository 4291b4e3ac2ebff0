//! Attention: what a token takes of the tokens that it sees.
//!
//! For each query head: scores of all visible positions, softmax over all of them, and the sum of their values, positions
//! ascending. A window leaves positions out; it does not change how the others are added.

use std::ops::Range;

use crate::cache::KvCache;
use crate::matrix::Machine;
use crate::threads::SharedSlice;

/// Multiply-accumulates of attention below which waking threads costs more than it saves.
const SMALLEST_PARALLEL_ATTENTION: u64 = 1 << 19;

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
    /// How many positions a token sees, the last one its own; `None`: all.
    pub window: Option<usize>,
    /// Bends every score `s` to `cap · tanh(s / cap)`.
    pub soft_cap: Option<f32>,
    /// Whether a token sees only what comes before it, and itself.
    pub causal: bool,
}

impl Attention {
    /// The positions that the token at `position` sees in a sequence of `length` tokens.
    fn visible(&self, position: usize, length: usize) -> Range<usize> {
        let end = if self.causal { position + 1 } else { length };
        let start = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        start..end
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
        let query_length = self.head_count * self.head_length;
        let mut next = 0;
        for part in parts {
            let rows = next..next + part.tokens * query_length;
            self.attend_part(machine, layer, part, &query[rows.clone()], &mut out[rows.clone()]);
            next = rows.end;
        }
    }

    fn attend_part(
        &self,
        machine: Machine<'_>,
        layer: usize,
        part: &Part<'_>,
        query: &[f32],
        out: &mut [f32],
    ) {
        let Part { cache, start, tokens } = *part;
        let (keys, values) = (&cache.keys[layer], &cache.values[layer]);
        let (head_length, stride) = (self.head_length, self.head_count_kv * self.head_length);
        let query_length = self.head_count * head_length;
        let length = start + tokens;
        let heads_per_key = self.head_count / self.head_count_kv;
        let shared = SharedSlice::new(out);
        let attend_head = |head: usize| {
            let offset = head / heads_per_key * head_length;
            let mut scores = vec![0.0; length];
            for token in 0..tokens {
                let visible = self.visible(start + token, length);
                let scores = &mut scores[..visible.len()];
                let first = visible.start * stride + offset;
                let at = token * query_length + head * head_length;
                let query = &query[at..][..head_length];
                machine.kernels.attention_scores(query, &keys[first..], stride, self.scale, scores);
                if let Some(cap) = self.soft_cap {
                    machine.kernels.soft_cap(scores, cap);
                }
                machine.kernels.softmax(scores);
                // SAFETY: each head and token has a range of its own.
                let out = unsafe { shared.range(at, head_length) };
                machine.kernels.attention_values(scores, &values[first..], stride, out);
            }
        };
        let work = length as u64 * tokens as u64 * query_length as u64 * 2;
        if work < SMALLEST_PARALLEL_ATTENTION {
            (0..self.head_count).for_each(attend_head);
        } else {
            machine.pool.run(self.head_count, &attend_head);
        }
    }
}

/// Tokens of one sequence among those of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Keys and values up to the last of them.
    pub cache: &'a KvCache,
    /// The position of the first.
    pub start: usize,
    /// How many.
    pub tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;
    use crate::gguf::{Gguf, GgufWriter};
    use crate::host::Half;
    use crate::threads::ThreadPool;

    const LENGTH: usize = 9;

    /// Attention of two heads, whose keys and values are one head's, over the last tokens of nine.
    fn attend(attention: &Attention, tokens: usize) -> Vec<f32> {
        let number = |index: usize| ((index * 37 + 11) % 29) as f32 / 7.0 - 2.0;
        let numbers = |first: usize| -> Vec<f32> { (first..first + LENGTH * 4).map(number).collect() };
        let mut cache = KvCache::new(1, 4, LENGTH);
        cache.extend(LENGTH);
        cache.write(Kernels::detect(), 0, 0, &numbers(0), &numbers(100));
        let query: Vec<f32> = (0..LENGTH * 8).map(number).collect();
        let file =
            Gguf::from_vec(GgufWriter::new(Vec::new(), &[], vec![]).unwrap().finish().unwrap()).unwrap();
        let machine = Machine { kernels: Kernels::detect(), pool: &ThreadPool::new(1), file: &file };
        let mut out = vec![0.0; tokens * 8];
        let start = LENGTH - tokens;
        let part = Part { cache: &cache, start, tokens };
        attention.attend(machine, 0, &[part], &query[start * 8..], &mut out);
        out
    }

    /// The same in double precision, score by score.
    fn expected(attention: &Attention, tokens: usize) -> Vec<f64> {
        let number = |index: usize| f64::from(((index * 37 + 11) % 29) as f32 / 7.0 - 2.0);
        let half = |index: usize| f64::from(Half::round(number(index) as f32).value());
        let mut out = Vec::new();
        for position in LENGTH - tokens..LENGTH {
            for head in 0..2 {
                let sees = |other: usize| {
                    let near = attention.window.is_none_or(|window| position < other + window);
                    near && (other <= position || !attention.causal)
                };
                let seen: Vec<usize> = (0..LENGTH).filter(|&other| sees(other)).collect();
                let score = |other: usize| -> f64 {
                    let dot: f64 =
                        (0..4).map(|i| number(position * 8 + head * 4 + i) * half(other * 4 + i)).sum();
                    let score = dot * f64::from(attention.scale);
                    attention.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                };
                let total: f64 = seen.iter().map(|&other| score(other).exp()).sum();
                for i in 0..4 {
                    let value = |&other: &usize| score(other).exp() / total * half(100 + other * 4 + i);
                    out.push(seen.iter().map(value).sum());
                }
            }
        }
        out
    }

    #[test]
    fn windows_caps_and_direction_are_those_of_the_definition() {
        let plain = Attention {
            head_count: 2,
            head_count_kv: 1,
            head_length: 4,
            scale: 0.5,
            window: None,
            soft_cap: None,
            causal: true,
        };
        for attention in [
            plain,
            Attention { window: Some(3), ..plain },
            Attention { window: Some(1), ..plain },
            Attention { window: Some(100), ..plain },
            Attention { soft_cap: Some(1.5), ..plain },
            Attention { causal: false, ..plain },
            Attention { window: Some(4), soft_cap: Some(50.0), causal: false, ..plain },
        ] {
            for tokens in [1, 4, LENGTH] {
                let actual = attend(&attention, tokens);
                for (actual, expected) in actual.iter().zip(expected(&attention, tokens)) {
                    assert!((f64::from(*actual) - expected).abs() < 1e-5, "{attention:?}, {tokens} tokens");
                }
            }
        }
    }
}
