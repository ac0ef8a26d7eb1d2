//! Machines and their processes: they start, are killed, and end by themselves.

use tollgate_limiter::Span;
use tollgate_server::raft::{
    fatal::Fatal,
    members::NodeId,
    replica::{ReplicaConfig, TICK},
};

use super::{
    clock::Clock,
    disk::Disk,
    node::{Node, Process},
    scenario::Scenario,
    world::{Planned, World},
};

impl World {
    /// Puts a machine into the world, and starts its process.
    pub(super) fn add_machine(&mut self, id: NodeId, disk: Disk) {
        let mut clock = Clock::default();
        let rates = &self.scenario.drift_ppm;
        if !rates.is_empty() {
            clock.drift(self.now, rates[id as usize % rates.len()]);
        }
        let incarnation = self.random.seed();
        self.nodes.insert(id, Node::new(disk, clock, incarnation));
        self.agenda.plan(self.now, Planned::Start(id));
    }

    /// When something can happen to the node that it happens to, if that is frozen.
    pub(super) fn thaws_at(&self, planned: &Planned) -> Option<Span> {
        let id = match planned {
            Planned::Tick(process)
            | Planned::Act(process)
            | Planned::Wake(process)
            | Planned::Synced(process)
            | Planned::SnapshotSaved(process, _)
            | Planned::Report(process, _) => process.id,
            Planned::Arrival { to, .. } => *to,
            Planned::Stop(id) | Planned::DiskHasRoom(id) => *id,
            Planned::Ask(number) | Planned::Cancelled(number) => self.destination(*number)?,
            _ => return None,
        };
        let node = self.nodes.get(&id).filter(|node| node.running.is_some())?;
        Some(node.frozen_until).filter(|thaws_at| *thaws_at > self.now)
    }

    /// Whether a process still runs.
    pub(super) fn lives(&mut self, process: Process) -> bool {
        let node = self.nodes.get_mut(&process.id);
        node.is_some_and(|node| node.process(process.life).is_some())
    }

    /// Starts the process of a machine that has none, unless it is lost for good.
    pub(super) fn start(&mut self, id: NodeId) {
        let Scenario { seed, snapshot_log_bytes, .. } = self.scenario;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.running.is_none() && !node.is_lost)
        else {
            return;
        };
        let config =
            ReplicaConfig { id, incarnation: node.incarnation, snapshot_log_bytes, seed: Some(seed) };
        match node.start(self.now, config, &self.testimony) {
            Ok(found) => {
                let process = Process { id, life: node.life };
                if found.snapshot {
                    self.coverage.hit("node restarted from a snapshot");
                }
                self.trace.tell(self.now, || format!("node {id} starts"));
                let first_tick = Span(self.random.below(TICK.0));
                self.agenda.plan(self.now + first_tick, Planned::Tick(process));
                self.act_soon(id);
            }
            Err(fatal) => {
                node.is_lost = true;
                self.trace.tell(self.now, || format!("node {id} cannot start: {fatal}"));
                if !node.disk.is_rotten() {
                    self.fail("start", format!("node {id} cannot start: {fatal}"));
                }
            }
        }
    }

    /// A process has ended by itself.
    pub(super) fn end(&mut self, id: NodeId, how: Result<(), Fatal>) {
        self.trace.tell(self.now, || match &how {
            Ok(()) => format!("node {id} has stopped"),
            Err(fatal) => format!("node {id} ends: {fatal}"),
        });
        self.kill(id, 0);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match how {
            Ok(()) => {
                self.coverage.hit("graceful stop");
                let down = Span::from_millis(self.random.between(30, 400));
                self.agenda.plan(self.now + down, Planned::Start(id));
            }
            Err(Fatal::LogWrite(_)) => self.coverage.hit("failed sync"),
            Err(Fatal::Removed(_)) => {
                node.is_lost = true;
                self.coverage.hit("removed node ended");
            }
            // What its peers sent before they knew of the loss shows it to the node itself.
            Err(Fatal::LostEntries { .. }) if node.is_outcast => {
                node.is_lost = true;
                self.coverage.hit("wiped node refused by its peers");
            }
            Err(fatal) => self.fail("survival", format!("node {id} ended: {fatal}")),
        }
    }

    /// Ends a process at once; its disk keeps the first `kept` writes that were not synced, and perhaps the snapshots that were being
    /// written.
    pub(super) fn kill(&mut self, id: NodeId, kept: usize) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(running) = node.running.take() else { return };
        drop(running);
        let unsynced = node.disk.unsynced();
        self.trace.tell(self.now, || {
            format!("node {id} is gone; {kept} of {unsynced} writes that were not synced are there")
        });
        if kept < unsynced {
            self.coverage.hit("crash lost unsynced writes");
        }
        if node.disk.is_installing() {
            self.coverage.hit("crash while a snapshot was being installed");
        }
        let keeps_snapshots = node.disk.is_writing_snapshot() && self.snapshots.chance(500);
        if node.disk.is_writing_snapshot() && !keeps_snapshots {
            self.coverage.hit("crash lost a snapshot that was being written");
        }
        if let Err(fatal) = node.disk.crash(kept, keeps_snapshots) {
            self.fail("harness", format!("a disk in memory cannot be written: {fatal}"));
        }
        self.break_calls(id);
    }
}
