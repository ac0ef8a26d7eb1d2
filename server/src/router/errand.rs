//! A call on its way to a leader that answers it: what the reply of one leader means for the next try.

use std::time::Duration;

use tollgate_limiter::{RequestId, Span};

use super::{LEADERLESS_PATIENCE, PAUSE};
use crate::{
    clock::Deadline,
    raft::{
        call::{Call, Refusal, Wait},
        members::NodeId,
        replies::Answered,
    },
};

pub(super) struct Errand {
    pub call: Call,
    /// The answer is due then.
    pub deadline: Deadline,
    /// Until then it may wait for a leader, or try another one.
    pub patience: Deadline,
    /// Who is said to lead.
    pub hint: Option<NodeId>,
    /// What is known when it must not try any more.
    pub when_out_of_patience: Refusal,
    timeout: Duration,
    // As it was asked for.
    wait: Option<Wait>,
    // When the present try began.
    left: Duration,
}

impl Errand {
    /// A call that has just arrived.
    pub fn begin(call: Call, timeout: Duration) -> Errand {
        let patience = Deadline::after(timeout.min(LEADERLESS_PATIENCE));
        Errand::under_way(call, timeout, Deadline::after(timeout), patience)
    }

    /// A call that may have been asked before, within the same time. One that waits has its name already.
    pub fn under_way(mut call: Call, timeout: Duration, deadline: Deadline, patience: Deadline) -> Errand {
        call.name_if_waiting(random_id);
        let wait = call.wait();
        let when_out_of_patience = Refusal::NoLeader;
        Errand { call, deadline, patience, hint: None, when_out_of_patience, timeout, wait, left: timeout }
    }

    /// A try begins.
    pub fn set_out(&mut self) {
        self.hint = None;
        self.left = self.deadline.left();
    }

    /// The answer, if this reply of that leader is one; otherwise the call is to be tried again.
    pub fn judge(&mut self, reply: Answered, leader: NodeId, this: NodeId) -> Option<Answered> {
        match reply {
            Err(Refusal::NotLeader { leader: other }) => self.hint = other.filter(|other| *other != leader),
            Err(Refusal::NoLeader) => {}
            Err(Refusal::ShuttingDown) if leader != this => {}
            Err(Refusal::OutcomeUnknown) if self.call.is_repeatable() => {
                self.when_out_of_patience = Refusal::OutcomeUnknown;
                self.call.count_attempt();
            }
            // They say that nothing was done now; what an earlier try did is as unknown as before.
            Err(
                Refusal::Overloaded { .. }
                | Refusal::StorageFull
                | Refusal::ShuttingDown
                | Refusal::QueueFull { .. },
            ) if self.when_out_of_patience == Refusal::OutcomeUnknown => {
                return Some(Err(Refusal::OutcomeUnknown));
            }
            answer => return Some(answer),
        }
        self.count_wait();
        None
    }

    /// The next try of a request that waits keeps the turn of this one.
    fn count_wait(&mut self) {
        let Some(wait) = self.wait else { return };
        let left = self.deadline.left();
        let since = self.timeout.saturating_sub(left);
        self.call.has_waited(wait, Span(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
        // The leader had the call for a while: it was no node that cannot be reached.
        if self.left.saturating_sub(left) > PAUSE {
            self.patience = Deadline::after(left.min(LEADERLESS_PATIENCE));
        }
    }
}

/// 128 random bits: no two requests have the same.
pub(super) fn random_id() -> RequestId {
    let id = format!("{:032x}", rand::random::<u128>());
    RequestId::new(&id).expect("32 hexadecimal digits are a request id")
}
