//! A cluster in one thread: real replicas, a simulated network, simulated disks and clocks, one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use raft::eraftpb::Message;
use tollgate_limiter::{PermitId, Span, Stamp, WallTime};
use tollgate_server::{
    clock::Reading,
    raft::{
        call::{Call, Refusal, Reply},
        door::PeerEvent,
        fatal::Fatal,
        members::{Member, Members, NodeId},
        replica::{Applied, Effect, Event, Replica, ReplicaConfig, TICK, founding},
    },
    storage::{LogStore, Recovered, WriteBatch, memory::MemoryStore, snapshot_file},
};

/// The wall time at which simulations begin, in milliseconds since the epoch.
const BEGINNING_MS: u64 = 1_750_000_000_000;

/// What an entry costs before a snapshot is taken; small, so that tests reach it.
pub const SNAPSHOT_LOG_BYTES: u64 = 16 << 10;

pub type CallNumber = u64;

/// What an entry carried for the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    pub stamp: Stamp,
    pub commands: usize,
}

/// The whole world.
pub struct Cluster {
    pub now_ms: u64,
    /// Whether a write may take long.
    pub slow_disks: bool,
    /// Whether nodes tell each other what their wall clocks show.
    pub tells_time: bool,
    /// Commands that leaders have proposed and applied.
    pub commands: u64,
    nodes: BTreeMap<NodeId, Node>,
    // By index, of the entries that any node has applied.
    carried: Arc<Mutex<BTreeMap<u64, Carried>>>,
    founders: Members,
    // By when it happens, then by when it was planned.
    planned: BTreeMap<(u64, u64), Planned>,
    plans: u64,
    severed: BTreeSet<(NodeId, NodeId)>,
    replies: BTreeMap<CallNumber, Result<Reply, Refusal>>,
    calls: CallNumber,
    // Nobody waits for their replies any more.
    abandoned: BTreeSet<CallNumber>,
    // What nobody received of the effects that are being carried out.
    undelivered: Vec<PermitId>,
    random: u64,
    seed: u64,
}

struct Node {
    disk: MemoryStore,
    // None while it is down.
    replica: Option<Replica<CallNumber>>,
    // Tells what was planned for a process from what was planned for the one before it.
    life: u64,
    started_ms: u64,
    wall_error_ms: i64,
    // On top of what a write takes anyway.
    write_delay_ms: u64,
    ended: Option<Result<(), Fatal>>,
    // The next planned wake, if any.
    wakes_at_ms: Option<u64>,
}

/// Something that will happen to a node, unless its process or its network prevents it.
enum Planned {
    Tick(Process),
    /// Somebody's turn may have come.
    Wake(Process),
    Arrival {
        from: NodeId,
        to: NodeId,
        event: Box<PeerEvent>,
    },
    Persisted(Process, u64),
    SnapshotSaved(Process, u64),
}

#[derive(Clone, Copy)]
struct Process {
    id: NodeId,
    life: u64,
}

impl Cluster {
    /// A cluster of `size` voters, which have just started.
    pub fn found(seed: u64, size: u64) -> Cluster {
        let members = (1..=size).map(|id| (id, member(id))).collect();
        let mut cluster = Cluster {
            now_ms: BEGINNING_MS,
            slow_disks: false,
            tells_time: true,
            commands: 0,
            nodes: BTreeMap::new(),
            carried: Arc::default(),
            founders: Members { by_id: members, ..Members::default() },
            planned: BTreeMap::new(),
            plans: 0,
            severed: BTreeSet::new(),
            replies: BTreeMap::new(),
            calls: 0,
            abandoned: BTreeSet::new(),
            undelivered: Vec::new(),
            random: seed,
            seed,
        };
        for id in 1..=size {
            let mut disk = MemoryStore::new();
            disk.write(&[founding(cluster.founders.clone())]).unwrap();
            cluster.add_node(id, disk);
        }
        cluster
    }

