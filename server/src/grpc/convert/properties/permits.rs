//! What is asked about permits: one by one, in batches and in frames of a stream.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
    test_runner::TestCaseError,
};
use tollgate_limiter::{
    CallOutcome, CallResult, Command, FeedbackRules, HoldBack, Label, MAX_AMOUNT, NANOS_PER_SECOND, Pause,
    Resource, ResultBytes, Span, VendorAnswer, WallTime,
};
use tollgate_proto::v1;

use super::{
    super::{
        acquire,
        feedback::{self, Receipt},
        permit,
    },
    is_told, name, number, seldom_a_duration, survives, text, variant,
};
use crate::raft::call::Call;

const AMOUNTS_MAX: usize = 16;
const IGNORED_MAX: usize = 16;

/// What headers say, and what no header should.
static VALUES: [&str; 12] = [
    "0",
    "17",
    "-1",
    "NaN",
    "-inf",
    "1e308",
    "99999999999999999999999",
    "18446744073709551615",
    "10018/100000",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "9999-12-31T23:59:59.999999999Z",
    ",,;=\u{0}",
];

static HEADERS: [&str; 8] = [
    "Retry-After",
    "RETRY-AFTER",
    "retry-after",
    "X-HubSpot-RateLimit-Remaining",
    "X-HubSpot-RateLimit-Max",
    "x-ratelimit-endpoint-cost",
    "X-RateLimit-Remaining",
    "Sforce-Limit-Info",
];

/// That of a permit, for the most part.
fn permit_id() -> impl Strategy<Value = String> {
    prop_oneof![20 => "p0-[1-9a-f][0-9a-f]{0,14}", 2 => "p[01]-[0-9a-fA-F+-]{0,17}", 1 => text()]
}

fn outcome() -> impl Strategy<Value = i32> {
    prop_oneof![40 => 0..8i32, 1 => any::<i32>()]
}

prop_compose! {
    /// A request for a permit.
    pub fn acquire_request()(
        resource in name(),
        (operation, consumer, subject, key) in (text(), text(), text(), text()),
        cost in option::of(number()),
        amounts in prop_oneof![9 => btree_map(name(), number(), 0..3), 1 => btree_map(name(), number(), 0..20)],
        priority in variant(),
        max_wait in seldom_a_duration(),
        waited_for in seldom_a_duration(),
        lease in seldom_a_duration(),
        request_id in prop_oneof![3 => Just(String::new()), 1 => text()],
        attempt in any::<u32>(),
    ) -> v1::AcquirePermitRequest {
        v1::AcquirePermitRequest {
            resource,
            operation,
            consumer,
            subject,
            key,
            cost,
            amounts,
            priority,
            max_wait,
            waited_for,
            lease,
            request_id,
            attempt,
            ..Default::default()
        }
    }
}

prop_compose! {
    /// A renewal.
    pub fn renewal()(permit_id in permit_id(), lease in seldom_a_duration()) -> v1::RenewPermitRequest {
        v1::RenewPermitRequest { permit_id, lease }
    }
}

