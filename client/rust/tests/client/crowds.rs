//! Thousands of calls on one connection, of which the HTTP/2 library must take none for an attack.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_client::{Client, Error};
use tonic::transport::Endpoint;

use crate::fake::{Node, eventually};

const MINUTE: Duration = Duration::from_secs(60);

/// As many as may wait on one connection to a node.
const CROWD: usize = 15_000;

/// Asks for as many permits at once, all of which are held.
async fn crowd(
    node: &Node,
    client: &Client,
    resource: &'static str,
    size: usize,
) -> JoinSet<Result<(), Error>> {
    let before = {
        let mut script = node.script();
        script.holds = true;
        script.held
    };
    let mut calls = JoinSet::new();
    for _ in 0..size {
        let client = client.clone();
        calls.spawn(async move { client.acquire(resource).wait_up_to(MINUTE).await.map(drop) });
    }
    eventually(|| node.script().held == before + size).await;
    calls
}

#[tokio::test]
async fn a_crowd_asks_at_once_and_is_answered_at_once() {
    let node = Node::start().await;
    let calls = crowd(&node, &node.client(), "r", CROWD).await;
    node.script().let_go();
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    assert_eq!(node.script().acquires.len(), CROWD, "nobody had to ask again");
}

#[tokio::test]
async fn who_lost_a_connection_to_a_crowd_asks_again() {
    let node = Node::start().await;
    // To this channel a few hundred answers at once are a flood, and it closes its connection.
    let channel = Endpoint::from_shared(format!("http://{}", node.address)).unwrap();
    let channel = channel.initial_connection_window_size(65_535).connect_lazy();
    let calls = crowd(&node, &Client::over(channel), "r", CROWD).await;
    node.script().let_go();
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    assert!(node.script().acquires.len() > CROWD, "the connection has lived on");
}

#[tokio::test]
async fn answers_that_cross_cancellations_end_no_connection() {
    let node = Node::start().await;
    let client = node.client();
    let patient = crowd(&node, &client, "patient", 1).await;
    // Together more than h2 would bear of what it takes for small frames that nobody reads.
    for _ in 0..8 {
        let hasty = crowd(&node, &client, "hasty", 4_000).await;
        node.script().let_go_of("hasty");
        drop(hasty);
        eventually(|| node.script().held == 1).await;
        node.script().hold_again();
    }
    // Behind all that crossed, on the same connection.
    node.script().let_go_of("hasty");
    let _ = client.acquire("hasty").wait_up_to(MINUTE).await.unwrap();
    node.script().let_go();
    patient.join_all().await.pop().unwrap().unwrap();
    let asked = node.script().acquires.iter().filter(|request| request.resource == "patient").count();
    assert_eq!(asked, 1, "the connection has lived on");
}
