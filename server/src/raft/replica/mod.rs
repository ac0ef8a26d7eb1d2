//! One node's part of the Raft group: Raft, the state machine, and who waits for what. Events in, effects out.
//!
//! The replica is synchronous and reads no clock: the driver calls it on a real node, the simulator on a seeded one. An
//! event is handled at once; [`Replica::flush`] then packs what was asked into one log entry, and returns what is to be
//! done; [`Replica::settle`] applies what was committed, and returns what comes of it. One file a concern:
//!
//! * [`leadership`]: what only the leader has, and how it proposes.
//! * [`packing`]: what goes into the next entry.
//! * [`waiting`]: requests that wait for their turn; [`waiters`] are those who do.
//! * [`ready`]: what Raft hands out. Messages, writes, entries to apply; at which moment each may leave.
//! * [`apply`]: committed entries into the machine, its answers to those who wait.
//! * [`census`]: who waits, for people.
//! * [`reads`]: queries, answered once a quorum has confirmed that this node leads.
//! * [`membership`]: members come as learners, vote once they have caught up, and go.
//! * [`handover`]: leadership given away on purpose.
//! * [`snapshots`]: taken here, or received from the leader.
//! * [`admit`]: what a message must satisfy before Raft sees it.
//! * [`view`]: what others may know.
//! * [`witness`]: what a simulation may see of the entries that are applied.
//!
//! **Invariant:** a definite refusal ([`Refusal::NotLeader`] and the like) is given only for what cannot take effect.
//! **Invariant:** a leader answers nothing before it has applied the first entry of its own term.

mod admit;
mod apply;
mod arrivals;
mod census;
mod event;
mod handover;
mod leadership;
mod membership;
mod packing;
mod planning;
mod reads;
mod ready;
mod snapshots;
mod view;
mod waiters;
mod waiting;
mod witness;

use std::collections::BTreeMap;

use raft::{
    RawNode, SnapshotStatus, StateRole,
    eraftpb::{Entry as RaftEntry, Message},
};
use tollgate_limiter::{Answer, Span, Stamp};

use crate::{
    clock::Reading,
    storage::{Recovered, WriteBatch, snapshot_file},
};

use self::{
    arrivals::Arrivals, handover::Handover, leadership::Leadership, ready::Writes, snapshots::Snapshots,
};
pub use self::{
    event::{About, Effect, Event},
    planning::Planning,
    witness::{Applied, Witness},
};
use super::{
    call::{Refusal, Reply},
    cluster_time::ClusterClock,
    digests::Digests,
    door::PeerEvent,
    fatal::Fatal,
    log::Log,
    machine::{FOUNDING_INDEX, FOUNDING_TERM, Machine},
    members::{Incarnation, Members, NodeId},
};

/// How long a tick is, unless the election timeout is configured.
pub const TICK: Span = Span::from_millis(50);

/// Ticks without a leader before a node stands for election: from here to twice as many, at random.
pub const ELECTION_TICKS: usize = 10;

/// Ticks between two heartbeats of the leader.
const HEARTBEAT_TICKS: usize = 2;

/// Ticks between two beats: what nodes tell of themselves.
const BEAT_TICKS: u64 = 4;

/// Ticks between the removal of this node and its end.
const FAREWELL_TICKS: u64 = 10;

/// Entries in one message, in bytes.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Messages on their way to one follower; beyond it the leader waits for an answer.
const MESSAGES_IN_FLIGHT_MAX: usize = 128;

/// Bytes that were proposed and are not committed; beyond it proposals are refused as overload. The leader has their commands as well, as
/// values, which take several times as much.
const UNCOMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Committed entries that Raft hands out in one piece, in bytes. All pieces that there are go in one step.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// What a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// This node.
    pub id: NodeId,
    /// Its data directory's.
    pub incarnation: Incarnation,
    /// Bytes of log after which a snapshot is taken and the log is cut.
    pub snapshot_log_bytes: u64,
    /// With a seed, election timeouts are a function of it, the node and the term; otherwise they are random.
    pub seed: Option<u64>,
}

/// What is known of a peer by what it says.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// When it last said anything.
    tick: u64,
    /// Whether its disk had room at its last beat; before the first, that is not known, and not assumed.
    has_room: bool,
}

