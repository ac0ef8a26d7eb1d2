//! What workers report.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What a crew has done so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Work that the vendor served.
    pub done: u64,
    /// Calls that the vendor refused because of a limit.
    pub throttled: u64,
    /// Calls that the vendor failed to serve.
    pub failed: u64,
    /// Calls beyond the first for the same work.
    pub retries: u64,
    /// Work that was not served after the last try.
    pub given_up: u64,
    /// Permits that came too late to be used, and were given back.
    pub given_back: u64,
    /// How long each piece of interactive work took, from when it was wanted; without what no fleet can help, that the vendor
    /// failed to serve it.
    pub interactive: Vec<Duration>,
    /// What stopped workers: of the first some.
    pub problems: Vec<String>,
}

impl Tally {
    /// The time within which so large a part of the interactive work was done; none if there was none.
    pub fn interactive_quantile(&self, part: f64) -> Option<Duration> {
        let mut times = self.interactive.clone();
        times.sort_unstable();
        let rank = (times.len() as f64 * part).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied()
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Tally) -> Tally {
        self.done += other.done;
        self.throttled += other.throttled;
        self.failed += other.failed;
        self.retries += other.retries;
        self.given_up += other.given_up;
        self.given_back += other.given_back;
        self.interactive.extend(other.interactive);
        self.problems.extend(other.problems);
        self
    }
}

/// The tally that all workers of a crew write.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Tally>>);

/// Enough to see what is wrong.
const PROBLEMS_MAX: usize = 10;

impl Shared {
    pub fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock());
    }

    pub fn problem(&self, problem: String) {
        let mut tally = self.0.lock();
        if tally.problems.len() < PROBLEMS_MAX {
            tally.problems.push(problem);
        }
    }

    pub fn snapshot(&self) -> Tally {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_so_many_did_not_exceed() {
        let mut tally = Tally::default();
        assert_eq!(tally.interactive_quantile(0.95), None);
        tally.interactive = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(tally.interactive_quantile(0.95), Some(Duration::from_millis(95)));
        assert_eq!(tally.interactive_quantile(1.0), Some(Duration::from_millis(100)));
        tally.interactive.truncate(1);
        assert_eq!(tally.interactive_quantile(0.5), Some(Duration::from_millis(100)));
    }
}
