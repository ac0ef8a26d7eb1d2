//! Vendors that fail, before the real limiter.

use tonic::Code;

use super::{input::assert_invalid, limiter::limiter, *};
use crate::resource_file;

const RESOURCES: &str = r#"
[[resource]]
name = "vendor/acme"
keys = ["blue", "green"]
circuit_breaker = { scope = "key", consecutive_failures = 2, open_for = "1h" }

[[resource.limit]]
name = "rate"
kind = "token_bucket"
capacity = 100
refill_amount = 10
refill_period = "1s"
"#;

async fn rig() -> Rig {
    let rig = Rig::leading(limiter()).await;
    for resource in resource_file::read(RESOURCES).unwrap() {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(request).await.unwrap();
    }
    rig
}

async fn asked(rig: &Rig, key: &str) -> v1::acquire_permit_response::Decision {
    let request =
        v1::AcquirePermitRequest { resource: "vendor/acme".into(), key: key.into(), ..Default::default() };
    rig.permits().acquire_permit(request).await.unwrap().into_inner().decision.unwrap()
}

async fn granted(rig: &Rig, key: &str) -> v1::GrantedPermit {
    match asked(rig, key).await {
        v1::acquire_permit_response::Decision::Granted(granted) => granted,
        other => panic!("{other:?}"),
    }
}

async fn denied(rig: &Rig, key: &str) -> v1::DeniedPermit {
    match asked(rig, key).await {
        v1::acquire_permit_response::Decision::Denied(denied) => denied,
        other => panic!("{other:?}"),
    }
}

