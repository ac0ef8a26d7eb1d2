//! Which calls are made again, and when. Time is paused: the waits are exact, and nobody waits for them.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_client::{Answer, CallError, Observation, Outcome, v1::ReportFeedbackResponse};
use tonic::Code;

use crate::{
    fake::{Node, denied, granted, limited, plain, refusal},
    vendor::{Vendor, call, limiter, outcomes, reading},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn while_the_fleet_is_held_back_the_next_try_waits_at_the_server() {
    let node = Node::in_memory().await;
    reading(&node, |release| {
        release.feedback.as_ref().filter(|told| told.status == 429).map(|_| limited(60 * SECOND))
    });
    let vendor = Vendor::statuses(&[429, 200]);
    let start = Instant::now();
    call(&limiter(&node), &vendor).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "no wait of its own beside that of the cluster");
    assert_eq!(outcomes(&node), [Outcome::Throttled, Outcome::Ok]);
    let asked = node.script().acquires.clone();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].request_id, asked[1].request_id, "each try is debited");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_held_back_by_the_cluster_holds_back_by_himself() {
    let node = Node::in_memory().await;
    // It may be told to heed the waits of vendors for no longer than this.
    reading(&node, |_| Some(limited(Duration::from_millis(1))));
    let refused = Observation::Answered(Answer::new(429).header("Retry-After", "3600"));
    let vendor = Vendor::new(vec![refused; 9]);
    let start = Instant::now();
    call(&limiter(&node), &vendor).await.unwrap_err();
    assert_eq!(vendor.called(), 6);
    assert!(start.elapsed() >= Duration::from_millis(15_500), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_patient_call_outlasts_a_pause() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| if n <= 3 { denied(60 * SECOND) } else { granted(plain("p0-1")) });
    let vendor = Vendor::statuses(&[200]);
    call(&limiter(&node).patience(600 * SECOND), &vendor).await.unwrap();
    assert_eq!((vendor.called(), node.script().acquires.len()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn the_vendors_own_signs_are_the_servers_to_read() {
    let node = Node::in_memory().await;
    reading(&node, |release| {
        let feedback = release.feedback.as_ref()?;
        let limited = feedback.status == 403 && feedback.body == b"REQUEST_LIMIT_EXCEEDED";
        Some(ReportFeedbackResponse { limited, ..Default::default() })
    });
    let refused = Observation::Answered(Answer::new(403).body("REQUEST_LIMIT_EXCEEDED"));
    let vendor = Vendor::new([refused, Observation::Answered(Answer::new(403).body("INSUFFICIENT_ACCESS"))]);
    let error = call(&limiter(&node), &vendor).await.unwrap_err();
    assert!(matches!(error, CallError::Failed { tries: 2, .. }), "{error:?}");
    assert_eq!(vendor.called(), 2, "the second is no limit, so it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_nobody_can_read_is_asked_less_and_less_often() {
    let node = Node::in_memory().await;
    let vendor = Vendor::statuses(&[429; 9]);
    let start = Instant::now();
    let error = call(&limiter(&node), &vendor).await.unwrap_err();
    assert!(matches!(error, CallError::Failed { tries: 6, .. }), "{error:?}");
    assert_eq!(vendor.called(), 6);
    let waited = start.elapsed();
    // 0.5 + 1 + 2 + 4 + 8 s, and up to half of it more.
    assert!(waited >= Duration::from_millis(15_500) && waited <= Duration::from_millis(23_300), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_without_the_cluster_too() {
    let node = Node::in_memory().await;
    node.on_release(|_, _| Err(refusal(Code::Unavailable, "NO_LEADER")));
    let wait = |seconds: &str| Observation::Answered(Answer::new(429).header("Retry-After", seconds));
    let vendor = Vendor::new([wait("40"), Observation::Answered(Answer::new(200))]);
    let start = Instant::now();
    call(&limiter(&node), &vendor).await.unwrap();
    // Results are held back for a moment when the cluster does not answer.
    assert!(start.elapsed() >= 40 * SECOND && start.elapsed() <= 43 * SECOND, "{:?}", start.elapsed());

    // Longer than anybody here waits: an earlier try would be refused.
    let vendor = Vendor::new([wait("61"), Observation::Answered(Answer::new(200))]);
    call(&limiter(&node), &vendor).await.unwrap_err();
    assert_eq!(vendor.called(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_repeated_is() {
    for (observation, idempotent, again, outcome) in [
        (Observation::Answered(Answer::new(503)), false, false, Outcome::ServerError),
        (Observation::Answered(Answer::new(503)), true, true, Outcome::ServerError),
        (Observation::Answered(Answer::new(404)), true, false, Outcome::ClientError),
        (Observation::Unsent, false, true, Outcome::NotSent),
        (Observation::Unneeded, true, false, Outcome::NotSent),
        (Observation::Failed, true, false, Outcome::ClientError),
    ] {
        let node = Node::in_memory().await;
        let vendor = Vendor::new([observation.clone(), Observation::Answered(Answer::new(200))]);
        let result = call(&limiter(&node).idempotent(idempotent), &vendor).await;
        assert_eq!(result.is_ok(), again, "{observation:?}");
        assert_eq!(vendor.called(), if again { 2 } else { 1 }, "{observation:?}");
        assert_eq!(outcomes(&node)[0], outcome, "{observation:?}");
    }
}
