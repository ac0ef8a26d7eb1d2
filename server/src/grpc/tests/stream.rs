//! StreamPermits: answers by id as they are decided, backpressure, cancellation, and ends.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use tonic_types::StatusExt;
use v1::{stream_answer::Answer, stream_call};

use super::*;

async fn open(rig: &Rig) -> (mpsc::Sender<v1::StreamPermitsRequest>, Streaming<v1::StreamPermitsResponse>) {
    let (calls, out) = mpsc::channel(4);
    let answers = rig.permits().stream_permits(ReceiverStream::new(out)).await.unwrap().into_inner();
    (calls, answers)
}

fn call(id: u64, cost: u64) -> v1::StreamCall {
    v1::StreamCall { id, call: Some(stream_call::Call::Acquire(acquire(cost))), timeout: None }
}

fn message(calls: Vec<v1::StreamCall>) -> v1::StreamPermitsRequest {
    v1::StreamPermitsRequest { calls, cancelled: vec![] }
}

async fn collect(answers: &mut Streaming<v1::StreamPermitsResponse>, count: usize) -> BTreeMap<u64, String> {
    let mut by_id = BTreeMap::new();
    while by_id.len() < count {
        for answer in answers.message().await.unwrap().expect("more answers").answers {
            let text = match answer.answer.unwrap() {
                Answer::Acquired(response) => told(response),
                Answer::Error(error) => format!("{} {}", error.reason, error.field),
                other => format!("{other:?}"),
            };
            assert_eq!(by_id.insert(answer.id, text), None, "one answer a call");
        }
    }
    by_id
}

