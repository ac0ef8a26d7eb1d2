//! What is read from answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod counts;
mod hostile;
mod times;

use http::HeaderName;
use jiff::Timestamp;
use tollgate_limiter::LimitName;
use tollgate_vendors::{Answer, HeaderRule, Ignored, Problem, Profile, Reading, Report};

/// When all answers of these tests came.
const RECEIVED_AT: &str = "2026-11-22T10:00:00Z";

fn received_at() -> Timestamp {
    RECEIVED_AT.parse().unwrap()
}

fn limit(name: &str) -> LimitName {
    LimitName::new(name).unwrap()
}

fn rule(header: &str, reading: Reading) -> HeaderRule {
    HeaderRule::new(header.parse::<HeaderName>().unwrap(), reading)
}

/// What a profile of this one rule reads from one header `x` of an error.
fn read(reading: Reading, value: &[u8]) -> Report {
    let profile = Profile { headers: vec![rule("x", reading)], signs: vec![] };
    profile.read(&Answer { status: 500, headers: &[("X", value)], code: "" }, received_at())
}

/// The problem with the only value that made no sense; that it was all that came of it.
fn only_problem(report: Report) -> Option<Problem> {
    let problem = report.ignored.first().map(|Ignored { problem, .. }| *problem)?;
    assert_eq!(Report { ignored: vec![], ..report.clone() }, Report::default(), "{report:?}");
    assert_eq!(report.ignored.len(), 1, "{report:?}");
    Some(problem)
}
