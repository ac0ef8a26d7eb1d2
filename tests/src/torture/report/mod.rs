//! What there is to say after a run, and whether it has shown anything.

mod words;

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use super::{fault::Fault, fault::Struck, network::Kind, session::Session, tally::Tally};

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
    /// From a fault that is over until all nodes have one log, where they had not at the first look; sorted.
    pub returns: Vec<Duration>,
    /// The longest time without a grant while a leader that was told to stop hands over; sorted.
    pub handovers: Vec<Duration>,
    /// What clients that aim at the leader gave up in rolling restarts.
    pub given_up: u64,
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
                Struck::Skipped(why) => {
                    self.skipped.insert(fault, why);
                    continue;
                }
                Struck::LeaderKilled(recovery) => self.recoveries.push(recovery),
                Struck::LeaderTerminated(drought) => self.handovers.push(drought),
                Struck::Rolled(given_up) => self.given_up += given_up,
                Struck::Over => {}
            }
            *self.struck.entry(fault).or_default() += 1;
        }
        self.returns.extend(session.returns);
        for times in [&mut self.recoveries, &mut self.returns, &mut self.handovers] {
            times.sort();
        }
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

    /// The recovery that so many percent did not exceed.
    pub fn recovery(&self, percent: usize) -> Option<Duration> {
        nearest_rank(&self.recoveries, percent)
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
        if self.tally.streamed == 0 {
            shortfalls.push("nothing was granted over a stream".to_owned());
        }
        // One node leads at a time: what was granted through the others was forwarded.
        let idle = self.tally.through.iter().enumerate().filter(|(_, grants)| **grants == 0);
        shortfalls
            .extend(idle.map(|(seat, _)| format!("nothing was granted through the node of seat {seat}")));
        let unseen = SEEN.iter().filter(|what| self.seen.get(*what).is_none_or(|count| *count == 0));
        shortfalls.extend(unseen.map(|what| format!("the checkers saw no {what}")));
        shortfalls
    }

    /// By how much recovery is slower than it is meant to be, from so many kills of the leader on that this can be said; and what
    /// rolling restarts cost clients that try for longer than an election.
    pub fn missed_targets(&self) -> Vec<String> {
        let kills = self.recoveries.len();
        let due = RECOVERY_TARGETS.iter().filter(|(.., kills_min)| kills >= *kills_min);
        let missed = due.filter_map(|(percent, most, _)| {
            let recovery = self.recovery(*percent).filter(|recovery| recovery > most)?;
            Some(format!("recovery: {percent} % of {kills} took up to {recovery:.2?}, {most:?} are meant"))
        });
        let given_up = (self.given_up > 0)
            .then(|| format!("rolling restarts: {} operations were given up, none are meant", self.given_up));
        missed.chain(given_up).collect()
    }
}

/// Of times that are sorted, the one that so many percent do not exceed.
fn nearest_rank(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

#[cfg(test)]
mod tests;
