//! Digests of the state, compared with the leader's: a replica that went another way stops before it grants anything.

use std::collections::VecDeque;

use super::{fatal::Fatal, members::NodeId};

/// Digests that are remembered; a beat about an older entry is not compared.
const REMEMBERED: usize = 8_192;

/// The digests of the last entries applied, and what the leader said of one that is still to come.
#[derive(Debug, Default)]
pub struct Digests {
    // Consecutive entries; the last one is `last`.
    ring: VecDeque<u64>,
    last: u64,
    expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    leader: NodeId,
    index: u64,
    digest: u64,
}

impl Digests {
    /// Begins anew at an entry: at a start, or with a snapshot.
    pub fn restart(&mut self, index: u64, digest: u64) -> Result<(), Fatal> {
        self.ring.clear();
        self.record(index, digest)
    }

    /// The entry was applied; the next one follows it.
    pub fn record(&mut self, index: u64, digest: u64) -> Result<(), Fatal> {
        self.ring.push_back(digest);
        self.last = index;
        if self.ring.len() > REMEMBERED {
            self.ring.pop_front();
        }
        match self.expected.take_if(|expected| expected.index <= index) {
            Some(expected) => self.compare(expected),
            None => Ok(()),
        }
    }

    /// The leader said what its digest is at an entry.
    pub fn expect(&mut self, leader: NodeId, index: u64, digest: u64) -> Result<(), Fatal> {
        let expected = Expected { leader, index, digest };
        if index > self.last {
            self.expected = Some(expected);
            return Ok(());
        }
        self.compare(expected)
    }

    /// The last entry applied and its digest.
    pub fn last(&self) -> (u64, u64) {
        (self.last, self.ring.back().copied().unwrap_or_default())
    }

    fn compare(&self, Expected { leader, index, digest: theirs }: Expected) -> Result<(), Fatal> {
        let age = usize::try_from(self.last - index).unwrap_or(usize::MAX);
        let position = self.ring.len().checked_sub(age.saturating_add(1));
        match position.and_then(|position| self.ring.get(position)) {
            Some(&ours) if ours != theirs => Err(Fatal::Diverged { leader, index, ours, theirs }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_whoever_is_ahead() {
        let mut digests = Digests::default();
        digests.restart(10, 1).unwrap();
        digests.record(11, 2).unwrap();
        assert!(digests.expect(1, 10, 1).is_ok());
        assert!(digests.expect(1, 9, 77).is_ok(), "not remembered");
        assert!(matches!(digests.expect(1, 10, 77), Err(Fatal::Diverged { index: 10, ours: 1, .. })));
        assert!(digests.expect(1, 12, 77).is_ok(), "still to come");
        assert!(matches!(digests.record(12, 3), Err(Fatal::Diverged { index: 12, ours: 3, .. })));
        assert!(digests.record(13, 4).is_ok());
    }
}
