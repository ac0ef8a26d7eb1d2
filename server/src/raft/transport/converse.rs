//! Raft's messages and the beats, one way. What cannot be sent is dropped: Raft repeats itself.

use bytes::Bytes;
use parking_lot::Mutex;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tollgate_limiter::{Span, WallTime};
use tollgate_proto::peer::v1::{self, Beat, PeerBatch};
use tonic::Streaming;
use tracing::warn;

use crate::{
    clock,
    raft::{
        door::{Door, PeerEvent},
        echoes::{Echoes, Moment},
        members::NodeId,
    },
};

/// The only Raft group so far.
pub const GROUP: u64 = 0;

/// What is queued for a peer.
pub enum Outgoing {
    /// A Raft message.
    Message(Message),
    /// What this node says of itself. Its clocks are read when the batch is made, so that the time spent in the queue
    /// does not count.
    Beat {
        /// An entry that it applied…
        digest_index: u64,
        /// …and its digest up to there.
        digest: u64,
        /// Whether its disk has less room than its reserve.
        disk_is_low: bool,
        /// This process.
        process: u64,
        /// What is repeated to the peer.
        heard: Option<Moment>,
    },
}

/// Puts one thing into a batch, and says how many bytes it takes.
pub fn add(batch: &mut PeerBatch, outgoing: Outgoing) -> usize {
    batch.group_id = GROUP;
    match outgoing {
        Outgoing::Message(message) => match message.write_to_bytes() {
            Ok(bytes) => {
                let length = bytes.len();
                batch.messages.push(Bytes::from(bytes));
                length
            }
            Err(error) => {
                warn!(%error, to = message.to, "a Raft message cannot be encoded; it is dropped");
                0
            }
        },
        Outgoing::Beat { digest_index, digest, disk_is_low, process, heard } => {
            let now = clock::read();
            batch.beat = Some(Beat {
                wall_unix_ns: now.wall.0,
                digest_index,
                digest,
                disk_is_low,
                told_at: Some(to_wire(Moment { process, monotonic: now.monotonic })),
                heard: heard.map(to_wire),
            });
            size_of::<Beat>()
        }
    }
}

/// Hands what a peer sends to the replica, until the stream ends or the peer may not speak any more.
pub async fn receive(
    mut inbound: Streaming<PeerBatch>,
    from: NodeId,
    this: NodeId,
    door: &Door,
    echoes: &Mutex<Echoes>,
    may_speak: impl Fn() -> bool,
) {
    // An error is the end of the stream too; the peer calls again.
    while let Ok(Some(batch)) = inbound.message().await {
        if !may_speak() {
            return;
        }
        if batch.group_id != GROUP {
            warn!(from, group = batch.group_id, "messages of an unknown Raft group are dropped");
            continue;
        }
        deliver(batch, from, this, door, echoes);
    }
}

fn deliver(batch: PeerBatch, from: NodeId, this: NodeId, door: &Door, echoes: &Mutex<Echoes>) {
    for bytes in &batch.messages {
        match decode(bytes, from, this).and_then(streamed) {
            // If the replica's queue is full the message is lost, as on any network.
            Ok(message) => _ = door.deliver(PeerEvent::Message(Box::new(message))),
            Err(malformed) => warn!(from, %malformed, "a Raft message is dropped"),
        }
    }
    if let Some(Beat { wall_unix_ns, digest_index, digest, disk_is_low, told_at, heard }) = batch.beat {
        let wall = WallTime(wall_unix_ns);
        let since = echoes.lock().hear(from, told_at.map(from_wire), heard.map(from_wire));
        door.deliver(PeerEvent::Beat { from, wall, since, digest_index, digest, disk_is_low });
    }
}

fn to_wire(Moment { process, monotonic }: Moment) -> v1::Moment {
    v1::Moment { process, monotonic_ns: monotonic.0 }
}

fn from_wire(v1::Moment { process, monotonic_ns }: v1::Moment) -> Moment {
    Moment { process, monotonic: Span(monotonic_ns) }
}

