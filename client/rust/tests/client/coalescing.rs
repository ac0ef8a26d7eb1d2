//! One call for many: who is to make it, who has its result, and who lets the next one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tollgate_client::{
    Answer, CallError, Coalesced, DenialReason, Error, Limiter, Retries,
    v1::{self, acquire_permit_response::Decision},
};

use super::fake::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

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

#[tokio::test(start_paused = true)]
async fn the_same_event_is_handled_once_by_two_workers() {
    let node = Node::in_memory().await;
    let handled = Arc::new(AtomicU32::new(0));
    node.on_acquire(|request, n| {
        assert_eq!(request.coalesce_key, "event/9f3c");
        assert!(request.max_wait.is_some(), "it waits for the other's result");
        if n <= 2 { granted(call(&format!("p0-{n}"))) } else { Ok(shared(b"done")) }
    });
    let limiter = Limiter::new(node.client());
    for _ in 0..2 {
        let request = node.client().acquire("hubspot/acme").coalesce("event/9f3c");
        let result = limiter.share(request, WEEK, |_| {
            let tries = handled.fetch_add(1, Ordering::Relaxed);
            async move {
                if tries == 0 { Err(Answer::new(429)) } else { Ok((Answer::new(200), b"done".to_vec())) }
            }
        });
        assert_eq!(result.await.unwrap(), b"done");
    }
    assert_eq!(handled.load(Ordering::Relaxed), 2, "the second try of the first worker");
    let told: Vec<_> =
        node.script().releases.iter().map(|told| (told.result.clone(), told.result_ttl)).collect();
    assert_eq!(told, [(None, None), (Some(b"done".to_vec()), Some(wire(WEEK)))]);
}

#[tokio::test(start_paused = true)]
async fn only_results_for_all_are_shared() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(call(&format!("p0-{n}"))));
    let limiter = Limiter::new(node.client()).retries(Retries::none());
    let most = 16 << 10;
    for (status, length, is_shared) in [
        (200, 0, true),
        (404, 3, true),
        (410, 3, true),
        (400, 3, false),
        (500, 3, false),
        (200, most, true),
        (200, most + 1, false),
    ] {
        let request = node.client().acquire("hubspot/acme").coalesce("contact/42");
        let work = |_| async move { Ok::<_, Answer>((Answer::new(status), vec![7; length])) };
        assert_eq!(limiter.share(request, WEEK, work).await.unwrap().len(), length);
        let told = node.script().releases.last().unwrap().result.is_some();
        assert_eq!(told, is_shared, "{status}, {length} bytes");
    }
    let request = node.client().acquire("hubspot/acme").coalesce("contact/42");
    let work = |_| async { Ok::<_, Answer>((Answer::new(429), vec![7; 3])) };
    let error = limiter.share(request, WEEK, work).await.unwrap_err();
    assert!(matches!(error, CallError::Limited { tries: 1, .. }), "{error:?}");
    assert!(node.script().releases.last().unwrap().result.is_none(), "a refusal is nobody's result");
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_seconds_or_days() {
    let node = Node::in_memory().await;
    for keep_for in [WEEK + Duration::from_nanos(1), Duration::from_millis(4_999)] {
        let request = node.client().acquire("hubspot/acme").coalesce("contact/42");
        let work = |_| async { Ok::<_, Answer>((Answer::new(200), Vec::new())) };
        let error = Limiter::new(node.client()).share(request, keep_for, work).await.unwrap_err();
        let CallError::NoPermit { error: Error::Invalid { violations, .. }, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(violations[0].field, "keep_for");
    }
    assert_eq!(node.script().acquires.len(), 0);
}

#[tokio::test]
async fn results_are_invalidated_by_key_and_by_prefix() {
    let node = Node::start().await;
    assert!(node.client().invalidate_result("hubspot/acme", "contact/42").await.unwrap());
    // The node counts the letters.
    assert_eq!(node.client().invalidate_results("hubspot/acme", "contact/").await.unwrap(), 8);
}
