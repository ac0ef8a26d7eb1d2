//! Judges of recorded runs, one file a property. They are written from the guarantees (the `.proto` files, the tables in
//! `docs/RELIABILITY.md`), never from the limiter's code, and take nothing from it but its words.
//!
//! Some read only what clients saw, so that a log that lies cannot blind them; some read the log, whose stamps make
//! statements about time exact; the strongest hold one against the other.
//!
//! | file | property | evidence |
//! |---|---|---|
//! | [`rates`] | S1: no rate limit is exceeded, exactly, in cluster time | log |
//! | [`intervals`] | S1: none is exceeded in real time, drift allowed for | clients |
//! | [`slots`] | S2: never more slots than there are and budgets leave, grace included; S3: fencing generations rise | log |
//! | [`holders`] | S2: never more clients that believe they hold a slot; S3 as they see it | clients |
//! | [`durability`] | S3: a permit is granted once; S4: what was acknowledged is in the log and in the final state | both |
//! | [`request_ids`] | S5: same id and body, same permit; another body is refused | both |
//! | [`revival`] | S6: what was released or has expired never revives | both |
//! | [`order`] | S7: answered before asked is before in the log | both |
//! | [`agreement`] | S8: nodes agree on every entry; L5: and on the state after healing | log |
//! | [`failures`] | S9: a definite failure or a denial has no effect | both |
//! | [`turns`] | S10: nobody who asks later and is no better goes first; who left is not granted | both |
//! | [`time`] | S12: cluster time never goes backwards, nor faster than real time | log |
//! | [`reuse`] | L6: a crashed holder's slot can be had again in time; L3: nobody waits beside a free slot | both |
//! | [`linearizable`] | S7 without the log: some order explains every answer | clients |

pub mod agreement;
mod budgets;
pub mod durability;
pub mod failures;
pub mod holders;
pub mod intervals;
pub mod linearizable;
mod occupancy;
pub mod order;
pub mod rates;
pub mod replay;
pub mod request_ids;
pub mod reuse;
pub mod revival;
pub mod slots;
pub mod terms;
pub mod time;
pub mod turns;

#[cfg(test)]
pub(crate) mod story;

use std::{collections::BTreeMap, fmt};

use crate::history::History;

/// What the checkers make of a run.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What does not hold; empty for a good run.
    pub violations: Vec<Violation>,
    /// How much each checker had to look at. One that saw nothing has shown nothing.
    pub seen: BTreeMap<&'static str, u64>,
    /// Whose turn it is.
    checker: &'static str,
}

/// A guarantee that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: `S1` to `S12`, `L3`, `L5`, `L6`.
    pub property: &'static str,
    /// The checker that says so, by its name in [`CHECKS`].
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
    /// The offending events, one a line.
    pub evidence: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    fn saw(&mut self, what: &'static str, count: u64) {
        *self.seen.entry(what).or_default() += count;
    }

    fn accuse(&mut self, property: &'static str, what: String, evidence: Vec<String>) {
        self.violations.push(Violation { property, checker: self.checker, what, evidence });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen: Vec<_> = self.seen.iter().map(|(what, count)| format!("{count} {what}")).collect();
        writeln!(f, "seen: {}", seen.join(", "))?;
        for violation in &self.violations {
            writeln!(f, "{} by {}: {}", violation.property, violation.checker, violation.what)?;
            violation.evidence.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

/// A checker: looks at a run, and says what it saw and what is wrong.
pub type Check = fn(&History, &mut Verdict);

/// What checkers may find not to hold.
pub const PROPERTIES: &[&str] =
    &["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S12", "L3", "L5", "L6"];

/// All checkers by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("rates", rates::check),
    ("intervals", intervals::check),
    ("slots", slots::check),
    ("holders", holders::check),
    ("durability", durability::check),
    ("request_ids", request_ids::check),
    ("revival", revival::check),
    ("order", order::check),
    ("agreement", agreement::check),
    ("failures", failures::check),
    ("turns", turns::check),
    ("time", time::check),
    ("reuse", reuse::check),
    ("linearizable", linearizable::check),
];

/// Puts a run to all checkers.
pub fn judge(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    for (name, check) in CHECKS {
        verdict.checker = name;
        check(history, &mut verdict);
    }
    verdict
}
