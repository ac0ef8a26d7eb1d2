//! One node's part of the Raft group: Raft, the state machine, and who waits for what. Events in, effects out.
//!
//! The replica is synchronous and reads no clock: the driver calls it on a real node, the simulator on a seeded one. An
//! event is handled at once; [`Replica::flush`] then packs what was asked into one log entry, and returns what is to be
//! done. One file a concern:
//!
//! * [`leadership`]: what only the leader has. Calls that wait for their turn, and those that were proposed.
//! * [`ready`]: what Raft hands out. Messages, writes, entries to apply; at which moment each may leave.
//! * [`apply`]: committed entries into the machine, its answers to those who wait.
//! * [`reads`]: queries, answered once a quorum has confirmed that this node leads.
//! * [`membership`]: members come as learners, vote once they have caught up, and go.
//! * [`handover`]: leadership given away on purpose.
//! * [`snapshots`]: taken here, or received from the leader.
//! * [`admit`]: what a message must satisfy before Raft sees it.
//!
//! **Invariant:** a definite refusal ([`Refusal::NotLeader`] and the like) is given only for what cannot take effect.
//! **Invariant:** a leader answers nothing before it has applied the first entry of its own term.

mod admit;
mod apply;
mod handover;
mod leadership;
mod membership;
mod reads;
mod ready;
mod snapshots;

use std::{collections::BTreeMap, sync::Arc};

use raft::{RawNode, SnapshotStatus, StateRole, eraftpb::Message};
use tollgate_limiter::{Answer, CallOutcome, Command, PermitId, ResourceName, Span, Stamp};

use crate::{
    clock::Reading,
    storage::{Recovered, WriteBatch, snapshot_file},
};

use self::{handover::Handover, leadership::Leadership, ready::Writes, snapshots::Snapshots};
use super::{
    call::{Call, ClusterView, MemberView, Refusal, Reply},
    cluster_time::ClusterClock,
    digests::Digests,
    door::{PeerEvent, Status},
    fatal::Fatal,
    log::Log,
    machine::{FOUNDING_INDEX, FOUNDING_TERM, Machine},
    members::{Incarnation, Members, NodeId},
};

/// How long a tick is.
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

/// Bytes that were proposed and are not committed; beyond it proposals are refused as overload.
const UNCOMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Committed entries that are applied at once, in bytes: the loop goes round in between.
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

/// Everything that can happen to a replica. `C` is who waits for a reply.
#[derive(Debug)]
pub enum Event<C> {
    /// Somebody asks something.
    Call {
        /// What.
        call: Call,
        /// Who.
        caller: C,
    },
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
    /// [`TICK`] has passed.
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
    /// The reply to a call.
    Reply {
        /// To whom.
        caller: C,
        /// What.
        result: Result<Reply, Refusal>,
        /// What was asked, for the metrics.
        about: About,
    },
    /// An entry of this leader was applied.
    Committed {
        /// The commands in it.
        commands: u64,
        /// Since its proposal.
        after: Span,
    },
    /// Tell the peers about this node.
    Beat {
        /// An entry applied.
        index: u64,
        /// The digest at it.
        digest: u64,
    },
    /// The members have changed.
    Members(Arc<Members>),
    /// The replica has ended, as it was asked to.
    Stopped,
}

/// What a call was about, as far as metrics tell calls apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A permit of this resource.
    Acquire(ResourceName),
    /// The end of a permit.
    Release(CallOutcome),
    /// Anything else.
    Other,
}

