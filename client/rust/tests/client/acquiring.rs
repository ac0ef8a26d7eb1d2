//! Decisions, and permits without slots.

use std::time::Duration;

use tollgate_client::{
    BATCH_MAX, CircuitState, DenialReason, Error, Outcome, PaceCause, Unusable,
    v1::{self, GrantedPermit},
};
use tonic::Status;

use crate::fake::{Node, denied, granted, plain, wire};

#[tokio::test]
async fn a_request_says_what_it_was_told() {
    let node = Node::start().await;
    let client = node.client();
    let _ = client
        .acquire("openai/acme")
        .operation("chat")
        .cost(2)
        .amount("input_tokens", 1_200)
        .consumer("summariser")
        .subject("jane")
        .key("main")
        .lease(Duration::from_millis(1_500))
        .await
        .unwrap();
    let asked = node.script().acquires[0].clone();
    assert_eq!(
        (asked.resource.as_str(), asked.operation.as_str(), asked.cost),
        ("openai/acme", "chat", Some(2))
    );
    assert_eq!(
        (asked.consumer.as_str(), asked.subject.as_str(), asked.key.as_str()),
        ("summariser", "jane", "main")
    );
    assert_eq!(asked.amounts["input_tokens"], 1_200);
    assert_eq!(asked.lease, Some(wire(Duration::from_millis(1_500))));
}

#[tokio::test]
async fn a_denial_names_the_limit_and_the_time() {
    let node = Node::start().await;
    node.on_acquire(|_, _| denied(Duration::from_millis(1_500)));
    let error = node.client().acquire("r").await.unwrap_err();
    let Error::Denied(denial) = error else { panic!("{error:?}") };
    assert_eq!((denial.limit.as_str(), denial.retry_after), ("daily", Some(Duration::from_millis(1_500))));
    assert_eq!((denial.exhausted[0].amount, denial.exhausted[0].requested), (10, 1));
    assert_eq!(node.script().acquires.len(), 1);
}

#[tokio::test]
async fn a_denial_names_the_pause() {
    let node = Node::start().await;
    let pause = v1::Pause { left: Some(wire(Duration::from_secs(7))), reason: "deploy".to_owned() };
    let denied = v1::DeniedPermit {
        reason: v1::DenialReason::Paused.into(),
        pause: Some(pause),
        paused_key: "blue".to_owned(),
        ..Default::default()
    };
    let decision = Some(v1::acquire_permit_response::Decision::Denied(denied));
    node.on_acquire(move |_, _| Ok(v1::AcquirePermitResponse { decision: decision.clone() }));
    let error = node.client().acquire("r").await.unwrap_err();
    let Error::Denied(denial) = error else { panic!("{error:?}") };
    let DenialReason::Paused(pause) = &denial.reason else { panic!("{denial:?}") };
    assert_eq!((pause.key.as_str(), pause.left), ("blue", Some(Duration::from_secs(7))));
    assert_eq!(denial.retry_after, None);
    assert_eq!(
        denial.to_string(),
        "denied: key \"blue\" is paused (deploy) until an operator orders otherwise"
    );
}

