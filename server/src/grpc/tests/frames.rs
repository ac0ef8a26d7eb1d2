//! Batches and frames of any content: each call of them is answered, once, and what is refused says by which field.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use tokio::runtime::{Builder, Runtime};
use v1::{acquire_permit_result, stream_answer::Answer, stream_call};

use super::*;
use crate::grpc::convert::{
    acquire,
    properties::{
        is_in,
        permits::{acquire_request, release_request, renewal},
        seldom_a_duration,
    },
};

/// How many frames are tried.
const CASES: u32 = 64;

/// Reasons that are about no field: what is named is not there, or a deadline was too short.
const REASONS: [&str; 3] = ["PERMIT_NOT_FOUND", "RESOURCE_NOT_FOUND", "OUTCOME_UNKNOWN"];

fn stream_call() -> impl Strategy<Value = v1::StreamCall> {
    // By value, what strategies make of these messages does not fit the stack of a test that is not optimised.
    let call = prop_oneof![
        acquire_request().prop_map(stream_call::Call::Acquire).boxed(),
        renewal().prop_map(stream_call::Call::Renew).boxed(),
        release_request().prop_map(stream_call::Call::Release).boxed(),
    ];
    (option::weighted(0.95, call), seldom_a_duration()).prop_map(|(call, timeout)| v1::StreamCall {
        id: 0,
        call,
        timeout,
    })
}

/// Whether an error names a field of one of the messages, or is about none.
fn is_told(error: &v1::CallError, messages: &[&str]) -> Result<(), TestCaseError> {
    prop_assert!(!error.message.is_empty(), "{:?}", error);
    match error.reason.as_str() {
        "INVALID_FIELD" => {
            let is_field = messages.iter().any(|message| is_in(message, &error.field));
            prop_assert!(is_field, "{:?} is not about {:?}", error, messages);
        }
        reason => prop_assert!(REASONS.contains(&reason), "{:?}", error),
    }
    Ok(())
}

fn message_of(call: &v1::StreamCall) -> &'static str {
    match &call.call {
        Some(stream_call::Call::Acquire(_)) => "AcquirePermitRequest",
        Some(stream_call::Call::Renew(_)) => "RenewPermitRequest",
        Some(stream_call::Call::Release(_)) => "ReleasePermitRequest",
        None => "StreamCall",
    }
}

fn failed(status: tonic::Status) -> TestCaseError {
    TestCaseError::fail(format!("{status:?}"))
}

/// One frame, and all that is answered until the stream ends.
async fn converse(
    rig: &Rig,
    calls: Vec<v1::StreamCall>,
    cancelled: Vec<u64>,
) -> Result<BTreeMap<u64, Answer>, TestCaseError> {
    let frame = v1::StreamPermitsRequest { calls, cancelled };
    let stream = rig.permits().stream_permits(tokio_stream::iter([frame])).await.map_err(failed)?;
    let mut stream = stream.into_inner();
    let mut answers = BTreeMap::new();
    while let Some(message) = stream.message().await.map_err(failed)? {
        for v1::StreamAnswer { id, answer } in message.answers {
            let answer = answer.ok_or_else(|| TestCaseError::fail("an answer without content"))?;
            prop_assert!(answers.insert(id, answer).is_none(), "call {} is answered twice", id);
        }
    }
    Ok(answers)
}

async fn each_call_is_answered(
    rig: &Rig,
    mut calls: Vec<v1::StreamCall>,
    cancelled: Vec<u64>,
) -> Result<(), TestCaseError> {
    (1..).zip(&mut calls).for_each(|(id, call)| call.id = id);
    let answers = converse(rig, calls.clone(), cancelled).await?;
    prop_assert_eq!(answers.len(), calls.len());
    for call in &calls {
        let answer = &answers[&call.id];
        let is_fitting = match (&call.call, answer) {
            (_, Answer::Error(error)) => {
                is_told(error, &[message_of(call), "StreamCall"])?;
                true
            }
            (Some(stream_call::Call::Acquire(_)), answer) => matches!(answer, Answer::Acquired(_)),
            // The replica that is played here knows no permits.
            _ => false,
        };
        prop_assert!(is_fitting, "{:?} is answered {:?}", call, answer);
    }
    Ok(())
}

/// The decisions come in the order of the requests, and those are refused that would be refused alone.
async fn each_request_is_decided(
    rig: &Rig,
    requests: Vec<v1::AcquirePermitRequest>,
) -> Result<(), TestCaseError> {
    let batch = v1::AcquirePermitsRequest { requests: requests.clone() };
    let results = rig.permits().acquire_permits(batch).await.map_err(failed)?.into_inner().results;
    prop_assert_eq!(results.len(), requests.len());
    for (request, result) in requests.into_iter().zip(results) {
        let is_refused = match &result.result {
            Some(acquire_permit_result::Result::Error(error)) => {
                is_told(error, &["AcquirePermitRequest"])?;
                error.reason == "INVALID_FIELD"
            }
            Some(acquire_permit_result::Result::Response(_)) => false,
            None => return Err(TestCaseError::fail("a decision without content")),
        };
        let alone = acquire::call(request, std::time::Duration::from_secs(10)).map(|(_, call)| call);
        prop_assert_eq!(is_refused, alone.is_err(), "{:?} alone, {:?} among others", alone, result);
    }
    Ok(())
}

/// Puts all cases to one node: what one leaves behind, the next one meets.
fn with_a_node<S: Strategy>(
    strategy: &S,
    test: impl Fn(&Runtime, &Rig, S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rig = runtime.block_on(Rig::leading(by_cost));
    let cases = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(cases).run(strategy, |case| test(&runtime, &rig, case));
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn each_call_of_a_frame_is_answered_once() {
    // Ids from 1,000 on are nobody's.
    let frames = (vec(stream_call(), 1..12), vec(1_000..u64::MAX, 0..5));
    with_a_node(&frames, |runtime, rig, (calls, cancelled)| {
        runtime.block_on(each_call_is_answered(rig, calls, cancelled))
    });
}

#[test]
fn each_request_of_a_batch_is_decided() {
    let batches = vec(acquire_request().boxed(), 1..12);
    with_a_node(&batches, |runtime, rig, requests| runtime.block_on(each_request_is_decided(rig, requests)));
}
