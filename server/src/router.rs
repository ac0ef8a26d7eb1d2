//! Any node answers: a call goes to whoever leads, here or on another node.
//!
//! The router hides the search for the leader. It follows hints, waits for an election to end, and asks again by
//! itself whenever that cannot do harm: when nothing was done, or when the call is safe to repeat. What it cannot hide
//! it names: [`Refusal::OutcomeUnknown`] when a call that is not safe to repeat was handed to a leader that went away.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::Deadline,
    raft::{
        call::{Call, Refusal, Reply},
        door::{Door, Status},
        members::NodeId,
    },
};

/// How long after its arrival a call may still wait for a leader, or try another one. A cluster without a quorum answers
/// within this time, whatever the deadline.
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
        let patience = Deadline::after(timeout.min(LEADERLESS_PATIENCE));
        let mut hint = None;
        let mut when_out_of_patience = Refusal::NoLeader;
        loop {
            let Some(leader) = self.leader(hint, patience).await else { return Err(when_out_of_patience) };
            hint = None;
            match self.ask(leader, call.clone(), deadline).await {
                Err(Refusal::NotLeader { leader: other }) => hint = other.filter(|other| *other != leader),
                Err(Refusal::NoLeader) => {}
                Err(Refusal::ShuttingDown) if leader != self.this => {}
                Err(Refusal::OutcomeUnknown) if call.is_repeatable() => {
                    when_out_of_patience = Refusal::OutcomeUnknown;
                    call.count_attempt();
                }
                answer => return answer,
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
