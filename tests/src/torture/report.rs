//! What there is to say after a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{fault::Fault, fault::Struck, recorder::Tally, session::Session};

/// All sessions of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What it can be repeated by.
    pub seed: u64,
    /// How many clusters.
    pub sessions: u64,
    /// How long in all.
    pub took: Duration,
    /// What the clients did.
    pub tally: Tally,
    /// By kind, how often it was struck.
    pub struck: BTreeMap<Fault, u64>,
    /// By kind, why it could not be struck.
    pub skipped: BTreeMap<Fault, String>,
    /// From the death of a leader to the next acknowledged permit that was asked for since; sorted.
    pub recoveries: Vec<Duration>,
    /// How much each checker looked at.
    pub seen: BTreeMap<&'static str, u64>,
    /// What does not hold.
    pub violations: Vec<String>,
}

impl Report {
    /// Adds a session.
    pub fn add(&mut self, session: Session) {
        self.sessions += 1;
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
    }

    /// The recovery that so many percent did not exceed, by the nearest rank.
    pub fn recovery(&self, percent: usize) -> Option<Duration> {
        let rank = (self.recoveries.len() * percent).div_ceil(100).max(1);
        self.recoveries.get(rank - 1).copied()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Torture, seed {}\n", self.seed)?;
        let (struck, kinds) = (self.struck.values().sum::<u64>(), self.struck.len());
        let Tally { operations, grants, not_done, unknown } = self.tally;
        writeln!(f, "{} clusters of real processes, {:.0?} in all: ", self.sessions, self.took)?;
        writeln!(
            f,
            "{operations} operations, {grants} permits granted, {not_done} refused for want of a leader or"
        )?;
        writeln!(f, "of room, {unknown} of unknown outcome; {struck} faults of {kinds} kinds;")?;
        writeln!(f, "**{} violations**.\n", self.violations.len())?;
        if let [Some(p50), Some(p99), Some(max)] = [50, 99, 100].map(|percent| self.recovery(percent)) {
            writeln!(
                f,
                "Recovery after the leader is killed, from the kill to the first acknowledged permit that was"
            )?;
            writeln!(
                f,
                "asked for after it, {} times: p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?}.\n",
                self.recoveries.len()
            )?;
        }
        writeln!(f, "| fault | times |\n|---|---|")?;
        self.struck.iter().try_for_each(|(fault, times)| writeln!(f, "| {} | {times} |", fault.name()))?;
        for (fault, why) in &self.skipped {
            writeln!(f, "| {} | skipped: {why} |", fault.name())?;
        }
        writeln!(f, "\nWhat the checkers looked at:\n")?;
        self.seen.iter().try_for_each(|(what, count)| writeln!(f, "* {count} {what}"))?;
        if !self.violations.is_empty() {
            writeln!(f, "\n## Violations\n")?;
            self.violations.iter().try_for_each(|violation| writeln!(f, "* {violation}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let recoveries = (1..=200).map(Duration::from_millis).collect();
        let report = Report { recoveries, ..Report::default() };
        let millis = [50, 99, 100].map(|percent| report.recovery(percent).unwrap().as_millis());
        assert_eq!(millis, [100, 198, 200]);
        assert_eq!(Report::default().recovery(50), None);
    }
}