/// Why a message never reaches the replica. The raft crate panics on some of these.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a message at all.
    #[error("it cannot be decoded: {0}")]
    Undecodable(String),
    /// Not sent by whom it says, or not meant for this node.
    #[error("it says that it goes from node {from} to node {to}")]
    Misdirected {
        /// As it says.
        from: NodeId,
        /// As it says.
        to: NodeId,
    },
    /// Nodes do not send such messages to each other here.
    #[error("its type {0:?} is none that nodes send to each other in this way")]
    UnexpectedType(MessageType),
    /// What nodes send to each other always has a term.
    #[error("it has no term")]
    NoTerm,
    /// Its entries do not follow each other.
    #[error("its entries do not follow each other, or are of a later term than it")]
    DisorderedEntries,
}

/// Decodes a message and checks what can be checked without the replica's state.
pub fn decode(bytes: &[u8], from: NodeId, this: NodeId) -> Result<Message, Malformed> {
    let message = Message::parse_from_bytes(bytes).map_err(|e| Malformed::Undecodable(e.to_string()))?;
    if message.from != from || message.to != this {
        return Err(Malformed::Misdirected { from: message.from, to: message.to });
    }
    if message.term == 0 {
        return Err(Malformed::NoTerm);
    }
    let mut expected = message.index;
    for entry in message.get_entries() {
        expected = expected.checked_add(1).ok_or(Malformed::DisorderedEntries)?;
        if entry.index != expected || entry.term > message.term {
            return Err(Malformed::DisorderedEntries);
        }
    }
    Ok(message)
}

/// Only what followers and leaders send to each other, and no snapshot, which comes in chunks. Proposals, reads and
/// transfers reach the leader as calls; the rest a node says only to itself.
fn streamed(message: Message) -> Result<Message, Malformed> {
    match message.msg_type {
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow => Ok(message),
        other => Err(Malformed::UnexpectedType(other)),
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    fn message(kind: MessageType) -> Message {
        Message { msg_type: kind, from: 2, to: 1, term: 5, index: 7, ..Message::default() }
    }

    fn checked(message: &Message) -> Result<Message, Malformed> {
        decode(&message.write_to_bytes().unwrap(), 2, 1).and_then(streamed)
    }

    fn with_entries(entries: &[(u64, u64)]) -> Message {
        let entry = |&(index, term): &(u64, u64)| Entry { index, term, ..Entry::default() };
        let entries: Vec<Entry> = entries.iter().map(entry).collect();
        Message { entries: entries.into(), ..message(MessageType::MsgAppend) }
    }

    #[test]
    fn what_nodes_send_to_each_other_passes() {
        let append = with_entries(&[(8, 4), (9, 5)]);
        assert_eq!(checked(&append), Ok(append));
        assert!(checked(&message(MessageType::MsgRequestPreVote)).is_ok());
    }

    #[test]
    fn what_only_a_node_says_to_itself_is_dropped() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgPropose,
            MessageType::MsgSnapshot,
            MessageType::MsgUnreachable,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
        ] {
            assert_eq!(checked(&message(kind)), Err(Malformed::UnexpectedType(kind)));
        }
    }

    #[test]
    fn forged_and_broken_messages_are_dropped() {
        let forged = Message { from: 3, ..message(MessageType::MsgHeartbeat) };
        assert_eq!(checked(&forged), Err(Malformed::Misdirected { from: 3, to: 1 }));
        let elsewhere = Message { to: 3, ..message(MessageType::MsgHeartbeat) };
        assert_eq!(checked(&elsewhere), Err(Malformed::Misdirected { from: 2, to: 3 }));
        let termless = Message { term: 0, ..message(MessageType::MsgHeartbeat) };
        assert_eq!(checked(&termless), Err(Malformed::NoTerm));
        for entries in [[(8, 5), (10, 5)], [(9, 5), (10, 5)], [(8, 5), (9, 6)]] {
            assert_eq!(checked(&with_entries(&entries)), Err(Malformed::DisorderedEntries));
        }
        assert!(matches!(decode(b"\xff\xff", 2, 1), Err(Malformed::Undecodable(_))));
    }
}
