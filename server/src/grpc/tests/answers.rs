//! What comes with answers: the leader, the deadline, order, and the statuses of the one table.

use std::time::Duration;

use tollgate_limiter::Violation;
use tollgate_proto::v1::permit_service_server::PermitService;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::*;
use crate::{
    grpc::{permit::Permits, status::Failure},
    raft::call::MemberRefusal,
};

/// Long enough for the greatest margin before it: a loaded machine answers in time, too.
const DEADLINE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn every_answer_names_the_leader_errors_too() {
    let rig = Rig::leading(by_cost).await;
    let granted = rig.permits().acquire_permit(acquire(7)).await.unwrap();
    assert_eq!(granted.metadata().get("tollgate-leader").unwrap(), "127.0.0.1:7600");
    assert_eq!(granted.metadata().get("tollgate-leader-id").unwrap(), "1");
    assert_eq!(told(granted.into_inner()), "p0-7");

    let refused = rig.permits().acquire_permit(acquire(0)).await.unwrap_err();
    assert_eq!(refused.metadata().get("tollgate-leader").unwrap(), "127.0.0.1:7600");
}

#[tokio::test]
async fn a_denial_is_an_answer() {
    let rig = Rig::leading(by_cost).await;
    let denied = rig.permits().acquire_permit(acquire(100)).await.unwrap().into_inner();
    let Some(v1::acquire_permit_response::Decision::Denied(denied)) = denied.decision else { panic!() };
    assert_eq!(denied.reason(), v1::DenialReason::LimitExhausted);
    assert_eq!(denied.retry_after, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
}

#[tokio::test]
async fn a_batch_is_handed_on_and_answered_in_order() {
    let rig = Rig::leading(by_cost).await;
    let costs: Vec<u64> = (0..1000).map(|n| if n == 17 { 0 } else { n % 102 + 1 }).collect();
    let requests = costs.iter().map(|cost| acquire(*cost)).collect();
    let answers =
        rig.permits().acquire_permits(v1::AcquirePermitsRequest { requests }).await.unwrap().into_inner();

    let told: Vec<String> = answers
        .results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            v1::acquire_permit_result::Result::Response(response) => told(response),
            v1::acquire_permit_result::Result::Error(error) => format!("{} {}", error.reason, error.field),
        })
        .collect();
    let expected: Vec<String> = costs
        .iter()
        .map(|cost| match cost {
            0 => "INVALID_FIELD cost".into(),
            1..100 => format!("p0-{cost:x}"),
            100 => "denied by daily".into(),
            _ => "RESOURCE_NOT_FOUND ".into(),
        })
        .collect();
    assert_eq!(told, expected);

    let asked: Vec<u64> = rig
        .asked
        .lock()
        .iter()
        .map(|call| match call {
            Call::Command { command: Command::Acquire(acquire), .. } => acquire.cost,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, costs.iter().copied().filter(|cost| *cost != 0).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let rig = Rig::leading(not_found).await;
    let named = |answer: Result<(), tonic::Status>, name: &str| {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().starts_with(&format!("{name}: ")), "{status:?}");
    };
    let (resource, id) = ("vendor/account", "p0-2a");
    named(rig.permits().acquire_permit(acquire(1)).await.map(drop), resource);
    let renewal = v1::RenewPermitRequest { permit_id: id.into(), ..Default::default() };
    named(rig.permits().renew_permit(renewal).await.map(drop), id);
    let release = v1::ReleasePermitRequest { permit_id: id.into(), ..Default::default() };
    named(rig.permits().release_permit(release).await.map(drop), id);
    let deletion = v1::DeleteResourceRequest { name: resource.into(), ..Default::default() };
    named(rig.resources().delete_resource(deletion).await.map(drop), resource);
    let pause = v1::PauseResourceRequest { name: resource.into(), ..Default::default() };
    named(rig.resources().pause_resource(pause).await.map(drop), resource);
    let resumption = v1::ResumeResourceRequest { name: resource.into(), ..Default::default() };
    named(rig.resources().resume_resource(resumption).await.map(drop), resource);
    let (name, state) = (resource.into(), v1::KeyState::Draining.into());
    let key_change = v1::SetKeyStateRequest { name, key: "blue".into(), state };
    named(rig.resources().set_key_state(key_change).await.map(drop), resource);
}

#[tokio::test]
async fn without_a_leader_a_batch_fails_as_a_whole() {
    let rig = Rig::leaderless(by_cost).await;
    let mut request = Request::new(v1::AcquirePermitsRequest { requests: vec![acquire(1), acquire(2)] });
    request.set_timeout(DEADLINE);
    // Asked without the transport: it has the same deadline, and on a loaded machine it would give up first.
    let status = Permits::new(rig.node.clone()).acquire_permits(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "NO_LEADER");
}

