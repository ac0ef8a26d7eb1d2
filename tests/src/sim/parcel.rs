//! What travels between nodes. Unlike what a replica is told, it can be copied: networks repeat.

use raft::eraftpb::Message;
use tollgate_limiter::WallTime;
use tollgate_server::raft::{
    door::PeerEvent,
    echoes::{Echoes, Moment},
    members::NodeId,
};

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
        /// What its monotonic clock shows.
        told_at: Moment,
        /// What it repeats to the receiver.
        heard: Option<Moment>,
    },
}

impl Parcel {
    /// What the transport of the receiver, which has heard so much, makes of it.
    pub fn open(self, echoes: &mut Echoes) -> PeerEvent {
        match self {
            Parcel::Message(message) => PeerEvent::Message(message),
            Parcel::Beat { from, wall, digest_index, digest, disk_is_low, told_at, heard } => {
                let since = echoes.hear(from, Some(told_at), heard);
                PeerEvent::Beat { from, wall, since, digest_index, digest, disk_is_low }
            }
        }
    }
}
