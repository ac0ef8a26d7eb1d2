//! The follower's side of Forward: client calls that are open at another node, many on one stream.
//!
//! Every call that is handed over ends in exactly one way: it is answered, its connection or its leader is lost
//! (`OutcomeUnknown`), or nobody waits for it any more, and then the other node is told. A grant that arrives after that
//! is given back.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tollgate_limiter::{Command, PermitId};
use tollgate_proto::peer::v1::{
    ForwardBatch, ForwardReply, ForwardedCall, ForwardedOutcome, forwarded_outcome::Result as Outcome,
};
use tonic::{Status, Streaming};
use tracing::warn;

use super::converse::GROUP;
use crate::raft::{
    call::{Call, CallNumber, Refusal},
    door::OVERLOADED_RETRY_AFTER,
    replies::{Answered, Caller, Replies, Respondent, replies},
};

/// Calls and cancellations that wait for the stream to one peer; beyond it calls are refused as overload.
pub const HANDED_QUEUED_MAX: usize = 16_384;

/// Calls open at one peer; beyond it they are refused as overload.
pub const OPEN_MAX: usize = 65_536;

/// Of requests that may wait, so many on top: whoever waits must not stand in the way of those who release. The leader holds
/// no more of them either.
pub const PARKED_MAX: usize = 200_000;

const OVERLOADED: Refusal = Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER };

/// Calls that are open.
#[derive(Default)]
struct Waiting {
    by_id: HashMap<u64, Waiter>,
    // How many of them may wait for their turn.
    parked: usize,
}

struct Waiter {
    caller: Caller,
    may_wait: bool,
}

impl Waiting {
    fn has_room(&self, may_wait: bool) -> bool {
        match may_wait {
            true => self.parked < PARKED_MAX,
            false => self.by_id.len() - self.parked < OPEN_MAX,
        }
    }

    fn insert(&mut self, id: u64, waiter: Waiter) {
        self.parked += usize::from(waiter.may_wait);
        self.by_id.insert(id, waiter);
    }

    fn remove(&mut self, id: u64) -> Option<Caller> {
        let waiter = self.by_id.remove(&id)?;
        self.parked -= usize::from(waiter.may_wait);
        Some(waiter.caller)
    }
}

/// What is queued for the leader.
pub enum Handed {
    /// A call.
    Call {
        /// Names it in the reply.
        id: u64,
        /// Encoded.
        call: Bytes,
    },
    /// Nobody waits for this call any more.
    Cancel(u64),
}

/// Puts one thing into a batch, and says how many bytes it takes.
pub fn add(batch: &mut ForwardBatch, handed: Handed) -> usize {
    batch.group_id = GROUP;
    match handed {
        Handed::Call { id, call } => {
            let length = call.len();
            batch.calls.push(ForwardedCall { id, call });
            length
        }
        Handed::Cancel(id) => {
            batch.cancelled.push(id);
            size_of::<u64>()
        }
    }
}

/// The calls that are open on one stream.
pub struct OpenCalls {
    queue: mpsc::Sender<Handed>,
    next_id: AtomicU64,
    // `None` once the stream is gone: whoever comes later must not wait for ever.
    waiting: Mutex<Option<Waiting>>,
}

impl OpenCalls {
    /// None yet. What is handed over goes to `queue`.
    pub fn new(queue: mpsc::Sender<Handed>) -> OpenCalls {
        OpenCalls { queue, next_id: AtomicU64::new(1), waiting: Mutex::new(Some(Waiting::default())) }
    }