#[tokio::test]
async fn a_passed_deadline_says_that_the_outcome_is_open() {
    let rig = Rig::leading(silent).await;
    let mut request = Request::new(acquire(1));
    request.set_timeout(Duration::from_millis(20));
    // Asked without the transport: it has the same deadline, and on a loaded machine it would give up first.
    let status = Permits::new(rig.node.clone()).acquire_permit(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    // The replica learns that nobody waits, whenever it comes to the call.
    while rig.open.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(rig.open.lock()[0].reply.is_closed());
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let rig = Rig::leading(by_cost).await;
    rig.permits().acquire_permit(acquire(1)).await.unwrap();
    rig.permits().acquire_permit(acquire(0)).await.unwrap_err();
    let count = |code| {
        let labels = crate::metrics::CallLabels { method: "AcquirePermit", code };
        rig.node.metrics.calls.get_or_create(&labels).get()
    };
    assert_eq!((count("OK"), count("INVALID_ARGUMENT")), (1, 1));
}

#[test]
fn each_fault_has_its_code_and_reason() {
    let limit = LimitName::new("daily").unwrap();
    let wait = Span::from_millis(50);
    let violation = Violation { field: "cost".into(), problem: "is too much".into() };
    let cases: Vec<(Failure, Code, &str)> = vec![
        (Refusal::NotLeader { leader: None }.into(), Code::Unavailable, "NO_LEADER"),
        (Refusal::NoLeader.into(), Code::Unavailable, "NO_LEADER"),
        (Refusal::Overloaded { retry_after: wait }.into(), Code::ResourceExhausted, "OVERLOADED"),
        (Refusal::OutcomeUnknown.into(), Code::Unavailable, "OUTCOME_UNKNOWN"),
        (Refusal::ShuttingDown.into(), Code::Unavailable, "SHUTTING_DOWN"),
        (Refusal::StorageFull.into(), Code::Unavailable, "STORAGE_FULL"),
        (Refusal::DeadlineExceeded.into(), Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
        (Rejection::ResourceNotFound.into(), Code::NotFound, "RESOURCE_NOT_FOUND"),
        (Rejection::ResourceExists.into(), Code::AlreadyExists, "RESOURCE_EXISTS"),
        (Rejection::StaleGeneration { current: 3 }.into(), Code::Aborted, "STALE_GENERATION"),
        (Rejection::TooManyResources { max: 1 }.into(), Code::ResourceExhausted, "TOO_MANY_RESOURCES"),
        (
            Rejection::TooManyScopeValues { limit, max: 1 }.into(),
            Code::ResourceExhausted,
            "TOO_MANY_SCOPE_VALUES",
        ),
        (Rejection::TooManyLeases { max: 1 }.into(), Code::ResourceExhausted, "TOO_MANY_LEASES"),
        (Rejection::TooManyCounters { max_bytes: 1 }.into(), Code::ResourceExhausted, "TOO_MANY_COUNTERS"),
        (Rejection::Invalid(violation).into(), Code::InvalidArgument, "INVALID_FIELD"),
        (Rejection::RequestIdReused.into(), Code::AlreadyExists, "REQUEST_ID_REUSED"),
        (Rejection::PermitNotFound.into(), Code::NotFound, "PERMIT_NOT_FOUND"),
        (Rejection::PermitEnded.into(), Code::FailedPrecondition, "PERMIT_ENDED"),
        (Rejection::PermitWithoutLease.into(), Code::FailedPrecondition, "PERMIT_WITHOUT_LEASE"),
        (MemberRefusal::Exists(1).into(), Code::AlreadyExists, "MEMBER_EXISTS"),
        (MemberRefusal::IdWasRemoved(1).into(), Code::FailedPrecondition, "MEMBER_REMOVED"),
        (MemberRefusal::NotFound(1).into(), Code::NotFound, "MEMBER_NOT_FOUND"),
        (MemberRefusal::ChangeInProgress.into(), Code::FailedPrecondition, "CHANGE_IN_PROGRESS"),
        (MemberRefusal::LastVoter(1).into(), Code::FailedPrecondition, "LAST_VOTER"),
        (MemberRefusal::NotAVoter(1).into(), Code::FailedPrecondition, "NOT_A_VOTER"),
        (MemberRefusal::TransferTimedOut(1).into(), Code::Unavailable, "TRANSFER_TIMED_OUT"),
        (MemberRefusal::WipedData(1).into(), Code::FailedPrecondition, "WIPED_DATA"),
    ];
    for (failure, code, reason) in cases {
        let status = failure.clone().into_status();
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "tollgate"));
        assert!(!status.message().is_empty());
        let delay = details.retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay.is_some_and(|delay| delay >= Duration::from_millis(50)), reason == "OVERLOADED");
        assert_eq!(details.quota_failure().is_some(), reason.starts_with("TOO_MANY"));

        let error = failure.into_call_error();
        assert_eq!((error.code, error.reason.as_str()), (i32::from(code), reason));
        assert_eq!(error.field, if reason == "INVALID_FIELD" { "cost" } else { "" });
        assert_eq!(error.retry_after.is_some(), reason == "OVERLOADED");
    }
}
