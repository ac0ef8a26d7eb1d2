//! What happened at least once: the *sometimes* assertions. A checker whose workload never reaches what it watches shows
//! nothing, so a long run fails when something here did not happen.

use std::{collections::BTreeMap, fmt};

/// How often things happened, over any number of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

/// Everything that a thousand seeds must reach.
pub const REQUIRED: &[&str] = &[
    // Faults that took effect.
    "crash of a leader",
    "crash of a follower",
    "crash of all nodes",
    "crash lost unsynced writes",
    "crash while a snapshot was being installed",
    "crash lost a snapshot that was being written",
    "freeze",
    "isolation",
    "one-way deafness",
    "one-way muteness",
    "storm",
    "message lost",
    "message repeated",
    "message cut off",
    "slow disk",
    "failed sync",
    "low disk",
    "wiped disk",
    "wiped node refused by its peers",
    "rotten disk",
    "wall clock jumped",
    "clock drifted",
    "resource redefined",
    "resource recreated",
    "resource paused",
    "key withdrawn",
    // What the cluster went through.
    "election won",
    "election interrupted",
    "snapshot taken",
    "snapshot installed",
    "node restarted from a snapshot",
    "leadership transferred",
    "member added",
    "member removed",
    "membership change committed while a link is cut",
    "removed node ended",
    "graceful stop",
    "converged after healing",
    "leader replaced after healing",
    // What clients did and heard.
    "granted",
    "denied",
    "replayed",
    "renewed",
    "released",
    "lease expired at its holder",
    "zombie renewed",
    "zombie refused",
    "released twice",
    "request id reused with another body",
    "reused request id refused",
    "retry after an unknown outcome",
    "cancelled before the answer",
    "undelivered grant given back",
    "grant kept for its retry",
    "holder crashed",
    "herd",
    "settled above cost",
    "refunded as not sent",
    "granted after it had waited",
    "patience ended in the queue",
    "waiter left before its turn",
    "definite failure",
    "unknown outcome",
    "granted by an alternative",
    // What checkers had to look at.
    "S1 debits in cluster time",
    "S1 figures of buckets",
    "S1 grants in real time",
    "S1 denials by judged buckets",
    "S1 denials by judged windows",
    "S2 slots in the log",
    "S3 generations compared",
    "S2 slots beside budgets",
    "S2 beliefs of clients",
    "S4 acknowledgements",
    "S4 permits in the final state",
    "S5 replays in the log",
    "S5 ids with another body in the log",
    "S5 tries of one id",
    "S6 touches of ended permits",
    "S6 renewals after a release",
    "S6 touches after the slot went to another",
    "S7 operations in the log",
    "S7 histories explained by an order",
    "S8 applications",
    "S8 leaders",
    "S8 states from snapshots and at the end",
    "S9 requests that failed",
    "S9 renewals and orders that failed",
    "S9 retries that were denied",
    "S10 requests that arrived",
    "S10 requests that left",
    "S12 stamps",
    "S12 proposals",
    "L3 waits after healing",
    "L3 waits across a handover",
    "L5 nodes after healing",
    "L5 nodes 10 s after healing",
    "L6 denials after healing",
];

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, what: &'static str) {
        debug_assert!(REQUIRED.contains(&what), "`{what}` is not on the list of what must happen");
        self.saw(what, 1);
    }

    /// A checker had so much of it to look at. Not all of what checkers count is wanted.
    pub fn saw(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// Adds what happened elsewhere.
    pub fn merge(&mut self, other: &Coverage) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// How often it happened.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.iter().copied().filter(|what| self.count(what) == 0).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.counts.keys().filter(|what| !REQUIRED.contains(what));
        REQUIRED.iter().chain(others).try_for_each(|what| writeln!(f, "{:>12}  {what}", self.count(what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_missing() {
        let mut coverage = Coverage::default();
        coverage.hit("granted");
        coverage.saw("L3 waits after healing", 0);
        let mut all = Coverage::default();
        all.merge(&coverage);
        all.merge(&coverage);
        assert_eq!(all.count("granted"), 2);
        assert_eq!(all.missing().len(), REQUIRED.len() - 1);
    }
}
