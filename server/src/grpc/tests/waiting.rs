//! What the edge makes of requests that wait: how long they may, what they are told, and that they keep nobody out.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_types::StatusExt;
use v1::{acquire_permit_response::Decision, stream_answer::Answer, stream_call};

use super::*;
use crate::raft::call::{FullQueue, Wait};

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn patient(max_wait: i64) -> v1::AcquirePermitRequest {
    v1::AcquirePermitRequest { max_wait: seconds(max_wait), ..acquire(1) }
}

fn wait_of(rig: &Rig) -> Wait {
    rig.asked.lock().last().and_then(Call::wait).expect("a request that may wait")
}

async fn ask_within(rig: &Rig, request: v1::AcquirePermitRequest, deadline: Option<Duration>) -> Wait {
    let mut request = Request::new(request);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    rig.permits().acquire_permit(request).await.unwrap();
    wait_of(rig)
}

#[tokio::test]
async fn patience_ends_before_the_deadline_and_never_beyond_what_was_asked() {
    let rig = Rig::leading(by_cost).await;
    // Without a deadline there is time for all of it.
    let wait = ask_within(&rig, patient(30), None).await;
    assert_eq!(wait, Wait { max_wait: Span::from_secs(30), waited_for: Span::ZERO });
    let wait = ask_within(&rig, patient(3600), None).await;
    assert_eq!(wait.max_wait, Span::from_secs(3600));
    // A deadline is kept with a margin for the denial and its way.
    let wait = ask_within(&rig, patient(30), Some(Duration::from_secs(10))).await;
    assert!((Span::from_millis(9_500)..Span::from_millis(9_800)).contains(&wait.max_wait), "{wait:?}");
    let wait = ask_within(&rig, patient(1), Some(Duration::from_millis(200))).await;
    assert!((Span::from_millis(80)..Span::from_millis(180)).contains(&wait.max_wait), "{wait:?}");
    // What was waited before counts, and leaves as much time to this try.
    let again = v1::AcquirePermitRequest { waited_for: seconds(20), ..patient(60) };
    let wait = ask_within(&rig, again, Some(Duration::from_secs(10))).await;
    assert_eq!(wait.waited_for, Span::from_secs(20));
    assert!((Span::from_millis(29_500)..Span::from_millis(29_800)).contains(&wait.max_wait), "{wait:?}");
    // No more of it is believed than may be waited.
    let boasting = v1::AcquirePermitRequest { waited_for: seconds(86_400), ..patient(60) };
    let wait = ask_within(&rig, boasting, None).await;
    assert_eq!((wait.before(), wait.left()), (Span::from_secs(60), Span::ZERO));
}

#[tokio::test]
async fn who_does_not_wait_is_decided_at_once() {
    let rig = Rig::leading(by_cost).await;
    rig.permits().acquire_permit(patient(0)).await.unwrap();
    assert_eq!(rig.asked.lock()[0].wait(), None);
}

#[tokio::test]
async fn wrong_waits_are_refused_by_field() {
    let rig = Rig::leading(by_cost).await;
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let wrong = [
        (patient(3601), "max_wait"),
        (v1::AcquirePermitRequest { max_wait: negative, ..acquire(1) }, "max_wait"),
        (v1::AcquirePermitRequest { waited_for: negative, ..patient(1) }, "waited_for"),
    ];
    for (request, field) in wrong {
        let status = rig.permits().acquire_permit(request).await.unwrap_err();
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, field);
    }
    assert_eq!(*rig.asked.lock(), []);
}

#[tokio::test]
async fn answers_tell_how_long_was_waited() {
    let waited = Span::from_millis(2_500);
    let rig = Rig::leading(move |call| match by_cost(call) {
        Some(Ok(Reply::Answer { answer, .. })) => Some(Ok(Reply::Answer { answer, waited })),
        other => other,
    })
    .await;
    let told = |response: v1::AcquirePermitResponse| match response.decision {
        Some(Decision::Granted(granted)) => granted.waited,
        Some(Decision::Denied(denied)) => denied.waited,
        other => panic!("{other:?}"),
    };
    let expected = Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 });
    for request in [patient(9), v1::AcquirePermitRequest { cost: Some(100), ..patient(9) }] {
        let response = rig.permits().acquire_permit(request).await.unwrap().into_inner();
        assert_eq!(told(response), expected);
    }
}

#[tokio::test]
async fn a_full_queue_says_which_and_when_to_come_back() {
    let queues = [
        (FullQueue::Resource(tollgate_limiter::ResourceName::new("a/b").unwrap()), "resource:a/b"),
        (FullQueue::Consumer(Label::new("crm-sync").unwrap()), "consumer:crm-sync"),
        (FullQueue::Cluster, "cluster"),
    ];
    for (queue, subject) in queues {
        let refusal = Refusal::QueueFull { queue, max: 7, retry_after: Span::from_secs(1) };
        let rig = Rig::leading(move |_| Some(Err(refusal.clone()))).await;
        let status = rig.permits().acquire_permit(patient(9)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, subject);
        let delay = details.retry_info().unwrap().retry_delay.unwrap();
        assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&delay), "{delay:?}");
    }
}

