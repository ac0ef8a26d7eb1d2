//! What the vendor saw: the evidence of a test.

use std::{collections::BTreeMap, ops::Range, time::Duration};

/// Every call since the vendor began, and how it went. All times are since then.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order of their arrival.
    pub calls: Vec<Call>,
    /// The most calls that ran at the same time.
    pub highest_concurrency: usize,
    /// When outages began and ended, those that are ordered and not over yet included.
    pub outages: Vec<Range<Duration>>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it arrived.
    pub at: Duration,
    /// When it ended; none while it runs.
    pub ended: Option<Duration>,
    /// What its caller calls it.
    pub label: String,
    /// How much later it came than its caller had said; 0 if it came in time, or its caller had not said.
    pub late: Duration,
    /// What it weighs.
    pub cost: u64,
    /// What became of it.
    pub answer: Answer,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was let in.
    Accepted,
    /// This limit had no room.
    Refused(&'static str),
    /// The vendor was out of order.
    Down,
}

impl Ledger {
    /// The calls that were let in.
    pub fn accepted(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.answer == Answer::Accepted)
    }

    /// The calls that a limit refused.
    pub fn refused(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| matches!(call.answer, Answer::Refused(_)))
    }

    /// The calls that came later than their callers had said.
    pub fn late(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| !call.late.is_zero())
    }

    /// The calls that a limit refused although nothing came later than its caller had said that would explain it: each late call may
    /// cost others so many times its own cost, itself included, for as long as the vendor remembers it.
    pub fn refused_in_time(&self, memory: Duration, times: u64) -> impl Iterator<Item = &Call> {
        self.refused().filter(move |call| {
            let before =
                self.calls.iter().filter(|other| other.at <= call.at && call.at - other.at <= memory);
            let (mut late, mut refused) = (0, 0);
            for other in before {
                late += if other.late.is_zero() { 0 } else { other.cost };
                refused += if matches!(other.answer, Answer::Refused(_)) { other.cost } else { 0 };
            }
            refused > late * times
        })
    }

    /// The calls that came while the vendor was out of order.
    pub fn down(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.answer == Answer::Down)
    }

    /// How many calls each limit refused.
    pub fn refused_by_limit(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            if let Answer::Refused(limit) = call.answer {
                *counts.entry(limit).or_default() += 1;
            }
        }
        counts
    }

    /// How many calls arrived in each second.
    pub fn by_second(&self) -> Vec<usize> {
        let mut seconds = Vec::new();
        for call in &self.calls {
            let second = call.at.as_secs() as usize;
            seconds.resize(seconds.len().max(second + 1), 0);
            seconds[second] += 1;
        }
        seconds
    }

    /// For each outage that is over, how many calls arrived within so long after its end.
    pub fn after_outages(&self, within: Duration) -> Vec<usize> {
        let arrived =
            |span: Range<Duration>| self.calls.iter().filter(|call| span.contains(&call.at)).count();
        self.outages.iter().map(|outage| arrived(outage.end..outage.end + within)).collect()
    }

    /// The longest part of a span that consists of whole windows, each opened by the first call that was let in after the one
    /// before: whoever calls in bursts, a window each, is not measured by where in a burst the measurement began or ended. None:
    /// there was no whole window.
    pub fn whole_windows(&self, window: Duration, span: &Range<Duration>) -> Option<Range<Duration>> {
        let mut accepted = self.accepted().map(|call| call.at).filter(|at| span.contains(at));
        let first = accepted.next()?;
        let last = accepted.fold(first, |last, at| if at >= last + window { at } else { last });
        (first < last).then_some(first..last)
    }

    /// The most calls, whatever became of them, that arrived in any interval of this length.
    pub fn most_in_any(&self, length: Duration) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (last, call) in self.calls.iter().enumerate() {
            while self.calls[first].at + length < call.at {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// The cost of what was let in within a span.
    pub fn cost_in(&self, span: &Range<Duration>) -> u64 {
        self.accepted().filter(|call| span.contains(&call.at)).map(|call| call.cost).sum()
    }

    /// How long all that was let in ran within a span, in seconds.
    pub fn call_seconds_in(&self, span: &Range<Duration>) -> f64 {
        let within = |call: &Call| {
            let end = call.ended.unwrap_or(Duration::MAX).min(span.end);
            end.saturating_sub(call.at.max(span.start)).as_secs_f64()
        };
        self.accepted().map(within).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at: u64, ended: Option<u64>, answer: Answer) -> Call {
        let seconds = Duration::from_secs;
        Call {
            at: seconds(at),
            ended: ended.map(seconds),
            label: String::new(),
            late: Duration::ZERO,
            cost: 3,
            answer,
        }
    }

    fn ledger() -> Ledger {
        let calls = vec![
            call(0, Some(4), Answer::Accepted),
            call(2, None, Answer::Accepted),
            call(2, Some(2), Answer::Refused("daily")),
            call(5, Some(5), Answer::Down),
            call(7, Some(8), Answer::Accepted),
        ];
        let outages = vec![Duration::from_secs(5)..Duration::from_secs(7)];
        Ledger { calls, highest_concurrency: 2, outages }
    }

    #[test]
    fn what_was_let_in_is_summed_by_cost_and_by_time() {
        let span = Duration::from_secs(1)..Duration::from_secs(6);
        assert_eq!(ledger().cost_in(&span), 3);
        // The first from 1 to 4, the second from 2 to the end of the span.
        assert_eq!(ledger().call_seconds_in(&span), 3.0 + 4.0);
    }

    #[test]
    fn calls_are_counted_by_what_became_of_them_and_by_second() {
        let ledger = ledger();
        assert_eq!(ledger.accepted().count(), 3);
        assert_eq!(ledger.refused_by_limit(), BTreeMap::from([("daily", 1)]));
        assert_eq!(ledger.down().count(), 1);
        assert_eq!(ledger.by_second(), [1, 0, 2, 0, 0, 1, 0, 1]);
        assert_eq!(ledger.after_outages(Duration::from_secs(1)), [1]);
    }

    #[test]
    fn a_refusal_is_explained_by_calls_that_came_late_shortly_before() {
        let in_time = |ledger: &Ledger, memory, times| {
            ledger.refused_in_time(Duration::from_secs(memory), times).count()
        };
        assert_eq!(in_time(&ledger(), 9, 1), 1);
        let late = |number: usize, cost| {
            let mut ledger = ledger();
            (ledger.calls[number].late, ledger.calls[number].cost) = (Duration::from_millis(1), cost);
            ledger
        };
        assert_eq!((in_time(&late(0, 3), 1, 1), in_time(&late(0, 3), 2, 1)), (1, 0));
        assert_eq!((in_time(&late(2, 3), 0, 1), in_time(&late(3, 3), 9, 1)), (0, 1));
        assert_eq!((in_time(&late(0, 2), 2, 1), in_time(&late(0, 2), 2, 2)), (1, 0), "it is not dear enough");
        assert_eq!(in_time(&late(0, 3), 2, 0), 1);
    }

    fn accepted_at(at_millis: &[u64]) -> Ledger {
        let accepted = |at: &u64| Call { at: Duration::from_millis(*at), ..call(0, None, Answer::Accepted) };
        Ledger { calls: at_millis.iter().map(accepted).collect(), ..Ledger::default() }
    }

    #[test]
    fn the_most_in_any_interval_is_found_across_whole_seconds() {
        let second = Duration::from_secs(1);
        assert_eq!(Ledger::default().most_in_any(second), 0);
        assert_eq!(accepted_at(&[0, 900, 1_000, 1_800, 1_900, 1_901]).most_in_any(second), 4);
    }

    #[test]
    fn windows_begin_with_calls() {
        let ledger = accepted_at(&[0, 100, 300, 1_250, 1_300, 2_400, 2_500, 9_000]);
        let millis = |span: Range<u64>| Duration::from_millis(span.start)..Duration::from_millis(span.end);
        let windows = |span| ledger.whole_windows(Duration::from_secs(1), &millis(span));
        assert_eq!(windows(50..3_000), Some(millis(100..2_400)));
        assert_eq!(windows(2_000..3_000), None);
    }
}
