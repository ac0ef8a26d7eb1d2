//! What can happen to a replica, and what it wants done.

use std::sync::Arc;

use raft::eraftpb::Message;
use tollgate_limiter::{Acquire, CallOutcome, CircuitTurn, Command, PermitId, ResourceName, Span};

use crate::storage::WriteBatch;

use super::super::{
    call::{Call, CallNumber, Refusal, Reply},
    door::PeerEvent,
    machine::Machine,
    members::Members,
};
use super::{Planning, packing::named};

/// Everything that can happen to a replica. `C` is who waits for a reply.
#[derive(Debug)]
pub enum Event<C> {
    /// Somebody asks something.
    Call {
        /// Names it in [`Event::Cancelled`].
        number: CallNumber,
        /// What.
        call: Call,
        /// Who.
        caller: C,
    },
    /// Nobody waits any more for the answer to this call.
    Cancelled(CallNumber),
    /// The network says something.
    Peer(PeerEvent),
    /// All writes up to this number are durable.
    Persisted(u64),
    /// The snapshot that ends at this entry is on the disk.
    SnapshotSaved(u64),
    /// A grant was answered, and nobody was left to receive it.
    Undelivered(PermitId),
    /// How much room the disk has.
    DiskSpace {
        /// Too little to go on granting.
        low: bool,
    },
    /// [`super::TICK`] has passed.
    Tick,
    /// Hand over what there is, and end.
    ShutDown,
}

/// Everything that a replica wants done, in order.
#[derive(Debug)]
pub enum Effect<C> {
    /// A message to `message.to`.
    Send(Message),
    /// A snapshot to `message.to`: the message without data, and the snapshot file whose bytes it lacks.
    SendSnapshot {
        /// A `MsgSnapshot`.
        message: Message,
        /// The last entry that the file contains.
        index: u64,
    },
    /// Make this durable, after what came before it, and report it as [`Event::Persisted`].
    Write(WriteBatch),
    /// Encode and store this machine in the background, and report it as [`Event::SnapshotSaved`].
    TakeSnapshot(Box<Machine>),
    /// Make this plan in the background, and answer with it.
    Plan {
        /// What of.
        planning: Box<Planning>,
        /// Whom to answer.
        caller: C,
    },
    /// The reply to a call.
    Reply {
        /// To whom.
        caller: C,
        /// What.
        result: Result<Reply, Refusal>,
        /// What was asked, for the metrics.
        about: About,
    },
    /// Somebody who waited for its turn gave up.
    GaveUp {
        /// After it had waited for so long.
        after: Span,
    },
    /// An entry of this leader was applied.
    Committed {
        /// The commands in it.
        commands: u64,
        /// Since its proposal.
        after: Span,
    },
    /// An entry removed a resource.
    ResourceGone(ResourceName),
    /// A snapshot of the leader took the place of the state.
    StateReplaced,
    /// An entry opened or closed a circuit while this node led.
    CircuitTurned(Box<CircuitTurn>),
    /// Tell the peers about this node.
    Beat {
        /// An entry applied.
        index: u64,
        /// The digest at it.
        digest: u64,
        /// Whether this node's disk has less room than its reserve.
        disk_is_low: bool,
    },
    /// The members have changed.
    Members(Arc<Members>),
    /// The replica has ended, as it was asked to.
    Stopped,
}

/// What a call was about, as far as metrics tell calls apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A permit of this resource, or of one of these instead.
    Acquire(Arc<Acquire>),
    /// The end of a permit.
    Release(CallOutcome),
    /// Anything else.
    Other,
}

impl About {
    /// The resource that an answer is about: 0 is the request's own, then its alternatives.
    pub fn resource(&self, alternative: u32) -> Option<&ResourceName> {
        let About::Acquire(acquire) = self else { return None };
        named(acquire).nth(usize::try_from(alternative).ok()?)
    }

    /// What this command is about.
    pub(super) fn of(command: &Command) -> About {
        match command {
            Command::Acquire(acquire) | Command::AcquireFrom { acquire, .. } => {
                About::Acquire(acquire.clone())
            }
            Command::Release(release) => About::Release(release.outcome),
            _ => About::Other,
        }
    }
}
