//! What becomes of the slots of calls that nobody has the answer to. Time is paused.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tollgate_client::{
    Answer, CallError, Limiter, Observation, Outcome, Retries, Unanswered, v1::RenewPermitResponse,
};

use crate::{
    fake::{Node, eventually, granted, slot, wire},
    vendor::{limiter, outcomes},
};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A node whose permits hold slots.
async fn with_slots() -> Node {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(slot(&format!("p0-{n}"), LEASE)));
    node.on_renew(|_, _| Ok(RenewPermitResponse { lease: Some(wire(LEASE)) }));
    node
}

fn freeing(node: &Node) -> Limiter {
    limiter(node).unanswered(Unanswered::FreesSlot)
}

async fn hang(limiter: Limiter) -> CallError<Observation> {
    limiter.call("r", |_| pending::<Result<Answer, Observation>>()).await.unwrap_err()
}

/// How many were released, and how many told of otherwise.
fn ended(node: &Node) -> (usize, usize) {
    let script = node.script();
    (script.releases.len(), script.reports.len())
}

fn reports(node: &Node) -> Vec<(String, Outcome)> {
    let told = node.script().reports.clone();
    told.iter().map(|report| (report.permit_id.clone(), report.outcome())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_keeps_its_slot_until_its_lease_ends() {
    let node = with_slots().await;
    let error = hang(limiter(&node).timeout(90 * SECOND)).await;
    assert!(
        matches!(error, CallError::TimedOut { after, tries: 1, .. } if after == 90 * SECOND),
        "{error:?}"
    );
    let renewed = node.script().renewals.len();
    assert!(renewed > 0, "it was held meanwhile");
    assert_eq!(reports(&node), [("p0-1".to_owned(), Outcome::Timeout)], "the fleet hears of it at once");

    sleep(LEASE * 3).await;
    let script = node.script();
    assert_eq!((script.renewals.len(), script.releases.len()), (renewed, 0), "the lease ends by itself");
    assert_eq!(script.reports.len(), 1, "and nothing more is told");
}

#[tokio::test(start_paused = true)]
async fn the_next_try_has_a_permit_of_its_own() {
    let node = with_slots().await;
    let limiter = limiter(&node).timeout(10 * SECOND).idempotent(true);
    let tries = AtomicU32::new(0);
    let second_answers = |_| {
        let n = tries.fetch_add(1, Ordering::Relaxed);
        async move {
            match n {
                0 => pending().await,
                _ => Ok::<_, Observation>(Answer::new(200)),
            }
        }
    };
    let began = Instant::now();
    limiter.call("r", second_answers).await.unwrap();
    assert!(began.elapsed() < LEASE / 2, "nobody waits for the lease: {:?}", began.elapsed());
    assert_eq!(reports(&node), [("p0-1".to_owned(), Outcome::Timeout)]);
    assert_eq!(node.script().releases[0].permit_id, "p0-2");
    assert_eq!(outcomes(&node), [Outcome::Ok]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_keeps_the_slot_and_an_answer_frees_it() {
    let node = with_slots().await;
    for (observation, is_kept) in [
        (Observation::Unanswered, true),
        (Observation::Unreached, false),
        (Observation::Unneeded, false),
        (Observation::Failed, false),
        (Observation::Answered(Answer::new(503)), false),
    ] {
        let (released, told) = ended(&node);
        let failing = |_| async { Err::<Answer, _>(observation.clone()) };
        limiter(&node).retries(Retries::none()).call("r", failing).await.unwrap_err();
        let expected = if is_kept { (released, told + 1) } else { (released + 1, told) };
        assert_eq!(ended(&node), expected, "{observation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_slot_of_a_call_that_hangs_is_free_if_it_is_wanted_so() {
    let node = with_slots().await;
    let freeing = freeing(&node).timeout(90 * SECOND);
    hang(freeing.clone()).await;
    assert_eq!(node.script().releases[0].permit_id, "p0-1");
    assert!(!node.script().renewals.is_empty(), "it was held meanwhile");

    let error = hang(freeing.idempotent(true)).await;
    assert!(matches!(error, CallError::TimedOut { tries: 6, .. }), "{error:?}");
    assert_eq!(node.script().releases.len(), 7);
    let failed = |outcome| matches!(outcome, Outcome::Timeout | Outcome::Unknown);
    assert!(outcomes(&node).into_iter().all(failed), "the fleet hears that the vendor does not answer");
}

/// A call that has begun.
async fn under_way(limiter: Limiter) -> JoinHandle<()> {
    let called = Arc::new(AtomicU32::new(0));
    let calling = {
        let called = called.clone();
        tokio::spawn(async move {
            let work = |_| {
                called.fetch_add(1, Ordering::Relaxed);
                pending::<Result<Answer, Observation>>()
            };
            limiter.call("r", work).await.map(drop).unwrap();
        })
    };
    eventually(|| called.load(Ordering::Relaxed) == 1).await;
    calling
}

async fn panic_in(limiter: Limiter) {
    let panics = tokio::spawn(async move {
        let work = |_| async { panic!("as a test wants") };
        let _: Result<Answer, CallError<Observation>> = limiter.call("r", work).await;
    });
    assert!(panics.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_kept_when_the_call_is_dropped_or_panics() {
    let node = with_slots().await;
    under_way(limiter(&node)).await.abort();
    eventually(|| node.script().reports.len() == 1).await;
    panic_in(limiter(&node)).await;
    eventually(|| node.script().reports.len() == 2).await;
    let unknown = |id: &str| (id.to_owned(), Outcome::Unknown);
    assert_eq!(reports(&node), [unknown("p0-1"), unknown("p0-2")], "nobody knows how they went");
    sleep(LEASE * 3).await;
    let script = node.script();
    assert_eq!((script.renewals.len(), script.releases.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_when_the_call_is_dropped_or_panics_if_it_is_wanted_so() {
    let node = with_slots().await;
    under_way(freeing(&node)).await.abort();
    eventually(|| node.script().releases.len() == 1).await;
    panic_in(freeing(&node)).await;
    eventually(|| node.script().releases.len() == 2).await;
    let ids: Vec<_> = node.script().releases.iter().map(|release| release.permit_id.clone()).collect();
    assert_eq!(ids, ["p0-1", "p0-2"]);
    assert_eq!(outcomes(&node), [Outcome::Unknown; 2], "nobody knows how they went");
}

#[tokio::test(start_paused = true)]
async fn what_holds_no_slot_is_released() {
    let node = Node::in_memory().await;
    hang(limiter(&node)).await;
    assert_eq!((outcomes(&node), ended(&node)), (vec![Outcome::Timeout], (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn others_are_not_kept_from_a_call_for_many() {
    let node = with_slots().await;
    let request = node.client().acquire("r").coalesce("contact/42");
    let hang = |_| pending::<Result<(Answer, Vec<u8>), Observation>>();
    limiter(&node).share(request, LEASE, hang).await.unwrap_err();
    assert_eq!((outcomes(&node), ended(&node)), (vec![Outcome::Timeout], (1, 0)));
}
