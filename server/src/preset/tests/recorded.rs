//! Answers as the vendors' documentation shows them, read with the embedded profiles.

use std::time::Duration;

use tollgate_vendors::{Answer, Report};

use crate::preset::Presets;

/// What a vendor's profile reads from the head of an answer and the error code of its body. It came at ten in the morning.
pub fn read(vendor: &str, head: &str, code: &str) -> Report {
    let mut lines = head.lines().map(str::trim).filter(|line| !line.is_empty());
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let header = |line: &'_ str| {
        line.find(':').map(|colon| (line[..colon].to_owned(), line[colon + 1..].trim().to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let answer =
        Answer { status: status.expect("begins with HTTP/1.1 and the status"), headers: &headers, code };
    let (preset, _) = Presets::embedded().select(vendor).expect("an embedded vendor");
    preset.profile.read(&answer, "2026-11-22T10:00:00Z".parse().expect("an instant"))
}

/// What is left of a limit and its amount, as the vendor said.
pub fn left(report: &Report, limit: &str) -> (Option<u64>, Option<u64>) {
    let standing = report.standings.get(limit).copied().unwrap_or_default();
    (standing.remaining, standing.limit)
}

/// When a limit is fresh again, in milliseconds.
pub fn resets_in_ms(report: &Report, limit: &str) -> Option<u128> {
    report.standings.get(limit)?.resets_in.map(|reset| reset.as_millis())
}

/// The limits of which nothing is left.
pub fn exhausted(report: &Report) -> Vec<&str> {
    report.exhausted.iter().map(|limit| limit.as_str()).collect()
}

/// Fails unless it was a refusal that says to wait for so long.
#[track_caller]
pub fn assert_limited(report: &Report, seconds: Option<u64>) {
    assert!(report.limited, "{report:?}");
    assert_eq!(report.retry_after, seconds.map(Duration::from_secs), "{report:?}");
    assert!(report.ignored.is_empty(), "{report:?}");
}

/// Fails unless it was no refusal, and made sense.
#[track_caller]
pub fn assert_not_limited(report: &Report) {
    assert!(!report.limited && report.retry_after.is_none() && report.ignored.is_empty(), "{report:?}");
}
