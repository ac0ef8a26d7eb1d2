//! Requests that several resources would do for, before the real limiter.

use tonic::Code;
use v1::acquire_permit_response::Decision;

use super::{
    limiter::{limiter, reason},
    *,
};
use crate::resource_file;

const RESOURCES: &str = r#"
[[resource]]
name = "clearbit/acme"
[[resource.limit]]
name = "burst"
kind = "token_bucket"
capacity = 1
refill_amount = 1
refill_period = "1h"

[[resource]]
name = "apollo/acme"
[[resource.limit]]
name = "credits"
kind = "token_bucket"
capacity = 5
refill_amount = 5
refill_period = "1h"
"#;

async fn with_resources() -> Rig {
    let rig = Rig::leading(limiter()).await;
    for resource in resource_file::read(RESOURCES).unwrap() {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(request).await.unwrap();
    }
    rig
}

fn either() -> v1::AcquirePermitRequest {
    let apollo =
        v1::Alternative { resource: "apollo/acme".into(), cost: Some(3), ..v1::Alternative::default() };
    v1::AcquirePermitRequest {
        resource: "clearbit/acme".into(),
        alternatives: vec![apollo],
        ..Default::default()
    }
}

/// The resource that the answer names, and whether it is a grant.
async fn decided(rig: &Rig, request: v1::AcquirePermitRequest) -> (String, bool) {
    match rig.permits().acquire_permit(request).await.unwrap().into_inner().decision {
        Some(Decision::Granted(granted)) => (granted.resource, true),
        Some(Decision::Denied(denied)) => (denied.resource, false),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_answer_names_the_resource() {
    let rig = with_resources().await;
    let with_id = v1::AcquirePermitRequest { request_id: "r-2".into(), ..either() };
    assert_eq!(decided(&rig, either()).await, ("clearbit/acme".into(), true));
    assert_eq!(decided(&rig, with_id.clone()).await, ("apollo/acme".into(), true));
    // Three credits come back within the hour in which one token does.
    assert_eq!(decided(&rig, either()).await, ("apollo/acme".into(), false));
    let again = v1::AcquirePermitRequest { attempt: 2, ..with_id };
    assert_eq!(decided(&rig, again).await, ("apollo/acme".into(), true), "the same permit");
}

#[tokio::test]
async fn what_is_wrong_with_an_alternative_is_named_and_debits_nothing() {
    let rig = with_resources().await;
    let edited = |edit: fn(&mut v1::Alternative)| {
        let mut request = either();
        edit(&mut request.alternatives[0]);
        request
    };
    let unknown = rig.permits().acquire_permit(edited(|a| a.resource = "nobody/knows".into())).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    assert!(unknown.message().contains("alternatives[0] is nobody/knows"), "{}", unknown.message());

    for (request, field) in [
        (edited(|a| a.cost = Some(6)), "alternatives[0].cost"),
        (edited(|a| a.amounts = [("tokens".into(), 1)].into()), "alternatives[0].amounts[\"tokens\"]"),
        (edited(|a| a.key = "stranger".into()), "alternatives[0].key"),
    ] {
        let status = rig.permits().acquire_permit(request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".into()));
        assert!(status.message().starts_with(field), "{}", status.message());
    }
    assert_eq!(decided(&rig, either()).await, ("clearbit/acme".into(), true));
}