#[tokio::test]
async fn a_denial_tells_of_the_circuit_and_of_the_pace() {
    let node = Node::start().await;
    let circuit = v1::Circuit {
        state: CircuitState::HalfOpen.into(),
        left: Some(wire(Duration::from_secs(7))),
        times_opened: 3,
        open_for: Some(wire(Duration::from_secs(720))),
        opened_by: Outcome::Timeout.into(),
        ..Default::default()
    };
    let pace = v1::Pace {
        micros_per_second: 5,
        full_micros_per_second: 10,
        full_in: Some(wire(Duration::from_secs(9))),
        cause: PaceCause::Refusals.into(),
    };
    let denied = move |reason: v1::DenialReason| v1::DeniedPermit {
        reason: reason.into(),
        paused_key: "blue".to_owned(),
        circuit: (reason == v1::DenialReason::CircuitOpen).then(|| Box::new(circuit)),
        pace: (reason == v1::DenialReason::Paced).then(|| Box::new(pace)),
        retry_after: Some(wire(Duration::from_secs(7))),
        ..Default::default()
    };
    node.on_acquire(move |_, n| {
        let reason = if n == 1 { v1::DenialReason::CircuitOpen } else { v1::DenialReason::Paced };
        let decision = v1::acquire_permit_response::Decision::Denied(denied(reason));
        Ok(v1::AcquirePermitResponse { decision: Some(decision) })
    });
    let Error::Denied(denial) = node.client().acquire("r").await.unwrap_err() else { panic!() };
    let DenialReason::CircuitOpen { key, circuit, .. } = &denial.reason else { panic!("{denial:?}") };
    assert_eq!((key.as_str(), circuit.state, circuit.times_opened), ("blue", CircuitState::HalfOpen, 3));
    assert_eq!((circuit.left, circuit.open_for), (denial.retry_after, Some(Duration::from_secs(720))));
    assert_eq!(circuit.opened_by, Some(Outcome::Timeout));
    assert_eq!(denial.to_string(), "denied: the circuit of key \"blue\" is half-open: ask again in 7s");

    let Error::Denied(denial) = node.client().acquire("r").await.unwrap_err() else { panic!() };
    let DenialReason::Paced { key, pace, .. } = &denial.reason else { panic!("{denial:?}") };
    assert_eq!(
        (key.as_str(), pace.cause, pace.full_in),
        ("blue", PaceCause::Refusals, Duration::from_secs(9))
    );
    assert_eq!((pace.micros_per_second, pace.full_micros_per_second), (5, 10));
}

fn short_lived(id: &str) -> GrantedPermit {
    GrantedPermit { use_within: Some(wire(Duration::from_nanos(1))), ..plain(id) }
}

#[tokio::test]
async fn a_permit_that_comes_too_late_is_given_back_and_asked_for_anew() {
    let node = Node::start().await;
    node.on_acquire(|_, n| granted(if n == 1 { short_lived("late") } else { plain("timely") }));
    let permit = node.client().acquire("r").await.unwrap();
    assert_eq!(permit.id(), "timely");
    let script = node.script();
    assert_eq!(
        (script.releases[0].permit_id.as_str(), script.releases[0].outcome()),
        ("late", Outcome::NotSent)
    );
    assert_ne!(script.acquires[0].request_id, script.acquires[1].request_id);
}

#[tokio::test]
async fn a_late_permit_of_a_known_request_id_is_refused_but_not_given_back() {
    let node = Node::start().await;
    node.on_acquire(|_, _| granted(GrantedPermit { replayed: true, ..short_lived("late") }));
    let permit = node.client().acquire("r").request_id("shared").await.unwrap();
    assert_eq!(permit.ensure_usable(), Err(Unusable::TooLateToDispatch));
    assert!(permit.replayed());
    assert!(node.script().releases.is_empty(), "another process may have sent the call");
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_each_for_itself() {
    let node = Node::start().await;
    node.on_acquire(|_, n| match n {
        1 => granted(plain("first")),
        2 => denied(Duration::from_secs(1)),
        _ => Err(Status::invalid_argument("must be 1 or more")),
    });
    let client = node.client();
    let requests = ["a", "b", "c"].map(|resource| client.acquire(resource));
    let answers = client.acquire_each(requests).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap().id(), "first");
    assert!(matches!(answers[1], Err(Error::Denied(_))));
    assert!(matches!(&answers[2], Err(Error::Invalid { violations, .. }) if violations[0].field == "cost"));
}

#[tokio::test]
async fn a_batch_has_a_size() {
    let node = Node::start().await;
    let client = node.client();
    for size in [0, BATCH_MAX + 1] {
        let requests: Vec<_> = (0..size).map(|_| client.acquire("r")).collect();
        let error = client.acquire_each(requests).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { violations, .. } if violations[0].field == "requests"));
    }
    assert!(node.script().acquires.is_empty());
}
