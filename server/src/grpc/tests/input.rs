//! Bad input: the status names the field, and nothing reaches the replica.

use prost_types::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::*;

/// The code, the reason, and the first field that is named.
fn about(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{status:?} has no ErrorInfo"));
    assert_eq!(info.domain, "tollgate");
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let field = fields.first().map(|violation| violation.field.clone()).unwrap_or_default();
    (status.code(), info.reason.clone(), field)
}

pub(super) fn assert_invalid<T: std::fmt::Debug>(result: Result<T, Status>, field: &str) {
    let status = result.expect_err(field);
    assert_eq!(about(&status), (Code::InvalidArgument, "INVALID_FIELD".into(), field.into()), "{status:?}");
    assert!(status.message().contains(field), "{}", status.message());
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn other(resource: &str) -> v1::Alternative {
    v1::Alternative { resource: resource.into(), ..Default::default() }
}

#[tokio::test]
async fn a_wrong_acquire_names_its_field() {
    let rig = Rig::leading(by_cost).await;
    let good = acquire(1);
    let edited = |edit: fn(&mut v1::AcquirePermitRequest)| {
        let mut request = good.clone();
        edit(&mut request);
        request
    };
    let cases = [
        (edited(|r| r.resource.clear()), "resource"),
        (edited(|r| r.resource = "r".repeat(201)), "resource"),
        (edited(|r| r.resource = "Not A Name".into()), "resource"),
        (edited(|r| r.operation = "o".repeat(201)), "operation"),
        (edited(|r| r.cost = Some(0)), "cost"),
        (edited(|r| r.cost = Some(u64::MAX)), "cost"),
        (edited(|r| r.amounts = [("tokens".into(), u64::MAX)].into()), "amounts[\"tokens\"]"),
        (edited(|r| r.amounts = [("Bad Name".into(), 1)].into()), "amounts"),
        (edited(|r| r.amounts = (0..17).map(|n| (format!("d{n}"), 1)).collect()), "amounts"),
        (edited(|r| r.consumer = "c".repeat(201)), "consumer"),
        (edited(|r| r.subject = "\u{7}".into()), "subject"),
        (edited(|r| r.key = "k".repeat(201)), "key"),
        (edited(|r| r.priority = 17), "priority"),
        (edited(|r| r.max_wait = seconds(3601)), "max_wait"),
        (edited(|r| r.max_wait = seconds(-1)), "max_wait"),
        (edited(|r| r.lease = seconds(0)), "lease"),
        (edited(|r| r.lease = seconds(10 * 365 * 86_400)), "lease"),
        (edited(|r| r.request_id = "i".repeat(129)), "request_id"),
        (edited(|r| r.alternatives = vec![v1::Alternative::default()]), "alternatives[0].resource"),
        (edited(|r| r.alternatives = vec![other("a"), other("a")]), "alternatives[1].resource"),
        (edited(|r| r.alternatives = vec![other(&r.resource)]), "alternatives[0].resource"),
        (edited(|r| r.alternatives = (0..9).map(|n| other(&format!("r{n}"))).collect()), "alternatives"),
        (
            edited(|r| r.alternatives = vec![other("a"), v1::Alternative { cost: Some(0), ..other("b") }]),
            "alternatives[1].cost",
        ),
        (
            edited(|r| {
                let amounts = [("tokens".into(), u64::MAX)].into();
                r.alternatives = vec![v1::Alternative { amounts, ..other("a") }];
            }),
            "alternatives[0].amounts[\"tokens\"]",
        ),
        (edited(|r| r.request_id = "i".repeat(70_000)), "(message)"),
    ];
    for (request, field) in cases {
        assert_invalid(rig.permits().acquire_permit(request).await, field);
    }
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn a_wrong_renewal_or_release_names_its_field() {
    let rig = Rig::leading(by_cost).await;
    let renew = |permit_id: &str, lease| v1::RenewPermitRequest { permit_id: permit_id.into(), lease };
    for (request, field) in [
        (renew("", None), "permit_id"),
        (renew("p0-1", seconds(0)), "lease"),
        (renew("p0-1", seconds(86_401)), "lease"),
    ] {
        assert_invalid(rig.permits().renew_permit(request).await, field);
    }
    let edited = |edit: fn(&mut v1::ReleasePermitRequest)| {
        let mut request = v1::ReleasePermitRequest { permit_id: "p0-1".into(), ..Default::default() };
        edit(&mut request);
        request
    };
    let feedback = |edit: fn(&mut v1::VendorFeedback)| {
        let mut feedback = v1::VendorFeedback { status: 429, ..Default::default() };
        edit(&mut feedback);
        v1::ReleasePermitRequest { permit_id: "p0-1".into(), feedback: Some(feedback), ..Default::default() }
    };
    for (request, field) in [
        (edited(|r| r.permit_id.clear()), "permit_id"),
        (edited(|r| r.outcome = 99), "outcome"),
        (edited(|r| r.cost = Some(u64::MAX)), "cost"),
        (edited(|r| r.amounts = [("t".into(), u64::MAX)].into()), "amounts[\"t\"]"),
        (feedback(|f| f.status = 0), "feedback.status"),
        (feedback(|f| f.vendor = "hubspt".into()), "feedback.vendor"),
    ] {
        assert_invalid(rig.permits().release_permit(request).await, field);
    }
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn an_id_that_was_never_granted_is_not_found_whatever_it_looks_like() {
    let rig = Rig::leading(not_found).await;
    let mut answers = Vec::new();
    for id in ["p0-99", "p1-99", "nonsense"] {
        let request = v1::RenewPermitRequest { permit_id: id.into(), lease: None };
        let status = rig.permits().renew_permit(request).await.unwrap_err();
        let message = status.message().strip_prefix(&format!("{id}: ")).map(str::to_owned);
        answers.push((about(&status), message.expect("a message that names the id")));
    }
    assert_eq!(answers[0].0, (Code::NotFound, "PERMIT_NOT_FOUND".into(), String::new()));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(rig.asked.lock().len(), 1);
}

#[tokio::test]
async fn a_batch_of_a_wrong_size_is_refused_as_a_whole() {
    let rig = Rig::leading(by_cost).await;
    for count in [0, 1001] {
        let requests = vec![acquire(1); count];
        assert_invalid(
            rig.permits().acquire_permits(v1::AcquirePermitsRequest { requests }).await,
            "requests",
        );
    }
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn a_message_above_every_limit_is_refused_by_the_transport() {
    let rig = Rig::leading(by_cost).await;
    let request = v1::AcquirePermitRequest { request_id: "i".repeat(2 << 20), ..acquire(1) };
    let status = rig.permits().acquire_permit(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn wrong_requests_about_resources_name_their_field() {
    let rig = Rig::leading(by_cost).await;
    let create = |resource| v1::CreateResourceRequest { resource };
    let resource =
        |name: &str, generation| Some(v1::Resource { name: name.into(), generation, ..Default::default() });
    assert_invalid(rig.resources().create_resource(create(None)).await, "resource");
    assert_invalid(rig.resources().create_resource(create(resource("a/b", 3))).await, "generation");
    assert_invalid(rig.resources().create_resource(create(resource("", 0))).await, "name");
    let update = |resource| v1::UpdateResourceRequest { resource };
    assert_invalid(rig.resources().update_resource(update(None)).await, "resource");
    assert_invalid(rig.resources().update_resource(update(resource("a/b", 0))).await, "generation");
    let get = v1::GetResourceRequest { name: "A".into() };
    assert_invalid(rig.resources().get_resource(get).await, "name");
    let delete = v1::DeleteResourceRequest { name: String::new(), generation: 0 };
    assert_invalid(rig.resources().delete_resource(delete).await, "name");
    let list = |page_size, page_token: &str, prefix: &str| v1::ListResourcesRequest {
        page_size,
        page_token: page_token.into(),
        prefix: prefix.into(),
    };
    assert_invalid(rig.resources().list_resources(list(1001, "", "")).await, "page_size");
    assert_invalid(rig.resources().list_resources(list(0, "No Token", "")).await, "page_token");
    assert_invalid(rig.resources().list_resources(list(0, "", &"p".repeat(201))).await, "prefix");
    let usage = |name: &str, scope_value: String, max_scope_values| v1::GetResourceUsageRequest {
        name: name.into(),
        scope_value,
        max_scope_values,
    };
    assert_invalid(rig.resources().get_resource_usage(usage("", String::new(), 0)).await, "name");
    assert_invalid(rig.resources().get_resource_usage(usage("a", "v".repeat(201), 0)).await, "scope_value");
    assert_invalid(
        rig.resources().get_resource_usage(usage("a", String::new(), 1001)).await,
        "max_scope_values",
    );
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn wrong_requests_about_members_name_their_field() {
    let rig = Rig::leading(by_cost).await;
    let add = |id, peer: &str, client: &str, http: &str| v1::AddMemberRequest {
        id,
        peer_address: peer.into(),
        client_address: client.into(),
        http_address: http.into(),
    };
    for (request, field) in [
        (add(0, "a:1", "a:2", ""), "id"),
        (add(4, "", "a:2", ""), "peer_address"),
        (add(4, "a:1", "", ""), "client_address"),
        (add(4, "a", "a:2", ""), "peer_address"),
        (add(4, "a:1", "0.0.0.0:2", ""), "client_address"),
        (add(4, "a:1", "a:1", ""), "client_address"),
        (add(4, "a:1", "a:2", "a:99999"), "http_address"),
    ] {
        assert_invalid(rig.cluster().add_member(request).await, field);
    }
    assert_invalid(rig.cluster().remove_member(v1::RemoveMemberRequest { id: 0 }).await, "id");
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn an_error_about_a_huge_field_stays_small() {
    let rig = Rig::leading(by_cost).await;
    let amounts = (0..16).map(|n| (format!("{n}{}", "X".repeat(3000)), 1)).collect();
    let request = v1::AcquirePermitRequest { amounts, ..acquire(1) };
    let status = rig.permits().acquire_permit(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.details().len() + status.message().len() < 8 << 10);
}
