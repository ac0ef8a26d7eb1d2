//! Does what replicas want done, as slowly and as badly as the scenario has it.

use raft::eraftpb::Message;
use tollgate_limiter::Span;
use tollgate_server::{
    raft::{
        call::{Call, CallNumber},
        door::PeerEvent,
        members::NodeId,
        replica::{Effect, Event},
    },
    storage::snapshot_file,
};

use super::{
    calls::Asker,
    handovers::TRANSFER,
    network::Delivery,
    node::Process,
    parcel::Parcel,
    world::{Planned, World},
};

/// What the size of a snapshot adds to its way, in milliseconds.
const SNAPSHOT_WAY_MS: u64 = 20;

impl World {
    pub(super) fn perform(&mut self, id: NodeId, effect: Effect<CallNumber>) {
        let Some(process) = self.process(id) else { return };
        match effect {
            Effect::Send(message) => {
                self.send(id, message.to, 0, Parcel::Message(Box::new(message)));
            }
            Effect::SendSnapshot { message, index } => self.send_snapshot(process, message, index),
            Effect::Write(batch) => {
                // The leader writes an entry as soon as it proposes it, and before anybody else.
                for entry in &batch.entries {
                    self.history.propose(self.now, entry.index, entry.term);
                }
                let installs = batch.install.is_some();
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.disk.write(batch);
                }
                self.begin_sync(process);
                if installs {
                    self.crash_as_it_installs(process);
                }
            }
            Effect::TakeSnapshot(machine) => {
                let sealed = snapshot_file::seal(&machine.encode());
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.disk.begin_snapshot(machine.index(), sealed.into());
                }
                let takes = Span::from_millis(self.random.between(1, 60));
                self.agenda.plan(self.now + takes, Planned::SnapshotSaved(process, machine.index()));
            }
            Effect::Reply { caller: TRANSFER, .. } => self.transfer_was_answered(id),
            Effect::Reply { caller, result, .. } => self.answer(caller, result),
            Effect::Beat { index, digest, disk_is_low } => {
                let Some((reading, echoes)) = self.nodes.get(&id).and_then(|node| {
                    let running = node.running.as_ref()?;
                    Some((node.clock.read(self.now), running.echoes.clone()))
                }) else {
                    return;
                };
                let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != id).collect();
                for to in others {
                    let beat = Parcel::Beat {
                        from: id,
                        wall: reading.wall,
                        digest_index: index,
                        digest,
                        disk_is_low,
                        told_at: echoes.moment(reading.monotonic),
                        heard: echoes.of(to),
                    };
                    self.send(id, to, 0, beat);
                }
            }
            Effect::GaveUp { .. } => self.coverage.hit("waiter left before its turn"),
            // Nobody plans work here, and metrics are nobody's business.
            Effect::Committed { .. }
            | Effect::ResourceGone(_)
            | Effect::StateReplaced
            | Effect::CircuitTurned(_)
            | Effect::Plan { .. }
            | Effect::Members(_) => {}
            Effect::Stopped => self.end(id, Ok(())),
        }
    }

    pub(super) fn process(&self, id: NodeId) -> Option<Process> {
        self.nodes.get(&id).filter(|node| node.running.is_some()).map(|node| Process { id, life: node.life })
    }

    /// Returns whether the parcel is on its way.
    fn send(&mut self, from: NodeId, to: NodeId, size_ms: u64, parcel: Parcel) -> bool {
        let delivery = self.network.send(self.now, from, to, size_ms);
        match delivery {
            Delivery::Once(at) => self.agenda.plan(at, Planned::Arrival { from, to, parcel }),
            Delivery::Twice(first, second) => {
                self.coverage.hit("message repeated");
                self.agenda.plan(first, Planned::Arrival { from, to, parcel: parcel.clone() });
                self.agenda.plan(second, Planned::Arrival { from, to, parcel });
            }
            Delivery::Lost => self.coverage.hit("message lost"),
            Delivery::Cut => {
                self.coverage.hit("message cut off");
                self.report_unreachable(from, to);
            }
        }
        matches!(delivery, Delivery::Once(_) | Delivery::Twice(..))
    }

    /// Now and then a node notices that its link is gone.
    fn report_unreachable(&mut self, from: NodeId, to: NodeId) {
        if self.random.chance(50)
            && let Some(process) = self.process(from)
        {
            self.agenda.plan(self.now + Span(1_000), Planned::Report(process, PeerEvent::Unreachable(to)));
        }
    }

    fn send_snapshot(&mut self, process: Process, mut message: Message, index: u64) {
        let to = message.to;
        let file = self.nodes.get(&process.id).and_then(|node| node.disk.snapshots().snapshot(index));
        let delivered = file.is_some_and(|bytes| {
            message.mut_snapshot().data = bytes;
            self.send(process.id, to, SNAPSHOT_WAY_MS, Parcel::Message(Box::new(message)))
        });
        let heard_at = self.now + Span::from_millis(2 * SNAPSHOT_WAY_MS);
        self.agenda.plan(heard_at, Planned::Report(process, PeerEvent::SnapshotSent { to, delivered }));
    }

    /// A parcel arrives, unless the nodes would have refused to talk: then the one that does not belong to the cluster any
    /// more hears of it, and ends, as its transport would make it end.
    pub(super) fn arrive(&mut self, from: NodeId, to: NodeId, parcel: Parcel) {
        if !self.knows(to, from) {
            return self.expel(from);
        }
        if self.is_wiped(from, to) {
            return self.expel(to);
        }
        // Links to members that were removed are dropped.
        if !self.knows(from, to) {
            return;
        }
        let kind = match &parcel {
            Parcel::Message(message) => 10 + message.get_msg_type() as u64,
            Parcel::Beat { .. } => 3,
        };
        self.trace.fold(&[self.now.0, kind, from, to]);
        if matches!(parcel, Parcel::Beat { .. }) {
            self.register(to, from);
        }
        let Some(running) = self.nodes.get_mut(&to).and_then(|node| node.running.as_mut()) else { return };
        let event = parcel.open(&mut running.echoes);
        self.handle(to, Event::Peer(event));
    }

    /// Whether a node has nothing against another: neither was that removed, nor does it come with another data directory.
    fn knows(&self, id: NodeId, other: NodeId) -> bool {
        let Some(running) = self.nodes.get(&id).and_then(|node| node.running.as_ref()) else { return true };
        !running.replica.machine().members().removed.contains(&other) && !self.is_wiped(id, other)
    }

    /// Whether a node knows another by a data directory that is gone.
    fn is_wiped(&self, id: NodeId, other: NodeId) -> bool {
        let running = self.nodes.get(&id).and_then(|node| node.running.as_ref());
        let members = running.map(|running| running.replica.machine().members());
        let known = members.and_then(|members| members.by_id.get(&other)?.incarnation);
        known.is_some_and(|known| self.nodes.get(&other).is_none_or(|node| node.incarnation != known))
    }

    /// A node is told that it does not belong to the cluster any more. It ends, and whoever restarts it will hear the same.
    fn expel(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.running.is_some()) else { return };
        node.is_lost = true;
        self.coverage.hit(if node.is_outcast {
            "wiped node refused by its peers"
        } else {
            "removed node ended"
        });
        self.trace.tell(self.now, || format!("node {id} is expelled"));
        self.kill(id, 0);
    }

    /// The leader's transport meets a member whose data directory it did not know.
    fn register(&mut self, at: NodeId, id: NodeId) {
        let Some(running) = self.nodes.get(&at).and_then(|node| node.running.as_ref()) else { return };
        let member = running.replica.machine().members().by_id.get(&id);
        let is_new =
            running.replica.is_serving() && member.is_some_and(|member| member.incarnation.is_none());
        if let Some(node) = self.nodes.get(&id).filter(|_| is_new) {
            let call = Call::RegisterIncarnation { id, incarnation: node.incarnation };
            self.send_call(Asker::Transport, at, call, Span::from_secs(1));
        }
    }

    /// A snapshot is on the disk.
    pub(super) fn end_snapshot(&mut self, process: Process, index: u64) {
        self.coverage.hit("snapshot taken");
        if let Some(node) = self.nodes.get_mut(&process.id) {
            node.disk.end_snapshot(index);
        }
        self.handle(process.id, Event::SnapshotSaved(index));
    }

    fn begin_sync(&mut self, process: Process) {
        let takes = Span(self.random.between(30, self.scenario.sync_us_max) * 1_000);
        let Some(node) = self.nodes.get_mut(&process.id) else { return };
        let (slow_until, delay) = node.slow_until;
        let delay = if self.now < slow_until { delay } else { Span::ZERO };
        if node.disk.begin_sync() {
            self.agenda.plan(self.now + takes + delay, Planned::Synced(process));
        }
    }

    /// A sync ends. One that fails ends the process; somebody starts it again once the disk is well.
    pub(super) fn end_sync(&mut self, process: Process) {
        let Some(node) = self.nodes.get_mut(&process.id) else { return };
        match node.disk.end_sync() {
            Ok(number) => {
                self.begin_sync(process);
                self.handle(process.id, Event::Persisted(number));
            }
            Err(fatal) => {
                self.end(process.id, Err(fatal));
                let down = Span::from_millis(self.random.between(100, 3_000));
                self.agenda.plan(self.now + down, Planned::Start(process.id));
            }
        }
    }
}