#[tokio::test]
async fn a_batch_without_a_deadline_has_time_for_the_longest_wait() {
    let rig = Rig::leading(by_cost).await;
    let requests = vec![patient(5), patient(600), acquire(1)];
    rig.permits().acquire_permits(v1::AcquirePermitsRequest { requests }).await.unwrap();
    let waits: Vec<_> = rig.asked.lock().iter().map(|call| call.wait().map(|wait| wait.max_wait)).collect();
    assert_eq!(waits, [Some(Span::from_secs(5)), Some(Span::from_secs(600)), None]);
}

#[tokio::test]
async fn ten_thousand_that_wait_on_one_connection_keep_no_release_out() {
    let rig = Rig::leading(|call: &Call| if call.wait().is_some() { None } else { by_cost(call) }).await;
    let parked: Vec<_> = (0..10_000)
        .map(|_| {
            let mut permits = rig.permits();
            tokio::spawn(async move { permits.acquire_permit(patient(60)).await })
        })
        .collect();
    while rig.open.lock().len() < 10_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let release = v1::ReleasePermitRequest { permit_id: "p0-1".into(), ..Default::default() };
    let status = rig.permits().release_permit(release).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "it reached the replica, which knows no permit");
    parked.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_stream_of_those_who_wait_still_reads_releases_and_bounds_the_waiting() {
    let rig = Rig::leading(|call: &Call| if call.wait().is_some() { None } else { by_cost(call) }).await;
    let (calls, out) = mpsc::channel(4);
    let mut answers = rig.permits().stream_permits(ReceiverStream::new(out)).await.unwrap().into_inner();
    let call = |id, request| v1::StreamCall { id, call: Some(request), timeout: None };
    for message in 0..10u64 {
        let waiting = (0..1000).map(|n| call(message * 1000 + n, stream_call::Call::Acquire(patient(60))));
        calls.send(v1::StreamPermitsRequest { calls: waiting.collect(), cancelled: vec![] }).await.unwrap();
    }
    let release = v1::ReleasePermitRequest { permit_id: "p0-1".into(), ..Default::default() };
    let more = vec![
        call(20_000, stream_call::Call::Acquire(patient(60))),
        call(20_001, stream_call::Call::Release(release)),
    ];
    calls.send(v1::StreamPermitsRequest { calls: more, cancelled: vec![] }).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        for answer in answers.message().await.unwrap().unwrap().answers {
            let Some(Answer::Error(error)) = answer.answer else { panic!("{answer:?}") };
            told.push((answer.id, error.reason, error.retry_after.is_some()));
        }
    }
    told.sort();
    let expected = [(20_000, "OVERLOADED".to_owned(), true), (20_001, "PERMIT_NOT_FOUND".to_owned(), false)];
    assert_eq!(told, expected);
    assert_eq!(rig.open.lock().len(), 10_000);
}

#[tokio::test]
async fn those_who_wait_do_not_keep_a_node_from_stopping() {
    let rig = Rig::leading(silent).await;
    for (request_id, reason) in [("", "SHUTTING_DOWN"), ("a", "OUTCOME_UNKNOWN")] {
        let request = v1::AcquirePermitRequest { request_id: request_id.into(), ..patient(60) };
        let mut permits = rig.permits();
        let waiting = tokio::spawn(async move { permits.acquire_permit(request).await });
        if !rig.node.stopping.is_cancelled() {
            while rig.open.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rig.node.stopping.cancel();
        }
        let status = waiting.await.unwrap().unwrap_err();
        assert_eq!(status.get_error_details().error_info().unwrap().reason, reason);
    }
}

#[tokio::test]
async fn those_who_wait_on_a_stream_do_not_keep_a_node_from_stopping() {
    let rig = Rig::leading(|call: &Call| if call.wait().is_some() { None } else { by_cost(call) }).await;
    let (calls, out) = mpsc::channel(4);
    let mut answers = rig.permits().stream_permits(ReceiverStream::new(out)).await.unwrap().into_inner();
    let named = v1::AcquirePermitRequest { request_id: "a".into(), ..patient(60) };
    let call =
        |id, request| v1::StreamCall { id, call: Some(stream_call::Call::Acquire(request)), timeout: None };
    let together = vec![call(1, acquire(1)), call(2, patient(60)), call(3, named)];
    calls.send(v1::StreamPermitsRequest { calls: together, cancelled: vec![] }).await.unwrap();
    let first = answers.message().await.unwrap().unwrap().answers;
    assert_eq!(first.iter().map(|answer| answer.id).collect::<Vec<_>>(), [1], "nobody waits for the others");
    rig.node.stopping.cancel();
    let given_up = answers.message().await.unwrap().unwrap().answers;
    let told: Vec<_> = given_up
        .into_iter()
        .map(|answer| match answer.answer {
            Some(Answer::Error(error)) => (answer.id, error.reason),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(2, "SHUTTING_DOWN".to_owned()), (3, "OUTCOME_UNKNOWN".to_owned())]);
    assert!(rig.open.lock().iter().all(|ticket| ticket.reply.is_closed()));
}
