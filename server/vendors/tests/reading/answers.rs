//! Whole answers: what counts as limited, and how long to wait then.

use std::time::Duration;

use tollgate_vendors::{
    Answer, Condition, HeaderRule, IGNORED_MAX, Profile, Reading, Report, Sign, TimeFormat, VALUE_BYTES_MAX,
};

use crate::{limit, received_at, rule};

fn read(profile: &Profile, status: u16, headers: &[(&str, &str)], code: &str) -> Report {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    profile.read(&Answer { status, headers: &headers, code }, received_at())
}

fn condition(header: &str, value: &str) -> Condition {
    Condition { header: header.parse().unwrap(), value: Some(value.to_owned()) }
}

/// Two limits with headers, and several signs.
fn profile() -> Profile {
    let (daily, minute) = (limit("daily"), limit("minute"));
    Profile {
        headers: vec![
            rule("x-daily-left", Reading::Remaining(daily.clone())),
            rule("x-daily-reset", Reading::Reset(daily.clone(), TimeFormat::Seconds)),
            rule("x-minute-left", Reading::Remaining(minute.clone())),
            rule("x-minute-reset", Reading::Reset(minute.clone(), TimeFormat::Seconds)),
            rule("retry-after-ms", Reading::RetryAfter(TimeFormat::Milliseconds)),
        ],
        signs: vec![
            Sign::status(429),
            Sign { code: Some("DAILY".to_owned()), limit: Some(daily), ..Sign::status(403) },
            Sign { header: Some(condition("x-reason", "rate")), limit: Some(minute), ..Sign::status(400) },
            Sign { wait: Some(Duration::from_secs(2)), ..Sign::status(423) },
        ],
    }
}

#[test]
fn a_sign_needs_all_that_it_names() {
    let profile = profile();
    let limited = |status, headers: &[(&str, &str)], code| read(&profile, status, headers, code).limited;
    assert!(limited(429, &[], ""));
    assert!(limited(429, &[], "WHATEVER"));
    assert!(limited(403, &[], "DAILY"));
    assert!(!limited(403, &[], "FORBIDDEN"));
    assert!(!limited(403, &[], ""));
    assert!(limited(400, &[("X-Reason", " Rate ")], ""));
    assert!(!limited(400, &[("X-Reason", "rate-of-return")], ""));
    assert!(!limited(400, &[], ""));
    assert!(!limited(200, &[("x-daily-left", "0")], ""));
    assert!(!limited(503, &[("Retry-After", "5")], ""));
    assert!(!limited(0, &[], ""));
}

#[test]
fn a_sign_may_need_a_header_of_any_value() {
    let there = Condition { header: http::header::RETRY_AFTER, value: None };
    let profile = Profile { headers: vec![], signs: vec![Sign { header: Some(there), ..Sign::status(503) }] };
    for (headers, limited) in [
        (vec![], false),
        (vec![("Retry-After", "17")], true),
        (vec![("retry-after", "soon")], true),
        (vec![("Retry-After", " ")], false),
        (vec![("Retry-After-Ms", "17")], false),
    ] {
        assert_eq!(read(&profile, 503, &headers, "").limited, limited, "{headers:?}");
        assert!(!read(&profile, 500, &headers, "").limited);
    }
}

#[test]
fn a_profile_names_the_headers_that_matter() {
    let condition = |header: &str| Condition { header: header.parse().unwrap(), value: None };
    let profile = Profile {
        headers: vec![HeaderRule { only_if: Some(condition("x-kind")), ..rule("x-left", Reading::Cost) }],
        signs: vec![Sign { header: Some(condition("x-reason")), ..Sign::status(429) }],
    };
    for header in ["X-Left", "x-kind", "X-REASON", "retry-after", "Retry-After"] {
        assert!(profile.reads(header), "{header}");
    }
    for header in ["set-cookie", "x-left-over", "x-lef", ""] {
        assert!(!profile.reads(header), "{header}");
    }
}

#[test]
fn of_a_vendor_that_nobody_knows_the_standard_is_read() {
    let wait = |status, value| {
        let report =
            read(&Profile::standard(), status, &[("Retry-After", value), ("X-Left", "0")], "TOO_MUCH");
        assert!(report.standings.is_empty() && report.ignored.is_empty(), "{report:?}");
        (report.limited, report.retry_after.map(|wait| wait.as_secs()))
    };
    assert_eq!(wait(429, "30"), (true, Some(30)));
    assert_eq!(wait(429, "Sun, 22 Nov 2026 10:01:00 GMT"), (true, Some(60)));
    assert_eq!(wait(503, "2026-11-22T10:00:07Z"), (false, Some(7)));
    assert_eq!(wait(200, "30"), (false, None));
}

