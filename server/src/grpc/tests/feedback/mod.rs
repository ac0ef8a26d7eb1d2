//! What vendors answer, before the real limiter.

mod callers;
mod figures;
mod presets;

use std::collections::BTreeMap;

use tollgate_limiter::CallOutcome;
use tonic::Code;

use super::{input::assert_invalid, limiter::limiter, *};
use crate::resource_file;

const RESOURCES: &str = r#"
[[resource]]
name = "hubspot/acme"
preset = "hubspot:professional"

[[resource]]
name = "stripe/acme"
preset = "stripe"
[resource.feedback]
longest_wait = "2s"

[[resource]]
name = "salesloft/acme"
preset = "salesloft"

[[resource]]
name = "vendor/keys"
keys = ["blue", "green"]

[[resource.limit]]
name = "slots"
kind = "concurrency"
slots = 9
"#;

async fn rig() -> Rig {
    let rig = Rig::leading(limiter()).await;
    for resource in resource_file::read(RESOURCES).unwrap() {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(request).await.unwrap();
    }
    rig
}

fn throttled(vendor: &str, retry_after: &str) -> v1::VendorFeedback {
    let headers = BTreeMap::from([("Retry-After".to_owned(), retry_after.to_owned())]);
    v1::VendorFeedback { status: 429, headers, vendor: vendor.into(), ..Default::default() }
}

fn report(resource: &str, key: &str, feedback: v1::VendorFeedback) -> v1::ReportFeedbackRequest {
    v1::ReportFeedbackRequest {
        resource: resource.into(),
        key: key.into(),
        feedback: Some(feedback),
        ..Default::default()
    }
}

async fn asked(rig: &Rig, resource: &str, key: &str) -> v1::acquire_permit_response::Decision {
    let request =
        v1::AcquirePermitRequest { resource: resource.into(), key: key.into(), ..Default::default() };
    rig.permits().acquire_permit(request).await.unwrap().into_inner().decision.unwrap()
}

async fn granted(rig: &Rig, resource: &str, key: &str) -> v1::GrantedPermit {
    match asked(rig, resource, key).await {
        v1::acquire_permit_response::Decision::Granted(granted) => granted,
        other => panic!("{other:?}"),
    }
}

/// What was understood of the feedback with a release.
async fn released(
    rig: &Rig,
    permit: v1::GrantedPermit,
    outcome: v1::Outcome,
    feedback: v1::VendorFeedback,
) -> v1::ReportFeedbackResponse {
    let request = v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        outcome: outcome.into(),
        feedback: Some(feedback),
        ..Default::default()
    };
    rig.permits().release_permit(request).await.unwrap().into_inner().understood.unwrap()
}

/// The outcome of the last release, as it was ordered.
fn heeded(rig: &Rig) -> CallOutcome {
    let asked = rig.asked.lock();
    let outcome = |call: &Call| match call {
        Call::Command { command: Command::Release(release), .. } => Some(release.outcome),
        _ => None,
    };
    asked.iter().rev().find_map(outcome).expect("something was released")
}

/// The seconds for which it is paused, rounded up.
async fn paused(rig: &Rig, resource: &str, key: &str) -> i64 {
    let v1::acquire_permit_response::Decision::Denied(denial) = asked(rig, resource, key).await else {
        panic!("{resource} {key} is not paused")
    };
    assert_eq!(denial.reason(), v1::DenialReason::Paused);
    let reason = denial.pause.unwrap().reason;
    assert!(reason.ends_with(" answered 429"), "{reason}");
    denial.retry_after.unwrap().seconds + 1
}