    /// Starts a node that belongs to no cluster yet.
    pub fn start_joiner(&mut self, id: NodeId) {
        self.add_node(id, MemoryStore::new());
    }

    fn add_node(&mut self, id: NodeId, disk: MemoryStore) {
        let node = Node {
            disk,
            replica: None,
            life: 0,
            started_ms: 0,
            wall_error_ms: 0,
            write_delay_ms: 0,
            ended: None,
            wakes_at_ms: None,
        };
        self.nodes.insert(id, node);
        self.restart(id);
    }

    /// Starts the process of a node that is down.
    pub fn restart(&mut self, id: NodeId) {
        let first_tick = self.draw(TICK_MS);
        let (seed, now_ms, carried) = (self.seed, self.now_ms, self.carried.clone());
        let node = self.node_mut(id);
        let config = ReplicaConfig {
            id,
            incarnation: 1_000 + id,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            seed: Some(seed),
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut replica = Replica::new(config, node.disk.load().unwrap(), &logger).unwrap();
        replica.attend(Box::new(move |Applied { index, entry, .. }: Applied<'_>| {
            if let Some(entry) = entry {
                let now = Carried { stamp: entry.stamp, commands: entry.commands.len() };
                carried.lock().insert(index, now);
            }
        }));
        node.replica = Some(replica);
        node.life += 1;
        node.started_ms = now_ms;
        node.ended = None;
        node.wakes_at_ms = None;
        let process = Process { id, life: node.life };
        self.plan(first_tick, Planned::Tick(process));
    }

    /// Kills the process; of the writes that were not synced, the disk keeps the first few.
    pub fn crash(&mut self, id: NodeId, kept_writes: usize) {
        let node = self.node_mut(id);
        node.replica = None;
        node.disk.crash(kept_writes);
    }

    /// Makes a node's wall clock wrong.
    pub fn set_wall_error(&mut self, id: NodeId, error_ms: i64) {
        self.node_mut(id).wall_error_ms = error_ms;
    }

    /// Makes the writes of a node take longer, those that begin from now on.
    pub fn set_write_delay(&mut self, id: NodeId, delay_ms: u64) {
        self.node_mut(id).write_delay_ms = delay_ms;
    }

