//! Any node answers: a call goes to whoever leads, here or on another node.
//!
//! The router hides the search for the leader. It follows hints, waits for an election to end, and asks again by
//! itself whenever that cannot do harm: when nothing was done, or when the call is safe to repeat. What it cannot hide
//! it names: [`Refusal::OutcomeUnknown`] when a call that is not safe to repeat was handed to a leader that went away.
//!
//! A request that waits is likely to see leaders go. It is asked again with the time that it has waited, so that it keeps
//! its turn; and if the client gave it no id, it is given one here, so that it can always be asked again.

mod errand;
mod together;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use self::errand::Errand;
pub use self::together::Together;
use crate::{
    clock::Deadline,
    raft::{
        call::{Call, Refusal},
        door::{Door, Status},
        members::NodeId,
        replies::{Answered, Replies},
    },
};

/// How long after its arrival a call may still wait for a leader, or try another one. A cluster without a quorum answers
/// within this time, whatever the deadline. For a request that waits it begins anew when a leader that had it is lost.
pub const LEADERLESS_PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries: long enough that two nodes that name each other do not spin, short beside an election.
const PAUSE: Duration = Duration::from_millis(10);

/// The way to the other nodes' doors.
pub trait Forward: Send + Sync {
    /// Hands calls to another node, in this order. Dropping the replies tells the other node that nobody waits any more.
    ///
    /// `NotLeader` without a hint when there is no connection: nothing was done. `OutcomeUnknown` when the connection, or
    /// that node's leadership, is lost while the call is open.
    fn forward(&self, to: NodeId, calls: Vec<Call>) -> Replies;
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
    pub async fn call(&self, call: Call, timeout: Duration) -> Answered {
        self.run(Errand::begin(call, timeout)).await
    }

    /// Asks whoever leads for all of these at once, in this order. Each is answered as [`Router::call`] would answer it, within
    /// its own time, as soon as it is decided. Dropping this cancels what is open.
    pub fn call_together(&self, calls: Vec<(Call, Duration)>) -> Together {
        Together::begin(self.clone(), calls)
    }

    /// Asks this node's own replica, whoever leads.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`]; `NotLeader` for a call that only a leader can answer.
    pub async fn call_here(&self, call: Call, timeout: Duration) -> Answered {
        in_time(Deadline::after(timeout), self.ask(self.this, vec![call]).only()).await
    }

    /// Tries until the call is answered.
    async fn run(&self, mut errand: Errand) -> Answered {
        loop {
            let Some(leader) = self.leader(errand.hint, errand.patience).await else {
                return Err(errand.when_out_of_patience);
            };
            errand.set_out();
            let replies = self.ask(leader, vec![errand.call.clone()]);
            let reply = in_time(errand.deadline, replies.only()).await;
            if let Some(answer) = errand.judge(reply, leader, self.this) {
                return answer;
            }
            if errand.patience.bound(tokio::time::sleep(PAUSE)).await.is_none() {
                return Err(errand.when_out_of_patience);
            }
        }
    }

    /// Goes on after a try that came to nothing.
    async fn run_again(&self, errand: Errand) -> Answered {
        match errand.patience.bound(tokio::time::sleep(PAUSE)).await {
            Some(()) => self.run(errand).await,
            None => Err(errand.when_out_of_patience),
        }
    }

    /// The node that is said to lead; else the one that this node knows of, or comes to know in time.
    async fn leader(&self, hint: Option<NodeId>, patience: Deadline) -> Option<NodeId> {
        if let Some(leader) = hint.or(self.known_leader()) {
            return Some(leader);
        }
        let mut status = self.status.clone();
        patience.bound(status.wait_for(|status| status.leader.is_some())).await?.ok()?.leader
    }

    fn known_leader(&self) -> Option<NodeId> {
        self.status.borrow().leader
    }

    fn ask(&self, leader: NodeId, calls: Vec<Call>) -> Replies {
        match leader == self.this {
            true => self.door.ask(calls),
            false => self.others.forward(leader, calls),
        }
    }
}

async fn in_time(deadline: Deadline, reply: impl Future<Output = Answered>) -> Answered {
    deadline.bound(reply).await.unwrap_or(Err(Refusal::DeadlineExceeded))
}

#[cfg(test)]
mod tests;
