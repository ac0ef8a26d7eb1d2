//! Any node answers: a call goes to whoever leads, here or on another node.
//!
//! The router hides the search for the leader. It follows hints, waits for an election to end, and asks again by
//! itself whenever that cannot do harm: when nothing was done, or when the call is safe to repeat. What it cannot hide
//! it names: [`Refusal::OutcomeUnknown`] when a call that is not safe to repeat was handed to a leader that went away.
//!
//! A request that waits is likely to see leaders go. It is asked again with the time that it has waited, so that it keeps
//! its turn; and if the client gave it no id, it is given one here, so that it can always be asked again.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;
use tollgate_limiter::{RequestId, Span};

use crate::{
    clock::Deadline,
    raft::{
        call::{Call, Refusal, Reply},
        door::{Door, Status},
        members::NodeId,
    },
};

/// How long after its arrival a call may still wait for a leader, or try another one. A cluster without a quorum answers
/// within this time, whatever the deadline. For a request that waits it begins anew when a leader that had it is lost.
pub const LEADERLESS_PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries: long enough that two nodes that name each other do not spin, short beside an election.
const PAUSE: Duration = Duration::from_millis(10);

/// The reply to a call that another node was handed.
pub type Forwarded = Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>>;

/// The way to the other nodes' doors.
pub trait Forward: Send + Sync {
    /// Hands a call to another node. Dropping the future tells the other node that nobody waits any more.
    ///
    /// `NotLeader` without a hint when there is no connection: nothing was done. `OutcomeUnknown` when the connection, or
    /// that node's leadership, is lost while the call is open.
    fn forward(&self, to: NodeId, call: Call) -> Forwarded;
}

/// Where calls go. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    this: NodeId,
    door: Door,
    status: watch::Receiver<Status>,
    others: Arc<dyn Forward>,
}

impl Router {
    /// A router on node `this`.
    pub fn new(this: NodeId, door: Door, others: Arc<dyn Forward>) -> Router {
        Router { this, status: door.status(), door, others }
    }

    /// Asks whoever leads, and waits for the reply at most `timeout`. Dropping the future cancels the call: a grant that
    /// nobody is left to receive is given back.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`] but `NotLeader`, which is followed here: [`Refusal::NoLeader`] within
    /// [`LEADERLESS_PATIENCE`] when there is nobody to ask, [`Refusal::DeadlineExceeded`] when the time is over while a
    /// leader has the call, [`Refusal::OutcomeUnknown`] when the leader was lost and the call is not safe to repeat.
    pub async fn call(&self, mut call: Call, timeout: Duration) -> Result<Reply, Refusal> {
        let deadline = Deadline::after(timeout);
        let mut patience = Deadline::after(timeout.min(LEADERLESS_PATIENCE));
        let wait = call.wait();
        call.name_if_waiting(random_id);
        let mut hint = None;
        let mut when_out_of_patience = Refusal::NoLeader;
        loop {
            let Some(leader) = self.leader(hint, patience).await else { return Err(when_out_of_patience) };
            hint = None;
            let left = deadline.left();
            match self.ask(leader, call.clone(), deadline).await {
                Err(Refusal::NotLeader { leader: other }) => hint = other.filter(|other| *other != leader),
                Err(Refusal::NoLeader) => {}
                Err(Refusal::ShuttingDown) if leader != self.this => {}
                Err(Refusal::OutcomeUnknown) if call.is_repeatable() => {
                    when_out_of_patience = Refusal::OutcomeUnknown;
                    call.count_attempt();
                }
                // They say that nothing was done now; what an earlier try did is as unknown as before.
                Err(
                    Refusal::Overloaded { .. }
                    | Refusal::StorageFull
                    | Refusal::ShuttingDown
                    | Refusal::QueueFull { .. },
                ) if when_out_of_patience == Refusal::OutcomeUnknown => {
                    return Err(Refusal::OutcomeUnknown);
                }
                answer => return answer,
            }
            if let Some(wait) = wait {
                let since = timeout.saturating_sub(deadline.left());
                call.has_waited(wait, Span(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
                // It had the call for a while: it was no node that cannot be reached.
                if left.saturating_sub(deadline.left()) > PAUSE {
                    patience = Deadline::after(deadline.left().min(LEADERLESS_PATIENCE));
                }
            }
            if patience.bound(tokio::time::sleep(PAUSE)).await.is_none() {
                return Err(when_out_of_patience);
            }
        }
    }

    /// Asks this node's own replica, whoever leads.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`]; `NotLeader` for a call that only a leader can answer.
    pub async fn call_here(&self, call: Call, timeout: Duration) -> Result<Reply, Refusal> {
        self.ask(self.this, call, Deadline::after(timeout)).await
    }

    /// The node that is said to lead; else the one that this node knows of, or comes to know in time.
    async fn leader(&self, hint: Option<NodeId>, patience: Deadline) -> Option<NodeId> {
        if let Some(leader) = hint.or(self.status.borrow().leader) {
            return Some(leader);
        }
        let mut status = self.status.clone();
        patience.bound(status.wait_for(|status| status.leader.is_some())).await?.ok()?.leader
    }

    async fn ask(&self, leader: NodeId, call: Call, deadline: Deadline) -> Result<Reply, Refusal> {
        let reply = if leader == self.this {
            deadline.bound(self.door.call(call)).await
        } else {
            deadline.bound(self.others.forward(leader, call)).await
        };
        reply.unwrap_or(Err(Refusal::DeadlineExceeded))
    }
}

/// 128 random bits: no two requests have the same.
fn random_id() -> RequestId {
    let id = format!("{:032x}", rand::random::<u128>());
    RequestId::new(&id).expect("32 hexadecimal digits are a request id")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;
    use tollgate_limiter::{Acquire, Command, Label, Priority, RequestId, ResourceName};

    use super::*;
    use crate::raft::{
        call::{MemberRefusal, Query, Wait},
        door::{Inside, door},
    };

    /// Answers in the order of a script, and remembers what it was asked.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<Result<Reply, Refusal>>>,
        asked: Mutex<Vec<(NodeId, Call)>>,
        // How long each answer takes; none, if there are no more.
        delays: Mutex<VecDeque<Duration>>,
    }

    impl Forward for Script {
        fn forward(&self, to: NodeId, call: Call) -> Forwarded {
            self.asked.lock().push((to, call));
            let delay = self.delays.lock().pop_front().unwrap_or_default();
            match self.answers.lock().pop_front() {
                Some(answer) => Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    answer
                }),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    fn router(
        leader: Option<NodeId>,
        answers: impl IntoIterator<Item = Result<Reply, Refusal>>,
    ) -> (Router, Arc<Script>, Inside) {
        let (door, inside) = door();
        inside.status.send_modify(|status| status.leader = leader);
        let script =
            Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() });
        (Router::new(1, door, script.clone()), script, inside)
    }

    fn reply() -> Result<Reply, Refusal> {
        Ok(Reply::Changed(Err(MemberRefusal::ChangeInProgress)))
    }

    fn query() -> Call {
        Call::Query(Query::Cluster)
    }

    fn acquire(request_id: Option<&str>) -> Call {
        let none = || Label::new("").unwrap();
        let command = Command::Acquire(Acquire {
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
        });
        command.into()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn hints_are_followed() {
        let (router, script, _inside) =
            router(Some(2), [Err(Refusal::NotLeader { leader: Some(3) }), reply()]);
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
            assert_eq!(
                router.call(acquire(Some("a")), LONG).await,
                Err(Refusal::OutcomeUnknown),
                "{refusal}"
            );
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
}
