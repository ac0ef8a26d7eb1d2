//! Waiting for a turn, and resources that would do as well.

use std::time::Duration;

use tollgate_client::{
    Alternative, BudgetCause, Client, DenialReason, Error,
    v1::{self, GrantedPermit},
};
use tonic::Code;

use crate::fake::{Node, eventually, granted, plain, refusal, slot, wire};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn waiting_is_left_to_the_server() {
    let node = Node::start().await;
    let waited = Some(wire(Duration::from_millis(1)));
    node.on_acquire(move |_, _| granted(GrantedPermit { waited, resource: "r".into(), ..plain("p0-1") }));
    let permit = node.client().acquire("r").wait_up_to(MINUTE).await.unwrap();
    assert_eq!((permit.resource(), permit.waited()), ("r", Duration::from_millis(1)));
    let asked = node.script().acquires.clone();
    assert_eq!(asked.len(), 1, "nobody polls");
    assert_eq!((asked[0].max_wait, asked[0].waited_for), (Some(wire(MINUTE)), None));
}

#[tokio::test]
async fn a_denial_ends_the_wait() {
    let node = Node::start().await;
    let denied = v1::DeniedPermit {
        reason: v1::DenialReason::OthersWait.into(),
        limit: "daily".into(),
        resource: "hunter".into(),
        waited: Some(wire(MINUTE)),
        ..Default::default()
    };
    let decision = Some(v1::acquire_permit_response::Decision::Denied(denied));
    node.on_acquire(move |_, _| Ok(v1::AcquirePermitResponse { decision: decision.clone() }));
    let error = node.client().acquire("r").wait_up_to(MINUTE).await.unwrap_err();
    assert_eq!(error.to_string(), "denied: others wait for \"daily\" first: ask again later");
    let Error::Denied(denial) = error else { panic!("{error:?}") };
    assert_eq!((denial.resource.as_str(), denial.waited), ("hunter", MINUTE));
    assert_eq!(node.script().acquires.len(), 1);
}

#[tokio::test]
async fn a_retry_says_how_long_it_has_waited() {
    let node = Node::start().await;
    node.on_acquire(|_, n| match n {
        1 | 2 => Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")),
        _ => granted(plain("p0-1")),
    });
    let client = node.client();
    let _ = client.acquire("r").wait_up_to(MINUTE).await.unwrap();
    let asked = node.script().acquires.clone();
    assert_eq!(asked.iter().map(|request| request.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(asked.iter().all(|request| request.request_id == asked[0].request_id));
    assert!(asked.iter().all(|request| request.max_wait == asked[0].max_wait), "it is part of the body");
    let waited = |n: usize| asked[n].waited_for.map(|waited| Duration::try_from(waited).unwrap());
    assert_eq!(waited(0), None);
    assert!(waited(1) > Some(Duration::ZERO) && waited(2) > waited(1), "{asked:?}");

    // Who does not wait has no turn to keep.
    node.on_acquire(|_, n| match n {
        4 => Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN")),
        _ => granted(plain("p0-2")),
    });
    let _ = client.acquire("r").await.unwrap();
    assert_eq!(node.script().acquires[4].waited_for, None);
}

#[tokio::test]
async fn a_dropped_request_gives_its_place_up() {
    let node = Node::start().await;
    node.script().holds = true;
    let client = node.client();
    let waiting = tokio::spawn(async move { client.acquire("r").wait_up_to(MINUTE).await.map(drop) });
    eventually(|| node.script().held == 1).await;
    waiting.abort();
    eventually(|| node.script().held == 0).await;
    assert_eq!(node.script().acquires.len(), 1);
}

#[tokio::test]
async fn those_who_wait_do_not_block_what_they_wait_for() {
    let node = Node::with_streams(2).await;
    node.script().holds = true;
    node.on_acquire(|_, _| granted(slot("held", MINUTE)));
    let client = node.client();
    let permit = client.acquire("r").await.unwrap();
    let waits =
        |client: Client| tokio::spawn(async move { client.acquire("r").wait_up_to(MINUTE).await.map(drop) });
    let waiting: Vec<_> = (0..8).map(|_| waits(client.clone())).collect();
    eventually(|| node.script().held == 2).await;
    permit.release().await.unwrap();
    assert_eq!(node.script().releases[0].permit_id, "held");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn alternatives_are_named_in_order() {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(GrantedPermit { resource: "hunter".into(), ..plain("p0-1") }));
    let apollo = Alternative::new("apollo").operation("enrich").cost(2).amount("credits", 3).key("blue");
    let permit = node.client().acquire("clearbit").or(apollo).or("hunter").await.unwrap();
    assert_eq!(permit.resource(), "hunter");
    let asked = node.script().acquires[0].clone();
    let apollo = v1::Alternative {
        resource: "apollo".into(),
        operation: "enrich".into(),
        cost: Some(2),
        amounts: [("credits".into(), 3)].into(),
        key: "blue".into(),
    };
    let hunter = v1::Alternative { resource: "hunter".into(), ..Default::default() };
    assert_eq!(asked.alternatives, [apollo, hunter]);
}

#[tokio::test]
async fn a_denial_tells_how_a_budget_stands_in_the_way() {
    let node = Node::start().await;
    for (wire_cause, budget, cause, text) in [
        (
            v1::BudgetCause::Ceiling,
            "crm",
            BudgetCause::Ceiling,
            "budget \"crm\" has had its share of \"daily\"",
        ),
        (
            v1::BudgetCause::Reserve,
            "",
            BudgetCause::Reserve,
            "what is left of \"daily\" is kept for other budgets",
        ),
        (v1::BudgetCause::Schedule, "crm", BudgetCause::Schedule, "budget \"crm\" is closed at this hour"),
    ] {
        let exhausted = v1::ExhaustedLimit {
            limit: "daily".into(),
            budget_cause: wire_cause.into(),
            ..Default::default()
        };
        let denied = v1::DeniedPermit {
            reason: v1::DenialReason::BudgetExhausted.into(),
            limit: "daily".into(),
            exhausted: vec![exhausted],
            budget: budget.into(),
            retry_after: Some(wire(MINUTE)),
            ..Default::default()
        };
        let decision = Some(v1::acquire_permit_response::Decision::Denied(denied));
        node.on_acquire(move |_, _| Ok(v1::AcquirePermitResponse { decision: decision.clone() }));
        let error = node.client().acquire("r").await.unwrap_err();
        assert_eq!(error.to_string(), format!("denied: {text}: ask again in 60s"));
        let Error::Denied(denial) = error else { panic!("{error:?}") };
        assert!(
            matches!(&denial.reason, DenialReason::BudgetExhausted { budget: told, .. } if told == budget)
        );
        assert_eq!(denial.budget_cause(), Some(cause));
    }
}

#[tokio::test]
async fn a_batch_waits_as_long_as_its_most_patient_request() {
    let node = Node::start().await;
    let client = node.client();
    let requests = [client.acquire("a"), client.acquire("b").wait_up_to(MINUTE)];
    let _ = client.acquire_each(requests).await.unwrap();
    let asked = node.script().acquires.clone();
    assert_eq!((asked[0].max_wait, asked[1].max_wait), (None, Some(wire(MINUTE))));
}
