//! The services before the real limiter: what clients meet from a resource's creation to its end.

use std::time::Duration;

use tollgate_limiter::{Limiter, Stamp};
use tonic::Code;
use tonic_types::StatusExt;

use super::*;
use crate::{
    metrics::FeedbackLabels,
    raft::call::{ClusterView, Query},
    resource_file,
};

const RESOURCE: &str = r#"
[[resource]]
name = "vendor/account"

[[resource.limit]]
name = "daily"
kind = "sliding_window"
amount = 100
period = "24h"

[[resource.limit]]
name = "slots"
kind = "concurrency"
slots = 2
lease_default = "30s"
lease_max = "60s"
"#;

/// A replica of one, whose time goes on by a millisecond with each call.
pub(super) fn limiter() -> impl FnMut(&Call) -> Played + Send + 'static {
    let mut limiter = Limiter::default();
    let mut stamp = Stamp::default();
    move |call| {
        stamp = stamp.after(Span::from_millis(1));
        Some(Ok(match call {
            Call::Command { command, .. } => {
                let mut answers = Vec::new();
                limiter.apply(stamp, std::slice::from_ref(command), &mut answers);
                answers.remove(0).into()
            }
            Call::Query(Query::Resource(name)) => {
                Reply::Resource(limiter.resource(stamp, name).map(Box::new))
            }
            Call::Query(Query::Resources { after, prefix, max }) => {
                let (page, more) = limiter.resources(stamp, after.as_ref(), prefix, *max as usize);
                Reply::Resources { page, more }
            }
            Call::Query(Query::Usage { name, scope_value, max_scope_values }) => {
                let counters = *max_scope_values as usize;
                let usage = limiter.usage(stamp, name, scope_value.as_ref(), counters, 100);
                Reply::Usage(usage.map(Box::new))
            }
            Call::Query(Query::FeedbackRulesHere(called)) => {
                Reply::FeedbackRules(Box::new(limiter.feedback_rules(called).cloned().unwrap_or_default()))
            }
            Call::Query(Query::Estimate(work)) => {
                Reply::Estimate(Box::new(limiter.estimate(stamp, work, &[])))
            }
            Call::Query(Query::ClusterHere) => {
                Reply::Cluster(Box::new(ClusterView { answered_by: THIS, ..Default::default() }))
            }
            other => panic!("{other:?} is not for the limiter"),
        }))
    }
}

async fn with_resource() -> (Rig, v1::Resource) {
    let rig = Rig::leading(limiter()).await;
    let resource = resource_file::read(RESOURCE).unwrap().remove(0);
    let request = v1::CreateResourceRequest { resource: Some(resource) };
    let created = rig.resources().create_resource(request).await.unwrap().into_inner();
    (rig, created)
}

