//! What the driver asks of the network. The transport implements it over gRPC, the simulator over a seeded queue.

use std::{path::PathBuf, sync::Arc};

use raft::eraftpb::Message;

use super::members::{Members, NodeId};

/// The way out to the other nodes. Never blocks; what cannot be queued is dropped, raft repeats itself.
pub trait Peers: Send + Sync {
    /// Sends a Raft message (never a snapshot) to `message.to`.
    fn send(&self, message: Message);

    /// Sends a snapshot: `message` is the `MsgSnapshot` with empty data, `data` the file that holds it. The transport
    /// reports the result as [`super::door::PeerEvent::SnapshotSent`].
    fn send_snapshot(&self, message: Message, data: PathBuf);

    /// Tells all peers about this node. The wall clock is read by the transport at the moment of sending.
    fn beat(&self, digest_index: u64, digest: u64, disk_is_low: bool);

    /// Who belongs to the cluster now: connect to the new, part with the gone.
    fn update(&self, this: NodeId, members: Arc<Members>);
}
