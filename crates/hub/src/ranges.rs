//! A set of byte ranges: what of a file is here, and what is missing.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Disjoint ranges in ascending order; two that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, which may overlap others.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let before = self.0.partition_point(|held| held.end < range.start);
        let after = self.0.partition_point(|held| held.start <= range.end);
        let merged = self.0[before..after]
            .iter()
            .fold(range, |sum, held| sum.start.min(held.start)..sum.end.max(held.end));
        self.0.splice(before..after, [merged]);
    }

    /// Bytes in all ranges.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// What of `0..total` is in no range, in pieces of at most `piece` bytes.
    pub(crate) fn missing(&self, total: u64, piece: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let starts = std::iter::once(0).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain([total]);
        starts.zip(ends).flat_map(move |(start, end)| {
            let pieces = (start..end).step_by(usize::try_from(piece.max(1)).unwrap_or(usize::MAX));
            pieces.map(move |at| at..at.saturating_add(piece.max(1)).min(end))
        })
    }

    /// Whether it is what [`Ranges::insert`] makes, within `0..total`: a set from a file may be anything.
    pub(crate) fn is_valid(&self, total: u64) -> bool {
        self.0.iter().all(|range| !range.is_empty())
            && self.0.windows(2).all(|pair| pair[0].end < pair[1].start)
            && self.end() <= total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_holds_exactly_the_bytes_that_were_inserted(
            inserted in proptest::collection::vec((0u64..60, 0u64..12), 0..12),
            piece in 1u64..9,
        ) {
            let mut ranges = Ranges::default();
            let mut held = [false; 80];
            for (start, length) in inserted {
                ranges.insert(start..start + length);
                held[start as usize..(start + length) as usize].fill(true);
            }
            prop_assert!(ranges.is_valid(80));
            prop_assert_eq!(ranges.bytes(), held.iter().filter(|held| **held).count() as u64);
            let mut missing = [false; 80];
            for range in ranges.missing(80, piece) {
                prop_assert!(range.end - range.start <= piece && !range.is_empty());
                missing[range.start as usize..range.end as usize].fill(true);
            }
            prop_assert!((0..80).all(|at| held[at] != missing[at]));
        }
    }
}
