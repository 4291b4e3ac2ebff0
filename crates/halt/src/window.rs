//! Scores of a window, as millionths, with what their mean and their trend need: all in constant time.

use alloc::{boxed::Box, vec};

use crate::Trend;

/// Parts of a score of 1.
const MILLION: f64 = 1e6;
/// The largest threshold that makes a difference: no drop is above 1.5.
const THRESHOLD_MAXIMUM: f64 = 1_000.0;

/// A number as millionths, rounded to the nearest, halves up. It is not below zero.
fn millionths(number: f64) -> i64 {
    (number.min(THRESHOLD_MAXIMUM) * MILLION + 0.5) as i64
}

/// The last so many scores.
#[derive(Debug)]
struct Ring {
    scores: Box<[u32]>,
    /// Where the next one goes; the oldest one lies there when the ring is full.
    next: usize,
    is_full: bool,
}

impl Ring {
    fn new(size: u32) -> Self {
        Self { scores: vec![0; size as usize].into(), next: 0, is_full: false }
    }

    fn size(&self) -> i64 {
        self.scores.len() as i64
    }

    /// Takes a score and answers the one that leaves; zero while the ring is not full.
    fn push(&mut self, score: u32) -> i64 {
        let leaving = core::mem::replace(&mut self.scores[self.next], score);
        self.next += 1;
        if self.next == self.scores.len() {
            self.next = 0;
            self.is_full = true;
        }
        leaving.into()
    }

    /// The oldest score, when the ring is full.
    fn oldest(&self) -> i64 {
        self.scores[self.next].into()
    }

    /// The score that came last.
    fn newest(&self) -> i64 {
        let last = if self.next == 0 { self.scores.len() - 1 } else { self.next - 1 };
        self.scores[last].into()
    }
}

/// A score in [0, 1] as the windows take it.
pub(crate) fn quantized(score: f64) -> u32 {
    millionths(score) as u32
}

/// The mean of the last scores.
#[derive(Debug)]
pub(crate) struct Mean {
    ring: Ring,
    sum: i64,
    /// The threshold times the number of scores.
    least_sum: i64,
}

impl Mean {
    pub(crate) fn new(size: u32, threshold: f64) -> Self {
        Self { ring: Ring::new(size), sum: 0, least_sum: millionths(threshold) * i64::from(size) }
    }

    /// Takes a score; answers the mean if it is below the threshold.
    pub(crate) fn push(&mut self, score: u32) -> Option<f64> {
        self.sum += i64::from(score) - self.ring.push(score);
        self.value().filter(|_| self.sum < self.least_sum)
    }

    /// The mean, when there are so many scores.
    pub(crate) fn value(&self) -> Option<f64> {
        self.ring.is_full.then(|| self.sum as f64 / (self.ring.size() as f64 * MILLION))
    }
}

/// The drop over the last scores.
#[derive(Debug)]
pub(crate) struct Drop {
    ring: Ring,
    trend: Trend,
    /// The sum of the scores, and that of each times its place from the oldest on.
    sum: i64,
    moment: i64,
    threshold: i64,
}

impl Drop {
    pub(crate) fn new(size: u32, threshold: f64, trend: Trend) -> Self {
        Self { ring: Ring::new(size), trend, sum: 0, moment: 0, threshold: millionths(threshold) }
    }

    /// Takes a score; answers the drop if it is above the threshold.
    pub(crate) fn push(&mut self, score: u32) -> Option<f64> {
        let size = self.ring.size();
        let leaving = self.ring.push(score);
        // While the ring fills up, its places before the first score hold zeros, which every sum may count.
        self.sum -= leaving;
        self.moment += (size - 1) * i64::from(score) - self.sum;
        self.sum += i64::from(score);
        let (drop, divisor) = self.quotient()?;
        // Both sides are multiplied by the divisor.
        (drop > self.threshold * divisor).then(|| drop as f64 / (divisor as f64 * MILLION))
    }

