//! A report as people read it: Markdown.

use std::{fmt, time::Duration};

use super::{Report, SEEN, nearest_rank};
use crate::torture::{fault::Fault, network::Kind, tally::Tally};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.times(f)?;
        self.faults(f)?;
        self.looked_at(f)?;
        section(f, "Violations", &self.violations)?;
        section(f, "Kept", &self.kept)?;
        section(f, "Not shown", &self.shortfalls())?;
        section(f, "Targets that were missed", &self.missed_targets())
    }
}

impl Report {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Torture, seed {}\n", self.seed)?;
        let (struck, kinds) = (self.struck.values().sum::<u64>(), self.struck.len());
        let Tally { operations, grants, streamed, through, not_done, unknown } = self.tally;
        writeln!(f, "{} clusters of real processes, {:.0?} in all:", self.sessions, self.took)?;
        writeln!(
            f,
            "{operations} operations, {grants} permits granted, {not_done} refused for want of a leader or"
        )?;
        writeln!(f, "of room, {unknown} of unknown outcome; {struck} faults of {kinds} kinds;")?;
        writeln!(f, "**{} violations**.\n", self.violations.len())?;
        let seats = through.map(|grants| grants.to_string()).join(", ");
        writeln!(
            f,
            "Of the permits, {streamed} were asked for over a stream; and by clients that know one node,"
        )?;
        writeln!(f, "whoever leads, by its seat: {seats}.\n")?;
        let by = |kind: Kind| {
            format!("{} by {}", self.networks.get(&kind).copied().unwrap_or_default(), kind.name())
        };
        writeln!(f, "Networks: {}.", Kind::ALL.map(by).join(", "))?;
        self.absent.iter().try_for_each(|what| writeln!(f, "This machine has {what}."))?;
        writeln!(f)
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed = "Recovery after the leader is killed, from the kill to the first acknowledged permit that was\n\
                      asked for after it";
        spread(f, killed, &self.recoveries)?;
        let whole =
            "Return of all nodes to one log, from the end of a fault, where they had not at the first look";
        spread(f, whole, &self.returns)?;
        let told = "Longest time without a grant when the leader is told to stop (clients do not ask all the time, so\n\
                    some of it is theirs)";
        spread(f, told, &self.handovers)?;
        match self.struck.get(&Fault::RollingRestart) {
            Some(times) => writeln!(
                f,
                "Operations that clients who aim at the leader gave up in rolling restarts: {} in {times}.\n",
                self.given_up
            ),
            None => Ok(()),
        }
    }

    fn faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times |\n|---|---|")?;
        self.struck.iter().try_for_each(|(fault, times)| writeln!(f, "| {} | {times} |", fault.name()))?;
        // Some networks cannot do what others can: that one session skipped it is then no news.
        let never = self.skipped.iter().filter(|(fault, _)| !self.struck.contains_key(fault));
        never.into_iter().try_for_each(|(fault, why)| writeln!(f, "| {} | skipped: {why} |", fault.name()))
    }

    /// Without checkers that have nothing to look at here: nobody can look into the nodes' logs.
    fn looked_at(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWhat the checkers looked at:\n")?;
        let told = self.seen.iter().filter(|(what, count)| **count > 0 || SEEN.contains(what));
        told.into_iter().try_for_each(|(what, count)| writeln!(f, "* {count} {what}"))
    }
}

/// Of what was measured, and how often; nothing where nothing was.
fn spread(f: &mut fmt::Formatter<'_>, what: &str, times: &[Duration]) -> fmt::Result {
    let [Some(p50), Some(p99), Some(max)] = [50, 99, 100].map(|percent| nearest_rank(times, percent)) else {
        return Ok(());
    };
    writeln!(f, "{what}, {} times: p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?}.\n", times.len())
}

/// Nothing where there is nothing to say.
fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n## {title}\n")?;
    lines.iter().try_for_each(|line| writeln!(f, "* {line}"))
}