fn timed_out(permit_id: &str) -> v1::ReportFeedbackRequest {
    v1::ReportFeedbackRequest {
        resource: "vendor/acme".into(),
        permit_id: permit_id.into(),
        outcome: v1::Outcome::Timeout.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_circuit_is_told_in_denials_and_with_the_resource() {
    let rig = rig().await;
    // Once by its status alone, at the release; once without any answer, told twice.
    let permit = granted(&rig, "blue").await;
    let feedback = v1::VendorFeedback { status: 503, ..Default::default() };
    let release = v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        feedback: Some(feedback),
        ..Default::default()
    };
    rig.permits().release_permit(release).await.unwrap();
    let permit = granted(&rig, "blue").await;
    for _ in 0..2 {
        rig.permits().report_feedback(timed_out(&permit.permit_id)).await.unwrap();
    }

    let denial = denied(&rig, "blue").await;
    assert_eq!((denial.reason(), denial.paused_key.as_str()), (v1::DenialReason::CircuitOpen, "blue"));
    let circuit = denial.circuit.unwrap();
    assert_eq!((circuit.state(), circuit.times_opened), (v1::CircuitState::Open, 1));
    assert_eq!(circuit.left, denial.retry_after);
    // Why, and since when: the last of two failures in a row.
    assert_eq!((circuit.failures_in_row, circuit.calls, circuit.failures), (2, 2, 2));
    assert_eq!(circuit.opened_by(), v1::Outcome::Timeout);
    let nanos =
        |span: prost_types::Duration| i128::from(span.seconds) * 1_000_000_000 + i128::from(span.nanos);
    let together = nanos(circuit.open_for.unwrap()) + nanos(circuit.left.unwrap());
    assert_eq!(together, 3_600_000_000_000, "{circuit:?}");
    assert_eq!(granted(&rig, "").await.key, "green");

    let get = v1::GetResourceRequest { name: "vendor/acme".into() };
    let resource = rig.resources().get_resource(get).await.unwrap().into_inner();
    assert_eq!(resource.conditions.len(), 1);
    let circuit = resource.conditions[0].circuit.as_ref();
    assert_eq!(circuit.map(v1::Circuit::state), Some(v1::CircuitState::Open));
    assert_eq!(circuit.map(v1::Circuit::opened_by), Some(v1::Outcome::Timeout));
    assert_eq!(resource.circuit_breaker.unwrap().consecutive_failures, Some(2));

    let resume = v1::ResumeResourceRequest { name: "vendor/acme".into(), key: "blue".into() };
    let resumed = rig.resources().resume_resource(resume).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(resumed.conditions, []);
    granted(&rig, "blue").await;
}

#[tokio::test]
async fn a_resource_is_resumed_with_all_its_keys() {
    let rig = rig().await;
    for key in ["blue", "green"] {
        for _ in 0..2 {
            let permit = granted(&rig, key).await;
            rig.permits().report_feedback(timed_out(&permit.permit_id)).await.unwrap();
        }
        assert_eq!(denied(&rig, key).await.reason(), v1::DenialReason::CircuitOpen);
    }
    // What an operator ordered of a key is the operator's to end.
    let pause = v1::PauseResourceRequest {
        name: "vendor/acme".into(),
        key: "green".into(),
        reason: "rotation".into(),
        ..Default::default()
    };
    rig.resources().pause_resource(pause).await.unwrap();
    let resume = v1::ResumeResourceRequest { name: "vendor/acme".into(), key: String::new() };
    let resumed = rig.resources().resume_resource(resume).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(resumed.conditions, []);
    assert_eq!(resumed.key_statuses.len(), 1);
    granted(&rig, "blue").await;
    assert_eq!(denied(&rig, "green").await.pause.unwrap().reason, "rotation");
}

#[tokio::test]
async fn refusals_pace_and_a_denial_says_so() {
    let rig = rig().await;
    let refused = v1::ReportFeedbackRequest {
        outcome: v1::Outcome::Throttled.into(),
        key: "blue".into(),
        ..timed_out("")
    };
    rig.permits().report_feedback(refused).await.unwrap();
    granted(&rig, "blue").await;
    let denial = denied(&rig, "blue").await;
    assert_eq!((denial.reason(), denial.paused_key.as_str()), (v1::DenialReason::Paced, "blue"));
    let pace = denial.pace.unwrap();
    // Some milliseconds later it is hardly more than half.
    assert!((5_000_000..5_001_000).contains(&pace.micros_per_second), "{pace:?}");
    assert_eq!(pace.full_micros_per_second, 10_000_000);
    assert_eq!(pace.cause(), v1::PaceCause::Refusals);
}

#[tokio::test]
async fn a_pace_says_what_it_comes_of() {
    let rig = Rig::leading(limiter()).await;
    let text = RESOURCES.replace(r#"open_for = "1h""#, r#"open_for = "100ms""#);
    for resource in resource_file::read(&text).unwrap() {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(request).await.unwrap();
    }
    let wants_a_pause = v1::ReportFeedbackRequest {
        outcome: v1::Outcome::Throttled.into(),
        feedback: Some(v1::VendorFeedback {
            status: 429,
            headers: [("Retry-After".into(), "60".into())].into(),
            ..Default::default()
        }),
        key: "green".into(),
        ..timed_out("")
    };
    rig.permits().report_feedback(wants_a_pause).await.unwrap();

    for _ in 0..2 {
        let permit = granted(&rig, "blue").await;
        rig.permits().report_feedback(timed_out(&permit.permit_id)).await.unwrap();
    }
    // Half-open after a while; the probe closes it.
    let probe = loop {
        match asked(&rig, "blue").await {
            v1::acquire_permit_response::Decision::Granted(probe) => break probe,
            other => drop(other),
        }
    };
    let release = v1::ReleasePermitRequest {
        permit_id: probe.permit_id,
        outcome: v1::Outcome::Ok.into(),
        ..Default::default()
    };
    rig.permits().release_permit(release).await.unwrap();

    let get = v1::GetResourceRequest { name: "vendor/acme".into() };
    let resource = rig.resources().get_resource(get).await.unwrap().into_inner();
    let causes = resource.conditions.iter().map(|of| (of.key.as_str(), of.pace.unwrap().cause()));
    let expected = [("blue", v1::PaceCause::AfterOutage), ("green", v1::PaceCause::AfterPause)];
    assert_eq!(causes.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_wrong_report_names_its_field() {
    let rig = rig().await;
    let good = || timed_out("");
    for (request, field) in [
        (v1::ReportFeedbackRequest { outcome: 99, ..good() }, "outcome"),
        (v1::ReportFeedbackRequest { outcome: 0, ..good() }, "feedback"),
        (v1::ReportFeedbackRequest { key: "red".into(), ..good() }, "key"),
    ] {
        assert_invalid(rig.permits().report_feedback(request).await, field);
    }
    for permit_id in ["p0-7", "nonsense"] {
        let request = timed_out(permit_id);
        assert_eq!(rig.permits().report_feedback(request).await.unwrap_err().code(), Code::NotFound);
    }
}