#[tokio::test]
async fn a_vendor_that_says_to_wait_pauses_the_resource_for_all() {
    let rig = rig().await;
    let feedback = report("hubspot/acme", "", throttled("hubspot", "100"));
    let understood = rig.permits().report_feedback(feedback).await.unwrap().into_inner();
    assert!(understood.limited && understood.ignored_headers.is_empty());
    // As much as it said, and a tenth more at most.
    let wait = understood.wait.unwrap().seconds;
    assert!((100..=110).contains(&wait), "{wait}");
    assert!((100..=110).contains(&paused(&rig, "hubspot/acme", "").await));

    // One that comes late does not shorten it, however it is written.
    for earlier in ["1", "Sun, 06 Nov 1994 08:49:37 GMT", "-5", "junk"] {
        let feedback = report("hubspot/acme", "", throttled("hubspot", earlier));
        rig.permits().report_feedback(feedback).await.unwrap();
        assert!(paused(&rig, "hubspot/acme", "").await >= 100);
    }
    // One that lies costs an hour.
    let feedback = report("hubspot/acme", "", throttled("hubspot", "30000000"));
    let understood = rig.permits().report_feedback(feedback).await.unwrap().into_inner();
    assert_eq!(understood.wait.unwrap().seconds, 3_600);

    let resume = v1::ResumeResourceRequest { name: "hubspot/acme".into(), key: String::new() };
    rig.resources().resume_resource(resume).await.unwrap();
    granted(&rig, "hubspot/acme", "").await;
    assert_eq!(
        rig.node.metrics.feedback.get_or_create(&crate::metrics::FeedbackLabels { status: 429 }).get(),
        6
    );
}

#[tokio::test]
async fn what_makes_no_sense_or_says_nothing_pauses_nobody() {
    let rig = rig().await;
    for (feedback, limited, ignored) in [
        (throttled("hubspot", "soon"), true, vec!["retry-after".to_owned()]),
        (throttled("hubspot", ""), true, vec![]),
        (throttled("hubspot", "0"), true, vec![]),
        (v1::VendorFeedback { status: 200, ..throttled("hubspot", "60") }, false, vec![]),
    ] {
        let understood =
            rig.permits().report_feedback(report("hubspot/acme", "", feedback)).await.unwrap().into_inner();
        assert_eq!(understood, v1::ReportFeedbackResponse { limited, wait: None, ignored_headers: ignored });
    }
    granted(&rig, "hubspot/acme", "").await;
}

#[tokio::test]
async fn a_release_tells_for_the_key_of_its_permit() {
    let rig = rig().await;
    let release = |permit: v1::GrantedPermit, feedback| v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        feedback: Some(feedback),
        ..Default::default()
    };
    let permit = granted(&rig, "vendor/keys", "blue").await;
    let request = release(permit, throttled("hubspot", "60"));
    let released = rig.permits().release_permit(request.clone()).await.unwrap().into_inner();
    let understood = released.understood.unwrap();
    assert!(understood.limited && (60..=66).contains(&understood.wait.unwrap().seconds), "{understood:?}");
    assert!((60..=67).contains(&paused(&rig, "vendor/keys", "blue").await));
    assert_eq!(granted(&rig, "vendor/keys", "").await.key, "green");
    // The permit has ended: a second release is refused, and holds nobody up.
    let again = v1::ReleasePermitRequest { feedback: Some(throttled("hubspot", "3000")), ..request };
    assert_eq!(rig.permits().release_permit(again).await.unwrap_err().code(), Code::FailedPrecondition);
    assert!(paused(&rig, "vendor/keys", "blue").await <= 67);
}

#[tokio::test]
async fn an_answer_that_names_no_vendor_is_read_by_that_of_the_resource() {
    let rig = rig().await;
    // The resource was made from a preset; the other one was not.
    let told = rig.permits().report_feedback(report("hubspot/acme", "", throttled("", "100"))).await.unwrap();
    assert!(told.into_inner().wait.is_some());
    assert!((100..=110).contains(&paused(&rig, "hubspot/acme", "").await));
    // What HTTP itself says is read all the same, however it is written.
    for (key, retry_after) in [("blue", "100"), ("green", "PT1M40S")] {
        let told =
            rig.permits().report_feedback(report("vendor/keys", key, throttled("", retry_after))).await;
        let told = told.unwrap().into_inner();
        assert!(told.limited && told.wait.is_some(), "{told:?}");
        assert!((100..=110).contains(&paused(&rig, "vendor/keys", key).await));
    }
}

