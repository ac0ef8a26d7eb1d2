//! Where async stops: a bounded queue of calls into the replica, their replies out of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use raft::eraftpb::Message;
use tokio::sync::{mpsc, watch};
use tollgate_limiter::{Command, PermitId, Span, WallTime};

use super::{
    call::{Call, CallNumber, Refusal},
    members::{Members, NodeId},
    replies::{Answered, Caller, Replies, Respondent, replies},
};

/// Calls waiting for the replica; beyond it they are refused as overload.
pub const CALLS_QUEUED_MAX: usize = 16_384;

/// Peer events waiting for the replica; beyond it messages are dropped, raft resends.
pub const PEER_EVENTS_QUEUED_MAX: usize = 4_096;

/// How long a refused caller is told to wait.
pub const OVERLOADED_RETRY_AFTER: Span = Span::from_millis(50);

/// A call and who waits for its reply. When nobody does any more (the client cancelled, or its deadline passed) nobody is
/// left to receive a grant.
pub struct Ticket {
    /// Names it in [`Inside::cancelled`].
    pub number: CallNumber,
    /// What is asked.
    pub call: Call,
    /// Where the reply goes.
    pub reply: Caller,
}

/// What the network tells the replica.
#[derive(Debug)]
pub enum PeerEvent {
    /// A decoded Raft message, its sender checked by the transport.
    Message(Box<Message>),
    /// What a peer says of itself now and then.
    Beat {
        /// Who.
        from: NodeId,
        /// Its wall clock.
        wall: WallTime,
        /// What this node's monotonic clock showed at a moment before that; `None` if nothing shows it.
        since: Option<Span>,
        /// An entry that it applied…
        digest_index: u64,
        /// …and its digest up to there.
        digest: u64,
        /// Whether its disk has less room than its reserve.
        disk_is_low: bool,
    },
    /// A peer cannot be reached: raft probes it instead of streaming.
    Unreachable(NodeId),
    /// The snapshot to this peer was delivered, or was not.
    SnapshotSent {
        /// Whom.
        to: NodeId,
        /// Whether it arrived whole.
        delivered: bool,
    },
}

/// What the rest of the node may know of the replica, published after each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Who leads, if known. This node only once it has applied the no-op of its own term.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// On a quorum, as far as this node knows.
    pub commit_index: u64,
    /// Applied here.
    pub applied_index: u64,
    /// Whether this node's disk has less room than its reserve: it leads only while no other voter has room, and then
    /// refuses whatever has to be written.
    pub disk_is_low: bool,
    /// Who belongs to the cluster.
    pub members: Arc<Members>,
}

/// The way in.
#[derive(Clone)]
pub struct Door {
    counter: Arc<Counter>,
    peer_events: mpsc::Sender<PeerEvent>,
    status: watch::Receiver<Status>,
}

/// Where calls are handed in, and given up.
struct Counter {
    calls: mpsc::Sender<Ticket>,
    numbers: AtomicU64,
    cancelled: mpsc::UnboundedSender<CallNumber>,
}

/// The driver's side of the door.
pub struct Inside {
    /// What is asked.
    pub calls: mpsc::Receiver<Ticket>,
    /// Calls that may wait, and that nobody waits for any more. Without a bound of its own, for no call is cancelled twice.
    pub cancelled: mpsc::UnboundedReceiver<CallNumber>,
    /// What the network says.
    pub peer_events: mpsc::Receiver<PeerEvent>,
    /// What the others may know.
    pub status: watch::Sender<Status>,
}

/// A new door, and its inside for the driver.
pub fn door() -> (Door, Inside) {
    let (calls, calls_in) = mpsc::channel(CALLS_QUEUED_MAX);
    let (cancelled, cancelled_in) = mpsc::unbounded_channel();
    let (peer_events, peer_events_in) = mpsc::channel(PEER_EVENTS_QUEUED_MAX);
    let (status_out, status) = watch::channel(Status::default());
    let counter = Arc::new(Counter { calls, numbers: AtomicU64::new(0), cancelled });
    (
        Door { counter, peer_events, status },
        Inside { calls: calls_in, cancelled: cancelled_in, peer_events: peer_events_in, status: status_out },
    )
}

