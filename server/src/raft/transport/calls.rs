//! The follower's side of Forward: client calls that are open at another node, many on one stream.
//!
//! Every call that is handed over ends in exactly one way: it is answered, its connection or its leader is lost
//! (`OutcomeUnknown`), or nobody waits for it any more, and then the other node is told. A grant that arrives after that
//! is given back.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tollgate_limiter::Command;
use tollgate_proto::peer::v1::{
    ForwardBatch, ForwardReply, ForwardedCall, ForwardedOutcome, forwarded_outcome::Result as Outcome,
};
use tonic::{Status, Streaming};
use tracing::warn;

use super::converse::GROUP;
use crate::raft::{
    call::{Call, Refusal, Reply},
    door::OVERLOADED_RETRY_AFTER,
};

/// Calls and cancellations that wait for the stream to one peer; beyond it calls are refused as overload.
pub const HANDED_QUEUED_MAX: usize = 16_384;

/// Calls open at one peer; beyond it they are refused as overload.
pub const OPEN_MAX: usize = 65_536;

/// Of requests that may wait, so many on top: whoever waits must not stand in the way of those who release. The leader holds
/// no more of them either.
pub const PARKED_MAX: usize = 200_000;

type Answered = Result<Reply, Refusal>;

/// Calls that are open.
#[derive(Default)]
struct Waiting {
    by_id: HashMap<u64, Waiter>,
    // How many of them may wait for their turn.
    parked: usize,
}

struct Waiter {
    answer: oneshot::Sender<Answered>,
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

    fn remove(&mut self, id: u64) -> Option<oneshot::Sender<Answered>> {
        let waiter = self.by_id.remove(&id)?;
        self.parked -= usize::from(waiter.may_wait);
        Some(waiter.answer)
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

    /// Hands a call over. Dropping the result before it is ready cancels the call.
    pub fn hand_over(self: Arc<Self>, call: &Call) -> Result<OpenCall, Refusal> {
        let (answer, reply) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        {
            let mut waiting = self.waiting.lock();
            let Some(waiting) = waiting.as_mut() else { return Err(Refusal::NotLeader { leader: None }) };
            let may_wait = call.wait().is_some();
            if !waiting.has_room(may_wait) {
                return Err(Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER });
            }
            waiting.insert(id, Waiter { answer, may_wait });
        }
        if let Err(refused) = self.queue.try_send(Handed::Call { id, call: encode(call) }) {
            self.forget(id);
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => {
                    Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER }
                }
                mpsc::error::TrySendError::Closed(_) => Refusal::NotLeader { leader: None },
            });
        }
        Ok(OpenCall { id, calls: self, reply })
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
            Some(waiter) => waiter.send(answered).err(),
            None => Some(answered),
        };
        if let Some(Ok(reply)) = undelivered {
            self.give_back(&reply);
        }
    }

    fn forget(&self, id: u64) -> Option<oneshot::Sender<Answered>> {
        self.waiting.lock().as_mut()?.remove(id)
    }

    fn give_back(&self, undelivered: &Reply) {
        let Some(permit) = undelivered.permit_to_give_back() else { return };
        let call = Call::from(Command::GiveBack(permit));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // If the queue is full or the stream gone, the permit's lease ends it.
        let _ = self.queue.try_send(Handed::Call { id, call: encode(&call) });
    }
}

fn lose(waiting: Waiting) {
    for waiter in waiting.by_id.into_values() {
        // Whoever does not wait any more need not know.
        let _ = waiter.answer.send(Err(Refusal::OutcomeUnknown));
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

/// A call that is open at another node.
pub struct OpenCall {
    id: u64,
    calls: Arc<OpenCalls>,
    reply: oneshot::Receiver<Answered>,
}

impl Future for OpenCall {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        let reply = Pin::new(&mut self.reply).poll(context);
        reply.map(|answered| answered.unwrap_or(Err(Refusal::OutcomeUnknown)))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.calls.forget(self.id).is_some() {
            // If the queue is full, the reply finds nobody, and a grant is given back then.
            let _ = self.calls.queue.try_send(Handed::Cancel(self.id));
        } else if let Ok(Ok(reply)) = self.reply.try_recv() {
            self.calls.give_back(&reply);
        }
    }
}