/// One node's part of the group.
pub struct Replica<C> {
    config: ReplicaConfig,
    node: RawNode<Log>,
    machine: Machine,
    clock: ClusterClock,
    digests: Digests,
    leadership: Option<Leadership<C>>,
    handover: Option<Handover<C>>,
    writes: Writes,
    // To be applied.
    committed: Vec<RaftEntry>,
    snapshots: Snapshots,
    ticks: u64,
    heard: BTreeMap<NodeId, Heard>,
    // Up to here, entries were in the log before this process began, or were committed before they came here: applying
    // them says nothing about the present.
    last_of_the_past: u64,
    arrivals: Arrivals,
    disk_is_low: bool,
    // The tick before which leadership is not handed over once more because the disk is low.
    next_relief: u64,
    is_shutting_down: bool,
    // The tick at which the configuration lost this node.
    removed_at: Option<u64>,
    // Kept to be used again.
    answers: Vec<Answer>,
    effects: Vec<Effect<C>>,
    witness: Option<Witness>,
}

impl<C> Replica<C> {
    /// The replica of a node that found `recovered` on its disk.
    pub fn new(
        config: ReplicaConfig,
        recovered: Recovered,
        logger: &slog::Logger,
    ) -> Result<Replica<C>, Fatal> {
        let machine = match recovered.mark.snapshot_index {
            0 => Machine::default(),
            index => read_snapshot(index, &recovered.snapshot)?,
        };
        let log = Log::new(recovered, machine.conf_state()).map_err(Fatal::BrokenLog)?;
        let last_of_the_past = log.last();
        let node = RawNode::new(&raft_config(config.id, machine.index()), log, logger)?;
        let mut digests = Digests::default();
        digests.restart(machine.index(), machine.digest())?;
        let mut replica = Replica {
            clock: ClusterClock::new(config.id),
            effects: vec![Effect::Members(machine.members().clone())],
            config,
            node,
            machine,
            digests,
            leadership: None,
            handover: None,
            writes: Writes::default(),
            committed: Vec::new(),
            snapshots: Snapshots::default(),
            ticks: 0,
            heard: BTreeMap::new(),
            last_of_the_past,
            arrivals: Arrivals::default(),
            disk_is_low: false,
            next_relief: 0,
            is_shutting_down: false,
            removed_at: None,
            answers: Vec::new(),
            witness: None,
        };
        replica.fix_election_timeout();
        Ok(replica)
    }

    /// Something happened. `now` is what this node's clocks show.
    pub fn handle(&mut self, event: Event<C>, now: Reading) -> Result<(), Fatal> {
        debug_assert!(self.committed.is_empty(), "what was put aside is settled first");
        match event {
            Event::Call { number, call, caller } => self.ask(number, call, caller, now),
            Event::Cancelled(number) => self.cancel(number, now),
            Event::Peer(event) => self.hear(event, now)?,
            Event::Persisted(number) => self.persisted(number),
            Event::SnapshotSaved(index) => self.snapshot_saved(index),
            Event::Undelivered(permit) => self.give_back(permit),
            Event::DiskSpace { low } => self.see_disk(low),
            Event::Tick => self.tick(now)?,
            Event::ShutDown => self.shut_down(),
        }
        self.follow_leadership(now);
        Ok(())
    }

    /// Proposes what was asked, and returns what is to be done first: what is sent and written. The others and the disk work on it
    /// while this node applies what was committed: [`Replica::settle`] is to be called next.
    pub fn flush(&mut self, now: Reading) -> Result<Vec<Effect<C>>, Fatal> {
        debug_assert!(self.committed.is_empty(), "what was put aside is settled first");
        self.propose(now);
        self.read();
        self.advance_handover();
        self.drain_ready(now)?;
        Ok(std::mem::take(&mut self.effects))
    }

    /// The second half of [`Replica::flush`]: applies what was committed, and returns what comes of it, replies above all.
    pub fn settle(&mut self, now: Reading) -> Result<Vec<Effect<C>>, Fatal> {
        while self.apply_committed(now)? {
            // What was applied may have changed the configuration.
            self.drain_ready(now)?;
        }
        self.answer_reads(now);
        self.end_handover();
        self.take_snapshot_if_due();
        Ok(std::mem::take(&mut self.effects))
    }

    /// Whether [`Replica::settle`] has entries to apply.
    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Whether more calls can be taken in; otherwise they should wait outside.
    pub fn has_room(&self) -> bool {
        self.leadership.as_ref().is_none_or(Leadership::has_room)
    }

