//! What a vendor refuses for a limit is not done, whatever its status, and whoever is asked what it means. Time is paused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tollgate_client::{
    Alternative, Answer, BatchBounds, BatchError, BatchReply, Batcher, CallError, Failure, Limiter,
    Observation, Pipeline, Retries,
    v1::{GrantedPermit, ReportFeedbackResponse},
};
use tonic::{Code, Status};

use crate::{
    fake::{Node, granted, plain, refusal},
    vendor::{Vendor, call, limiter, reading},
};

/// What Shopify says with a 200.
const THROTTLED: &str = r#"{"errors":[{"extensions":{"code":"THROTTLED"}}]}"#;

/// A node that reads answers as Shopify means them.
async fn shopify() -> Node {
    let node = Node::in_memory().await;
    reading(&node, |release| {
        let limited = release.feedback.as_ref()?.body == THROTTLED.as_bytes();
        Some(ReportFeedbackResponse { limited, ..Default::default() })
    });
    node
}

fn twice(node: &Node) -> Limiter {
    Limiter::new(node.client()).vendor("shopify").retries(Retries { tries: 2, ..Retries::default() })
}

fn throttled() -> Answer {
    Answer::new(200).body(THROTTLED)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_looks_like_a_success_is_none() {
    let node = shopify().await;
    let limiter = twice(&node);
    let refused = limiter.call("shopify/acme", |_| async { Ok::<_, Answer>((throttled(), "no data")) });
    let error = refused.await.unwrap_err();
    assert_eq!(error.to_string(), "refused for a limit, try 2: the vendor answered 200");
    let CallError::Limited { answer, tries: 2, .. } = error else { panic!("{error:?}") };
    assert_eq!(*answer, throttled());

    let called = AtomicU32::new(0);
    let served = limiter.call("shopify/acme", |_| {
        let is_first = called.fetch_add(1, Ordering::Relaxed) == 0;
        async move { Ok::<_, Answer>(if is_first { throttled() } else { Answer::new(200).body("{}") }) }
    });
    assert_eq!(served.await.unwrap(), Answer::new(200).body("{}"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_throttled_at_every_try_is_a_dead_letter() {
    let node = shopify().await;
    let letters = Arc::new(Mutex::new(Vec::new()));
    let sink = letters.clone();
    let pipeline = Pipeline::new(twice(&node), "shopify/acme").dead_letters(move |letter| {
        assert!(matches!(letter.failure, Failure::Call(CallError::Limited { .. })), "{letter:?}");
        sink.lock().push((*letter.task, letter.tries));
        async {}
    });
    let work = |_, task: Arc<u32>| async move {
        Ok::<_, Answer>(if *task == 2 { throttled() } else { Answer::new(200).body("{}") })
    };
    let done = pipeline.run(tokio_stream::iter(1..=3), work).await.unwrap();
    assert_eq!((done.taken, done.done, done.dead, done.retries), (3, 2, 1, 1));
    assert_eq!(*letters.lock(), [(2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_throttled_has_no_results() {
    let node = shopify().await;
    let send = |_, records: Arc<[u32]>| async move {
        let results = records.iter().map(|n| Ok::<_, String>(*n)).collect();
        Ok::<_, Answer>(BatchReply { answer: throttled(), results })
    };
    let batcher = Batcher::new(twice(&node), "shopify/acme", BatchBounds::default(), send).unwrap();
    let BatchError::Batch(error) = batcher.add(1).await.unwrap_err() else { panic!("it has a result") };
    assert!(matches!(&*error, CallError::Limited { tries: 2, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_result_for_anybody() {
    let node = shopify().await;
    let request = node.client().acquire("shopify/acme").coalesce("product/42");
    let work = |_| async { Ok::<_, Answer>((throttled(), b"no data".to_vec())) };
    let error = twice(&node).share(request, Duration::from_secs(60), work).await.unwrap_err();
    assert!(matches!(error, CallError::Limited { tries: 2, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_means_is_waited_for_through_a_failover() {
    let node = Node::in_memory().await;
    let up_at = Instant::now() + Duration::from_secs(3);
    node.on_release(move |release, _| {
        if Instant::now() < up_at {
            return Err(refusal(Code::Unavailable, "NO_LEADER"));
        }
        let limited = release.feedback.as_ref().is_some_and(|told| told.status == 403);
        let understood = Some(ReportFeedbackResponse { limited, ..Default::default() });
        Ok(tollgate_client::v1::ReleasePermitResponse { understood, ..Default::default() })
    });
    let refused = Observation::Answered(Answer::new(403).body("REQUEST_LIMIT_EXCEEDED"));
    let vendor = Vendor::new([refused, Observation::Answered(Answer::new(200))]);
    call(&limiter(&node), &vendor).await.unwrap();
    assert_eq!(vendor.called(), 2);
}

/// Of each first try of a release the answer is lost, and the second hears that the permit has ended.
async fn that_loses_answers() -> Node {
    let node = Node::in_memory().await;
    node.on_release(|_, n| match n % 2 {
        1 => Err(Status::unavailable("the connection broke")),
        _ => Err(refusal(Code::FailedPrecondition, "PERMIT_ENDED")),
    });
    node
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_was_lost_is_asked_about() {
    let node = that_loses_answers().await;
    let refused = Observation::Answered(Answer::new(403).body("REQUEST_LIMIT_EXCEEDED"));
    let vendor = Vendor::new([refused, Observation::Answered(Answer::new(200))]);
    call(&limiter(&node), &vendor).await.unwrap();
    assert_eq!(vendor.called(), 2, "a refusal was not carried out");

    let told = node.script().reports.clone();
    assert_eq!(told.len(), 1, "a plain success means nothing else");
    let feedback = told[0].feedback.clone().unwrap();
    assert_eq!((told[0].permit_id.as_str(), feedback.status), ("p0-1", 403));
}

#[tokio::test(start_paused = true)]
async fn a_report_tells_who_called_and_what_for() {
    let node = that_loses_answers().await;
    node.on_acquire(|_, n| {
        let resource = if n == 1 { "hubspot/acme" } else { "apollo/acme" };
        granted(GrantedPermit { resource: resource.into(), ..plain(&format!("p0-{n}")) })
    });
    for _ in 0..2 {
        let other = Alternative::new("apollo/acme").operation("enrich");
        let request =
            node.client().acquire("hubspot/acme").operation("search").consumer("crm").subject("jane");
        let limiter = limiter(&node).retries(Retries { tries: 1, ..Retries::default() });
        limiter.call(request.or(other), |_| async { Err::<Answer, _>(Answer::new(429)) }).await.unwrap_err();
    }
    let told = node.script().reports.clone();
    let told = told.iter().map(|told| [&*told.resource, &told.operation, &told.consumer, &told.subject]);
    let own = ["hubspot/acme", "search", "crm", "jane"];
    assert_eq!(told.collect::<Vec<_>>(), [own, ["apollo/acme", "enrich", "crm", "jane"]]);
}
