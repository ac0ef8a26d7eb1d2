//! What a message must satisfy before Raft sees it. Raft trusts its peers, and panics where they break the protocol;
//! here, such a message is dropped.

use raft::eraftpb::{EntryType, Message, MessageType};

use super::{super::fatal::Fatal, Replica};

/// Terms and indexes beyond this are not of this world, and arithmetic on smaller ones cannot overflow.
const NUMBER_MAX: u64 = 1 << 60;

type Unfit = &'static str;

impl<C> Replica<C> {
    /// Checks a message from the network. What is unfit is to be dropped; a leader that counts on entries which this node
    /// has lost ends it.
    pub(super) fn admit(&mut self, message: &mut Message) -> Result<Result<(), Unfit>, Fatal> {
        if let Err(unfit) = self.admit_header(message) {
            return Ok(Err(unfit));
        }
        if message.term < self.node.raft.term {
            // Raft looks at nothing but the term.
            message.take_snapshot();
            return Ok(Ok(()));
        }
        Ok(match message.get_msg_type() {
            MessageType::MsgAppend => self.admit_leader(message).and_then(|()| admit_entries(message)),
            MessageType::MsgHeartbeat => {
                let admitted = self.admit_leader(message);
                if admitted.is_ok() {
                    self.check_nothing_was_lost(message)?;
                }
                admitted
            }
            MessageType::MsgSnapshot => {
                self.admit_leader(message).and_then(|()| self.admit_snapshot(message))
            }
            MessageType::MsgTimeoutNow => self.admit_timeout(message),
            MessageType::MsgAppendResponse => self.admit_append_response(message),
            _ => Ok(()),
        })
    }

    fn admit_header(&self, message: &Message) -> Result<(), Unfit> {
        if message.to != self.config.id || message.from == raft::INVALID_ID || message.from == self.config.id
        {
            return Err("its addresses are wrong");
        }
        if self.machine.members().removed.contains(&message.from) {
            return Err("its sender was removed from the cluster");
        }
        let Message { term, index, log_term, commit, commit_term, reject_hint, .. } = message;
        if [term, index, log_term, commit, commit_term, reject_hint].iter().any(|n| **n > NUMBER_MAX) {
            return Err("its numbers are beyond reason");
        }
        match message.get_msg_type() {
            MessageType::MsgAppend
            | MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgSnapshot
            | MessageType::MsgTimeoutNow
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
                if message.term > 0 =>
            {
                Ok(())
            }
            // Proposals and reads are handed to the leader as calls, never by Raft; the rest is local.
            _ => Err("its kind does not come from peers"),
        }
    }

    /// A term has one leader.
    fn admit_leader(&self, message: &Message) -> Result<(), Unfit> {
        let raft = &self.node.raft;
        let is_rival =
            message.term == raft.term && raft.leader_id != raft::INVALID_ID && raft.leader_id != message.from;
        if is_rival { Err("the term has another leader") } else { Ok(()) }
    }

    fn admit_timeout(&self, message: &Message) -> Result<(), Unfit> {
        let raft = &self.node.raft;
        let is_leaders = message.term == raft.term && message.from == raft.leader_id;
        match is_leaders {
            true if self.snapshots.is_installing() => Err("nobody hands over to a node that is behind"),
            true => Ok(()),
            false => Err("only the leader hands over"),
        }
    }

    fn admit_append_response(&self, message: &Message) -> Result<(), Unfit> {
        let is_ahead = !message.reject && message.index > self.node.raft.raft_log.last_index();
        if message.term == self.node.raft.term && is_ahead {
            return Err("it acknowledges what was never sent");
        }
        if message.request_snapshot != raft::INVALID_INDEX {
            return Err("snapshots are not requested here");
        }
        Ok(())
    }

    /// The commit index of a heartbeat never exceeds what this node has acknowledged to that leader.
    fn check_nothing_was_lost(&self, message: &Message) -> Result<(), Fatal> {
        let last = self.node.raft.raft_log.last_index();
        if message.commit > last {
            return Err(Fatal::LostEntries { last, acknowledged: message.commit, leader: message.from });
        }
        Ok(())
    }
}

/// Entries follow one another, and terms never fall.
fn admit_entries(message: &Message) -> Result<(), Unfit> {
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.get_entries() {
        if entry.index != index + 1 || entry.term < term || entry.term > message.term {
            return Err("its entries do not follow one another");
        }
        if entry.get_entry_type() == EntryType::EntryConfChange {
            return Err("it has an entry of a kind that is not used");
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}
