//! What is told of calls whose permits are not remembered.

use v1::acquire_permit_response::Decision;

use super::*;

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