    /// Cuts a node off from all others; what its own network would report to it is lost, too.
    pub fn isolate(&mut self, id: NodeId) {
        for other in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.severed.insert((id, other));
            self.severed.insert((other, id));
        }
    }

    /// Mends the network.
    pub fn heal(&mut self) {
        self.severed.clear();
    }

    /// Asks a node. The reply is found by the number.
    pub fn call(&mut self, id: NodeId, call: Call) -> CallNumber {
        self.calls += 1;
        let number = self.calls;
        self.handle(id, Event::Call { number, call, caller: number });
        number
    }

    /// Something happens to a node.
    pub fn inject(&mut self, id: NodeId, event: Event<CallNumber>) {
        self.handle(id, event);
    }

    /// Restarts a node with another disk.
    pub fn replace_disk(&mut self, id: NodeId, contents: Recovered) {
        let mut disk = MemoryStore::new();
        let Recovered { hard_state, mark, entries, snapshot } = contents;
        let install = Some((mark, snapshot));
        let batch = WriteBatch { install, entries, hard_state: Some(hard_state), ..WriteBatch::default() };
        disk.write(&[batch]).unwrap();
        self.node_mut(id).replica = None;
        self.node_mut(id).disk = disk;
        self.restart(id);
    }

    /// Restarts a node as one that was told other members when the cluster was founded.
    pub fn found_differently(&mut self, id: NodeId) {
        let mut members = self.founders.clone();
        members.by_id.get_mut(&1).unwrap().client_address = "elsewhere:7600".to_owned();
        let mut disk = MemoryStore::new();
        disk.write(&[founding(members)]).unwrap();
        self.node_mut(id).disk = disk;
        self.restart(id);
    }

    /// Nobody waits for this reply any more.
    pub fn abandon(&mut self, number: CallNumber) {
        self.abandoned.insert(number);
    }

    /// The client takes its call back: nobody waits for the reply, and the node is told.
    pub fn cancel(&mut self, id: NodeId, number: CallNumber) {
        self.abandon(number);
        self.handle(id, Event::Cancelled(number));
    }

    /// The reply to a call, if it has come.
    pub fn reply(&self, number: CallNumber) -> Option<&Result<Reply, Refusal>> {
        self.replies.get(&number)
    }

    /// Asks the leader, and waits for the reply; asks again where it is told that nothing was done.
    pub fn ask(&mut self, call: Call) -> Reply {
        for _ in 0..50 {
            let leader = self.elect();
            let number = self.call(leader, call.clone());
            self.run_until("a reply", |cluster| cluster.reply(number).is_some());
            match self.replies.remove(&number) {
                Some(Ok(reply)) => return reply,
                Some(Err(Refusal::NotLeader { .. })) => {}
                other => panic!("seed {}: {call:?} was answered {other:?}", self.seed),
            }
        }
        panic!("seed {}: nobody answers {call:?}", self.seed)
    }

    /// Waits for a leader that serves.
    pub fn elect(&mut self) -> NodeId {
        self.run_until("a leader", |cluster| cluster.leader().is_some());
        self.leader().unwrap()
    }

    /// The node that serves as the leader in the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let serving = self.alive().filter(|(_, replica)| replica.is_serving());
        serving.max_by_key(|(_, replica)| replica.status().term).map(|(id, _)| id)
    }

    /// Some node that is not the leader.
    pub fn follower(&mut self) -> NodeId {
        let leader = self.elect();
        self.alive().map(|(id, _)| id).find(|id| *id != leader).unwrap()
    }

    pub fn replica(&self, id: NodeId) -> &Replica<CallNumber> {
        self.nodes[&id].replica.as_ref().unwrap()
    }

    pub fn disk(&self, id: NodeId) -> &MemoryStore {
        &self.nodes[&id].disk
    }

    /// What the entries after this one carried, in their order, as far as any node has applied them.
    pub fn carried_after(&self, index: u64) -> Vec<Carried> {
        self.carried.lock().range(index + 1..).map(|(_, carried)| *carried).collect()
    }

    /// How the process ended, if it did.
    pub fn ended(&self, id: NodeId) -> Option<&Result<(), Fatal>> {
        self.nodes[&id].ended.as_ref()
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(entry) = self.planned.first_entry() {
            let at_ms = entry.key().0;
            if at_ms > end_ms {
                break;
            }
            let planned = entry.remove();
            self.now_ms = at_ms;
            self.happen(planned);
        }
        self.now_ms = end_ms;
    }

    /// Lets time pass until something holds; a minute of it must do.
    pub fn run_until(&mut self, what: &str, mut holds: impl FnMut(&Cluster) -> bool) {
        for _ in 0..60_000 {
            if holds(self) {
                return;
            }
            self.run(1);
        }
        panic!("seed {}: {what} does not come about", self.seed);
    }

    /// Waits until all live nodes have applied the same entries, and compares their digests.
    pub fn converge(&mut self) {
        self.run_until("convergence", |cluster| {
            let indexes: BTreeSet<_> = cluster.alive().map(|(_, r)| r.status().applied_index).collect();
            indexes.len() == 1 && cluster.leader().is_some()
        });
        let digests: BTreeSet<_> = self.alive().map(|(_, replica)| replica.machine().digest()).collect();
        assert_eq!(digests.len(), 1, "seed {}: the nodes have diverged", self.seed);
    }

    /// As [`Cluster::converge`], without the nodes that are no members.
    pub fn converge_within_members(&mut self) {
        let leader = self.elect();
        let members = self.replica(leader).machine().members().clone();
        for id in self.nodes.keys().copied().filter(|id| !members.by_id.contains_key(id)).collect::<Vec<_>>()
        {
            self.node_mut(id).replica = None;
        }
        self.converge();
    }

    /// How much has been planned so far.
    pub fn plans(&self) -> u64 {
        self.plans
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes[&id].replica.is_some()
    }

    fn alive(&self) -> impl Iterator<Item = (NodeId, &Replica<CallNumber>)> {
        self.nodes.iter().filter_map(|(id, node)| Some((*id, node.replica.as_ref()?)))
    }

    fn happen(&mut self, planned: Planned) {
        match planned {
            Planned::Tick(process) if self.lives(process) => {
                self.plan(TICK_MS, Planned::Tick(process));
                self.handle(process.id, Event::Tick);
            }
            Planned::Wake(process) if self.lives(process) => {
                self.node_mut(process.id).wakes_at_ms = None;
                self.flush(process.id);
            }
            Planned::Arrival { from, to, event } if !self.severed.contains(&(from, to)) => {
                self.handle(to, Event::Peer(*event));
            }
            Planned::Persisted(process, number) if self.lives(process) => {
                self.node_mut(process.id).disk.sync();
                self.handle(process.id, Event::Persisted(number));
            }
            Planned::SnapshotSaved(process, index) if self.lives(process) => {
                self.handle(process.id, Event::SnapshotSaved(index));
            }
            // Lost with the process, or on the way.
            _ => {}
        }
    }

    fn handle(&mut self, id: NodeId, event: Event<CallNumber>) {
        // Down, or not there at all.
        if self.nodes.get(&id).is_none_or(|node| node.replica.is_none()) {
            return;
        }
        let now = self.reading(id);
        let Some(replica) = self.node_mut(id).replica.as_mut() else { return };
        match replica.handle(event, now) {
            Ok(()) => self.flush(id),
            Err(fatal) => self.end(id, Err(fatal)),
        }
    }

    fn flush(&mut self, id: NodeId) {
        let now = self.reading(id);
        let Some(replica) = self.node_mut(id).replica.as_mut() else { return };
        let flushed = replica.flush(now).and_then(|mut effects| {
            effects.append(&mut replica.settle(now)?);
            Ok(effects)
        });
        match flushed {
            Ok(effects) => {
                effects.into_iter().for_each(|effect| self.perform(id, effect));
                // Once all is done that came before, as the driver does: what the replica wants then is to be done after it.
                for permit in std::mem::take(&mut self.undelivered) {
                    self.handle(id, Event::Undelivered(permit));
                }
            }
            Err(fatal) => self.end(id, Err(fatal)),
        }
        self.plan_wake(id);
    }

    /// As the driver's timer: to the millisecond, never too early.
    fn plan_wake(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        let Some(wake) = node.replica.as_ref().and_then(Replica::next_wake) else { return };
        let at_ms = (node.started_ms + wake.as_nanos().div_ceil(1_000_000)).max(self.now_ms);
        let process = Process { id, life: node.life };
        if node.wakes_at_ms.is_none_or(|planned| at_ms < planned) {
            self.node_mut(id).wakes_at_ms = Some(at_ms);
            self.plan(at_ms - self.now_ms, Planned::Wake(process));
        }
    }

    fn perform(&mut self, id: NodeId, effect: Effect<CallNumber>) {
        let process = Process { id, life: self.nodes[&id].life };
        match effect {
            Effect::Send(message) => self.send(id, message.to, 1, PeerEvent::Message(Box::new(message))),
            Effect::SendSnapshot { message, index } => self.send_snapshot(id, message, index),
            Effect::Write(batch) => {
                let number = batch.number;
                self.node_mut(id).disk.write_unsynced(batch);
                // A disk that is slow now and then leaves time for crashes in between.
                let is_slow = self.slow_disks && self.draw(16) == 0;
                let slow = if is_slow { self.draw(200) } else { 0 };
                let delay = 1 + self.draw(4) + slow + self.nodes[&id].write_delay_ms;
                self.plan(delay, Planned::Persisted(process, number));
            }
            Effect::TakeSnapshot(machine) => {
                let sealed = snapshot_file::seal(&machine.encode());
                self.node_mut(id).disk.save_snapshot(machine.index(), sealed);
                self.plan(20, Planned::SnapshotSaved(process, machine.index()));
            }
            Effect::Plan { planning, caller } => self.deliver(caller, Ok(planning.carry_out())),
            Effect::Reply { caller, result, .. } => self.deliver(caller, result),
            Effect::Beat { .. } if !self.tells_time => {}
            Effect::Beat { index, digest, disk_is_low } => {
                let wall = self.reading(id).wall;
                for to in self.nodes.keys().copied().filter(|to| *to != id).collect::<Vec<_>>() {
                    let since = Some(self.reading(to).monotonic);
                    let beat =
                        PeerEvent::Beat { from: id, wall, since, digest_index: index, digest, disk_is_low };
                    self.send(id, to, 1, beat);
                }
            }
            Effect::Committed { commands, .. } => self.commands += commands,
            Effect::GaveUp { .. }
            | Effect::ResourceGone(_)
            | Effect::StateReplaced
            | Effect::CircuitTurned(_)
            | Effect::Members(_) => {}
            Effect::Stopped => self.end(id, Ok(())),
        }
    }

    fn deliver(&mut self, caller: CallNumber, result: Result<Reply, Refusal>) {
        if !self.abandoned.contains(&caller) {
            let earlier = self.replies.insert(caller, result);
            assert!(earlier.is_none(), "seed {}: call {caller} was answered twice", self.seed);
        } else if let Some(permit) = result.ok().and_then(|reply| reply.permit_to_give_back()) {
            self.undelivered.push(permit);
        }
    }

    fn send_snapshot(&mut self, from: NodeId, mut message: Message, index: u64) {
        let to = message.to;
        let data = self.node_mut(from).disk.snapshot(index).filter(|_| !self.severed.contains(&(from, to)));
        let delivered = data.is_some();
        if let Some(data) = data {
            message.mut_snapshot().data = data;
            self.send(from, to, 20, PeerEvent::Message(Box::new(message)));
        }
        self.send(from, from, 40, PeerEvent::SnapshotSent { to, delivered });
    }

    fn send(&mut self, from: NodeId, to: NodeId, at_least_ms: u64, event: PeerEvent) {
        let delay = at_least_ms + self.draw(5);
        self.plan(delay, Planned::Arrival { from, to, event: Box::new(event) });
    }

    fn end(&mut self, id: NodeId, how: Result<(), Fatal>) {
        let node = self.node_mut(id);
        node.replica = None;
        node.ended = Some(how);
    }

    fn lives(&self, process: Process) -> bool {
        let node = &self.nodes[&process.id];
        node.replica.is_some() && node.life == process.life
    }

    fn reading(&self, id: NodeId) -> Reading {
        let node = &self.nodes[&id];
        let wall_ms = self.now_ms.saturating_add_signed(node.wall_error_ms);
        Reading {
            monotonic: Span::from_millis(self.now_ms - node.started_ms),
            wall: WallTime(i64::try_from(wall_ms * 1_000_000).unwrap()),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    fn plan(&mut self, delay_ms: u64, planned: Planned) {
        self.plans += 1;
        self.planned.insert((self.now_ms + delay_ms, self.plans), planned);
    }

    /// A number below `bound`: xorshift64* (Vigna 2016).
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.random |= 1;
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

const TICK_MS: u64 = TICK.as_nanos() / 1_000_000;

/// A member with addresses of its own.
pub fn member(id: NodeId) -> Member {
    Member {
        id,
        peer_address: format!("node-{id}:7601"),
        client_address: format!("node-{id}:7600"),
        http_address: format!("node-{id}:7602"),
        incarnation: None,
    }
}
