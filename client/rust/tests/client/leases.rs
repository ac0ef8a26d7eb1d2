//! Permits that hold a slot: renewal, loss, release.

use std::time::Duration;

use tollgate_client::{Error, Outcome, Permit, Unusable};
use tonic::{Code, Status};

use crate::fake::{Node, eventually, granted, refusal, slot};

/// Long beside what a noisy machine takes, short beside a test.
const LEASE: Duration = Duration::from_millis(1_500);

async fn holder() -> (Node, Permit) {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(slot("held", LEASE)));
    let permit = node.client().acquire("r").lease(LEASE).await.unwrap();
    (node, permit)
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_permit_lives() {
    let (node, permit) = holder().await;
    assert_eq!((permit.slots()[0].index, permit.slots()[0].generation), (3, 7));
    eventually(|| node.script().renewals.len() >= 4).await;
    permit.ensure_usable().unwrap();
    assert!(permit.held_for_another().unwrap() < LEASE);
    assert!(node.script().renewals.iter().all(|renewal| renewal.permit_id == "held"));
}

#[tokio::test]
async fn a_permit_that_the_server_ended_is_lost_at_once() {
    let (node, permit) = holder().await;
    node.on_renew(|_, _| Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")));
    permit.lost().await;
    assert_eq!(permit.ensure_usable(), Err(Unusable::LeaseLost));
    assert!(!permit.is_usable());
    assert_eq!(node.script().renewals.len(), 1, "it never revives, so nobody asks again");
}

#[tokio::test]
async fn a_permit_that_cannot_be_renewed_is_lost_when_its_lease_may_have_ended() {
    let (node, permit) = holder().await;
    node.on_renew(|_, _| Err(refusal(Code::Unavailable, "NO_LEADER")));
    eventually(|| !node.script().renewals.is_empty()).await;
    permit.lost().await;
    assert_eq!(permit.ensure_usable(), Err(Unusable::LeaseLost));
}

#[tokio::test]
async fn without_renewal_a_lease_just_ends() {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(slot("held", Duration::from_millis(50))));
    let permit = node.client().acquire("r").without_renewal().await.unwrap();
    permit.lost().await;
    assert!(!permit.is_usable());
    assert!(node.script().renewals.is_empty());
}

#[tokio::test]
async fn a_dropped_permit_is_released() {
    let (node, permit) = holder().await;
    drop(permit);
    eventually(|| !node.script().releases.is_empty()).await;
    let release = node.script().releases[0].clone();
    assert_eq!((release.permit_id.as_str(), release.outcome()), ("held", Outcome::Unknown));
}

#[tokio::test]
async fn a_release_that_is_never_awaited_still_frees_the_slot() {
    let (node, permit) = holder().await;
    drop(permit.release().outcome(Outcome::Throttled));
    eventually(|| !node.script().releases.is_empty()).await;
}

#[tokio::test]
async fn a_release_says_how_it_went_and_happens_once() {
    let (node, permit) = holder().await;
    let release = permit.release().outcome(Outcome::Throttled).cost(3).amount("output_tokens", 842);
    assert_eq!(release.await.unwrap(), Duration::from_secs(1));
    tokio::time::sleep(LEASE).await;
    let script = node.script();
    assert_eq!(script.releases.len(), 1);
    assert_eq!((script.releases[0].outcome(), script.releases[0].cost), (Outcome::Throttled, Some(3)));
    assert_eq!(script.releases[0].amounts["output_tokens"], 842);
}

#[tokio::test]
async fn a_detached_permit_is_left_alone() {
    let (node, permit) = holder().await;
    assert_eq!(permit.detach(), "held");
    tokio::time::sleep(LEASE).await;
    assert!(node.script().releases.is_empty());
    assert!(node.script().renewals.is_empty());
}

#[tokio::test]
async fn a_release_whose_answer_was_lost_is_a_success() {
    let (node, permit) = holder().await;
    node.on_release(|_, n| match n {
        1 => Err(Status::unavailable("the connection broke")),
        _ => Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")),
    });
    permit.release().await.unwrap();
}

#[tokio::test]
async fn releasing_what_has_ended_is_an_error() {
    let (node, permit) = holder().await;
    node.on_release(|_, n| match n {
        // It was certainly not carried out, so the second answer is about somebody else's doing.
        1 => Err(refusal(Code::Unavailable, "NO_LEADER")),
        _ => Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")),
    });
    let error = permit.release().await.unwrap_err();
    assert!(matches!(error, Error::PermitEnded { .. }), "{error:?}");
}
