//! The tokens that may still be chosen.

use std::cmp::Ordering;

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
}

/// The more probable first; of equals, the lower id.
pub(super) fn by_logit(a: &Candidate, b: &Candidate) -> Ordering {
    // Logits were checked to be numbers, so the comparison is total; -0.0 and 0.0 count as equal.
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// The most probable of `candidates`.
pub(super) fn best(candidates: &[Candidate]) -> Option<Candidate> {
    candidates.iter().min_by(|a, b| by_logit(a, b)).copied()
}

/// The candidate of this token, among candidates in ascending order of ids.
pub(super) fn find(candidates: &mut [Candidate], id: u32) -> Option<&mut Candidate> {
    let position = candidates.binary_search_by_key(&id, |candidate| candidate.id).ok()?;
    Some(&mut candidates[position])
}

/// Brings the `count` first items to the front, sorted.
pub(super) fn sort_first<T>(items: &mut [T], count: usize, order: impl Fn(&T, &T) -> Ordering) {
    if count < items.len() {
        items.select_nth_unstable_by(count, &order);
    }
    items[..count].sort_unstable_by(&order);
}

/// How many of `items`, in order, reach the sum `wanted` of their weights; at least one, if there is one. They are
/// sorted then. `sorted` items are at the front and sorted already.
pub(super) fn shortest_reaching<T>(
    items: &mut [T],
    mut sorted: usize,
    wanted: f64,
    order: impl Fn(&T, &T) -> Ordering,
    weight: impl Fn(&T) -> f64,
) -> usize {
    let mut sum = 0.0;
    let mut count = 0;
    while count < items.len() {
        if count == sorted {
            // Doubling keeps the work near the size of the result instead of the vocabulary's.
            sorted = (2 * sorted).max(64).min(items.len());
            sort_first(items, sorted, &order);
        }
        sum += weight(&items[count]);
        count += 1;
        if sum >= wanted {
            break;
        }
    }
    count
}

/// Probabilities of candidates, up to one factor: that of a token with the logit `best` is 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) best: f32,
    pub(super) temperature: f64,
}

impl Weights {
    /// Those of `candidates` at this temperature; there is at least one.
    pub(super) fn new(candidates: &[Candidate], temperature: f64) -> Self {
        Self { best: best(candidates).map_or(0.0, |best| best.logit), temperature }
    }

    /// The natural logarithm of a candidate's weight.
    pub(super) fn logarithm(self, candidate: &Candidate) -> f64 {
        (f64::from(candidate.logit) - f64::from(self.best)) / self.temperature
    }

    /// A candidate's weight.
    pub(super) fn of(self, candidate: &Candidate) -> f64 {
        libm::exp(self.logarithm(candidate))
    }

    /// The sum of all, in their order.
    pub(super) fn total(self, candidates: &[Candidate]) -> f64 {
        candidates.iter().map(|candidate| self.of(candidate)).sum()
    }
}
