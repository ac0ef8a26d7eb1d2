//! Many requests over one stream.

use std::time::Duration;

use tollgate_client::{Acquire, Client, Error, Outcome};
use tonic::{Code, Status};

use crate::fake::{Node, denied, eventually, granted, nobody, plain, refusal, wire};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_request_gets_its_own_answer_over_one_stream() {
    let node = Node::start().await;
    node.on_acquire(|request, _| match request.resource.as_str() {
        "none" => Err(refusal(Code::NotFound, "RESOURCE_NOT_FOUND")),
        "full" => denied(MINUTE),
        name => granted(plain(name)),
    });
    let client = node.client();
    let stream = client.stream();
    let asked: Vec<_> = (0..500)
        .map(|n| {
            let (stream, request) = (stream.clone(), client.acquire(format!("r{n}")));
            tokio::spawn(async move { stream.acquire(request).await })
        })
        .collect();
    for (n, answer) in asked.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().unwrap().id(), format!("r{n}"));
    }
    let error = stream.acquire(client.acquire("none")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let error = stream.acquire(client.acquire("full")).await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    let script = node.script();
    assert_eq!((script.streams, script.acquires.len()), (1, 502));
}

#[tokio::test]
async fn a_dropped_request_gives_its_place_up_alone() {
    let node = Node::start().await;
    node.script().holds = true;
    let client = node.client();
    let stream = client.stream();
    let waits = || {
        let (stream, request) = (stream.clone(), client.acquire("r").wait_up_to(MINUTE));
        tokio::spawn(async move { stream.acquire(request).await.map(drop) })
    };
    let (one, other) = (waits(), waits());
    eventually(|| node.script().held == 2).await;
    one.abort();
    eventually(|| node.script().held == 1).await;
    assert!(!other.is_finished());
    assert_eq!(node.script().streams, 1);
    other.abort();
    eventually(|| node.script().held == 0).await;
}

#[tokio::test]
async fn a_request_whose_stream_broke_keeps_its_id_and_its_turn() {
    let node = Node::start().await;
    node.on_acquire(|_, n| match n {
        1 => Err(Status::unavailable("the connection broke")),
        2 => Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")),
        3 => Err(refusal(Code::Unavailable, "NO_LEADER")),
        _ => granted(plain("p0-1")),
    });
    // The first node is not there.
    let client = Client::connect([nobody().await, node.address.clone()]).unwrap();
    let permit = client.stream().acquire(client.acquire("r").wait_up_to(MINUTE)).await;
    assert!(permit.is_ok(), "{permit:?}");
    let asked = node.script().acquires.clone();
    assert!(asked.iter().all(|request| request.request_id == asked[0].request_id));
    assert!(asked.iter().all(|request| request.max_wait == Some(wire(MINUTE))));
    assert_eq!(asked.iter().map(|request| request.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(asked[0].waited_for.is_none() && asked[1..].iter().all(|request| request.waited_for.is_some()));
    assert_eq!(node.script().streams, 3, "after the break, and when the node knew no leader");
}

#[tokio::test]
async fn a_permit_for_whoever_gave_up_is_given_back() {
    let node = Node::start().await;
    node.script().holds = true;
    node.script().grants_when_cancelled = true;
    let client = node.client();
    let (stream, request) = (client.stream(), client.acquire("r").wait_up_to(MINUTE));
    let waiting = tokio::spawn({
        let stream = stream.clone();
        async move { stream.acquire(request).await.map(drop) }
    });
    eventually(|| node.script().held == 1).await;
    waiting.abort();
    eventually(|| !node.script().releases.is_empty()).await;
    let released = node.script().releases[0].clone();
    assert!(released.permit_id.starts_with("late for "), "{released:?}");
    assert_eq!(released.outcome(), Outcome::NotSent);
    drop(stream);
}

#[tokio::test]
async fn a_permit_that_somebody_may_have_by_its_request_id_is_not_given_back() {
    let node = Node::start().await;
    node.script().holds = true;
    node.script().grants_when_cancelled = true;
    let client = node.client();
    let stream = client.stream();
    let waits = |request: Acquire| {
        let stream = stream.clone();
        tokio::spawn(async move { stream.acquire(request.wait_up_to(MINUTE)).await.map(drop) })
    };
    let named = waits(client.acquire("r").request_id("mine"));
    eventually(|| node.script().held == 1).await;
    named.abort();
    eventually(|| node.script().held == 0).await;
    // Answers come in order: when the other's is given back, this one's has come.
    let unnamed = waits(client.acquire("r"));
    eventually(|| node.script().held == 1).await;
    unnamed.abort();
    eventually(|| !node.script().releases.is_empty()).await;
    let released = node.script().releases.clone();
    assert!(released.iter().all(|release| release.permit_id != "late for mine"), "{released:?}");
}

#[tokio::test]
async fn what_no_node_could_answer_is_told_at_the_deadline() {
    let client = Client::connect([nobody().await]).unwrap();
    let request = client.acquire("r").deadline(Duration::from_millis(500)).request_id("mine");
    let error = client.stream().acquire(request).await.unwrap_err();
    // On a machine that is slow to refuse connections the deadline itself may end it.
    assert!(matches!(error, Error::Unavailable { .. } | Error::OutcomeUnknown { .. }), "{error:?}");
}
