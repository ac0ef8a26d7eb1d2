//! What the caller is told at the end, whoever was asked last. Time is virtual; only the refusal of a connection is real,
//! because none but the transport can make one.

use std::collections::HashMap;

use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::v1::{AcquirePermitRequest, permit_service_client::PermitServiceClient};

/// What the transport says where nobody listens.
async fn refused() -> Status {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let channel = Nodes::new([address]).unwrap().pick().channel(false);
    PermitServiceClient::new(channel).acquire_permit(AcquirePermitRequest::default()).await.unwrap_err()
}

/// What a node says.
fn said(reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tollgate", HashMap::new());
    Status::with_error_details(Code::Unavailable, reason.to_lowercase(), details)
}

/// A call of three nodes whose n-th try, from 1 on, ends in this way.
async fn ends(deadline: u64, answer: impl Fn(u32) -> Status) -> Error {
    let nodes = Nodes::new(["a:1", "b:2", "c:3"]).unwrap();
    let terms = Terms::at_once(Duration::from_millis(deadline), Repeat::Freely);
    let ask = |attempt: Try| std::future::ready(Err::<Response<()>, _>(answer(attempt.number)));
    match call(&nodes, terms, ask).await {
        Err(failed) => failed.error,
        Ok(_) => unreachable!("every try fails"),
    }
}

const DEADLINES: [u64; 6] = [45, 60, 100, 150, 200, 5_000];

#[tokio::test]
async fn a_node_that_speaks_tells_more_than_one_that_is_gone() {
    let gone = refused().await;
    tokio::time::pause();
    for deadline in DEADLINES {
        let answer = |number| if number % 3 == 2 { said("NO_LEADER") } else { gone.clone() };
        let error = ends(deadline, answer).await;
        assert!(
            matches!(&error, Error::Unavailable { reason, .. } if reason == "NO_LEADER"),
            "{deadline}: {error:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_says_where() {
    let gone = refused().await;
    tokio::time::pause();
    for deadline in DEADLINES {
        let error = ends(deadline, |_| gone.clone()).await;
        assert!(
            matches!(&error, Error::Unavailable { message, .. } if message.contains("cannot connect to ")),
            "{deadline}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_certain_failure_is_told_from_an_open_outcome() {
    for deadline in DEADLINES {
        let error = ends(deadline, |_| said("NO_LEADER")).await;
        assert!(matches!(error, Error::Unavailable { .. }), "{deadline}: {error:?}");
        let answer = |number| said(if number == 2 { "OUTCOME_UNKNOWN" } else { "NO_LEADER" });
        let error = ends(deadline, answer).await;
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{deadline}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_asked_again_and_told_at_the_end() {
    let full = || {
        let mut details = ErrorDetails::with_error_info("QUEUE_FULL", "tollgate", HashMap::new());
        details.set_retry_info(Some(Duration::from_secs(1)));
        Status::with_error_details(Code::ResourceExhausted, "the queue is full", details)
    };
    let began = Instant::now();
    let error = ends(10_000, |_| full()).await;
    assert!(began.elapsed() > Duration::from_secs(7), "it gave up after {:?}", began.elapsed());
    let second = Duration::from_secs(1);
    assert!(matches!(error, Error::QueueFull { retry_after, .. } if retry_after == second), "{error:?}");
    assert!(error.is_temporary());
}

#[tokio::test(start_paused = true)]
async fn a_try_that_waits_is_given_the_wait_on_top() {
    let nodes = Nodes::new(["a:1"]).unwrap();
    let terms = Terms::waiting(Duration::from_secs(60), Duration::from_secs(10));
    let began = Instant::now();
    let mut timeouts = Vec::new();
    let failed = call(&nodes, terms, |attempt| {
        timeouts.push(attempt.timeout);
        std::future::pending::<Result<Response<()>, Status>>()
    })
    .await
    .err();
    assert!(matches!(failed, Some(Failed { error: Error::OutcomeUnknown { .. }, .. })));
    assert_eq!(timeouts[0], Duration::from_secs(60) + TRY_TIMEOUT);
    assert!(timeouts[1..].iter().all(|timeout| *timeout <= TRY_TIMEOUT) && timeouts.len() > 1);
    assert!(began.elapsed() <= Duration::from_secs(70));
}
