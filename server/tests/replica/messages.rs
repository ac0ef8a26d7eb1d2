//! Messages that no honest peer sends: none makes the process panic, changes the state, or keeps the cluster from serving.
//! One that counts on entries which are not there ends the node in order, as the loss of a disk would.

use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use tollgate_limiter::Limiter;
use tollgate_server::raft::{
    door::PeerEvent,
    machine::Machine,
    members::{Member, Members},
    replica::Event,
};

use crate::{cluster::Cluster, words::*};

const KINDS: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// A stream of numbers that are likely to hurt.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, near: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (self.0 >> 33) % 8 {
            0 => 0,
            1 => 1,
            2 => near,
            3 => near + 1,
            4 => near.saturating_sub(1),
            5 => near + 1_000,
            6 => u64::MAX,
            _ => (self.0 >> 40) % (near + 3),
        }
    }
}

fn malformed(numbers: &mut Numbers, kind: MessageType, to: u64, term: u64, last: u64) -> Message {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to) = (numbers.next(2), if numbers.next(9) == 0 { 9 } else { to });
    message.term = numbers.next(term);
    message.index = numbers.next(last);
    message.log_term = numbers.next(term);
    message.commit = numbers.next(last);
    message.commit_term = numbers.next(term);
    message.reject = numbers.next(2) == 1;
    message.reject_hint = numbers.next(last);
    message.request_snapshot = numbers.next(0);
    message.context = b"garbage".to_vec().into();
    for _ in 0..numbers.next(2).min(3) {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (numbers.next(message.index.min(1 << 40)), numbers.next(term));
        entry.set_entry_type(EntryType::EntryConfChange);
        message.entries.push(entry);
    }
    let mut snapshot = Snapshot::default();
    snapshot.mut_metadata().index = numbers.next(last);
    snapshot.mut_metadata().term = numbers.next(term);
    snapshot.mut_metadata().mut_conf_state().voters = vec![numbers.next(1), numbers.next(1)];
    snapshot.data = b"garbage".to_vec().into();
    message.set_snapshot(snapshot);
    message
}

/// The machines of all nodes, once they are at the same entry.
fn machines(cluster: &mut Cluster) -> Vec<Machine> {
    cluster.converge();
    (1..=3).map(|id| cluster.replica(id).machine().clone()).collect()
}

/// Nothing has become of the machine since, but what time itself does, and the elections that garbage may cause: those
/// write empty entries, and who leads for the first time tells its incarnation.
fn assert_only_older(cluster: &Cluster, before: &Machine, after: &Machine) {
    let expected = only_older(cluster, before);
    assert_eq!(after.limiter().digest(), expected.digest(), "other answers were given");
    assert!(after.limiter().encode() == expected.encode(), "the limits, or what they have counted, differ");
    assert_eq!(nameless(after.members()), nameless(before.members()));
    assert_eq!((after.voters(), after.learners()), (before.voters(), before.learners()));
    assert!(!after.is_joint());
}

/// The limiter of before, as the stamps of the entries since have made it.
fn only_older(cluster: &Cluster, before: &Machine) -> Limiter {
    let mut limiter = before.limiter().clone();
    for carried in cluster.carried_after(before.index()) {
        assert_eq!(carried.commands, 0, "a command that nobody gave is in the log");
        limiter.apply(carried.stamp, &[], &mut Vec::new());
    }
    limiter
}

/// The members, without what tells the lives of their disks apart.
fn nameless(members: &Members) -> Members {
    let forget = |(id, member): (&u64, &Member)| (*id, Member { incarnation: None, ..member.clone() });
    Members { by_id: members.by_id.iter().map(forget).collect(), removed: members.removed.clone() }
}

#[test]
fn garbage_changes_nothing_at_leader_and_followers() {
    for seed in 1..=10 {
        let mut cluster = Cluster::found(seed, 3);
        cluster.ask(create(10));
        // Something that could be lost.
        for request_id in ["kept", "kept, too"] {
            granted(&cluster.ask(acquire(request_id)));
        }
        let before = machines(&mut cluster);
        let mut numbers = Numbers(seed);
        for round in 0..3_000 {
            let to = round % 3 + 1;
            if cluster.ended(to).is_some() {
                // A heartbeat that counts on entries which are not there ends the node, as it should.
                cluster.restart(to);
            }
            let status = cluster.replica(to).status();
            let kind = KINDS[(numbers.next(1 << 30) % 19) as usize];
            let message = malformed(&mut numbers, kind, to, status.term, status.applied_index);
            cluster.inject(to, Event::Peer(PeerEvent::Message(Box::new(message))));
            cluster.run(1);
        }
        cluster.run(3_000);
        (1..=3).filter(|id| cluster.ended(*id).is_some()).collect::<Vec<_>>().into_iter().for_each(|id| {
            cluster.restart(id);
        });
        let after = machines(&mut cluster);
        for (before, after) in before.iter().zip(&after) {
            assert_only_older(&cluster, before, after);
        }
        granted(&cluster.ask(acquire("")));
        cluster.converge();
    }
}
