//! Which node is asked, and what is asked again.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_client::{Client, Error, v1::AddMemberRequest};
use tonic::{Code, Status};

use crate::fake::{Node, granted, nobody, overloaded, plain, refusal};

#[tokio::test]
async fn another_node_is_asked_when_one_is_down() {
    let node = Node::start().await;
    let client = Client::connect([nobody().await, node.address.clone()]).unwrap();
    let permit = client.acquire("r").await.unwrap();
    assert_eq!(permit.id(), "p0-1");
    assert_eq!(node.script().acquires.len(), 1);
}

#[tokio::test]
async fn the_leader_is_asked_once_it_is_known() {
    let (follower, leader) = (Node::start().await, Node::start().await);
    follower.script().leader = Some(leader.address.clone());
    let client = follower.client();
    for _ in 0..3 {
        let _ = client.acquire("r").await.unwrap();
    }
    assert_eq!(follower.script().acquires.len(), 1);
    assert_eq!(leader.script().acquires.len(), 2);
}

#[tokio::test]
async fn a_hint_to_a_dead_leader_does_not_lead_astray() {
    let follower = Node::start().await;
    follower.script().leader = Some(nobody().await);
    let client = follower.client();
    for _ in 0..3 {
        let _ = client.acquire("r").await.unwrap();
    }
    assert_eq!(follower.script().acquires.len(), 3);
}

#[tokio::test]
async fn retries_carry_the_same_request_id_and_count() {
    let node = Node::start().await;
    node.on_acquire(|_, n| match n {
        1 => Err(refusal(Code::Unavailable, "NO_LEADER")),
        2 => Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")),
        3 => Err(Status::unavailable("the connection broke")),
        _ => granted(plain("p0-1")),
    });
    let _ = node.client().acquire("r").await.unwrap();

    let asked = node.script().acquires.clone();
    assert_eq!(asked.iter().map(|request| request.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(asked.iter().all(|request| request.request_id == asked[0].request_id));
    assert!(!asked[0].request_id.is_empty());
}

#[tokio::test]
async fn two_requests_have_two_ids() {
    let node = Node::start().await;
    let client = node.client();
    let _ = client.acquire("r").await.unwrap();
    let _ = client.acquire("r").await.unwrap();
    let asked = node.script().acquires.clone();
    assert_ne!(asked[0].request_id, asked[1].request_id);
}

#[tokio::test]
async fn an_overloaded_server_is_given_the_time_it_asks_for() {
    let node = Node::start().await;
    node.on_acquire(|_, n| match n {
        1 => Err(overloaded(Duration::from_millis(80))),
        _ => granted(plain("p0-1")),
    });
    let since = Instant::now();
    let _ = node.client().acquire("r").await.unwrap();
    assert!(since.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn an_open_outcome_names_the_request_id() {
    let node = Node::start().await;
    node.on_acquire(|_, _| Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")));
    let client = node.client().with_deadline(Duration::from_millis(100));
    let error = client.acquire("r").request_id("mine").await.unwrap_err();
    assert!(
        matches!(&error, Error::OutcomeUnknown { request_id: Some(id), .. } if id == "mine"),
        "{error:?}"
    );
}

#[tokio::test]
async fn nobody_there_says_where() {
    let address = nobody().await;
    let client = Client::connect([&address]).unwrap().with_deadline(Duration::from_secs(1));
    let error = client.acquire("r").await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_refusal_without_a_kind_of_its_own_is_told_in_the_words_of_the_node() {
    let node = Node::start().await;
    node.on_acquire(|_, _| Err(refusal(Code::ResourceExhausted, "TOO_MANY_SCOPE_VALUES")));
    let error = node.client().acquire("r").await.unwrap_err();
    assert_eq!(error.to_string(), "too_many_scope_values (ResourceExhausted)");
}

#[tokio::test]
async fn what_must_not_be_repeated_is_tried_again_only_when_it_was_not_carried_out() {
    let node = Node::start().await;
    node.on_add(|_, n| match n {
        1 => Err(refusal(Code::Unavailable, "NO_LEADER")),
        _ => Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")),
    });
    let error =
        node.client().cluster().add(AddMemberRequest { id: 4, ..Default::default() }).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(node.script().additions.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_is_not_tried_again() {
    let node = Node::start().await;
    node.on_acquire(|_, _| {
        use tonic_types::{ErrorDetails, StatusExt};
        let details = ErrorDetails::with_bad_request_violation("cost", "must be 1 or more");
        Err(Status::with_error_details(Code::InvalidArgument, "wrong", details))
    });
    let error = node.client().acquire("r").cost(0).await.unwrap_err();
    assert_eq!(error.to_string(), "cost: must be 1 or more");

    for (code, reason) in [
        (Code::NotFound, "RESOURCE_NOT_FOUND"),
        (Code::AlreadyExists, "REQUEST_ID_REUSED"),
        (Code::ResourceExhausted, "TOO_MANY_SCOPE_VALUES"),
    ] {
        node.on_acquire(move |_, _| Err(refusal(code, reason)));
        let error = node.client().acquire("r").await.unwrap_err();
        let as_typed = match code {
            Code::NotFound => matches!(error, Error::NotFound { .. }),
            Code::AlreadyExists => matches!(error, Error::Conflict { .. }),
            _ => matches!(error, Error::Other(_)),
        };
        assert!(as_typed, "{error:?}");
    }
    assert_eq!(node.script().acquires.len(), 4);
}
