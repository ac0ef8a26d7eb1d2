//! Counts, pairs and lists.

use tollgate_vendors::{Answer, COUNT_MAX, HeaderRule, Problem, Profile, Reading, Standing};

use crate::{limit, only_problem, read, received_at, rule};

fn remaining(value: &str) -> Option<u64> {
    read(Reading::Remaining(limit("l")), value.as_bytes()).standings.get("l")?.remaining
}

#[test]
fn a_count_is_a_whole_number() {
    let greatest = COUNT_MAX.to_string();
    for (text, expected) in [("0", 0), ("99", 99), (" 99\t", 99), ("0099", 99), (&greatest, COUNT_MAX)] {
        assert_eq!(remaining(text), Some(expected), "{text:?}");
    }
    let too_great = (COUNT_MAX + 1).to_string();
    let whole = Problem::Malformed("a whole number");
    for (text, expected) in [
        ("-1", Problem::Negative),
        ("-99999999999999999999999", Problem::Negative),
        ("18446744073709551616", Problem::Implausible),
        (&too_great, Problem::Implausible),
        ("NaN", whole),
        ("1.5", whole),
        ("1e3", whole),
        ("+1", whole),
        ("1 000", whole),
        ("--1", whole),
        ("unlimited", whole),
    ] {
        let report = read(Reading::Remaining(limit("l")), text.as_bytes());
        assert_eq!(only_problem(report), Some(expected), "{text:?}");
    }
    assert_eq!(only_problem(read(Reading::Limit(limit("l")), b"0")), Some(Problem::Zero));
    assert_eq!(read(Reading::Cost, b"0").cost, Some(0));
}

#[test]
fn an_empty_value_says_nothing() {
    for text in ["", "  ", ",", " , ,"] {
        let report = read(Reading::Limit(limit("l")), text.as_bytes());
        assert!(report.standings.is_empty() && report.ignored.is_empty(), "{text:?} {report:?}");
    }
}

#[test]
fn of_what_is_said_twice_the_strictest_counts() {
    assert_eq!(remaining("99, 7, 50"), Some(7));
    // Junk in a list hides nothing.
    assert_eq!(remaining("oops, 99, -3, 7"), Some(7));

    let hourly = limit("hourly");
    let headers = vec![
        rule("x-limit", Reading::Limit(hourly.clone())),
        rule("x-left", Reading::Remaining(hourly.clone())),
        rule("x-reset", Reading::Reset(hourly.clone(), tollgate_vendors::TimeFormat::Seconds)),
        rule("x-cost", Reading::Cost),
    ];
    let answer = Answer {
        status: 200,
        headers: &[
            ("X-Limit", b"100"),
            ("x-limit", b"80"),
            ("X-LEFT", b"9"),
            ("x-left", b"12"),
            ("x-left", b""),
            ("x-reset", b"3"),
            ("x-reset", b"30"),
            ("x-cost", b"8"),
            ("x-cost", b"1"),
        ],
        code: "",
    };
    let report = Profile { headers, signs: vec![] }.read(&answer, received_at());
    let resets_in = Some(std::time::Duration::from_secs(30));
    assert_eq!(report.standings["hourly"], Standing { limit: Some(80), remaining: Some(9), resets_in });
    assert_eq!((report.cost, report.ignored.len()), (Some(8), 0));
}

#[test]
fn used_of_limit_leaves_the_rest() {
    let standing = |value: &str| {
        let report = read(Reading::UsedOfLimit(limit("l")), value.as_bytes());
        report.standings.get("l").map(|standing| (standing.remaining.unwrap(), standing.limit.unwrap()))
    };
    assert_eq!(standing("10018/100000"), Some((89_982, 100_000)));
    assert_eq!(standing("32 / 40"), Some((8, 40)));
    assert_eq!(standing("100044/100000"), Some((0, 100_000)));
    for value in ["1", "1/", "/1", "a/b", "1/0", "-1/5", "1/2/3", "1/18446744073709551616"] {
        assert_eq!(standing(value), None, "{value:?}");
        assert!(
            only_problem(read(Reading::UsedOfLimit(limit("l")), value.as_bytes())).is_some(),
            "{value:?}"
        );
    }
}

#[test]
fn one_item_of_a_list_is_read() {
    let item = |key: &str, reading: Reading, value: &str| {
        let item = HeaderRule { item: Some(key.to_owned()), ..rule("x", reading) };
        let profile = Profile { headers: vec![item], signs: vec![] };
        profile.read(&Answer { status: 200, headers: &[("x", value.as_bytes())], code: "" }, received_at())
    };
    let left = |key: &str, value: &str| {
        item(key, Reading::Remaining(limit("l")), value).standings.get("l").and_then(|l| l.remaining)
    };
    let zendesk = "total=100; remaining=99; resets=41";
    assert_eq!(left("remaining", zendesk), Some(99));
    assert_eq!(left("Remaining", zendesk), Some(99));
    assert_eq!(left("main", zendesk), None);
    assert_eq!(left("r", "\"default\";r=50;t=30"), Some(50));
    assert_eq!(left("r", "r=\"50\""), Some(50));
    assert_eq!(left("r", "r=;r = 7 ;r=9,=,;;=3,r"), Some(7));
    assert_eq!(left("r", ""), None);

    let usage = |key: &str, value: &str| {
        let report = item(key, Reading::UsedOfLimit(limit("l")), value);
        report.standings.get("l").and_then(|standing| standing.limit)
    };
    let salesforce = "api-usage=25/5000; per-app-api-usage=17/250(appName=a;b,api-usage=1/2)";
    assert_eq!(usage("api-usage", salesforce), Some(5000));
    assert_eq!(usage("per-app-api-usage", salesforce), Some(250));
    assert_eq!(usage("api-usage", "))((api-usage=1/2"), None);
    assert_eq!(item("r", Reading::Remaining(limit("l")), "r=many, r=5").ignored.len(), 1);
}