impl About {
    fn of(command: &Command) -> About {
        match command {
            Command::Acquire(acquire) => About::Acquire(acquire.resource.clone()),
            Command::Release(release) => About::Release(release.outcome),
            _ => About::Other,
        }
    }
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
    snapshots: Snapshots,
    ticks: u64,
    // The tick at which each peer was last heard from.
    heard: BTreeMap<NodeId, u64>,
    // What was in the log before this process began: applying it says nothing about the present.
    last_at_start: u64,
    disk_is_low: bool,
    is_shutting_down: bool,
    // The tick at which the configuration lost this node.
    removed_at: Option<u64>,
    // Kept to be used again.
    answers: Vec<Answer>,
    effects: Vec<Effect<C>>,
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
        let last_at_start = log.last();
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
            snapshots: Snapshots::default(),
            ticks: 0,
            heard: BTreeMap::new(),
            last_at_start,
            disk_is_low: false,
            is_shutting_down: false,
            removed_at: None,
            answers: Vec::new(),
        };
        replica.fix_election_timeout();
        Ok(replica)
    }

    /// Something happened. `now` is what this node's clocks show.
    pub fn handle(&mut self, event: Event<C>, now: Reading) -> Result<(), Fatal> {
        match event {
            Event::Call { call, caller } => self.ask(call, caller),
            Event::Peer(event) => self.hear(event, now)?,
            Event::Persisted(number) => self.persisted(number),
            Event::SnapshotSaved(index) => self.snapshot_saved(index),
            Event::Undelivered(permit) => self.give_back(permit),
            Event::DiskSpace { low } => self.disk_is_low = low,
            Event::Tick => self.tick(now)?,
            Event::ShutDown => self.shut_down(),
        }
        self.follow_leadership();
        Ok(())
    }

    /// Proposes what was asked, and returns everything that is to be done now.
    pub fn flush(&mut self, now: Reading) -> Result<Vec<Effect<C>>, Fatal> {
        self.propose(now);
        self.read();
        self.advance_handover();
        self.drain_ready(now)?;
        self.end_handover();
        self.take_snapshot_if_due();
        Ok(std::mem::take(&mut self.effects))
    }

    /// Whether more calls can be taken in; otherwise they should wait outside.
    pub fn has_room(&self) -> bool {
        self.leadership.as_ref().is_none_or(Leadership::has_room)
    }

    /// What the rest of the node may know.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            leader: self.known_leader(),
            term: self.node.raft.term,
            commit_index: self.node.raft.raft_log.committed,
            applied_index: self.machine.index(),
            members: self.machine.members().clone(),
        }
    }

    /// The replicated state.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The entry up to which the last snapshot reaches.
    pub fn snapshot_index(&self) -> u64 {
        self.node.store().mark().snapshot_index
    }

    /// Whether this node leads, and answers.
    pub fn is_serving(&self) -> bool {
        self.leadership.as_ref().is_some_and(|leadership| leadership.is_established)
            && !self.is_shutting_down
            // A new cluster has no time before a quorum has told its wall time.
            && self.machine.limiter().now() != Stamp::default()
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> ClusterView {
        let members = self.machine.members().by_id.keys();
        ClusterView {
            leader: self.known_leader().unwrap_or_default(),
            term: self.node.raft.term,
            commit_index: self.node.raft.raft_log.committed,
            applied_index: self.machine.index(),
            digest: self.machine.digest(),
            cluster_time: self.machine.limiter().now().cluster,
            answered_by: self.config.id,
            members: members.filter_map(|id| self.member_view(*id)).collect(),
        }
    }

    fn member_view(&self, id: NodeId) -> Option<MemberView> {
        let is_this = id == self.config.id;
        let heard = self.heard.get(&id).is_some_and(|tick| self.ticks - tick <= ELECTION_TICKS as u64);
        let progress = self.node.raft.prs().get(id).filter(|_| self.leadership.is_some());
        Some(MemberView {
            member: self.machine.members().by_id.get(&id)?.clone(),
            voter: self.machine.voters().contains(&id),
            reachable: is_this || heard,
            matched_index: progress.map_or(0, |progress| progress.matched),
        })
    }

    /// Who leads, if known; this node only once it answers.
    fn known_leader(&self) -> Option<NodeId> {
        match self.node.raft.leader_id {
            raft::INVALID_ID => None,
            id if id == self.config.id => self.is_serving().then_some(id),
            id => Some(id),
        }
    }

    fn stamp(&self, now: Reading) -> Stamp {
        self.clock.stamp(self.machine.limiter().now(), self.machine.voters(), now)
    }

    fn tick(&mut self, now: Reading) -> Result<(), Fatal> {
        self.ticks += 1;
        if self.removed_at.is_some_and(|tick| self.ticks - tick >= FAREWELL_TICKS) {
            return Err(Fatal::Removed(self.config.id));
        }
        // A lone voter elects itself on the spot, and Raft asserts that everything is durable by then.
        let must_wait = self.node.raft.prs().is_singleton() && self.writes.are_open();
        if !must_wait || self.node.raft.state == StateRole::Leader {
            self.node.tick();
            self.fix_election_timeout();
        }
        self.expire_if_due(now);
        self.promote_learners();
        if self.ticks.is_multiple_of(BEAT_TICKS) {
            let (index, digest) = self.digests.last();
            self.effects.push(Effect::Beat { index, digest });
        }
        Ok(())
    }

    fn hear(&mut self, event: PeerEvent, now: Reading) -> Result<(), Fatal> {
        match event {
            PeerEvent::Message(message) => {
                self.heard.insert(message.from, self.ticks);
                self.step(*message)?;
            }
            PeerEvent::Beat { from, wall, digest_index, digest } => {
                self.heard.insert(from, self.ticks);
                self.clock.hear(from, wall, now);
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