#[tokio::test]
async fn every_call_gets_its_own_answer() {
    let rig = Rig::leading(by_cost).await;
    let (calls, mut answers) = open(&rig).await;
    let renew = v1::RenewPermitRequest { permit_id: "p0-1".into(), lease: None };
    let odd = vec![
        call(1000, 0),
        v1::StreamCall { id: 1001, call: Some(stream_call::Call::Renew(renew)), timeout: None },
        v1::StreamCall { id: 1002, call: None, timeout: None },
        v1::StreamCall { timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..call(1003, 1) },
        v1::StreamCall { timeout: Some(prost_types::Duration { seconds: 3601, nanos: 0 }), ..call(1004, 1) },
    ];
    calls.send(message((1..1000).map(|id| call(id, id % 101 + 1)).collect())).await.unwrap();
    calls.send(message(odd)).await.unwrap();
    drop(calls);

    let by_id = collect(&mut answers, 1004).await;
    assert_eq!(by_id[&8], "p0-9");
    assert_eq!(by_id[&99], "denied by daily");
    assert_eq!(by_id[&100], "RESOURCE_NOT_FOUND ");
    assert_eq!(by_id[&1000], "INVALID_FIELD cost");
    assert_eq!(by_id[&1001], "PERMIT_NOT_FOUND ");
    assert_eq!(by_id[&1002], "INVALID_FIELD call");
    assert_eq!(by_id[&1003], "INVALID_FIELD timeout");
    assert_eq!(by_id[&1004], "INVALID_FIELD timeout");
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_that_takes_too_long_fails_alone() {
    let rig = Rig::leading(silent).await;
    let (calls, mut answers) = open(&rig).await;
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    calls.send(message(vec![call(1, 1), v1::StreamCall { timeout, ..call(2, 2) }])).await.unwrap();
    assert_eq!(collect(&mut answers, 1).await, [(2, "OUTCOME_UNKNOWN ".to_owned())].into());
    assert!(!rig.open.lock()[0].reply.is_closed());
}

#[tokio::test]
async fn a_malformed_message_ends_the_stream() {
    let rig = Rig::leading(by_cost).await;
    let cancelling = |count, calls| v1::StreamPermitsRequest { calls, cancelled: (0..count).collect() };
    for (wrong, field) in [
        (message(vec![]), "calls"),
        (message(vec![call(1, 1); 1001]), "calls"),
        (cancelling(1, vec![call(1, 1); 1001]), "calls"),
        (cancelling(1001, vec![]), "cancelled"),
    ] {
        let (calls, mut answers) = open(&rig).await;
        calls.send(wrong).await.unwrap();
        let status = answers.message().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, field);
    }
    let (calls, mut answers) = open(&rig).await;
    let request = v1::AcquirePermitRequest { request_id: "i".repeat(2 << 20), ..acquire(1) };
    let oversize = v1::StreamCall { call: Some(stream_call::Call::Acquire(request)), ..call(1, 1) };
    calls.send(message(vec![oversize])).await.unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_calls() {
    let rig = Rig::leading(silent).await;
    let (calls, answers) = open(&rig).await;
    calls.send(message(vec![call(1, 1), call(2, 2)])).await.unwrap();
    while rig.open.lock().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((calls, answers));
    while !rig.open.lock().iter().all(|ticket| ticket.reply.is_closed()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_ends_alone() {
    let rig = Rig::leading(silent).await;
    let (calls, mut answers) = open(&rig).await;
    calls.send(message(vec![call(1, 1), call(2, 2), call(3, 3)])).await.unwrap();
    while rig.open.lock().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nothing else need be in the message; an id that is not open is nobody's.
    let cancelled = vec![2, 99];
    calls.send(v1::StreamPermitsRequest { calls: vec![], cancelled }).await.unwrap();
    let is_second = |call: &Call| matches!(call, Call::Command { command: Command::Acquire(acquire), .. } if acquire.cost == 2);
    while !rig.open.lock().iter().any(|ticket| is_second(&ticket.call) && ticket.reply.is_closed()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for ticket in rig.open.lock().drain(..).filter(|ticket| !ticket.reply.is_closed()) {
        assert_eq!(ticket.reply.send(by_cost(&ticket.call).unwrap()), None);
    }
    drop(calls);
    let expected = [(1, "p0-1".to_owned()), (3, "p0-3".to_owned())];
    assert_eq!(collect(&mut answers, 2).await, expected.into());
    assert!(answers.message().await.unwrap().is_none(), "the second is not answered");
}

#[tokio::test]
async fn a_place_that_was_given_up_is_free_for_another() {
    let rig = Rig::leading(silent).await;
    let (calls, mut answers) = open(&rig).await;
    let waits = |id| {
        let max_wait = Some(prost_types::Duration { seconds: 600, nanos: 0 });
        let request = v1::AcquirePermitRequest { max_wait, ..acquire(1) };
        v1::StreamCall { id, call: Some(stream_call::Call::Acquire(request)), timeout: None }
    };
    for thousand in 0..10 {
        let ids = thousand * 1_000..(thousand + 1) * 1_000;
        calls.send(message(ids.map(waits).collect())).await.unwrap();
    }
    calls.send(message(vec![waits(10_000)])).await.unwrap();
    assert_eq!(collect(&mut answers, 1).await, [(10_000, "OVERLOADED ".to_owned())].into());
    let cancelled = (0..1_000).collect();
    calls.send(v1::StreamPermitsRequest { calls: vec![], cancelled }).await.unwrap();
    calls.send(message((20_000..21_000).map(waits).collect())).await.unwrap();
    while rig.open.lock().len() < 11_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let open = rig.open.lock().iter().filter(|ticket| !ticket.reply.is_closed()).count();
    assert_eq!(open, 10_000);
}

#[tokio::test]
async fn open_calls_are_bounded() {
    let rig = Rig::leading(silent).await;
    let (calls, _answers) = open(&rig).await;
    for _ in 0..10 {
        calls.send(message((0..1000).map(|id| call(id, 1)).collect())).await.unwrap();
    }
    while rig.open.lock().len() < 10_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    calls.send(message(vec![call(1, 1)])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.open.lock().len(), 10_000);
}

#[tokio::test]
async fn a_node_that_stops_answers_what_is_open_and_says_so() {
    let rig = Rig::leading(silent).await;
    let (calls, mut answers) = open(&rig).await;
    calls.send(message(vec![call(1, 1)])).await.unwrap();
    while rig.open.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.node.stopping.cancel();
    let ticket = rig.open.lock().remove(0);
    assert_eq!(ticket.reply.send(by_cost(&ticket.call).unwrap()), None);
    assert_eq!(collect(&mut answers, 1).await, [(1, "p0-1".to_owned())].into());
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "SHUTTING_DOWN");
}