#[tokio::test]
async fn a_release_is_not_refused_for_what_the_vendor_says() {
    let rig = rig().await;
    // Through a content network, with all that it adds, and a page of its own for the error.
    let mut headers: BTreeMap<_, _> = (0..40).map(|n| (format!("X-Cdn-{n}"), "v".repeat(200))).collect();
    headers.insert("rEtRy-AfTeR".to_owned(), "30".to_owned());
    let feedback = v1::VendorFeedback {
        status: 429,
        headers,
        error_code: "e".repeat(201),
        body: vec![b'<'; 9_000],
        ..Default::default()
    };
    let permit = granted(&rig, "hubspot/acme", "").await;
    let understood = released(&rig, permit, v1::Outcome::Unspecified, feedback).await;
    assert!(understood.limited && understood.ignored_headers.is_empty(), "{understood:?}");
    assert!((30..=33).contains(&paused(&rig, "hubspot/acme", "").await));

    // Names that are meant, in more cases than any vendor has.
    let spelt = |n: u32| {
        let case = |(at, letter): (usize, char)| match (n >> at) & 1 {
            0 => letter,
            _ => letter.to_ascii_uppercase(),
        };
        "retry-after".chars().enumerate().map(case).collect::<String>()
    };
    let headers = (0..256).map(|n| (spelt(n), "1".to_owned())).collect();
    let feedback = v1::VendorFeedback { status: 429, headers, ..Default::default() };
    let permit = granted(&rig, "vendor/keys", "blue").await;
    let understood = released(&rig, permit, v1::Outcome::Unspecified, feedback).await;
    assert!(understood.wait.is_some() && understood.ignored_headers.len() == 16, "{understood:?}");
}

#[tokio::test]
async fn a_status_that_http_does_not_know_is_a_failure_of_the_server() {
    let rig = rig().await;
    for (status, given, expected) in [
        (999, v1::Outcome::Unspecified, CallOutcome::ServerError),
        (99, v1::Outcome::Unspecified, CallOutcome::ServerError),
        (u32::MAX, v1::Outcome::ClientError, CallOutcome::ClientError),
        // There was no answer at all.
        (0, v1::Outcome::Timeout, CallOutcome::Timeout),
        (0, v1::Outcome::Unknown, CallOutcome::Unknown),
    ] {
        let permit = granted(&rig, "vendor/keys", "").await;
        let feedback = v1::VendorFeedback { status, ..Default::default() };
        assert!(!released(&rig, permit, given, feedback).await.limited);
        assert_eq!(heeded(&rig), expected, "{status}");
    }
    let unknown = crate::metrics::FeedbackLabels { status: 0 };
    assert_eq!(rig.node.metrics.feedback.get_or_create(&unknown).get(), 5);
}

#[tokio::test]
async fn the_preset_knows_best_what_an_answer_means() {
    use v1::Outcome;
    let rig = rig().await;
    for (resource, status, reason, given, expected) in [
        ("stripe/acme", 429, "global-rate", Outcome::Ok, CallOutcome::Throttled),
        // A lock that somebody holds, whatever the client makes of the status.
        ("stripe/acme", 429, "", Outcome::Throttled, CallOutcome::ClientError),
        ("stripe/acme", 429, "", Outcome::Unspecified, CallOutcome::ClientError),
        ("stripe/acme", 429, "", Outcome::ServerError, CallOutcome::ServerError),
        // Of other statuses the client may know more.
        ("stripe/acme", 400, "", Outcome::Throttled, CallOutcome::Throttled),
        ("stripe/acme", 400, "", Outcome::Unspecified, CallOutcome::ClientError),
        // Without a preset it knows more of any.
        ("vendor/keys", 429, "", Outcome::Unspecified, CallOutcome::Throttled),
        ("vendor/keys", 429, "", Outcome::ClientError, CallOutcome::ClientError),
        ("vendor/keys", 429, "global-rate", Outcome::NotSent, CallOutcome::NotSent),
    ] {
        let permit = granted(&rig, resource, "").await;
        let headers = BTreeMap::from([("Stripe-Rate-Limited-Reason".to_owned(), reason.to_owned())]);
        let feedback = v1::VendorFeedback { status, headers, ..Default::default() };
        let understood = released(&rig, permit, given, feedback).await;
        assert_eq!(heeded(&rig), expected, "{resource} {status} {reason} {given:?}");
        assert_eq!(understood.limited, expected == CallOutcome::Throttled);
        let resume = v1::ResumeResourceRequest { name: resource.into(), key: String::new() };
        rig.resources().resume_resource(resume).await.unwrap();
    }
    // So a lock slows nobody down.
    let permit = granted(&rig, "stripe/acme", "").await;
    let lock = v1::VendorFeedback { status: 429, error_code: "lock_timeout".into(), ..Default::default() };
    released(&rig, permit, Outcome::Throttled, lock).await;
    let request = v1::GetResourceRequest { name: "stripe/acme".into() };
    assert_eq!(rig.resources().get_resource(request).await.unwrap().into_inner().conditions, []);
}

