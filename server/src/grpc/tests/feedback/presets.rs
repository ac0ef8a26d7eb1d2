//! How answers are read: with the preset of the resource, the program's or one's own.

use super::*;
use crate::preset;

const OWN: &str = r#"
vendor = "acme"
title = "Acme"
source = "our contract"
confidence = "third"
default_plan = "basic"

[[plan]]
name = "basic"

[[plan.limit]]
name = "minute"
kind = "sliding_window"
amount = 70
period = "1m"

[[header]]
name = "X-Acme-Left"
gives = "remaining"
limit = "minute"

[[header]]
name = "X-Acme-Pause"
gives = "retry_after"
format = "milliseconds"

[[limited]]
status = 420
"#;

/// With a preset of its own, and a resource that begins with it.
async fn of_acme() -> (Rig, v1::Resource) {
    let mut presets = Presets::embedded().clone();
    presets.add(preset::read(OWN).unwrap());
    let file = "[[resource]]\nname = \"acme/one\"\npreset = \"acme\"";
    let resource = resource_file::read_with(file, &presets).unwrap().remove(0);
    let rig = Rig::with_presets(presets, limiter()).await;
    rig.status.send_modify(|status| status.leader = Some(THIS));
    (rig, resource)
}

#[tokio::test]
async fn what_begins_with_a_preset_leaves_a_failing_vendor_alone() {
    let rig = rig().await;
    for _ in 0..5 {
        let permit = granted(&rig, "hubspot/acme", "").await;
        let failure = v1::VendorFeedback { status: 500, ..Default::default() };
        released(&rig, permit, v1::Outcome::Unspecified, failure).await;
    }
    let v1::acquire_permit_response::Decision::Denied(denial) = asked(&rig, "hubspot/acme", "").await else {
        panic!("five failures in a row open the circuit")
    };
    assert_eq!(denial.reason(), v1::DenialReason::CircuitOpen);
}