prop_compose! {
    fn vendor_feedback()(
        status in prop_oneof![8 => select(vec![200u32, 404, 429, 503]), 1 => any::<u32>()],
        headers in btree_map(
            prop_oneof![9 => select(&HEADERS[..]).prop_map(str::to_owned), 1 => text()],
            prop_oneof![9 => select(&VALUES[..]).prop_map(str::to_owned), 1 => text()],
            0..6,
        ),
        error_code in prop_oneof![3 => Just(String::new()), 1 => text()],
        vendor in prop_oneof![20 => select(vec!["", "hubspot", "salesforce", "salesloft"]).prop_map(str::to_owned), 1 => text()],
        body in prop_oneof![
            1 => Just(Vec::new()),
            1 => Just(br#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","n":1e999}]"#.to_vec()),
            1 => vec(any::<u8>(), 0..50),
        ],
    ) -> v1::VendorFeedback {
        v1::VendorFeedback { status, headers, error_code, vendor, body }
    }
}

prop_compose! {
    /// A release.
    pub fn release_request()(
        permit_id in permit_id(),
        outcome in outcome(),
        cost in option::of(number()),
        amounts in prop_oneof![9 => btree_map(name(), number(), 0..3), 1 => btree_map(name(), number(), 0..20)],
        feedback in option::weighted(0.4, vendor_feedback()),
        result in option::weighted(0.3, prop_oneof![
            8 => vec(any::<u8>(), 0..50),
            1 => Just(vec![0; ResultBytes::MAX]),
            1 => Just(vec![0; ResultBytes::MAX + 1]),
        ]),
        result_ttl in seldom_a_duration(),
    ) -> v1::ReleasePermitRequest {
        v1::ReleasePermitRequest { permit_id, outcome, cost, amounts, feedback, result, result_ttl }
    }
}

prop_compose! {
    fn report_request()(
        resource in name(),
        key in text(),
        feedback in option::weighted(0.8, vendor_feedback()),
        permit_id in prop_oneof![Just(String::new()), permit_id()],
        outcome in outcome(),
        (operation, consumer, subject) in (text(), text(), text()),
    ) -> v1::ReportFeedbackRequest {
        v1::ReportFeedbackRequest {
            resource, key, feedback, permit_id, outcome, operation, consumer, subject,
        }
    }
}

prop_compose! {
    fn receipt()(
        received_at in any::<i64>(),
        jitter in prop_oneof![0..=1_000u64, any::<u64>()],
        vendor in select(vec!["", "hubspot", "a stranger"]),
        longest_wait in (Pause::SHORTEST.0..=HoldBack::LONGEST.0).prop_map(Span),
    ) -> Receipt<'static> {
        let vendor = Label::new(vendor).expect("a label");
        let rules = FeedbackRules { vendor, longest_wait, ..FeedbackRules::default() };
        Receipt { received_at: WallTime(received_at), rules, jitter, ..Receipt::default() }
    }
}