    /// Hands calls over, in this order. Dropping the replies cancels the calls.
    pub fn hand_over(self: Arc<Self>, calls: Vec<Call>) -> Replies {
        let room = match self.queue.try_reserve_many(calls.len()) {
            Ok(room) => room,
            Err(mpsc::error::TrySendError::Full(())) => return Replies::refused(calls.len(), &OVERLOADED),
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Replies::refused(calls.len(), &Refusal::NotLeader { leader: None });
            }
        };
        let first = self.next_id.fetch_add(calls.len() as u64, Ordering::Relaxed);
        let (replies, callers) = replies(self.clone(), first, calls.iter().map(|_| true));
        let mut refused = Vec::new();
        for (place, ((id, call), caller)) in room.zip((first..).zip(&calls).zip(callers)) {
            match self.expect(id, Waiter { caller, may_wait: call.wait().is_some() }) {
                Ok(()) => place.send(Handed::Call { id, call: encode(call) }),
                Err(refusal) => refused.push(refusal),
            }
        }
        for (caller, refusal) in refused {
            // Its replies are here.
            let _ = caller.send(Err(refusal));
        }
        replies
    }

    fn expect(&self, id: u64, waiter: Waiter) -> Result<(), (Caller, Refusal)> {
        match self.waiting.lock().as_mut() {
            None => Err((waiter.caller, Refusal::NotLeader { leader: None })),
            Some(waiting) if !waiting.has_room(waiter.may_wait) => Err((waiter.caller, OVERLOADED)),
            Some(waiting) => {
                waiting.insert(id, waiter);
                Ok(())
            }
        }
    }

    /// Answers calls as the replies arrive, until the stream ends.
    pub async fn receive(&self, mut replies: Streaming<ForwardReply>) -> Option<Status> {
        loop {
            match replies.message().await {
                Ok(Some(batch)) => batch.outcomes.into_iter().for_each(|outcome| self.answer(outcome)),
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// The peer does not lead any more: what it made of the open calls will not be known.
    pub fn lose(&self) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            lose(mem::take(waiting));
        }
    }

    /// The stream is gone: as [`OpenCalls::lose`], and nothing can be handed over any more.
    pub fn close(&self) {
        if let Some(waiting) = self.waiting.lock().take() {
            lose(waiting);
        }
    }

    fn answer(&self, outcome: ForwardedOutcome) {
        let answered = decode(&outcome);
        let undelivered = match self.forget(outcome.id) {
            Some(caller) => caller.send(answered),
            None => Some(answered),
        };
        if let Some(Ok(reply)) = undelivered
            && let Some(permit) = reply.permit_to_give_back()
        {
            self.give_back(permit);
        }
    }

    fn forget(&self, id: u64) -> Option<Caller> {
        self.waiting.lock().as_mut()?.remove(id)
    }
}

impl Respondent for OpenCalls {
    fn cancel(&self, id: CallNumber) {
        if self.forget(id).is_some() {
            // If the queue is full, the reply finds nobody, and a grant is given back then.
            let _ = self.queue.try_send(Handed::Cancel(id));
        }
    }

    fn give_back(&self, permit: PermitId) {
        let call = Call::from(Command::GiveBack(permit));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // If the queue is full or the stream gone, the permit's lease ends it.
        let _ = self.queue.try_send(Handed::Call { id, call: encode(&call) });
    }
}

fn lose(waiting: Waiting) {
    for waiter in waiting.by_id.into_values() {
        // Whoever does not wait any more need not know.
        let _ = waiter.caller.send(Err(Refusal::OutcomeUnknown));
    }
}

fn encode(call: &Call) -> Bytes {
    minicbor::to_vec(call).expect("encoding into memory cannot fail").into()
}

fn decode(outcome: &ForwardedOutcome) -> Answered {
    let decoded = match &outcome.result {
        Some(Outcome::Reply(bytes)) => minicbor::decode(bytes).map(Ok),
        Some(Outcome::Refusal(bytes)) => minicbor::decode(bytes).map(Err),
        None => Err(minicbor::decode::Error::message("there is none")),
    };
    decoded.unwrap_or_else(|error| {
        warn!(%error, "a reply of the leader cannot be understood");
        Err(Refusal::OutcomeUnknown)
    })
}
