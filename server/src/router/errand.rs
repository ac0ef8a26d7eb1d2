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
    // An earlier one was in vain.
    has_tried: bool,
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
        Errand {
            call,
            deadline,
            patience,
            hint: None,
            when_out_of_patience,
            timeout,
            wait,
            left: timeout,
            has_tried: false,
        }
    }

    /// A try begins. It keeps the turn of the first one: what passed since then counts as waited, and so does the time until there
    /// was a leader to ask. Counted any earlier, it would be short by what each node takes to learn who leads, and those who wait
    /// elsewhere would overtake.
    pub fn set_out(&mut self) {
        self.hint = None;
        self.left = self.deadline.left();
        let since = self.timeout.saturating_sub(self.left);
        if let Some(wait) = self.wait
            && (self.has_tried || since > PAUSE)
        {
            self.call.has_waited(wait, Span(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)));
        }
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
        self.has_tried = true;
        self.renew_patience();
        None
    }

    /// A leader that had a request that waits for a while was no node that cannot be reached.
    fn renew_patience(&mut self) {
        let left = self.deadline.left();
        if self.wait.is_some() && self.left.saturating_sub(left) > PAUSE {
            self.patience = Deadline::after(left.min(LEADERLESS_PATIENCE));
        }
    }
}

/// 128 random bits: no two requests have the same.
pub(super) fn random_id() -> RequestId {
    let id = format!("{:032x}", rand::random::<u128>());
    RequestId::new(&id).expect("32 hexadecimal digits are a request id")
}
