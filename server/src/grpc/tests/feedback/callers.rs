//! What is told of calls whose permits are not remembered, and of limits of some calls alone.

use std::time::Duration;

use v1::acquire_permit_response::Decision;

use super::*;

const SLOW: &str = r#"
[[resource]]
name = "hubspot/slow"
preset = "hubspot:professional"
[resource.feedback]
ramp = "24h"
ramp_from_percent = 1
"#;

/// HubSpot's searches are exhausted.
fn searches(resource: &str, operation: &str, retry_after: &str) -> v1::ReportFeedbackRequest {
    let feedback = v1::VendorFeedback { error_code: "SECONDLY".into(), ..throttled("hubspot", retry_after) };
    v1::ReportFeedbackRequest { operation: operation.into(), ..report(resource, "", feedback) }
}

async fn asked_for(rig: &Rig, resource: &str, operation: &str) -> Decision {
    let request = v1::AcquirePermitRequest {
        resource: resource.into(),
        operation: operation.into(),
        ..Default::default()
    };
    rig.permits().acquire_permit(request).await.unwrap().into_inner().decision.unwrap()
}

#[tokio::test]
async fn only_what_the_exhausted_limit_applies_to_waits_if_the_report_says_what_was_called() {
    let rig = rig().await;
    rig.permits().report_feedback(searches("hubspot/acme", "search", "3600")).await.unwrap();
    let Decision::Denied(denial) = asked_for(&rig, "hubspot/acme", "search").await else {
        panic!("searches are held")
    };
    assert_eq!((denial.reason(), denial.limit.as_str()), (v1::DenialReason::LimitExhausted, "search"));
    assert!(matches!(asked_for(&rig, "hubspot/acme", "contacts").await, Decision::Granted(_)));

    // Nobody knows what was called: it may have been anything.
    rig.permits().report_feedback(searches("hubspot/acme", "", "100")).await.unwrap();
    assert!(paused(&rig, "hubspot/acme", "").await >= 100);
}

#[tokio::test]
async fn what_was_held_comes_back_slowly() {
    let rig = rig().await;
    let resource = resource_file::read(SLOW).unwrap().pop();
    rig.resources().create_resource(v1::CreateResourceRequest { resource }).await.unwrap();
    rig.permits().report_feedback(searches("hubspot/slow", "search", "1")).await.unwrap();
    while !matches!(asked_for(&rig, "hubspot/slow", "search").await, Decision::Granted(_)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The next one goes in 20 s.
    let Decision::Denied(denial) = asked_for(&rig, "hubspot/slow", "search").await else {
        panic!("they come back one by one")
    };
    assert_eq!((denial.reason(), denial.limit.as_str()), (v1::DenialReason::Paced, "search"));
    assert_eq!((denial.exhausted[0].limit.as_str(), denial.paused_key.as_str()), ("search", ""));
    assert_eq!(
        (denial.retry_after, denial.pace.unwrap().cause()),
        (denial.exhausted[0].retry_after, v1::PaceCause::AfterPause)
    );
    assert!(matches!(asked_for(&rig, "hubspot/slow", "contacts").await, Decision::Granted(_)));

    let usage = v1::GetResourceUsageRequest { name: "hubspot/slow".into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(usage).await.unwrap().into_inner();
    let counters =
        |name: &str| usage.limits.iter().find(|limit| limit.limit == name).unwrap().counters.clone();
    let (search, daily) = (counters("search")[0].clone(), counters("daily")[0].clone());
    assert_eq!((search.held_for, daily.pace), (None, None));
    assert_eq!(search.pace.unwrap().full_micros_per_second, 5_000_000);
}
