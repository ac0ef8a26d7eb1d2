//! Calls under permits. Time is paused: the waits are exact, and nobody waits for them.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_client::{Answer, CallError, Client, Error, Observation, Outcome, Retries};
use tonic::{Code, Status};

use crate::{
    fake::{Node, denied, granted, plain, refusal, slot, wire},
    vendor::{Vendor, call, limiter},
};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_has_a_permit_and_tells_how_it_went() {
    let node = Node::in_memory().await;
    let vendor = Vendor::new([Observation::Answered(Answer::new(200).header("X-RateLimit-Remaining", "7"))]);
    let answer = call(&limiter(&node), &vendor).await.unwrap();
    assert_eq!(answer.status(), 200);
    let script = node.script();
    assert_eq!((script.acquires.len(), script.releases.len(), vendor.called()), (1, 1, 1));
    assert_eq!(script.acquires[0].max_wait, Some(wire(60 * SECOND)), "it waits for its turn");
    assert_eq!(script.acquires[0].cost, None, "the resource says what the operation costs");
    assert_eq!((script.releases[0].permit_id.as_str(), script.releases[0].outcome()), ("p0-1", Outcome::Ok));
    let feedback = script.releases[0].feedback.clone().unwrap();
    assert_eq!((feedback.status, feedback.vendor.as_str()), (200, "hubspot"));
    assert_eq!(feedback.headers["x-ratelimit-remaining"], "7");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_truly_cost_is_settled() {
    let node = Node::in_memory().await;
    let answer = Answer::new(200).cost(30).amount("output_tokens", 842).amount("images", u64::MAX);
    let vendor =
        Vendor::new([Answer::new(429).amount("output_tokens", 0), answer].map(Observation::Answered));
    call(&limiter(&node), &vendor).await.unwrap();
    let told: Vec<_> =
        node.script().releases.iter().map(|release| (release.cost, release.amounts.clone())).collect();
    let tokens = |n| ("output_tokens".to_owned(), n);
    let all = [tokens(842), ("images".to_owned(), 1_000_000_000_000)];
    assert_eq!(told, [(None, [tokens(0)].into()), (Some(30), all.into())]);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_for_longer_than_its_permit_is_remembered_is_told_all_the_same() {
    let node = Node::in_memory().await;
    node.on_release(|_, _| Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")));
    let pending = |_| std::future::pending::<Result<Answer, Observation>>();
    limiter(&node).timeout(90 * SECOND).call("r", pending).await.unwrap_err();
    let told = node.script().reports.clone();
    assert_eq!((told[0].permit_id.as_str(), told[0].outcome()), ("p0-1", Outcome::Timeout));

    // Of what never left there is nothing to tell.
    limiter(&node).call("r", |_| async { Err::<Answer, _>(Observation::Unneeded) }).await.unwrap_err();
    assert_eq!(node.script().reports.len(), told.len());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_slot_is_lost_is_stopped() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| granted(slot("held", LEASE)));
    node.on_renew(|_, _| Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")));
    let result = limiter(&node).call("r", |_| std::future::pending::<Result<Answer, Observation>>()).await;
    assert!(matches!(result, Err(CallError::LeaseLost { tries: 1, .. })), "{result:?}");
    // The vendor may be as well as ever, and still at work on it.
    let script = node.script();
    let told: Vec<_> = script.reports.iter().map(|report| report.outcome()).collect();
    assert_eq!((told, script.releases.len()), (vec![Outcome::Unknown], 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_permit_the_vendor_is_not_called() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| denied(60 * SECOND));
    let vendor = Vendor::statuses(&[200]);
    let error = call(&limiter(&node), &vendor).await.unwrap_err();
    assert!(matches!(&error, CallError::NoPermit { error: Error::Denied(_), tries: 0, .. }), "{error:?}");
    assert_eq!((vendor.called(), node.script().releases.len()), (0, 0));

    let named = node.client().acquire("r").request_id("mine");
    let result = limiter(&node).call(named, |permit| vendor.clone().call(permit)).await;
    let Err(CallError::NoPermit { error: Error::Invalid { violations, .. }, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(violations[0].field, "request_id");
}

#[tokio::test(start_paused = true)]
async fn a_result_is_not_held_back_for_a_cluster_that_is_gone() {
    let node = Node::in_memory().await;
    node.on_release(|_, _| Err(Status::unavailable("gone")));
    let start = Instant::now();
    call(&limiter(&node), &Vendor::statuses(&[200])).await.unwrap();
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_was_kept_is_released_all_the_same() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| granted(slot("kept", LEASE)));
    let kept = limiter(&node)
        .call("r", |permit| async move { Ok::<_, Observation>((Answer::new(200), permit)) })
        .await
        .unwrap();
    assert_eq!(node.script().releases.len(), 1);
    kept.1.lost().await;
    assert!(node.script().renewals.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_in_detail_is_asked_as_it_is() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| granted(plain("p0-1")));
    let client: Client = node.client();
    let search = client.acquire("hubspot/acme").operation("search").cost(3).wait_up_to(7 * SECOND);
    let vendor = Vendor::statuses(&[200]);
    limiter(&node).retries(Retries::none()).call(search, |permit| vendor.clone().call(permit)).await.unwrap();
    let asked = node.script().acquires[0].clone();
    assert_eq!(
        (asked.operation.as_str(), asked.cost, asked.max_wait),
        ("search", Some(3), Some(wire(7 * SECOND)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_report_needs_no_permit() {
    let node = Node::in_memory().await;
    let answer = Answer::new(429).header("Retry-After", "60").error_code("DAILY");
    let understood =
        node.client().report("hubspot/acme").key("blue").answer("hubspot", answer).await.unwrap();
    assert!(understood.limited && understood.wait == Some(60 * SECOND));
    let told = node.script().reports[0].clone();
    let feedback = told.feedback.unwrap();
    assert_eq!((told.resource.as_str(), told.key.as_str()), ("hubspot/acme", "blue"));
    assert_eq!(
        (feedback.status, feedback.error_code.as_str(), feedback.vendor.as_str()),
        (429, "DAILY", "hubspot")
    );
    assert_eq!(feedback.headers["retry-after"], "60");
}