#[test]
fn a_refusal_names_its_limit() {
    let report = read(&profile(), 403, &[], "DAILY");
    assert_eq!(report.exhausted, [limit("daily")].into());
    // What has nothing left is exhausted as well, whatever the answer.
    let report = read(&profile(), 200, &[("x-minute-left", "0"), ("x-daily-left", "1")], "");
    assert_eq!(report.exhausted, [limit("minute")].into());
}

#[test]
fn the_longest_wait_counts() {
    let profile = profile();
    let wait = |status, headers: &[(&str, &str)], code| {
        read(&profile, status, headers, code).retry_after.map(|wait| wait.as_millis())
    };
    assert_eq!(wait(429, &[], ""), None);
    assert_eq!(wait(429, &[("Retry-After", "5")], ""), Some(5_000));
    assert_eq!(wait(429, &[("Retry-After", "5"), ("retry-after-ms", "5250")], ""), Some(5_250));
    assert_eq!(wait(429, &[("Retry-After", "5"), ("Retry-After", "junk")], ""), Some(5_000));
    assert_eq!(wait(429, &[("Retry-After", "Sun, 22 Nov 2026 10:01:00 GMT")], ""), Some(60_000));
    // The reset of what is exhausted: of the day, though the minute's comes sooner.
    let both =
        [("x-minute-left", "0"), ("x-minute-reset", "20"), ("x-daily-left", "0"), ("x-daily-reset", "7200")];
    assert_eq!(wait(429, &both, ""), Some(7_200_000));
    // What is not exhausted does not hold anybody up, however late it resets.
    let minute =
        [("x-minute-left", "0"), ("x-minute-reset", "20"), ("x-daily-left", "9"), ("x-daily-reset", "7200")];
    assert_eq!(wait(429, &minute, ""), Some(20_000));
    assert_eq!(wait(403, &[("x-daily-reset", "7200")], "DAILY"), Some(7_200_000));
    // By the documentation.
    assert_eq!(wait(423, &[], ""), Some(2_000));
    assert_eq!(wait(423, &[("Retry-After", "1")], ""), Some(2_000));
    assert_eq!(wait(423, &[("Retry-After", "3")], ""), Some(3_000));
}

#[test]
fn only_errors_tell_to_wait() {
    let profile = profile();
    let wait =
        |status| read(&profile, status, &[("Retry-After", "5"), ("retry-after-ms", "9000")], "").retry_after;
    for status in [200, 202, 301] {
        assert_eq!(wait(status), None, "{status}");
    }
    for status in [400, 404, 429, 500, 503] {
        assert_eq!(wait(status), Some(Duration::from_secs(9)), "{status}");
    }
    // One that succeeded has time to wait for what it used up: the limiter's own counters know.
    assert_eq!(read(&profile, 200, &[("x-daily-left", "0"), ("x-daily-reset", "60")], "").retry_after, None);
}

#[test]
fn a_header_can_be_about_another_limit_from_case_to_case() {
    let about = |name: &str| HeaderRule {
        only_if: Some(condition("x-ratelimit-resource", name)),
        ..rule("x-ratelimit-limit", Reading::Limit(limit(name)))
    };
    let profile = Profile { headers: vec![about("core"), about("search")], signs: vec![] };
    let report = read(&profile, 200, &[("X-RateLimit-Limit", "30"), ("X-RateLimit-Resource", "search")], "");
    assert_eq!(report.standings.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["search"]);
    assert!(read(&profile, 200, &[("X-RateLimit-Limit", "30")], "").standings.is_empty());
}

#[test]
fn what_makes_no_sense_is_told_within_bounds() {
    let long = "9".repeat(VALUE_BYTES_MAX + 1);
    let headers: Vec<_> = (0..100).map(|_| ("x-daily-left", long.as_str())).collect();
    let report = read(&profile(), 429, &headers, "");
    assert!(report.limited && report.standings.is_empty());
    assert_eq!(report.ignored.len(), IGNORED_MAX);
    assert!(report.ignored.iter().all(|ignored| ignored.value.len() <= 100), "{report:?}");
    assert_eq!(report.ignored[0].problem.to_string(), "is too long");

    let headers: [(&str, &[u8]); 1] = [("x-daily-left", b"\xff\n\x00")];
    let report = profile().read(&Answer { status: 200, headers: &headers, code: "" }, received_at());
    assert_eq!(report.ignored[0].value, "\\xff\\n\\x00");
}
