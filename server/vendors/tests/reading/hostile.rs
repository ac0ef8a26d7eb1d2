//! Any bytes at all: nothing panics, and no report is beyond its bounds.

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use tollgate_vendors::{
    Answer, COUNT_MAX, Condition, HeaderRule, IGNORED_MAX, Profile, Reading, Sign, TimeFormat, WAIT_MAX,
};

use crate::{limit, rule};

const NAMES: [&str; 4] = ["Retry-After", "a", "B", "other"];

fn format() -> impl Strategy<Value = TimeFormat> {
    use TimeFormat::*;
    prop_oneof![
        Just(Seconds),
        Just(Milliseconds),
        Just(EpochSeconds),
        Just(EpochMilliseconds),
        Just(Length),
        Just(Rfc3339),
        Just(HttpDate),
        Just(Any),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        format().prop_map(Reading::RetryAfter),
        Just(Reading::Limit(limit("one"))),
        Just(Reading::Remaining(limit("one"))),
        Just(Reading::UsedOfLimit(limit("two"))),
        format().prop_map(|format| Reading::Reset(limit("two"), format)),
        Just(Reading::Cost),
    ]
}

fn header_rule() -> impl Strategy<Value = HeaderRule> {
    let item = prop_oneof![2 => Just(None), 1 => Just(Some("k".to_owned()))];
    let condition = Condition { header: http::header::AGE, value: Some("1".to_owned()) };
    let only_if = prop_oneof![4 => Just(None), 1 => Just(Some(condition))];
    let name = prop_oneof![Just("a"), Just("b")];
    (name, item, only_if, reading()).prop_map(|(name, item, only_if, reading)| HeaderRule {
        item,
        only_if,
        ..rule(name, reading)
    })
}

/// Bytes, and texts that come close to what is meant.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let close = prop_oneof![
        "[-+]?[0-9]{0,25}(\\.[0-9]{0,25})?",
        "-?[0-9]{1,20}/-?[0-9]{1,20}",
        "(k=-?[0-9]{0,20}(/[0-9]{0,20})?[ ]?[;,()\"]?){0,4}",
        "([0-9]{0,12}(h|m|s|ms|us|ns|d|w|y|mo)){0,4}",
        "P?T?[0-9]{0,6}[DHMS]{0,2}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?",
        "(Sun|Mon|X), [0-9]{2} (Nov|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "\\PC{0,20}",
    ];
    prop_oneof![1 => vec(any::<u8>(), 0..40), 4 => close.prop_map(String::into_bytes)]
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    (first..=last).prop_map(|second| Timestamp::from_second(second).expect("within the bounds of the type"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_answer_goes_beyond_the_bounds(
        rules in vec(header_rule(), 0..6),
        status in prop_oneof![Just(429), any::<u16>()],
        headers in vec((prop::sample::select(&NAMES[..]), value()), 0..6),
        code in "\\PC{0,5}",
        received_at in instant(),
    ) {
        let profile = Profile { headers: rules, signs: vec![Sign::status(429)] };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let report = profile.read(&Answer { status, headers: &headers, code: &code }, received_at);
        prop_assert_eq!(report.limited, status == 429);
        prop_assert!(report.retry_after.is_none_or(|wait| wait <= WAIT_MAX));
        prop_assert!(report.cost.is_none_or(|cost| cost <= COUNT_MAX));
        prop_assert!(report.ignored.len() <= IGNORED_MAX);
        for standing in report.standings.values() {
            prop_assert!(standing.limit.is_none_or(|limit| (1..=COUNT_MAX).contains(&limit)));
            prop_assert!(standing.remaining.is_none_or(|remaining| remaining <= COUNT_MAX));
            prop_assert!(standing.resets_in.is_none_or(|reset| reset <= WAIT_MAX));
            prop_assert!(standing != &Default::default(), "nothing was said, but it is listed");
        }
        prop_assert!(report.retry_after.is_none() || status == 429 || status >= 400);
    }

    /// More headers never make a report laxer.
    #[test]
    fn one_header_more_is_never_laxer(
        rules in vec(header_rule(), 1..6),
        headers in vec((prop::sample::select(&NAMES[..]), value()), 1..6),
        received_at in instant(),
    ) {
        let profile = Profile { headers: rules, signs: vec![Sign::status(429)] };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let read = |headers| profile.read(&Answer { status: 429, headers, code: "" }, received_at);
        let (fewer, more) = (read(&headers[1..]), read(&headers));
        prop_assert!(more.retry_after >= fewer.retry_after);
        prop_assert!(more.cost >= fewer.cost);
        prop_assert!(more.exhausted.is_superset(&fewer.exhausted));
        for (limit, before) in &fewer.standings {
            let after = &more.standings[limit];
            prop_assert!(before.limit.is_none_or(|limit| after.limit.is_some_and(|now| now <= limit)));
            prop_assert!(before.remaining.is_none_or(|left| after.remaining.is_some_and(|now| now <= left)));
            prop_assert!(after.resets_in >= before.resets_in);
        }
    }
}
