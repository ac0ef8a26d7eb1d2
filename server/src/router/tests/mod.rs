//! Leaders are played by a script.

mod together;

use std::collections::VecDeque;

use parking_lot::Mutex;
use tollgate_limiter::{Acquire, Command, Label, PermitId, Priority, RequestId, ResourceName, Span};

use super::*;
use crate::raft::{
    call::{CallNumber, MemberRefusal, Query, Reply, Wait},
    door::{Inside, door},
    replies::{Caller, Respondent, replies},
};

/// Answers in the order of a script, and remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answered>>,
    asked: Mutex<Vec<(NodeId, Call)>>,
    // How long each answer takes; none, if there are no more.
    delays: Mutex<VecDeque<Duration>>,
    // Those who are not answered.
    open: Mutex<Vec<Caller>>,
}

impl Forward for Script {
    fn forward(&self, to: NodeId, calls: Vec<Call>) -> Replies {
        let (replies, callers) = replies(Arc::new(Indifferent), 0, calls.iter().map(|_| true));
        for (call, caller) in calls.into_iter().zip(callers) {
            self.asked.lock().push((to, call));
            let delay = self.delays.lock().pop_front().unwrap_or_default();
            match self.answers.lock().pop_front() {
                Some(answer) if delay.is_zero() => drop(caller.send(answer)),
                Some(answer) => drop(tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    caller.send(answer)
                })),
                None => self.open.lock().push(caller),
            }
        }
        replies
    }
}

/// Does not mind who goes away.
struct Indifferent;

impl Respondent for Indifferent {
    fn cancel(&self, _: CallNumber) {}

    fn give_back(&self, _: PermitId) {}
}

fn router(
    leader: Option<NodeId>,
    answers: impl IntoIterator<Item = Answered>,
) -> (Router, Arc<Script>, Inside) {
    let (door, inside) = door();
    inside.status.send_modify(|status| status.leader = leader);
    let script = Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() });
    (Router::new(1, door, script.clone()), script, inside)
}

fn reply() -> Answered {
    Ok(Reply::Changed(Err(MemberRefusal::ChangeInProgress)))
}

fn query() -> Call {
    Call::Query(Query::Cluster)
}

