//! One call for many, at the edge: keys and results are checked by field, and large answers are spread over messages.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tollgate_limiter::{
    CallOutcome, CallResult, CoalesceKey, CoalesceKeys, InvalidateResults, ResourceName, ResultBytes,
    SharedResult,
};
use tonic::{Code, Status};
use v1::{acquire_permit_response::Decision, invalidate_results_request::Keys, stream_call};

use super::{input::assert_invalid, *};

const LARGEST: usize = ResultBytes::MAX;

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn coalesced(key: &str) -> v1::AcquirePermitRequest {
    v1::AcquirePermitRequest { coalesce_key: key.into(), ..acquire(1) }
}

fn released(result: &[u8]) -> v1::ReleasePermitRequest {
    let result = Some(result.to_vec());
    v1::ReleasePermitRequest { permit_id: "p0-1".into(), result, ..Default::default() }
}

/// Another has made every call.
fn shared(_: &Call) -> Played {
    let bytes = ResultBytes::new(&[7; LARGEST]).unwrap();
    let answer = Box::new(Ok(Outcome::Shared(SharedResult { bytes, age: Span::from_secs(3) })));
    Some(Ok(Reply::Answer { answer, waited: Span::from_secs(2) }))
}

#[tokio::test]
async fn wrong_keys_and_results_are_refused_by_field() {
    let rig = Rig::leading(by_cost).await;
    let alternatives = vec![v1::Alternative { resource: "b".into(), ..Default::default() }];
    let acquires = [
        coalesced(&"k".repeat(257)),
        coalesced("\u{7}"),
        v1::AcquirePermitRequest { alternatives, ..coalesced("k") },
    ];
    for request in acquires {
        assert_invalid(rig.permits().acquire_permit(request).await, "coalesce_key");
    }
    let with = |outcome: v1::Outcome| v1::ReleasePermitRequest { outcome: outcome.into(), ..released(b"x") };
    let lasting = |ttl| v1::ReleasePermitRequest { result_ttl: ttl, ..released(b"x") };
    let releases = [
        (released(&[7; LARGEST + 1]), "result"),
        (with(v1::Outcome::Throttled), "result"),
        (with(v1::Outcome::ServerError), "result"),
        (with(v1::Outcome::NotSent), "result"),
        (lasting(seconds(4)), "result_ttl"),
        (lasting(seconds(7 * 86_400 + 1)), "result_ttl"),
        (v1::ReleasePermitRequest { result: None, ..lasting(seconds(60)) }, "result_ttl"),
    ];
    for (request, field) in releases {
        assert_invalid(rig.permits().release_permit(request).await, field);
    }
    let invalidate = |resource: &str, keys| v1::InvalidateResultsRequest { resource: resource.into(), keys };
    let invalidations = [
        (invalidate("", Some(Keys::Prefix(String::new()))), "resource"),
        (invalidate("a", None), "keys"),
        (invalidate("a", Some(Keys::Key(String::new()))), "key"),
        (invalidate("a", Some(Keys::Prefix("p".repeat(257)))), "prefix"),
    ];
    for (request, field) in invalidations {
        assert_invalid(rig.permits().invalidate_results(request).await, field);
    }
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn what_is_asked_reaches_the_replica() {
    let rig = Rig::leading(not_found).await;
    let ttl = seconds(60);
    let absent = v1::ReleasePermitRequest { outcome: v1::Outcome::ClientError.into(), ..released(b"") };
    for request in [v1::ReleasePermitRequest { result_ttl: ttl, ..released(&[7; LARGEST]) }, absent] {
        let status = rig.permits().release_permit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }
    let _: Result<_, Status> = rig.permits().acquire_permit(coalesced("contact/42")).await;
    let (resource, keys) = ("acme".to_owned(), Some(Keys::Key("contact/42".into())));
    let request = v1::InvalidateResultsRequest { resource, keys };
    let status = rig.permits().invalidate_results(request).await.unwrap_err();
    assert_eq!((status.code(), status.message().starts_with("acme")), (Code::NotFound, true));

    let asked = std::mem::take(&mut *rig.asked.lock());
    let commands = asked.into_iter().map(|call| match call {
        Call::Command { command, .. } => command,
        other => panic!("{other:?}"),
    });
    let commands: Vec<_> = commands.collect();
    let [Command::Release(found), Command::Release(absent), Command::Acquire(acquire), last] = &commands[..]
    else {
        panic!("{commands:?}")
    };
    let result = |bytes: &[u8], ttl| Some(CallResult { bytes: ResultBytes::new(bytes).unwrap(), ttl });
    assert_eq!(found.result, result(&[7; LARGEST], Span::from_secs(60)));
    assert_eq!(
        (&absent.result, absent.outcome),
        (&result(b"", CallResult::TTL_MIN), CallOutcome::ClientError)
    );
    let key = CoalesceKey::new("contact/42").unwrap();
    assert_eq!(acquire.coalesce_key.as_ref(), Some(&key));
    let resource = ResourceName::new("acme").unwrap();
    let order = InvalidateResults { resource, keys: CoalesceKeys::One(key) };
    assert_eq!(*last, Command::InvalidateResults(order));
}

#[tokio::test]
async fn a_result_is_an_answer_and_no_part_of_a_batch() {
    let rig = Rig::leading(shared).await;
    let answer = rig.permits().acquire_permit(coalesced("k")).await.unwrap().into_inner();
    let Some(Decision::Result(told)) = answer.decision else { panic!("{answer:?}") };
    assert_eq!((told.result, told.age, told.waited), (vec![7; LARGEST], seconds(3), seconds(2)));

    let batch = v1::AcquirePermitsRequest { requests: vec![coalesced("k")] };
    let mut results = rig.permits().acquire_permits(batch).await.unwrap().into_inner().results;
    let Some(v1::acquire_permit_result::Result::Error(error)) = results.remove(0).result else { panic!() };
    assert_eq!((error.code, error.field.as_str()), (Code::InvalidArgument.into(), "coalesce_key"));
}

#[tokio::test]
async fn results_of_many_answers_do_not_exceed_what_clients_take_in_a_message() {
    const CALLS: usize = 600;
    let rig = Rig::leading(silent).await;
    let (calls, out) = mpsc::channel(1);
    let mut answers = rig.permits().stream_permits(ReceiverStream::new(out)).await.unwrap().into_inner();
    let call =
        |id| v1::StreamCall { id, call: Some(stream_call::Call::Acquire(coalesced("k"))), timeout: None };
    let message =
        v1::StreamPermitsRequest { calls: (0..CALLS as u64).map(call).collect(), cancelled: vec![] };
    calls.send(message).await.unwrap();
    while rig.open.lock().len() < CALLS {
        tokio::task::yield_now().await;
    }
    // All at once: together they are 9.4 MiB, and a client takes 4.
    for ticket in rig.open.lock().drain(..) {
        assert_eq!(ticket.reply.send(shared(&ticket.call).unwrap()), None);
    }
    let mut answered = 0;
    while answered < CALLS {
        answered += answers.message().await.unwrap().expect("more answers").answers.len();
    }
    assert_eq!(answered, CALLS);
}
