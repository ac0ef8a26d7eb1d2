//! When entries came into the log, for as long as they are not applied.

use std::collections::VecDeque;

use raft::eraftpb::Entry;
use tollgate_limiter::Span;

/// Batches of entries, in the order of the log.
#[derive(Default)]
pub(super) struct Arrivals {
    batches: VecDeque<Batch>,
}

struct Batch {
    first: u64,
    last: u64,
    at: Span,
}

impl Arrivals {
    /// These come into the log now, in place of whatever was there from the first of them on.
    pub fn note(&mut self, entries: &[Entry], at: Span) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        while self.batches.back().is_some_and(|batch| batch.first >= first.index) {
            self.batches.pop_back();
        }
        if let Some(batch) = self.batches.back_mut() {
            batch.last = batch.last.min(first.index - 1);
        }
        self.batches.push_back(Batch { first: first.index, last: last.index, at });
    }

    /// When an entry came, if this process saw it come. Forgets those before it: entries are applied in order.
    pub fn take(&mut self, index: u64) -> Option<Span> {
        while self.batches.front().is_some_and(|batch| batch.last < index) {
            self.batches.pop_front();
        }
        self.batches.front().filter(|batch| batch.first <= index).map(|batch| batch.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(indices: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        indices.map(|index| Entry { index, ..Entry::default() }).collect()
    }

    #[test]
    fn entries_came_with_their_batch() {
        let mut arrivals = Arrivals::default();
        arrivals.note(&entries(5..=7), Span::from_secs(1));
        arrivals.note(&entries(8..=8), Span::from_secs(2));
        arrivals.note(&[], Span::from_secs(3));
        let came: Vec<_> = (4..=9).map(|index| arrivals.take(index)).collect();
        let [early, late] = [1, 2].map(|at| Some(Span::from_secs(at)));
        assert_eq!(came, [None, early, early, early, late, None]);
    }

    #[test]
    fn what_is_replaced_came_when_its_replacement_did() {
        let mut arrivals = Arrivals::default();
        arrivals.note(&entries(5..=7), Span::from_secs(1));
        arrivals.note(&entries(8..=9), Span::from_secs(2));
        arrivals.note(&entries(6..=8), Span::from_secs(3));
        let came: Vec<_> = (5..=9).map(|index| arrivals.take(index)).collect();
        let [early, late] = [1, 3].map(|at| Some(Span::from_secs(at)));
        assert_eq!(came, [early, late, late, late, None]);
    }
}
