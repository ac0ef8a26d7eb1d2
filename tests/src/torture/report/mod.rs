//! What there is to say after a run, and whether it has shown anything.

mod words;

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use super::{fault::Fault, fault::Struck, network::Kind, recorder::Tally, session::Session};

/// What checkers must have looked at: where one of these stayed at nothing, nothing was shown of it. Denials are among
/// them, because a limit that nobody reaches is not exceeded either.
pub const SEEN: [&str; 10] = [
    "S1 grants in real time",
    "S1 denials by judged buckets",
    "S1 denials by judged windows",
    "S2 beliefs of clients",
    "S4 permits in the final state",
    "S5 tries of one id",
    "S6 renewals after a release",
    "S6 touches after the slot went to another",
    "S7 histories explained by an order",
    "S9 requests that failed",
];

/// How soon a permit is granted again after the leader was killed, at most, by percent of the kills; and the fewest kills
/// that this can be said of. A p99 of fewer than a hundred is but the worst of them.
const RECOVERY_TARGETS: [(usize, Duration, usize); 3] = [
    (50, Duration::from_millis(1_000), 20),
    (99, Duration::from_millis(1_500), 100),
    (100, Duration::from_millis(3_000), 20),
];

/// All sessions of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What it can be repeated by.
    pub seed: u64,
    /// How many clusters.
    pub sessions: u64,
    /// How long in all.
    pub took: Duration,
    /// By what lay between the nodes, how many of the clusters.
    pub networks: BTreeMap<Kind, u64>,
    /// What the machine cannot do at all, and why.
    pub absent: Vec<String>,
    /// What the clients did.
    pub tally: Tally,
    /// By kind, how often it was struck.
    pub struck: BTreeMap<Fault, u64>,
    /// By kind, why it could not be struck, at least once.
    pub skipped: BTreeMap<Fault, String>,
    /// From the death of a leader to the next acknowledged permit that was asked for since; sorted.
    pub recoveries: Vec<Duration>,
    /// How much each checker looked at.
    pub seen: BTreeMap<&'static str, u64>,
    /// What does not hold.
    pub violations: Vec<String>,
    /// Where what is left of the sessions that were not good can be looked at.
    pub kept: Vec<String>,
}

impl Report {
    /// Adds a session.
    pub fn add(&mut self, session: Session) {
        self.sessions += 1;
        *self.networks.entry(session.network).or_default() += 1;
        self.tally += session.tally;
        for (fault, struck) in session.strikes {
            match struck {
                Struck::Skipped(why) => _ = self.skipped.insert(fault, why),
                Struck::LeaderKilled(recovery) => {
                    *self.struck.entry(fault).or_default() += 1;
                    self.recoveries.push(recovery);
                }
                Struck::Over => *self.struck.entry(fault).or_default() += 1,
            }
        }
        self.recoveries.sort();
        for (what, count) in session.seen {
            *self.seen.entry(what).or_default() += count;
        }
        self.violations.extend(session.violations);
        self.kept.extend(session.kept);
    }

    /// Adds a session, or that there was none; whether there is sense in another one.
    ///
    /// # Errors
    /// Why there was none, when it was the first: this machine cannot do it. Where a cluster has come to stand before, it
    /// is a violation that one does not.
    pub fn add_or_accuse(&mut self, session: Result<Session, String>) -> Result<ControlFlow<()>, String> {
        match session {
            Ok(session) => {
                self.add(session);
                Ok(ControlFlow::Continue(()))
            }
            Err(why) if self.sessions == 0 => Err(why),
            Err(why) => {
                self.violations.push(format!("session {}: no cluster: {why}", self.sessions + 1));
                Ok(ControlFlow::Break(()))
            }
        }
    }

    /// The recovery that so many percent did not exceed, by the nearest rank.
    pub fn recovery(&self, percent: usize) -> Option<Duration> {
        let rank = (self.recoveries.len() * percent).div_ceil(100).max(1);
        self.recoveries.get(rank - 1).copied()
    }

    /// What the run has not shown, however good it looks.
    pub fn shortfalls(&self) -> Vec<String> {
        let mut shortfalls = Vec::new();
        if self.struck.is_empty() {
            shortfalls.push("no fault was struck".to_owned());
        }
        if self.tally.grants == 0 {
            shortfalls.push("nothing was granted".to_owned());
        }
        let unseen = SEEN.iter().filter(|what| self.seen.get(*what).is_none_or(|count| *count == 0));
        shortfalls.extend(unseen.map(|what| format!("the checkers saw no {what}")));
        shortfalls
    }

    /// By how much recovery is slower than it is meant to be, from so many kills of the leader on that this can be said.
    pub fn missed_targets(&self) -> Vec<String> {
        let kills = self.recoveries.len();
        let due = RECOVERY_TARGETS.iter().filter(|(.., kills_min)| kills >= *kills_min);
        let missed = due.filter_map(|(percent, most, _)| {
            let recovery = self.recovery(*percent).filter(|recovery| recovery > most)?;
            Some(format!("recovery: {percent} % of {kills} took up to {recovery:.2?}, {most:?} are meant"))
        });
        missed.collect()
    }
}

#[cfg(test)]
mod tests;
