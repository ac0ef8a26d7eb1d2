//! Calls under permits. Time is paused: the waits are exact, and nobody waits for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tollgate_client::{
    Answer, CallError, Client, Error, Limiter, Observation, Outcome, Permit, Retries,
    v1::{ReleasePermitRequest, ReleasePermitResponse, RenewPermitResponse, ReportFeedbackResponse},
};
use tonic::{Code, Status};

use crate::fake::{Node, denied, eventually, granted, limited, plain, refusal, slot, wire};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Answers a release as the server does that reads the vendor's answers as `read` says.
fn reading(
    node: &Node,
    mut read: impl FnMut(&ReleasePermitRequest) -> Option<ReportFeedbackResponse> + Send + 'static,
) {
    node.on_release(move |request, _| {
        Ok(ReleasePermitResponse { held_for: Some(wire(SECOND)), understood: read(request) })
    });
}

/// A vendor that gives these answers in turn.
#[derive(Clone)]
struct Vendor {
    answers: Arc<[Observation]>,
    called: Arc<AtomicU32>,
}

impl Vendor {
    fn new(answers: impl IntoIterator<Item = Observation>) -> Vendor {
        Vendor { answers: answers.into_iter().collect(), called: Arc::default() }
    }

    fn statuses(statuses: &[u16]) -> Vendor {
        Vendor::new(statuses.iter().map(|status| Observation::Answered(Answer::new(*status))))
    }

    fn called(&self) -> u32 {
        self.called.load(Ordering::Relaxed)
    }

    /// Success, or what stands in its way.
    async fn call(self, _: Arc<Permit>) -> Result<Answer, Observation> {
        let n = self.called.fetch_add(1, Ordering::Relaxed);
        match &self.answers[n as usize] {
            Observation::Answered(answer) if answer.status() < 400 => Ok(answer.clone()),
            other => Err(other.clone()),
        }
    }
}

async fn call(limiter: &Limiter, vendor: &Vendor) -> Result<Answer, CallError<Observation>> {
    limiter.call("hubspot/acme", |permit| vendor.clone().call(permit)).await
}

fn outcomes(node: &Node) -> Vec<Outcome> {
    node.script().releases.iter().map(ReleasePermitRequest::outcome).collect()
}

fn limiter(node: &Node) -> Limiter {
    Limiter::new(node.client()).vendor("hubspot")
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_permit_and_tells_how_it_went() {
    let node = Node::in_memory().await;
    let vendor = Vendor::new([Observation::Answered(Answer::new(200).header("X-RateLimit-Remaining", "7"))]);
    let answer = call(&limiter(&node), &vendor).await.unwrap();
    assert_eq!(answer.status(), 200);
    let script = node.script();
    assert_eq!((script.acquires.len(), script.releases.len(), vendor.called()), (1, 1, 1));
    assert_eq!(script.acquires[0].max_wait, Some(wire(60 * SECOND)), "it waits for its turn");
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

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_stopped_and_its_slot_is_free() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(slot(&format!("p0-{n}"), LEASE)));
    node.on_renew(|_, _| Ok(RenewPermitResponse { lease: Some(wire(LEASE)) }));
    let limiter = limiter(&node).timeout(90 * SECOND);
    let hang = |limiter: Limiter| async move {
        limiter.call("r", |_| std::future::pending::<Result<Answer, Observation>>()).await
    };
    let error = hang(limiter.clone()).await.unwrap_err();
    assert!(
        matches!(error, CallError::TimedOut { after, tries: 1, .. } if after == 90 * SECOND),
        "{error:?}"
    );
    assert_eq!(node.script().releases[0].permit_id, "p0-1");
    assert!(!node.script().renewals.is_empty(), "it was held meanwhile");

    let error = hang(limiter.idempotent(true)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { tries: 6, .. }), "{error:?}");
    assert_eq!(node.script().releases.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_slot_is_lost_is_stopped() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, _| granted(slot("held", LEASE)));
    node.on_renew(|_, _| Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")));
    let result = limiter(&node).call("r", |_| std::future::pending::<Result<Answer, Observation>>()).await;
    assert!(matches!(result, Err(CallError::LeaseLost { tries: 1, .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_when_the_call_is_dropped_or_panics() {
    let node = Node::in_memory().await;
    node.on_acquire(|_, n| granted(slot(&format!("p0-{n}"), LEASE)));
    let limiter = limiter(&node);
    let called = Arc::new(AtomicU32::new(0));
    let calling = {
        let (limiter, called) = (limiter.clone(), called.clone());
        tokio::spawn(async move {
            let work = |_| {
                called.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<Result<Answer, Observation>>()
            };
            limiter.call("r", work).await.map(drop).unwrap();
        })
    };
    eventually(|| called.load(Ordering::Relaxed) == 1).await;
    calling.abort();
    eventually(|| node.script().releases.len() == 1).await;

    let panics = tokio::spawn(async move {
        let work = |_| async { panic!("as a test wants") };
        let _: Result<Answer, CallError<Observation>> = limiter.call("r", work).await;
    });
    assert!(panics.await.unwrap_err().is_panic());
    eventually(|| node.script().releases.len() == 2).await;
    let ids: Vec<_> = node.script().releases.iter().map(|release| release.permit_id.clone()).collect();
    assert_eq!(ids, ["p0-1", "p0-2"]);
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
