//! Which calls are made again, and when. Time is paused: the waits are exact, and nobody waits for them.

use std::{io, time::Duration};

use tokio::time::Instant;
use tollgate_client::{Answer, CallError, Observation, Observe, Outcome, v1::ReportFeedbackResponse};
use tonic::Code;

use crate::{
    fake::{Node, denied, granted, limited, plain, refusal},
    vendor::{Vendor, call, limiter, outcomes, reading},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn while_the_fleet_is_held_back_the_next_try_pauses_and_waits_at_the_server() {
    let node = Node::in_memory().await;
    reading(&node, |release| {
        release.feedback.as_ref().filter(|told| told.status == 429).map(|_| limited(60 * SECOND))
    });
    let vendor = Vendor::statuses(&[429, 200]);
    let start = Instant::now();
    call(&limiter(&node), &vendor).await.unwrap();
    let waited = start.elapsed();
    assert!(
        waited >= SECOND / 2 && waited <= SECOND * 3 / 4,
        "{waited:?}: how long it is held is the cluster's"
    );
    assert_eq!(outcomes(&node), [Outcome::Throttled, Outcome::Ok]);
    let asked = node.script().acquires.clone();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].request_id, asked[1].request_id, "each try is debited");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_says_to_wait_is_left_alone_though_the_cluster_grants_at_once() {
    for (retry_after, least) in [(Some("30"), 5 * 30 * SECOND), (None, Duration::from_millis(15_500))] {
        let node = Node::in_memory().await;
        // It says that it holds everybody back, and does not.
        reading(&node, |_| Some(limited(60 * SECOND)));
        let refused = match retry_after {
            Some(seconds) => Answer::new(429).header("Retry-After", seconds),
            None => Answer::new(429),
        };
        let vendor = Vendor::new(vec![Observation::Answered(refused); 9]);
        let start = Instant::now();
        call(&limiter(&node), &vendor).await.unwrap_err();
        assert_eq!(vendor.called(), 6);
        assert!(start.elapsed() >= least, "{retry_after:?}: {:?}", start.elapsed());
    }
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
    // As long as anybody here waits between two tries.
    assert!(start.elapsed() >= 5 * 60 * SECOND, "{:?}", start.elapsed());
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
    assert_eq!(vendor.called(), 2);

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
        (Observation::Unreached, false, true, Outcome::ServerError),
        (Observation::Unsent, false, true, Outcome::NotSent),
        (Observation::Unneeded, true, false, Outcome::NotSent),
        (Observation::Failed, true, false, Outcome::Unknown),
    ] {
        let node = Node::in_memory().await;
        let vendor = Vendor::new([observation.clone(), Observation::Answered(Answer::new(200))]);
        let result = call(&limiter(&node).idempotent(idempotent), &vendor).await;
        assert_eq!(result.is_ok(), again, "{observation:?}");
        assert_eq!(vendor.called(), if again { 2 } else { 1 }, "{observation:?}");
        assert_eq!(outcomes(&node)[0], outcome, "{observation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_cannot_be_reached_is_tried_with_pauses() {
    let node = Node::in_memory().await;
    let vendor = Vendor::new(vec![Observation::Unreached; 9]);
    let start = Instant::now();
    call(&limiter(&node), &vendor).await.unwrap_err();
    assert_eq!((vendor.called(), outcomes(&node)), (6, vec![Outcome::ServerError; 6]));
    assert!(start.elapsed() >= Duration::from_millis(15_500), "{:?}", start.elapsed());
    assert!(node.script().releases.iter().all(|told| told.feedback.is_none()), "nobody said anything");
}

#[test]
fn of_errors_that_nobody_knows_a_refused_connection_is_told_apart() {
    type BoxError = Box<dyn std::error::Error + Send + Sync>;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect")]
    struct Connecting(#[source] io::Error);

    let system = |kind| BoxError::from(io::Error::from(kind));
    let within = |kind| BoxError::from(Connecting(io::Error::from(kind)));
    for (error, observation) in [
        (system(io::ErrorKind::ConnectionRefused), Observation::Unreached),
        (within(io::ErrorKind::ConnectionRefused), Observation::Unreached),
        (system(io::ErrorKind::ConnectionReset), Observation::Unanswered),
        (BoxError::from("no answer"), Observation::Unanswered),
    ] {
        assert_eq!(error.observe(), observation, "{error}");
    }
}
