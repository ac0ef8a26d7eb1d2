//! What came of a load: how many, how long, and what went wrong.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Longer than any call is waited for.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// What came of operations.
#[derive(Clone, Debug)]
pub struct Tally {
    /// In nanoseconds, of operations that came out as they should.
    pub latency: Histogram<u64>,
    /// Those that came out as they should…
    pub operations: u64,
    /// …and of them those that did so before the end of the slice, which the rate is made of.
    pub in_time: u64,
    /// The others, by what went wrong.
    pub errors: BTreeMap<String, u64>,
}

/// What came of one operation, or of several that were answered together.
pub struct Outcome {
    /// When the answer came.
    pub answered: Instant,
    /// How many came out as they should.
    pub operations: u64,
    /// What went wrong with the others.
    pub problems: Vec<String>,
}

impl Outcome {
    /// One that came out as it should, or did not, just now.
    pub fn one(result: Result<(), String>) -> Outcome {
        let (operations, problems) = match result {
            Ok(()) => (1, vec![]),
            Err(problem) => (0, vec![problem]),
        };
        Outcome { answered: Instant::now(), operations, problems }
    }
}

impl Default for Tally {
    fn default() -> Tally {
        let max = u64::try_from(LATENCY_MAX.as_nanos()).expect("two minutes in nanoseconds fit");
        let latency = Histogram::new_with_bounds(1, max, DIGITS).expect("the bounds are in order");
        Tally { latency, operations: 0, in_time: 0, errors: BTreeMap::new() }
    }
}

impl Tally {
    /// Adds what began, or was due, at `since`; the slice ends at `end`.
    pub fn add(&mut self, since: Instant, end: Instant, outcome: Outcome) {
        self.add_each(outcome.answered.saturating_duration_since(since), end, outcome);
    }

    /// Adds what took so long each; the slice ends at `end`.
    pub fn add_each(&mut self, latency: Duration, end: Instant, outcome: Outcome) {
        if outcome.operations > 0 {
            let nanos = latency.as_nanos();
            self.latency.saturating_record_n(u64::try_from(nanos).unwrap_or(u64::MAX), outcome.operations);
        }
        self.operations += outcome.operations;
        self.in_time += if outcome.answered <= end { outcome.operations } else { 0 };
        outcome.problems.into_iter().for_each(|problem| self.add_error(problem));
    }

    /// Adds what went wrong.
    pub fn add_error(&mut self, problem: String) {
        *self.errors.entry(problem).or_default() += 1;
    }

    /// Adds another's.
    pub fn merge(&mut self, other: Tally) {
        self.latency.add(&other.latency).expect("all have the same bounds");
        self.operations += other.operations;
        self.in_time += other.in_time;
        for (problem, count) in other.errors {
            *self.errors.entry(problem).or_default() += count;
        }
    }

    /// A latency that this part of the operations, 0 to 1, does not exceed.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_ends_after_the_slice_has_a_latency_but_no_part_in_the_rate() {
        let began = Instant::now();
        let end = began + Duration::from_secs(1);
        let mut tally = Tally::default();
        tokio::time::advance(Duration::from_millis(400)).await;
        tally.add(began, end, Outcome::one(Ok(())));
        tokio::time::advance(Duration::from_millis(800)).await;
        tally.add(began, end, Outcome::one(Ok(())));
        tally.add(began, end, Outcome::one(Err("denied".into())));
        let mut whole = Tally::default();
        whole.merge(tally.clone());
        whole.merge(tally);
        assert_eq!((whole.operations, whole.in_time, whole.errors["denied"]), (4, 2, 2));
        assert_eq!(whole.quantile(1.0).as_millis(), 1_200);
        assert_eq!(whole.quantile(0.5).as_millis(), 400);
    }
}
