//! What travels between nodes. Unlike what a replica is told, it can be copied: networks repeat.

use raft::eraftpb::Message;
use tollgate_limiter::WallTime;
use tollgate_server::raft::{door::PeerEvent, members::NodeId};

/// What one node sends another.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// A message of Raft's, with the snapshot's bytes where it carries one.
    Message(Box<Message>),
    /// What a node tells of itself now and then.
    Beat {
        /// Who.
        from: NodeId,
        /// Its wall clock.
        wall: WallTime,
        /// An entry that it applied…
        digest_index: u64,
        /// …and the digest there.
        digest: u64,
        /// Whether its disk has too little room.
        disk_is_low: bool,
    },
}

impl Parcel {
    /// What the receiver's transport makes of it.
    pub fn open(self) -> PeerEvent {
        match self {
            Parcel::Message(message) => PeerEvent::Message(message),
            Parcel::Beat { from, wall, digest_index, digest, disk_is_low } => {
                PeerEvent::Beat { from, wall, digest_index, digest, disk_is_low }
            }
        }
    }
}