/// What is heeded of an answer is within the bounds that the log knows, and what is told of it within those of the resource.
fn is_bounded(
    answer: &VendorAnswer,
    told: Option<&v1::ReportFeedbackResponse>,
    receipt: &Receipt<'_>,
) -> Result<(), TestCaseError> {
    prop_assert!(answer.wait.is_none_or(|wait| (Pause::SHORTEST..=HoldBack::LONGEST).contains(&wait)));
    prop_assert!(
        answer.exhausted.len() <= Resource::MAX_LIMITS && answer.limits.len() <= Resource::MAX_LIMITS
    );
    for limit in &answer.limits {
        prop_assert!(limit.amount.is_none_or(|amount| (1..=MAX_AMOUNT).contains(&amount)));
        prop_assert!(limit.remaining.is_none_or(|remaining| remaining <= MAX_AMOUNT));
    }
    prop_assert!(answer.cost.is_none_or(|cost| cost <= MAX_AMOUNT));
    let Some(told) = told else { return Ok(()) };
    prop_assert_eq!(told.wait.is_some(), answer.wait.is_some());
    if let Some(wait) = told.wait {
        let nanos = i128::from(wait.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(wait.nanos);
        prop_assert!((0..=i128::from(receipt.rules.longest_wait.0)).contains(&nanos));
    }
    prop_assert!(told.ignored_headers.len() <= IGNORED_MAX);
    Ok(())
}

/// How the client said that the call ended. Only of a call that was answered the vendor may know better.
fn is_as_told(outcome: CallOutcome, given: v1::Outcome, was_answered: bool) -> bool {
    match given {
        v1::Outcome::NotSent => outcome == CallOutcome::NotSent,
        _ if was_answered => outcome != CallOutcome::NotSent,
        v1::Outcome::Unspecified => outcome == CallOutcome::Ok,
        given => permit::outcome_to_wire(outcome) == given,
    }
}

proptest! {
    #[test]
    fn an_acquire_is_refused_by_its_fields_or_within_its_bounds(request in acquire_request()) {
        let call = match acquire::call(request, std::time::Duration::from_secs(10)).map(|(_, call)| call) {
            Ok(call) => call,
            Err(invalid) => return is_told(invalid, "AcquirePermitRequest"),
        };
        survives(&call)?;
        let Call::Command { command: Command::Acquire(acquire), wait, .. } = call else {
            return Err(TestCaseError::fail("not an acquire"));
        };
        prop_assert!(acquire.cost <= MAX_AMOUNT);
        prop_assert!(acquire.amounts.len() <= AMOUNTS_MAX && acquire.amounts.values().all(|amount| *amount <= MAX_AMOUNT));
        prop_assert!(acquire.lease.is_none_or(|lease| !lease.is_zero() && lease <= Span::from_secs(86_400)));
        prop_assert!(wait.is_none_or(|wait| wait.max_wait <= Span::from_secs(3_600) && wait.left() <= Span::from_secs(10)));
    }

    #[test]
    fn any_text_is_read_as_a_permit_id_or_not_found(text in prop_oneof!["p0-[0-9a-f]{1,17}", any::<String>()]) {
        let request = v1::RenewPermitRequest { permit_id: text.clone(), lease: None };
        match permit::renew(&request) {
            Ok(Call::Command { command: Command::Renew(renew), .. }) => {
                prop_assert_eq!(permit::permit_id(renew.permit), text);
            }
            Ok(_) => return Err(TestCaseError::fail("not a renewal")),
            Err(failure) => is_told(failure, "RenewPermitRequest")?,
        }
    }

    #[test]
    fn a_renewal_is_refused_by_its_fields_or_within_its_bounds(request in renewal()) {
        let call = match permit::renew(&request) {
            Ok(call) => call,
            Err(failure) => return is_told(failure, "RenewPermitRequest"),
        };
        survives(&call)?;
        let Call::Command { command: Command::Renew(renew), .. } = call else {
            return Err(TestCaseError::fail("not a renewal"));
        };
        prop_assert!(renew.lease.is_none_or(|lease| !lease.is_zero() && lease <= Span::from_secs(86_400)));
    }

    #[test]
    fn a_release_is_refused_by_its_fields_or_survives(request in release_request(), receipt in receipt()) {
        let (call, told) = match permit::release(request.clone(), &receipt) {
            Ok(read) => read,
            Err(failure) => return is_told(failure, "ReleasePermitRequest"),
        };
        survives(&call)?;
        let Call::Command { command: Command::Release(release), attempt: 0, wait: None } = call else {
            return Err(TestCaseError::fail("not a release that is decided at once"));
        };
        prop_assert_eq!(&permit::permit_id(release.permit), &request.permit_id);
        prop_assert_eq!(release.cost, request.cost);
        prop_assert!(release.cost.is_none_or(|cost| cost <= MAX_AMOUNT));
        let amounts: BTreeMap<_, _> =
            release.amounts.iter().map(|(name, amount)| (name.to_string(), *amount)).collect();
        prop_assert_eq!(&request.amounts, &amounts);
        prop_assert!(amounts.len() <= AMOUNTS_MAX && amounts.values().all(|amount| *amount <= MAX_AMOUNT));
        prop_assert_eq!(told.is_some(), request.feedback.is_some());
        prop_assert!(is_as_told(release.outcome, request.outcome(), told.is_some()), "{:?}", release.outcome);
        prop_assert!(told.is_none() || release.answer.is_some());
        is_bounded(release.answer.as_deref().unwrap_or(&VendorAnswer::default()), told.as_ref(), &receipt)?;
        if let Some(result) = release.result {
            prop_assert_eq!(Some(result.bytes.as_slice()), request.result.as_deref());
            prop_assert!((CallResult::TTL_MIN..=CallResult::TTL_MAX).contains(&result.ttl));
            prop_assert!(matches!(release.outcome, CallOutcome::Ok | CallOutcome::ClientError));
        }
    }

    #[test]
    fn a_report_is_refused_by_its_fields_or_survives(request in report_request(), receipt in receipt()) {
        let (report, told) = match feedback::report(&request, &receipt) {
            Ok(read) => read,
            Err(failure) => return is_told(failure, "ReportFeedbackRequest"),
        };
        survives(&Command::from(report.clone()))?;
        prop_assert_eq!(report.resource.as_str(), &request.resource);
        prop_assert_eq!(report.key.as_str(), &request.key);
        prop_assert_eq!(&report.permit.map(permit::permit_id).unwrap_or_default(), &request.permit_id);
        prop_assert_eq!(told.is_some(), request.feedback.is_some());
        prop_assert!(is_as_told(report.outcome, request.outcome(), told.is_some()), "{:?}", report.outcome);
        is_bounded(&report.answer, told.as_ref(), &receipt)?;
    }
}
