//! Snapshots: taken here so that the log can be cut, or received because the leader's log was.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::{
    SnapshotStatus,
    eraftpb::{ConfState, Message},
};

use crate::{
    clock::Reading,
    storage::{Mark, snapshot_file},
};

use super::{
    super::{cluster_time::Stamped, fatal::Fatal, machine::Machine, members::NodeId},
    Effect, Replica,
};

/// Of the entries that a snapshot contains, this part of the log's bound is kept, for followers that are a little behind.
const TAIL_DIVISOR: u64 = 4;

/// So many times as long as it was to become, the log waits for its snapshot.
const LATE_FACTOR: u64 = 4;

/// Ticks after which a snapshot counts as lost on its way.
const SENDING_TICKS_MAX: u64 = 600;

/// Snapshots under way.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Being stored in the background: its last entry, and the configuration there.
    taking: Option<(u64, ConfState)>,
    /// Received and checked; Raft decides whether it is needed.
    incoming: Option<Incoming>,
    /// Installed by this write, which is not durable yet: up to this entry.
    installing: Option<(u64, u64)>,
    /// On their way to these followers since these ticks.
    sending: BTreeMap<NodeId, u64>,
}

struct Incoming {
    machine: Machine,
    sealed: Bytes,
}

impl Snapshots {
    /// Whether a snapshot replaced the state, and is not durable yet.
    pub fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// The snapshot that has become durable with this write.
    pub fn installed(&mut self, number: u64) -> Option<u64> {
        self.installing.take_if(|(write, _)| *write <= number).map(|(_, index)| index)
    }
}

impl<C> Replica<C> {
    pub(super) fn snapshot_is_sent(&mut self, to: NodeId) {
        self.snapshots.sending.insert(to, self.ticks);
    }

    /// Raft sends a follower nothing else until it hears how the snapshot fared. Should that word be lost, the snapshot
    /// counts as lost, too.
    pub(super) fn give_up_lost_snapshots(&mut self) {
        let (ticks, node) = (self.ticks, &mut self.node);
        self.snapshots.sending.retain(|to, since| {
            let is_lost = ticks - *since >= SENDING_TICKS_MAX;
            if is_lost {
                // Does nothing to a follower that has long gone on.
                node.report_snapshot(*to, SnapshotStatus::Failure);
            }
            !is_lost
        });
    }

    /// Whether the log grows faster than a snapshot is written.
    pub fn snapshot_is_late(&self) -> bool {
        self.node.store().bytes_since_snapshot() >= LATE_FACTOR * self.config.snapshot_log_bytes
    }

    pub(super) fn take_snapshot_if_due(&mut self) {
        let log = self.node.store();
        // A node that joined after the last snapshot cannot start from it.
        let is_wanted = || {
            let mut members = self.machine.members().by_id.keys();
            self.leadership.is_some() && members.any(|id| !log.snapshot_has(*id))
        };
        let is_due = (log.bytes_since_snapshot() >= self.config.snapshot_log_bytes || is_wanted())
            && self.machine.index() > log.mark().snapshot_index;
        if is_due && self.snapshots.taking.is_none() && self.snapshots.installing.is_none() {
            self.snapshots.taking = Some((self.machine.index(), self.machine.conf_state()));
            self.effects.push(Effect::TakeSnapshot(Box::new(self.machine.clone())));
        }
    }

    /// The snapshot is on the disk: the log before it, but for a tail, is not needed any more.
    pub(super) fn snapshot_saved(&mut self, index: u64) {
        if let Some((_, conf_state)) = self.snapshots.taking.take_if(|(taken, _)| *taken == index) {
            let tail_bytes = self.config.snapshot_log_bytes / TAIL_DIVISOR;
            self.writes.compact = self.node.mut_store().compact(index, conf_state, tail_bytes);
        }
    }

    /// Checks the snapshot in a message, before Raft commits itself to it. Its data stays here.
    pub(super) fn admit_snapshot(&mut self, message: &mut Message) -> Result<(), &'static str> {
        let snapshot = message.mut_snapshot();
        let sealed = snapshot.take_data();
        let metadata = snapshot.get_metadata();
        if metadata.index < self.node.raft.raft_log.committed {
            // Raft ignores it, and tells the leader how far this node is.
            return if metadata.index > 0 { Ok(()) } else { Err("its snapshot is empty") };
        }
        if self.node.snap().is_some() {
            return Err("another snapshot is being installed");
        }
        let machine = snapshot_file::open(&sealed).and_then(Machine::decode).map_err(|reason| {
            tracing::warn!("a snapshot cannot be understood: {reason}");
            "its snapshot cannot be understood"
        })?;
        let is_described = (machine.index(), machine.term()) == (metadata.index, metadata.term)
            && raft_state_eq(&machine.conf_state(), metadata.get_conf_state());
        if !is_described || metadata.term > message.term || machine.voters().is_empty() {
            return Err("its snapshot is not what it says");
        }
        if !machine.has_node(self.config.id) {
            return Err("this node is no member in its snapshot");
        }
        self.snapshots.incoming = Some(Incoming { machine, sealed });
        Ok(())
    }

    /// Raft did not need the snapshot after all.
    pub(super) fn forget_unused_snapshot(&mut self) {
        if self.node.snap().is_none() {
            self.snapshots.incoming = None;
        }
    }

    /// Replaces the state by the snapshot that Raft has accepted. Returns what the write of that number makes durable.
    pub(super) fn install_snapshot(&mut self, write: u64, now: Reading) -> Result<(Mark, Bytes), Fatal> {
        let Incoming { machine, sealed } =
            self.snapshots.incoming.take().expect("Raft accepts only a snapshot that was admitted");
        let (index, mark) = (machine.index(), Mark::at(machine.index(), machine.term()));
        self.node.mut_store().install(mark, machine.conf_state());
        self.digests.restart(index, machine.digest())?;
        self.effects.push(Effect::Members(machine.members().clone()));
        self.effects.push(Effect::StateReplaced);
        self.clock.follow(Stamped {
            state: machine.limiter().now(),
            term: None,
            before: now.monotonic,
            is_present: false,
        });
        self.machine = machine;
        self.writes.compact = None;
        self.snapshots.taking = None;
        self.snapshots.installing = Some((write, index));
        Ok((mark, sealed))
    }
}

fn raft_state_eq(ours: &ConfState, theirs: &ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let parts = |state: &ConfState| {
        let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave, .. } = state;
        ([voters, learners, voters_outgoing, learners_next].map(|ids| sorted(ids)), *auto_leave)
    };
    parts(ours) == parts(theirs)
}