impl Door {
    /// Asks this node's replica, in this order. Only the leader's replica answers. Whoever drops the replies cancels the
    /// calls: they leave the queue at once, and a grant that nobody is left to receive is given back.
    pub fn ask(&self, calls: Vec<Call>) -> Replies {
        let room = match self.counter.calls.try_reserve_many(calls.len()) {
            Ok(room) => room,
            Err(mpsc::error::TrySendError::Full(())) => {
                let overloaded = Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER };
                return Replies::refused(calls.len(), &overloaded);
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Replies::refused(calls.len(), &Refusal::ShuttingDown);
            }
        };
        let first = self.counter.numbers.fetch_add(calls.len() as u64, Ordering::Relaxed);
        // What is decided at once is soon over: its answer finds nobody.
        let may_wait = calls.iter().map(|call| call.wait().is_some());
        let (replies, callers) = replies(self.counter.clone(), first, may_wait);
        for (place, ((number, call), reply)) in room.zip((first..).zip(calls).zip(callers)) {
            place.send(Ticket { number, call, reply });
        }
        replies
    }

    /// Asks this node's replica at once; the future waits for the reply. Otherwise as [`Door::ask`].
    pub fn call(&self, call: Call) -> impl Future<Output = Answered> + Send + use<> {
        self.ask(vec![call]).only()
    }

    /// Hands the replica what the network said. Drops it when the queue is full: raft repeats itself.
    pub fn deliver(&self, event: PeerEvent) -> bool {
        self.peer_events.try_send(event).is_ok()
    }

    /// Hands the replica what nobody repeats: waits while the queue is full.
    pub async fn report(&self, event: PeerEvent) {
        // If nobody listens, the replica has ended.
        let _ = self.peer_events.send(event).await;
    }

    /// What the replica is like now, and a way to wait for changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

impl Respondent for Counter {
    fn cancel(&self, number: CallNumber) {
        // If nobody listens, the replica has ended.
        let _ = self.cancelled.send(number);
    }

    fn give_back(&self, permit: PermitId) {
        let call = Call::from(Command::GiveBack(permit));
        // Nobody waits for the answer, nor cancels it. If the queue is full, the permit's lease ends it.
        let _ = self.calls.try_send(Ticket { number: CallNumber::MAX, call, reply: Caller::nobody() });
    }
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::PermitId;

    use super::*;
    use crate::raft::call::{Query, Wait};

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_messages_but_delays_reports() {
        let (door, mut inside) = door();
        while door.deliver(PeerEvent::Unreachable(2)) {}
        let report = tokio::spawn(async move {
            door.report(PeerEvent::SnapshotSent { to: 2, delivered: false }).await;
        });
        let mut last = None;
        while let Some(event) = inside.peer_events.recv().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(PeerEvent::SnapshotSent { to: 2, delivered: false })), "{last:?}");
        report.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_waits_and_is_given_up_is_told_of_once() {
        let (door, mut inside) = door();
        // What is decided at once is not told of: its answer finds nobody.
        let decided = tokio::spawn({
            let door = door.clone();
            async move { door.call(Call::Query(Query::Cluster)).await }
        });
        let ticket = inside.calls.recv().await.unwrap();
        decided.abort();
        assert!(decided.await.unwrap_err().is_cancelled());
        assert!(ticket.reply.is_closed());

        let wait = Some(Wait { max_wait: Span::from_secs(1), waited_for: Span::ZERO });
        let waiting = |door: Door| async move {
            let command = Command::GiveBack(PermitId(1));
            door.call(Call::Command { command, attempt: 0, wait }).await
        };
        let answered = tokio::spawn(waiting(door.clone()));
        let ticket = inside.calls.recv().await.unwrap();
        assert!(ticket.reply.send(Err(Refusal::NoLeader)).is_none());
        assert_eq!(answered.await.unwrap(), Err(Refusal::NoLeader));
        let given_up = tokio::spawn(waiting(door));
        let ticket = inside.calls.recv().await.unwrap();
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        assert_eq!(inside.cancelled.recv().await, Some(ticket.number));
        assert!(inside.cancelled.try_recv().is_err());
    }
}
