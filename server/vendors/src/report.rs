//! What an answer said.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tollgate_limiter::LimitName;

use crate::time::{PAST_MAX, WAIT_MAX};

/// What is kept of values that make no sense, so that a hostile answer cannot fill a log.
pub const IGNORED_MAX: usize = 16;

/// Bytes of such a value that are kept.
const IGNORED_VALUE_MAX: usize = 100;

/// What an answer said, in the words of the limiter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The vendor refused the call because of a limit.
    pub limited: bool,
    /// The limits of which nothing is left: those that the refusal names, and those with 0 remaining.
    pub exhausted: BTreeSet<LimitName>,
    /// How long to send nothing, from when the answer came: the longest of `Retry-After` (of answers that are errors) and, if
    /// the call was refused, of the resets of exhausted limits and of what the vendor's documentation demands. At most
    /// [`WAIT_MAX`].
    pub retry_after: Option<Duration>,
    /// What was said of each limit. A limit of which nothing was said, or nothing that made sense, is not there.
    pub standings: BTreeMap<LimitName, Standing>,
    /// What the call cost by the vendor's count, 0 to [`COUNT_MAX`](crate::COUNT_MAX).
    pub cost: Option<u64>,
    /// What made no sense, at most [`IGNORED_MAX`].
    pub ignored: Vec<Ignored>,
}

/// What a vendor says of a limit. `None`: it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its own amount, 1 to [`COUNT_MAX`](crate::COUNT_MAX).
    pub limit: Option<u64>,
    /// What is left of it, 0 to [`COUNT_MAX`](crate::COUNT_MAX); may be more than the amount.
    pub remaining: Option<u64>,
    /// When it is fresh again, from when the answer came; at most [`WAIT_MAX`].
    pub resets_in: Option<Duration>,
}

/// A value that made no sense, and so changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The header's name.
    pub header: String,
    /// What it said, escaped, and cut after 100 bytes.
    pub value: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Why a value makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not the text that was expected.
    #[error("is not {0}")]
    Malformed(&'static str),
    /// Longer than any honest value.
    #[error("is too long")]
    TooLong,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// An amount of 0, which would stop everything; vendors that send it mean that there is none.
    #[error("is zero")]
    Zero,
    /// A count that no vendor grants, or a time that is too far off: probably it is written in another format.
    #[error("is not plausible: at most {max} counts, {days} days ahead and {minutes} minutes ago make sense", max = crate::COUNT_MAX, days = WAIT_MAX.as_secs() / 86_400, minutes = PAST_MAX.as_secs() / 60)]
    Implausible,
}

impl Report {
    pub(crate) fn standing(&mut self, limit: &LimitName) -> &mut Standing {
        self.standings.entry(limit.clone()).or_default()
    }

    pub(crate) fn ignore(&mut self, header: &str, value: &[u8], problem: Problem) {
        if self.ignored.len() < IGNORED_MAX {
            let start = &value[..value.len().min(IGNORED_VALUE_MAX)];
            let value = start.escape_ascii().to_string();
            self.ignored.push(Ignored { header: header.to_owned(), value, problem });
        }
    }

    /// Of two times to wait, the longer is the stricter.
    pub(crate) fn wait(&mut self, at_least: Duration) {
        self.retry_after = self.retry_after.max(Some(at_least));
    }
}

impl Standing {
    /// Of two amounts, the smaller is the stricter.
    pub(crate) fn limit(&mut self, at_most: u64) {
        self.limit = Some(self.limit.map_or(at_most, |limit| limit.min(at_most)));
    }

    pub(crate) fn remaining(&mut self, at_most: u64) {
        self.remaining = Some(self.remaining.map_or(at_most, |remaining| remaining.min(at_most)));
    }

    /// Of two resets, the later is the stricter.
    pub(crate) fn resets_in(&mut self, at_least: Duration) {
        self.resets_in = self.resets_in.max(Some(at_least));
    }
}
