//! Calls that are asked together: their first try is one, and the rest each for itself.

use futures_util::{FutureExt, StreamExt};

use super::*;

fn together(router: &Router, calls: impl IntoIterator<Item = Call>) -> Together {
    router.call_together(calls.into_iter().map(|call| (call, LONG)).collect())
}

async fn all(together: Together) -> Vec<(usize, Answered)> {
    let mut answers: Vec<_> = together.concat().await;
    answers.sort_by_key(|(index, _)| *index);
    answers
}

fn asked(script: &Script) -> Vec<(NodeId, Call)> {
    script.asked.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_decided_is_asked_again_and_nothing_else() {
    let hint = Err(Refusal::NotLeader { leader: Some(3) });
    let unknown = || Err(Refusal::OutcomeUnknown);
    let (router, script, _inside) = router(Some(2), [reply(), hint, unknown(), unknown(), reply(), reply()]);
    let calls = [query(), Call::RemoveMember(9), acquire(Some("a")), acquire(None)];
    let mut answers = together(&router, calls);
    assert_eq!(answers.next().await, Some(vec![(0, reply()), (3, unknown())]), "as soon as it is known");
    assert_eq!(all(answers).await, [(1, reply()), (2, reply())]);
    let again = asked(&script).split_off(4);
    let mut second_try = acquire(Some("a"));
    second_try.count_attempt();
    assert!(again.contains(&(3, Call::RemoveMember(9))), "{again:?}");
    assert!(again.contains(&(2, second_try)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn an_election_is_waited_out_by_all() {
    let (router, script, inside) = router(None, [reply(), reply()]);
    let answers = tokio::spawn(all(together(&router, [query(), query()])));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(asked(&script), []);
    inside.status.send_modify(|status| status.leader = Some(2));
    assert_eq!(answers.await.unwrap(), [(0, reply()), (1, reply())]);
}

#[tokio::test(start_paused = true)]
async fn each_has_its_own_time() {
    let (router, _, _inside) = router(Some(2), []);
    let seconds = |seconds| (query(), Duration::from_secs(seconds));
    let began = tokio::time::Instant::now();
    let mut answers = router.call_together(vec![seconds(3), seconds(1), seconds(3)]);
    let late = |index| (index, Err(Refusal::DeadlineExceeded));
    assert_eq!(answers.next().await, Some(vec![late(1)]));
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(answers.next().await, Some(vec![late(0), late(2)]));
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(answers.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn one_is_given_up_at_any_try() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::NotLeader { leader: None })]);
    let mut answers = together(&router, [query(), query()]);
    assert!(answers.next().now_or_never().is_none());
    tokio::time::sleep(PAUSE * 2).await;
    assert!(answers.next().now_or_never().is_none());
    assert_eq!(asked(&script).len(), 3, "the first is tried again");
    for index in [0, 1] {
        answers.canceller(index).cancel();
    }
    assert_eq!(answers.next().await, None);
    assert!(script.open.lock().iter().all(Caller::is_closed));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_keep_their_turn_and_their_id() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::OutcomeUnknown), reply()]);
    script.delays.lock().push_back(Duration::from_secs(5));
    assert_eq!(all(together(&router, [waiting(None)])).await, [(0, reply())]);
    let asked = asked(&script);
    let id = |call: &Call| match call {
        Call::Command { command: Command::Acquire(acquire), .. } => acquire.request_id.clone(),
        other => panic!("{other:?}"),
    };
    assert!(id(&asked[0].1).is_some());
    assert_eq!(id(&asked[0].1), id(&asked[1].1));
    assert_eq!(waited_for(&asked[0].1), Span::from_secs(1));
    let again = waited_for(&asked[1].1);
    assert!(Span::from_secs(6) <= again && again < Span::from_millis(6_100), "{again}");
}