pub(super) fn reason(status: &tonic::Status) -> (Code, String) {
    let details = status.get_error_details();
    (status.code(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

async fn granted(rig: &Rig) -> v1::GrantedPermit {
    let response = rig.permits().acquire_permit(acquire(1)).await.unwrap().into_inner();
    match response.decision {
        Some(v1::acquire_permit_response::Decision::Granted(granted)) => granted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_permit_from_grant_to_end() {
    let (rig, _) = with_resource().await;
    let permit = granted(&rig).await;
    assert_eq!(permit.lease, Some(prost_types::Duration { seconds: 30, nanos: 0 }));
    assert_eq!(permit.slots.len(), 1);
    assert_eq!(permit.usage.len(), 2);
    granted(&rig).await;
    let denied = rig.permits().acquire_permit(acquire(1)).await.unwrap().into_inner();
    assert_eq!(told(denied), "denied by slots");

    let usage = v1::GetResourceUsageRequest { name: "vendor/account".into(), ..Default::default() };
    let usage = rig.resources().get_resource_usage(usage).await.unwrap().into_inner();
    assert_eq!(usage.held.len(), 2);
    assert_eq!(usage.held[0].permit_id, permit.permit_id);

    let renew = v1::RenewPermitRequest { permit_id: permit.permit_id.clone(), lease: None };
    rig.permits().renew_permit(renew.clone()).await.unwrap();
    let release = v1::ReleasePermitRequest {
        permit_id: permit.permit_id,
        outcome: v1::Outcome::Throttled.into(),
        feedback: Some(v1::VendorFeedback { status: 429, ..Default::default() }),
        ..Default::default()
    };
    rig.permits().release_permit(release.clone()).await.unwrap();
    let feedback = FeedbackLabels { status: 429 };
    assert_eq!(rig.node.metrics.feedback.get_or_create(&feedback).get(), 1);

    let ended = (Code::FailedPrecondition, "PERMIT_ENDED".to_owned());
    assert_eq!(reason(&rig.permits().release_permit(release).await.unwrap_err()), ended);
    assert_eq!(reason(&rig.permits().renew_permit(renew).await.unwrap_err()), ended);
    granted(&rig).await;
}

#[tokio::test]
async fn what_no_limit_could_ever_grant_is_refused_by_field_and_debits_nothing() {
    let (rig, _) = with_resource().await;
    let edited = |edit: fn(&mut v1::AcquirePermitRequest)| {
        let mut request = acquire(1);
        edit(&mut request);
        request
    };
    let before = granted(&rig).await;
    for (request, field) in [
        (edited(|r| r.cost = Some(101)), "cost"),
        (edited(|r| r.lease = Some(prost_types::Duration { seconds: 61, nanos: 0 })), "lease"),
        (edited(|r| r.amounts = [("tokens".into(), 1)].into()), "amounts[\"tokens\"]"),
        (edited(|r| r.key = "stranger".into()), "key"),
    ] {
        let status = rig.permits().acquire_permit(request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELD".into()));
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let unknown = v1::AcquirePermitRequest { resource: "nobody/knows".into(), ..acquire(1) };
    let status = rig.permits().acquire_permit(unknown).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));

    let after = granted(&rig).await;
    assert_eq!(after.usage[0].available, before.usage[0].available - 1);
}

#[tokio::test]
async fn a_request_id_is_good_for_one_body() {
    let (rig, _) = with_resource().await;
    let request = v1::AcquirePermitRequest { request_id: "r-1".into(), ..acquire(1) };
    let first = told(rig.permits().acquire_permit(request.clone()).await.unwrap().into_inner());
    let again = v1::AcquirePermitRequest { attempt: 2, ..request.clone() };
    assert_eq!(told(rig.permits().acquire_permit(again).await.unwrap().into_inner()), first);
    let other = v1::AcquirePermitRequest { cost: Some(2), ..request };
    let status = rig.permits().acquire_permit(other).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
}

#[tokio::test]
async fn a_resource_from_creation_to_deletion() {
    let (rig, created) = with_resource().await;
    assert!(created.generation > 0);
    assert_eq!(created.settle_within, Some(prost_types::Duration { seconds: 60, nanos: 0 }));
    let create =
        v1::CreateResourceRequest { resource: Some(v1::Resource { generation: 0, ..created.clone() }) };
    let status = rig.resources().create_resource(create).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "RESOURCE_EXISTS".into()));

    let edited = v1::Resource { description: "edited".into(), ..created.clone() };
    let update = v1::UpdateResourceRequest { resource: Some(edited) };
    let updated = rig.resources().update_resource(update.clone()).await.unwrap().into_inner();
    assert!(updated.generation > created.generation);
    let stale = rig.resources().update_resource(update).await.unwrap_err();
    assert_eq!(reason(&stale), (Code::Aborted, "STALE_GENERATION".into()));

    let get = v1::GetResourceRequest { name: "vendor/account".into() };
    assert_eq!(rig.resources().get_resource(get.clone()).await.unwrap().into_inner(), updated);
    let delete = v1::DeleteResourceRequest { name: "vendor/account".into(), generation: updated.generation };
    rig.resources().delete_resource(delete).await.unwrap();
    let gone = rig.resources().get_resource(get).await.unwrap_err();
    assert_eq!(reason(&gone), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
}

#[tokio::test]
async fn resources_are_listed_page_by_page() {
    let (rig, created) = with_resource().await;
    for n in 0..4 {
        let resource = v1::Resource { name: format!("vendor/{n}"), generation: 0, ..created.clone() };
        let create = v1::CreateResourceRequest { resource: Some(resource) };
        rig.resources().create_resource(create).await.unwrap();
    }
    let mut names = Vec::new();
    let mut list = v1::ListResourcesRequest { page_size: 2, prefix: "vendor/".into(), ..Default::default() };
    loop {
        let page = rig.resources().list_resources(list.clone()).await.unwrap().into_inner();
        assert!(page.resources.len() <= 2);
        names.extend(page.resources.into_iter().map(|resource| resource.name));
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!(names, ["vendor/0", "vendor/1", "vendor/2", "vendor/3", "vendor/account"]);
}

#[tokio::test]
async fn a_node_without_a_leader_tells_what_it_sees_itself() {
    let rig = Rig::leaderless(limiter()).await;
    let mut request = tonic::Request::new(v1::GetClusterRequest {});
    request.set_timeout(Duration::from_secs(5));
    let cluster = rig.cluster().get_cluster(request).await.unwrap().into_inner();
    assert_eq!((cluster.cluster.as_str(), cluster.leader_id, cluster.answered_by), ("test", 0, THIS));
}
