//! What a vendor's answer says about its limits.
//!
//! Every vendor tells it otherwise: a remaining count here, `api-usage=10018/100000` there; resets as seconds from now, as
//! seconds or milliseconds since 1970, as `6m0s` or as a date; 429, or 403 with a code in the body. A [`Profile`] is data
//! that says how one vendor does. [`Profile::read`] turns an [`Answer`], as raw as it came, into a [`Report`] in the words of
//! the limiter: which limits are exhausted, for how long, and what is left of the others. So clients in any language pass
//! headers on, and need not understand them.
//!
//! **Invariant:** reading is a function of the answer and of when it came. It knows no clock, and no bytes make it panic.
//!
//! **Invariant:** where an answer says several things about one limit, the strictest counts; and what makes no sense is
//! listed in [`Report::ignored`] instead of being guessed at. The guess that costs most is a known bug elsewhere: a delta of
//! 41 s that is read as an instant lies in 1970, so the limit seems to be free; an instant that is read as a delta stops
//! everything for 55 years. Here either is refused for being [`implausible`](Problem::Implausible).
//!
//! ```
//! use std::time::Duration;
//! use tollgate_limiter::LimitName;
//! use tollgate_vendors::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hourly = LimitName::new("hourly")?;
//! let header = |name: &'static str, reading| HeaderRule::new(http::HeaderName::from_static(name), reading);
//! let profile = Profile {
//!     headers: vec![
//!         header("x-ratelimit-remaining", Reading::Remaining(hourly.clone())),
//!         header("x-ratelimit-reset", Reading::Reset(hourly.clone(), TimeFormat::EpochSeconds)),
//!     ],
//!     signs: vec![Sign::status(429)],
//! };
//! let answer = Answer {
//!     status: 429,
//!     headers: &[("X-RateLimit-Remaining", b"0"), ("X-RateLimit-Reset", b"1795305600")],
//!     code: "",
//! };
//! let report = profile.read(&answer, "2026-11-21T23:59:30Z".parse()?);
//! assert!(report.limited && report.exhausted.contains(&hourly));
//! assert_eq!(report.retry_after, Some(Duration::from_secs(30)));
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: `profile.rs` (the words), `report.rs` (the result), `read.rs` (how one becomes the other), then the
//! formats: `count.rs`, `time.rs`, `items.rs`.

// `clippy.toml` bans the types; this catches floats that nobody names.
#![deny(clippy::float_arithmetic)]

mod count;
mod items;
mod profile;
mod read;
mod report;
mod time;

pub use self::{
    count::COUNT_MAX,
    profile::{Answer, Condition, HeaderRule, Profile, Reading, Sign},
    read::VALUE_BYTES_MAX,
    report::{IGNORED_MAX, Ignored, Problem, Report, Standing},
    time::{PAST_MAX, TimeFormat, WAIT_MAX},
};