#[tokio::test]
async fn answers_are_read_with_presets_of_ones_own() {
    let (rig, resource) = of_acme().await;
    let request = v1::CreateResourceRequest { resource: Some(resource) };
    rig.resources().create_resource(request).await.unwrap();

    let permit = granted(&rig, "acme/one", "").await;
    let headers = BTreeMap::from([("x-acme-left".to_owned(), "40".to_owned())]);
    let feedback = v1::VendorFeedback { status: 200, headers, ..Default::default() };
    released(&rig, permit, v1::Outcome::Unspecified, feedback).await;
    let request = v1::GetResourceUsageRequest { name: "acme/one".into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(request).await.unwrap().into_inner();
    assert_eq!(usage.limits[0].counters[0].available, 40);

    // Neither the status nor the header are anything that HTTP knows.
    let permit = granted(&rig, "acme/one", "").await;
    let headers = BTreeMap::from([("X-Acme-Pause".to_owned(), "30000".to_owned())]);
    let feedback = v1::VendorFeedback { status: 420, headers, ..Default::default() };
    let understood = released(&rig, permit, v1::Outcome::Unspecified, feedback.clone()).await;
    assert!(understood.limited && (30..=33).contains(&understood.wait.unwrap().seconds), "{understood:?}");
    let v1::acquire_permit_response::Decision::Denied(denial) = asked(&rig, "acme/one", "").await else {
        panic!("acme says to wait")
    };
    assert_eq!(denial.pause.unwrap().reason, "acme answered 420");
}

#[tokio::test]
async fn who_would_read_the_answers_is_asked_when_a_resource_is_defined() {
    let (_, resource) = of_acme().await;
    let rig = rig().await;
    let request = v1::CreateResourceRequest { resource: Some(resource.clone()) };
    let refused = rig.resources().create_resource(request).await;
    let message = refused.as_ref().unwrap_err().message();
    assert!(message.contains("no preset `acme`") && message.contains("`presets`"), "{message}");
    assert_invalid(refused, "feedback.vendor");

    // Without one it can be used, and is read as HTTP itself says.
    let request = v1::CreateResourceRequest { resource: Some(v1::Resource { feedback: None, ..resource }) };
    let created = rig.resources().create_resource(request).await.unwrap().into_inner();
    let feedback = Some(v1::FeedbackRules { vendor: "acme".into(), ..Default::default() });
    let request = v1::UpdateResourceRequest { resource: Some(v1::Resource { feedback, ..created }) };
    assert_invalid(rig.resources().update_resource(request).await, "feedback.vendor");
    let told = rig.permits().report_feedback(report("acme/one", "", throttled("", "100"))).await.unwrap();
    assert!(told.into_inner().wait.is_some());
}

#[tokio::test]
async fn a_call_costs_what_its_resource_says_of_the_operation() {
    let rig = rig().await;
    let request = |operation: &str, cost| v1::AcquirePermitRequest {
        resource: "salesloft/acme".into(),
        operation: operation.into(),
        cost,
        ..Default::default()
    };
    let left = async |request| {
        let decision = rig.permits().acquire_permit(request).await.unwrap().into_inner().decision;
        match decision.unwrap() {
            v1::acquire_permit_response::Decision::Granted(granted) => granted.usage[0].available,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(left(request("list/501", None)).await, 570);
    assert_eq!(left(request("people", None)).await, 569);
    // What is stated counts.
    assert_eq!(left(request("list/501", Some(2))).await, 567);
    // In batches, as alternatives, and with ids: a retry is the request that it was.
    let batch = v1::AcquirePermitsRequest { requests: vec![request("list/101-150", None)] };
    rig.permits().acquire_permits(batch).await.unwrap();
    let other = v1::Alternative {
        resource: "salesloft/acme".into(),
        operation: "list/151-250".into(),
        ..Default::default()
    };
    let full = v1::AcquirePermitRequest {
        resource: "vendor/keys".into(),
        key: "blue".into(),
        alternatives: vec![other],
        request_id: "r-1".into(),
        ..Default::default()
    };
    for _ in 0..9 {
        granted(&rig, "vendor/keys", "blue").await;
    }
    assert_eq!(left(full.clone()).await, 556);
    let again = rig.permits().acquire_permit(full.clone()).await.unwrap().into_inner();
    assert!(
        matches!(again.decision, Some(v1::acquire_permit_response::Decision::Granted(of)) if of.replayed)
    );
    let stated = v1::AcquirePermitRequest { cost: Some(1), ..full };
    assert_eq!(rig.permits().acquire_permit(stated).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(left(request("people", None)).await, 555);

    // A plan of ten such pages is one of 300, and the most of a minute is 600.
    let step = v1::WorkStep {
        resource: "salesloft/acme".into(),
        operation: "list/501".into(),
        ..Default::default()
    };
    let work = v1::EstimateWorkRequest { records: 40, steps: vec![step], ..Default::default() };
    let plan = rig.plans().estimate_work(work).await.unwrap().into_inner();
    assert_eq!(plan.steps[0].limit, "minute");
    assert!(plan.duration.unwrap().seconds >= 60, "1,200 of cost need more than one minute of 600");

    let wrong = v1::OperationCost { operation: "list".into(), cost: 0 };
    let get = v1::GetResourceRequest { name: "salesloft/acme".into() };
    let resource = rig.resources().get_resource(get).await.unwrap().into_inner();
    assert_eq!(resource.operation_costs.len(), 4);
    let resource = v1::Resource { operation_costs: vec![wrong], ..resource };
    let update = v1::UpdateResourceRequest { resource: Some(resource) };
    assert_invalid(rig.resources().update_resource(update).await, "operation_costs[0].cost");
}

#[tokio::test]
async fn the_code_is_found_in_the_body_where_the_vendor_puts_it() {
    let rig = rig().await;
    let refused = r#"[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]"#;
    for (error_code, body, limited) in [
        ("", refused, true),
        // What the client says itself goes before.
        ("INSUFFICIENT_ACCESS", refused, false),
        ("", r#"[{"errorCode": "INSUFFICIENT_ACCESS"}]"#, false),
        ("", r#"{"errorCode": "REQUEST_LIMIT_EXCEEDED"}"#, false),
        ("", "REQUEST_LIMIT_EXCEEDED", false),
        ("", "", false),
    ] {
        let feedback = v1::VendorFeedback {
            status: 403,
            error_code: error_code.into(),
            body: body.into(),
            vendor: "salesforce".into(),
            ..Default::default()
        };
        let told = rig.permits().report_feedback(report("hubspot/acme", "", feedback)).await.unwrap();
        assert_eq!(told.into_inner().limited, limited, "{error_code} {body}");
    }
}
