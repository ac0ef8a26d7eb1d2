//! Processes are killed: at any moment, all at once, or just when it matters.

use tollgate_server::raft::members::NodeId;

use super::{
    faults::Target,
    node::Process,
    world::{Planned, World},
};

impl World {
    pub(super) fn crash(&mut self, whom: Target, down: u64) {
        let leader = self.leader();
        let Some((id, _)) = self.victim(whom) else { return };
        self.coverage.hit(if leader == Some(id) { "crash of a leader" } else { "crash of a follower" });
        self.crash_node(id, down);
    }

    /// Kills a process, whatever of its writes is on the disk by then, and starts it again so many milliseconds later.
    pub(super) fn crash_node(&mut self, id: NodeId, down: u64) {
        let unsynced = self.nodes.get(&id).map_or(0, |node| node.disk.unsynced() as u64);
        let kept = self.random.between(0, unsynced) as usize;
        self.kill(id, kept);
        self.agenda.plan(self.after(down), Planned::Start(id));
    }

    pub(super) fn crash_all(&mut self, down: u64) {
        self.coverage.hit("crash of all nodes");
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let unsynced = self.nodes.get(&id).map_or(0, |node| node.disk.unsynced() as u64);
            let kept = self.random.between(0, unsynced) as usize;
            self.kill(id, kept);
            let down = self.random.between(10, down);
            self.agenda.plan(self.after(down), Planned::Start(id));
        }
    }

    /// A process has begun to install a snapshot: [`super::faults::Fault::CrashInstalling`] strikes, if it was to come. It is
    /// another moment until the write is synced.
    pub(super) fn crash_as_it_installs(&mut self, process: Process) {
        if let Some(down) = self.crashes_installing.take().filter(|_| !self.is_healed) {
            self.trace.tell(self.now, || format!("node {} is killed as it installs a snapshot", process.id));
            self.agenda.plan(self.now, Planned::Crash { process, down });
        }
    }

    /// A node has just come to lead: the second half of [`super::faults::Fault::Usurp`], if the first has struck.
    pub(super) fn interrupt_election(&mut self, id: NodeId) {
        let Some((usurped, until)) = self.usurped.take().filter(|(usurped, _)| *usurped != id) else {
            return;
        };
        if self.is_healed || until < self.now {
            return;
        }
        self.coverage.hit("election interrupted");
        self.trace.tell(self.now, || format!("node {id} is cut off as it begins to lead"));
        self.network.mend(usurped);
        for voter in
            self.nodes.keys().copied().filter(|other| ![id, usurped].contains(other)).collect::<Vec<_>>()
        {
            self.kill(voter, 0);
            self.agenda.plan(self.after(30), Planned::Start(voter));
        }
        self.cut_off(id, until, true, true);
    }
}
