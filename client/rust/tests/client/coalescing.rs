//! One call for many: who is to make it, who has its result, and who lets the next one.

use std::time::Duration;

use tollgate_client::{
    Coalesced, DenialReason, Error,
    v1::{self, acquire_permit_response::Decision},
};

use super::fake::*;

fn shared(result: &[u8]) -> v1::AcquirePermitResponse {
    let (age, waited) = (Some(wire(Duration::from_secs(3))), Some(wire(Duration::from_secs(2))));
    let shared = v1::SharedResult { result: result.to_vec(), age, waited };
    v1::AcquirePermitResponse { decision: Some(Decision::Result(shared)) }
}

/// A permit that holds a call, and no slot.
fn call(id: &str) -> v1::GrantedPermit {
    v1::GrantedPermit { lease: Some(wire(Duration::from_secs(60))), ..plain(id) }
}

#[tokio::test]
async fn the_result_of_another_is_told() {
    let node = Node::start().await;
    node.on_acquire(|request, _| {
        assert_eq!(request.coalesce_key, "contact/42");
        Ok(shared(b"Jane"))
    });
    let asked = node.client().acquire("hubspot/acme").coalesce("contact/42").await.unwrap();
    let Coalesced::Result(told) = asked else { panic!("{asked:?}") };
    assert_eq!(told.bytes, b"Jane");
    assert_eq!((told.age, told.waited), (Duration::from_secs(3), Duration::from_secs(2)));
}

#[tokio::test]
async fn who_makes_the_call_releases_it_with_its_result() {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(call("p0-1")));
    node.on_release(|request, _| {
        assert_eq!(request.result.as_deref(), Some(&b"Jane"[..]));
        assert_eq!(request.result_ttl, Some(wire(Duration::from_secs(60))));
        Ok(Default::default())
    });
    let asked = node.client().acquire("hubspot/acme").coalesce("contact/42").await.unwrap();
    let Coalesced::Permit(permit) = asked else { panic!("{asked:?}") };
    permit.release().result("Jane").keep_result_for(Duration::from_secs(60)).await.unwrap();
    assert_eq!(node.script().releases.len(), 1);
}

#[tokio::test]
async fn a_dropped_permit_lets_the_next_one_make_the_call() {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(call("p0-1")));
    drop(node.client().acquire("hubspot/acme").coalesce("contact/42").await.unwrap());
    eventually(|| !node.script().releases.is_empty()).await;
    assert_eq!(node.script().releases[0].result, None);
}

#[tokio::test]
async fn a_call_under_way_is_a_denial_that_says_so() {
    let node = Node::start().await;
    node.on_acquire(|_, _| {
        let reason = v1::DenialReason::CallUnderWay.into();
        let denied = v1::DeniedPermit { reason, ..Default::default() };
        Ok(v1::AcquirePermitResponse { decision: Some(Decision::Denied(denied)) })
    });
    let error = node.client().acquire("hubspot/acme").coalesce("contact/42").await.unwrap_err();
    let Error::Denied(denial) = error else { panic!("{error}") };
    assert_eq!(denial.reason, DenialReason::CallUnderWay);
}

#[tokio::test]
async fn results_are_invalidated_by_key_and_by_prefix() {
    let node = Node::start().await;
    assert!(node.client().invalidate_result("hubspot/acme", "contact/42").await.unwrap());
    // The node counts the letters.
    assert_eq!(node.client().invalidate_results("hubspot/acme", "contact/").await.unwrap(), 8);
}