    /// The replicated state.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn stamp(&self, now: Reading) -> Stamp {
        self.clock.stamp(self.machine.limiter().now(), self.machine.voters(), now)
    }

    fn tick(&mut self, now: Reading) -> Result<(), Fatal> {
        self.ticks += 1;
        if self.removed_at.is_some_and(|tick| self.ticks - tick >= FAREWELL_TICKS) {
            return Err(Fatal::Removed(self.config.id));
        }
        // A lone voter elects itself on the spot, and Raft asserts that everything is durable by then. Nor may a node stand
        // for election while it installs a snapshot: Raft would look for the entries that the snapshot replaces.
        let must_wait =
            self.node.raft.prs().is_singleton() && self.writes.are_open() || self.snapshots.is_installing();
        if !must_wait || self.node.raft.state == StateRole::Leader {
            self.node.tick();
            self.fix_election_timeout();
        }
        self.expire_if_due(now);
        self.promote_learners();
        self.settle_change();
        self.give_up_lost_snapshots();
        self.hand_over_if_disk_is_low();
        if self.ticks.is_multiple_of(BEAT_TICKS) {
            self.beat();
        }
        Ok(())
    }

    /// The peers hear of a change at once: a leader whose disk turns low at the same time should not hand over to this node.
    fn see_disk(&mut self, is_low: bool) {
        if self.disk_is_low != is_low {
            self.disk_is_low = is_low;
            self.beat();
        }
    }

    fn beat(&mut self) {
        let (index, digest) = self.digests.last();
        self.effects.push(Effect::Beat { index, digest, disk_is_low: self.disk_is_low });
    }

    fn hear(&mut self, event: PeerEvent, now: Reading) -> Result<(), Fatal> {
        match event {
            PeerEvent::Message(message) => {
                self.heard.entry(message.from).or_default().tick = self.ticks;
                self.step(*message)?;
            }
            PeerEvent::Beat { from, wall, since, digest_index, digest, disk_is_low } => {
                self.heard.insert(from, Heard { tick: self.ticks, has_room: !disk_is_low });
                self.clock.hear(from, wall, since, now);
                if from == self.node.raft.leader_id && digest_index > 0 {
                    self.digests.expect(from, digest_index, digest)?;
                }
            }
            PeerEvent::Unreachable(id) => self.node.report_unreachable(id),
            PeerEvent::SnapshotSent { to, delivered: true } => {
                self.node.report_snapshot(to, SnapshotStatus::Finish);
            }
            PeerEvent::SnapshotSent { to, delivered: false } => {
                self.node.report_snapshot(to, SnapshotStatus::Failure);
            }
        }
        Ok(())
    }

    fn step(&mut self, mut message: Message) -> Result<(), Fatal> {
        if let Err(unfit) = self.admit(&mut message)? {
            tracing::warn!(from = message.from, kind = ?message.get_msg_type(), "dropped a message: {unfit}");
            return Ok(());
        }
        if let Some(last) = message.get_entries().last() {
            // A leader sends what it proposes at once. What was committed by then is old, who knows how old.
            self.last_of_the_past = self.last_of_the_past.max(last.index.min(message.commit));
        }
        match self.node.step(message) {
            // A late answer of a node that is no peer (any more).
            Ok(()) | Err(raft::Error::StepPeerNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        self.forget_unused_snapshot();
        self.fix_election_timeout();
        Ok(())
    }

    /// Raft draws election timeouts from the thread's own randomness; with a seed, they follow from it instead.
    fn fix_election_timeout(&mut self) {
        let Some(seed) = self.config.seed else { return };
        let range = ELECTION_TICKS as u64;
        let drawn = mix(seed ^ mix(self.config.id) ^ mix(self.node.raft.term).rotate_left(17)) % range;
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + drawn as usize);
    }

    fn reply(&mut self, caller: C, result: Result<Reply, Refusal>) {
        self.effects.push(Effect::Reply { caller, result, about: About::Other });
    }
}

/// What all founders of a cluster with these members write before they start.
pub fn founding(members: Members) -> WriteBatch {
    let sealed = snapshot_file::seal(&Machine::founded(members).encode());
    let mut hard_state = raft::eraftpb::HardState::default();
    (hard_state.term, hard_state.commit) = (FOUNDING_TERM, FOUNDING_INDEX);
    WriteBatch {
        install: Some((crate::storage::Mark::at(FOUNDING_INDEX, FOUNDING_TERM), sealed)),
        hard_state: Some(hard_state),
        ..WriteBatch::default()
    }
}

fn read_snapshot(index: u64, sealed: &[u8]) -> Result<Machine, Fatal> {
    let machine = snapshot_file::open(sealed).and_then(Machine::decode);
    let machine = machine.map_err(|reason| Fatal::BrokenSnapshot { index, reason })?;
    if machine.index() != index {
        let reason = format!("it ends at entry {}", machine.index());
        return Err(Fatal::BrokenSnapshot { index, reason });
    }
    Ok(machine)
}

fn raft_config(id: NodeId, applied: u64) -> raft::Config {
    raft::Config {
        id,
        applied,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        // Followers hear what is committed with the next entry, or with a heartbeat: a message of its own for each entry, and its
        // answer, cost more than the entry.
        skip_bcast_commit: true,
        ..raft::Config::default()
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): spreads neighbouring numbers.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