fn acquire(request_id: Option<&str>) -> Call {
    let none = || Label::new("").unwrap();
    let command = Command::from(Acquire {
        resource: ResourceName::new("r").unwrap(),
        operation: none(),
        cost: 1,
        amounts: Default::default(),
        consumer: none(),
        subject: none(),
        key: none(),
        priority: Priority::Medium,
        lease: None,
        request_id: request_id.map(|id| RequestId::new(id).unwrap()),
        alternatives: vec![],
        coalesce_key: None,
    });
    command.into()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn hints_are_followed() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::NotLeader { leader: Some(3) }), reply()]);
    assert_eq!(router.call(Call::RemoveMember(9), LONG).await, reply());
    let asked: Vec<NodeId> = script.asked.lock().iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_the_answer_comes_within_the_patience() {
    let (router, _, _inside) = router(None, []);
    let began = tokio::time::Instant::now();
    assert_eq!(router.call(query(), LONG).await, Err(Refusal::NoLeader));
    assert_eq!(began.elapsed(), LEADERLESS_PATIENCE);
    // A shorter deadline is kept.
    let began = tokio::time::Instant::now();
    assert_eq!(router.call(query(), Duration::from_millis(300)).await, Err(Refusal::NoLeader));
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn an_election_is_waited_out() {
    let (router, _, inside) = router(None, [reply()]);
    let elected = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        inside.status.send_modify(|status| status.leader = Some(2));
        inside
    });
    assert_eq!(router.call(Call::RemoveMember(9), LONG).await, reply());
    drop(elected);
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_to_repeat_is_repeated_as_a_later_attempt() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::OutcomeUnknown), reply()]);
    assert_eq!(router.call(acquire(Some("a")), LONG).await, reply());
    let attempts: Vec<Call> = script.asked.lock().iter().map(|(_, call)| call.clone()).collect();
    let mut second = acquire(Some("a"));
    second.count_attempt();
    assert_eq!(attempts, [acquire(Some("a")), second]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_to_repeat_is_asked_once() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::OutcomeUnknown), reply()]);
    assert_eq!(router.call(acquire(None), LONG).await, Err(Refusal::OutcomeUnknown));
    assert_eq!(script.asked.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_once_unknown_stays_unknown_when_the_leader_is_gone() {
    let (router, _, inside) = router(Some(2), [Err(Refusal::OutcomeUnknown)]);
    let call = tokio::spawn(async move { router.call(acquire(Some("a")), LONG).await });
    tokio::task::yield_now().await;
    inside.status.send_modify(|status| status.leader = None);
    assert_eq!(call.await.unwrap(), Err(Refusal::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_once_unknown_stays_unknown_when_the_next_leader_refuses() {
    let overloaded = Refusal::Overloaded { retry_after: Span::from_millis(50) };
    for refusal in [overloaded, Refusal::StorageFull] {
        let (router, _, _inside) = router(Some(2), [Err(Refusal::OutcomeUnknown), Err(refusal.clone())]);
        assert_eq!(router.call(acquire(Some("a")), LONG).await, Err(Refusal::OutcomeUnknown), "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_leader_is_given_up_within_the_patience() {
    let unreachable = std::iter::repeat_n(Err(Refusal::NotLeader { leader: None }), 10_000);
    let (router, _, _inside) = router(Some(2), unreachable);
    let began = tokio::time::Instant::now();
    assert_eq!(router.call(query(), LONG).await, Err(Refusal::NoLeader));
    assert!(began.elapsed() <= LEADERLESS_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_waited_for_until_the_deadline() {
    let (router, _, _inside) = router(Some(2), []);
    assert_eq!(router.call(query(), LONG).await, Err(Refusal::DeadlineExceeded));
}

fn waiting(request_id: Option<&str>) -> Call {
    let Call::Command { command, .. } = acquire(request_id) else { unreachable!("it is a command") };
    let wait = Wait { max_wait: Span::from_secs(30), waited_for: Span::from_secs(1) };
    Call::Command { command, attempt: 0, wait: Some(wait) }
}

fn waited_for(call: &Call) -> Span {
    call.wait().unwrap().waited_for
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_is_asked_again_with_the_time_that_it_has_waited() {
    let (router, script, inside) = router(Some(2), []);
    let lose = |refusal| script.answers.lock().push_back(Err(refusal));
    lose(Refusal::NotLeader { leader: Some(3) });
    lose(Refusal::OutcomeUnknown);
    script.answers.lock().push_back(reply());
    let began = tokio::time::Instant::now();
    script.delays.lock().extend([5_000, 7_000, 0].map(Duration::from_millis));
    assert_eq!(router.call(waiting(Some("a")), LONG).await, reply());
    let asked = script.asked.lock().clone();
    let expected = [0, 5_000 + 10, 12_000 + 20].map(|ms| Span::from_secs(1) + Span::from_millis(ms));
    let told: Vec<_> = asked.iter().map(|(_, call)| waited_for(call)).collect();
    // Timers are precise to a millisecond.
    for (told, expected) in told.iter().zip(expected) {
        let off = told.as_nanos().abs_diff(expected.as_nanos());
        assert!(off <= 20_000_000, "{told} instead of {expected}");
    }
    let attempts: Vec<_> = asked.iter().map(|(_, call)| attempt(call)).collect();
    assert_eq!(attempts, [0, 0, 2], "only the last one follows a try whose outcome is unknown");
    assert!(began.elapsed() >= Duration::from_secs(12));
    drop(inside);
}

#[tokio::test(start_paused = true)]
async fn time_without_a_leader_counts_as_waited() {
    let (router, script, inside) = router(None, [Err(Refusal::NotLeader { leader: None }), reply()]);
    let lead = |leader| inside.status.send_modify(|status| status.leader = leader);
    let second = || tokio::time::sleep(Duration::from_secs(1));
    let call = tokio::spawn(async move { router.call(waiting(Some("a")), LONG).await });
    second().await;
    script.delays.lock().push_back(Duration::from_secs(5));
    lead(Some(2));
    second().await;
    // Lost four seconds later, and replaced one second after that.
    lead(None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    lead(Some(3));
    assert_eq!(call.await.unwrap(), reply());
    let told: Vec<_> = script.asked.lock().iter().map(|(_, call)| waited_for(call)).collect();
    let [first, then] = told[..] else { panic!("{told:?}") };
    // Beside the second that it came with. Timers are precise to a millisecond.
    for (told, seconds) in [(first, 2), (then, 8)] {
        let off = told.as_nanos().abs_diff(Span::from_secs(seconds).as_nanos());
        assert!(off <= 20_000_000, "{told} instead of {seconds} s");
    }
}

fn attempt(call: &Call) -> u32 {
    match call {
        Call::Command { attempt, .. } => *attempt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_without_an_id_is_given_one_and_keeps_it() {
    let (router, script, _inside) = router(Some(2), [Err(Refusal::OutcomeUnknown), reply()]);
    assert_eq!(router.call(waiting(None), LONG).await, reply());
    let ids: Vec<_> = script
        .asked
        .lock()
        .iter()
        .map(|(_, call)| match call {
            Call::Command { command: Command::Acquire(acquire), .. } => acquire.request_id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ids.len() == 2 && ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_without_a_leader_counts_from_the_loss_of_the_one_that_had_the_request() {
    let (router, script, inside) = router(Some(2), [Err(Refusal::NotLeader { leader: None })]);
    script.delays.lock().push_back(Duration::from_secs(20));
    let call = tokio::spawn(async move {
        let began = tokio::time::Instant::now();
        (router.call(waiting(Some("a")), LONG).await, began.elapsed())
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    inside.status.send_modify(|status| status.leader = None);
    let (answer, elapsed) = call.await.unwrap();
    assert_eq!(answer, Err(Refusal::NoLeader));
    assert_eq!(elapsed.as_secs(), 22, "{elapsed:?}");
}
