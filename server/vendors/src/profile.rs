//! How a vendor speaks.

use std::{iter, time::Duration};

use http::{HeaderName, header::RETRY_AFTER};
use tollgate_limiter::LimitName;

use crate::TimeFormat;

/// How one vendor tells about its limits. Beside its headers, `Retry-After` is read of every vendor, in any
/// [`TimeFormat`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What its headers mean. A header may be in several.
    pub headers: Vec<HeaderRule>,
    /// Which answers mean that a limit was exceeded. All that match count.
    pub signs: Vec<Sign>,
}

/// What a header means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// The header.
    pub name: HeaderName,
    /// Only this item of a list such as `total=100; remaining=99; resets=41`, by its key, without regard to case. `None`: the
    /// whole value.
    pub item: Option<String>,
    /// Only if another header says so: some vendors tell about different limits in the same headers.
    pub only_if: Option<Condition>,
    /// What it tells.
    pub reading: Reading,
}

/// What a value tells, of which limit, and how it is written. Counts are decimal integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// When to come back.
    RetryAfter(TimeFormat),
    /// The vendor's own amount.
    Limit(LimitName),
    /// What is left of it.
    Remaining(LimitName),
    /// What is used and the amount, as `10018/100000`; the first may be greater.
    UsedOfLimit(LimitName),
    /// When it is fresh again.
    Reset(LimitName, TimeFormat),
    /// What this call cost.
    Cost,
}

/// That a header is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The header.
    pub header: HeaderName,
    /// Its whole value, without regard to case. `None`: any, but an empty one says nothing.
    pub value: Option<String>,
}

/// An answer that means that a limit was exceeded: what is given here must all be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The HTTP status.
    pub status: u16,
    /// The error code in the body.
    pub code: Option<String>,
    /// A header that is there.
    pub header: Option<Condition>,
    /// Which limit it was. `None`: the vendor does not say.
    pub limit: Option<LimitName>,
    /// How long to wait at the least, by the vendor's documentation.
    pub wait: Option<Duration>,
}

/// An answer, as raw as the client got it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status; 0 if there was none.
    pub status: u16,
    /// Names and values of the headers, in any case and order, possibly repeated.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The error code from the body, such as `REQUEST_LIMIT_EXCEEDED`; empty if there was none.
    pub code: &'a str,
}

impl Profile {
    /// What HTTP itself says, for vendors of which nothing else is known: 429 means that a limit was exceeded, and errors may say
    /// `Retry-After`.
    pub fn standard() -> Profile {
        Profile { headers: Vec::new(), signs: vec![Sign::status(429)] }
    }

    /// Whether a header of this name, in any case, can make a difference.
    pub fn reads(&self, header: &str) -> bool {
        let of_rules = self.headers.iter().flat_map(|rule| {
            iter::once(&rule.name).chain(rule.only_if.as_ref().map(|condition| &condition.header))
        });
        let of_signs = self.signs.iter().filter_map(|sign| Some(&sign.header.as_ref()?.header));
        header.eq_ignore_ascii_case(RETRY_AFTER.as_str())
            || of_rules.chain(of_signs).any(|name| name.as_str().eq_ignore_ascii_case(header))
    }
}

impl HeaderRule {
    /// The header's whole value, always.
    pub fn new(name: HeaderName, reading: Reading) -> HeaderRule {
        HeaderRule { name, item: None, only_if: None, reading }
    }
}

impl Sign {
    /// Whatever the rest of the answer says.
    pub fn status(status: u16) -> Sign {
        Sign { status, code: None, header: None, limit: None, wait: None }
    }

    pub(crate) fn is_in(&self, answer: &Answer<'_>) -> bool {
        self.status == answer.status
            && self.code.as_deref().is_none_or(|code| code == answer.code)
            && self.header.as_ref().is_none_or(|condition| condition.holds(answer))
    }
}

impl Condition {
    pub(crate) fn holds(&self, answer: &Answer<'_>) -> bool {
        answer.values(&self.header).map(<[u8]>::trim_ascii).any(|given| match &self.value {
            Some(value) => given.eq_ignore_ascii_case(value.as_bytes()),
            None => !given.is_empty(),
        })
    }
}

impl<'a> Answer<'a> {
    /// All values of a header, in their order.
    pub(crate) fn values(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let is_it = move |given: &str| given.eq_ignore_ascii_case(name.as_str());
        self.headers.iter().filter(move |(given, _)| is_it(given)).map(|(_, value)| *value)
    }
}

impl Reading {
    /// The limit that it is about.
    pub fn limit(&self) -> Option<&LimitName> {
        match self {
            Reading::Limit(limit)
            | Reading::Remaining(limit)
            | Reading::UsedOfLimit(limit)
            | Reading::Reset(limit, _) => Some(limit),
            Reading::RetryAfter(_) | Reading::Cost => None,
        }
    }
}