#[tokio::test]
async fn what_the_preset_takes_for_a_refusal_is_nobodys_result() {
    use v1::acquire_permit_response::Decision;
    let rig = rig().await;
    let wanted = || v1::AcquirePermitRequest {
        resource: "stripe/acme".into(),
        coalesce_key: "customer/42".into(),
        ..Default::default()
    };
    let answer = rig.permits().acquire_permit(wanted()).await.unwrap().into_inner();
    let Some(Decision::Granted(permit)) = answer.decision else { panic!("{answer:?}") };
    let headers = BTreeMap::from([("Stripe-Rate-Limited-Reason".to_owned(), "global-rate".to_owned())]);
    let release = v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        feedback: Some(v1::VendorFeedback { status: 429, headers, ..Default::default() }),
        result: Some(b"slow down".to_vec()),
        ..Default::default()
    };
    let released = rig.permits().release_permit(release).await.unwrap().into_inner();
    assert!(released.understood.unwrap().limited);
    let answer = rig.permits().acquire_permit(wanted()).await.unwrap().into_inner();
    assert!(!matches!(answer.decision, Some(Decision::Result(_))), "{answer:?}");
}

#[tokio::test]
async fn what_is_told_of_a_wait_is_what_is_in_force() {
    let rig = rig().await;
    let permit = granted(&rig, "stripe/acme", "").await;
    let understood = released(&rig, permit, v1::Outcome::Unspecified, throttled("", "3600")).await;
    assert_eq!(understood.wait.unwrap().seconds, 2);
    let told = rig.permits().report_feedback(report("stripe/acme", "", throttled("", "3600"))).await.unwrap();
    assert_eq!(told.into_inner().wait.unwrap().seconds, 2);
    assert!((1..=2).contains(&paused(&rig, "stripe/acme", "").await));
}

#[tokio::test]
async fn a_wrong_report_names_its_field() {
    let rig = rig().await;
    let good = || report("hubspot/acme", "", throttled("hubspot", "1"));
    let of = |feedback| report("hubspot/acme", "", feedback);
    for (request, field) in [
        (v1::ReportFeedbackRequest { resource: String::new(), ..good() }, "resource"),
        (v1::ReportFeedbackRequest { feedback: None, ..good() }, "feedback"),
        (v1::ReportFeedbackRequest { key: "blue".into(), ..good() }, "key"),
        (v1::ReportFeedbackRequest { operation: "o".repeat(201), ..good() }, "operation"),
        (v1::ReportFeedbackRequest { consumer: "a\nb".into(), ..good() }, "consumer"),
        (v1::ReportFeedbackRequest { subject: "s".repeat(201), ..good() }, "subject"),
        (of(throttled("hubspt", "1")), "feedback.vendor"),
        (of(v1::VendorFeedback { status: 0, ..throttled("hubspot", "1") }), "feedback.status"),
    ] {
        assert_invalid(rig.permits().report_feedback(request).await, field);
    }
    let absent = v1::ReportFeedbackRequest { resource: "no/such".into(), ..good() };
    assert_eq!(rig.permits().report_feedback(absent).await.unwrap_err().code(), Code::NotFound);
    granted(&rig, "hubspot/acme", "").await;
}