    /// The drop, when there are so many scores.
    pub(crate) fn value(&self) -> Option<f64> {
        self.quotient().map(|(drop, divisor)| drop as f64 / (divisor as f64 * MILLION))
    }

    /// The drop in millionths: a quotient.
    fn quotient(&self) -> Option<(i64, i64)> {
        let size = self.ring.size();
        self.ring.is_full.then(|| match self.trend {
            // The oldest score is the one that leaves next.
            Trend::Endpoint => (self.ring.oldest() - self.ring.newest(), 1),
            // The line's slope is (n Σxy - Σx Σy) / (n Σx² - (Σx)²) for x = 0 … n-1, so the drop, minus n-1 times that, is
            // 6 ((n-1) Σy - 2 Σxy) / (n (n+1)).
            Trend::LeastSquares => (6 * ((size - 1) * self.sum - 2 * self.moment), size * (size + 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// The drop of a line by least squares, as textbooks have it.
    fn textbook(scores: &[f64]) -> f64 {
        let n = scores.len() as f64;
        let (mut x, mut y, mut xy, mut xx) = (0.0, 0.0, 0.0, 0.0);
        for (place, score) in scores.iter().enumerate() {
            let place = place as f64;
            (x, y, xy, xx) = (x + place, y + score, xy + place * score, xx + place * place);
        }
        -(n * xy - x * y) / (n * xx - x * x) * (n - 1.0)
    }

    #[test]
    fn the_drops_of_the_reference() {
        for (scores, drop) in [
            (&[0.9, 0.7, 0.5, 0.3, 0.1][..], 0.8),
            (&[0.8, 0.8, 0.8, 0.8, 0.65], 0.12),
            (&[0.9, 0.7, 0.7, 0.7, 0.7], 0.16),
            (&[0.8, 0.5, 0.5, 0.5, 0.8], 0.0),
            (&[0.95, 0.85, 0.55], 0.4),
            (&[0.8, 0.2], 0.6),
        ] {
            let size = scores.len() as u32;
            let mut below = Drop::new(size, f64::max(drop - 0.000_001, 0.000_001), Trend::LeastSquares);
            let mut equal = Drop::new(size, f64::max(drop, 0.000_001), Trend::LeastSquares);
            let found: Vec<_> = scores.iter().map(|score| below.push(quantized(*score))).collect();
            let expected = (drop > 0.0).then_some(drop);
            assert_eq!(found.last().copied().flatten(), expected, "{scores:?}");
            assert_eq!(scores.iter().filter_map(|score| equal.push(quantized(*score))).count(), 0);
        }
    }

    #[test]
    fn sums_that_slide_are_those_of_the_window() {
        let scores: Vec<f64> = (0..5_000_u32)
            .map(|number| f64::from(number.wrapping_mul(2_654_435_761) >> 12) / f64::from(1 << 20))
            .collect();
        for size in [2_usize, 3, 5, 64, 1_000] {
            let mut drop = Drop::new(size as u32, 0.000_001, Trend::LeastSquares);
            let mut mean = Mean::new(size as u32, 1.0);
            for (index, score) in scores.iter().enumerate() {
                let (drop, mean) = (drop.push(quantized(*score)), mean.push(quantized(*score)));
                if index + 1 < size {
                    assert_eq!((drop, mean), (None, None));
                    continue;
                }
                let window = &scores[index + 1 - size..=index];
                let expected = textbook(window);
                match drop {
                    Some(drop) => assert!((drop - expected).abs() < 1e-5, "{drop} {expected}"),
                    None => assert!(expected < 1e-5, "{expected}"),
                }
                let expected = window.iter().sum::<f64>() / size as f64;
                assert!((mean.unwrap() - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_largest_window_does_not_overflow() {
        for trend in [Trend::Endpoint, Trend::LeastSquares] {
            let mut drop = Drop::new(1 << 16, f64::MAX, trend);
            for index in 0..200_000_u32 {
                assert_eq!(drop.push(quantized(if index % 70_000 < 65_536 { 1.0 } else { 0.0 })), None);
            }
        }
    }
}
