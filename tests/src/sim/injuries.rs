//! Faults strike.

use tollgate_limiter::*;
use tollgate_server::raft::{
    members::NodeId,
    replica::{Event, founding},
};

use super::{
    disk::Disk,
    faults::{Fault, Target, next_id},
    node::{Node, member},
    operator::Order,
    workload,
    world::{Planned, World},
};

/// Voters that a cluster keeps when somebody removes one on purpose.
const VOTERS_MIN: usize = 3;

/// Members that a cluster has at most.
const MEMBERS_MAX: usize = 6;

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        self.trace.fold(&[self.now.0, 5]);
        self.trace.tell(self.now, || format!("FAULT {fault:?}"));
        match fault {
            Fault::Crash { whom, down } => self.crash(whom, down),
            Fault::CrashAll { down } => self.crash_all(down),
            Fault::CrashInstalling { down } => self.crashes_installing = Some(down),
            Fault::Freeze { whom, lasts } => self.freeze(whom, lasts),
            Fault::Isolate { whom, lasts } => self.sever(whom, lasts, true, true, "isolation"),
            Fault::Deafen { whom, lasts } => self.sever(whom, lasts, false, true, "one-way deafness"),
            Fault::Mute { whom, lasts } => self.sever(whom, lasts, true, false, "one-way muteness"),
            Fault::Storm { lasts } => {
                self.coverage.hit("storm");
                self.network.storm(self.after(lasts));
            }
            Fault::SlowDisk { whom, lasts, delay } => self.slow_disk(whom, lasts, delay),
            Fault::FailSync { whom } => {
                if let Some((_, node)) = self.victim(whom) {
                    node.disk.fail_next_sync();
                }
            }
            Fault::LowDisk { whom, lasts } => self.fill_disk(whom, lasts),
            Fault::WipeDisk { whom } => self.lose(whom, false),
            Fault::RotDisk { whom } => self.lose(whom, true),
            Fault::JumpWall { error } => self.jump_wall(error),
            Fault::Drift { whom, ppm } => {
                let now = self.now;
                if let Some((_, node)) = self.victim(whom) {
                    node.clock.drift(now, ppm);
                    self.coverage.hit("clock drifted");
                }
            }
            Fault::Transfer => self.order(Order::Transfer),
            Fault::Usurp { lasts } => {
                self.sever(Target::Leader, lasts, true, true, "isolation");
                self.usurped = self.leader().map(|leader| (leader, self.after(lasts)));
            }
            Fault::Grow => self.grow(),
            Fault::Shrink { whom } => self.shrink(whom),
            Fault::RollingRestart { pause } => self.restart_all(pause),
            Fault::Redefine { .. }
            | Fault::Recreate { .. }
            | Fault::Pause { .. }
            | Fault::WithdrawKey { .. } => {
                self.meddle(fault);
            }
        }
    }

    pub(super) fn after(&self, ms: u64) -> Span {
        self.now + Span::from_millis(ms)
    }

    fn order(&mut self, order: Order) {
        self.agenda.plan(self.now, Planned::Order(Box::new(order)));
    }

    /// Whom a fault strikes, if there is such a node and it runs.
    pub(super) fn victim(&mut self, whom: Target) -> Option<(NodeId, &mut Node)> {
        let leader = self.leader();
        let members = self.members();
        let id = match whom {
            Target::Leader => leader,
            Target::Follower(number) => {
                let others: Vec<_> = members.by_id.keys().copied().filter(|id| Some(*id) != leader).collect();
                others.get(number as usize % others.len().max(1)).copied()
            }
        };
        let victim =
            id.and_then(|id| Some((id, self.nodes.get_mut(&id).filter(|node| node.running.is_some())?)));
        self.trace.tell(self.now, || match &victim {
            Some((id, _)) => format!("it strikes node {id}"),
            None => "it strikes nobody".to_owned(),
        });
        victim
    }

    fn freeze(&mut self, whom: Target, lasts: u64) {
        let until = self.after(lasts);
        if let Some((_, node)) = self.victim(whom) {
            node.frozen_until = until;
            self.coverage.hit("freeze");
        }
    }

    fn sever(&mut self, whom: Target, lasts: u64, from: bool, to: bool, name: &'static str) {
        let until = self.after(lasts);
        let Some((id, _)) = self.victim(whom) else { return };
        self.coverage.hit(name);
        self.cut_off(id, until, from, to);
    }

    pub(super) fn cut_off(&mut self, id: NodeId, until: Span, from: bool, to: bool) {
        for other in self.nodes.keys().copied().filter(|other| *other != id) {
            if from {
                self.network.cut(id, other, until);
            }
            if to {
                self.network.cut(other, id, until);
            }
        }
    }

    fn slow_disk(&mut self, whom: Target, lasts: u64, delay: u64) {
        let until = self.after(lasts);
        if let Some((_, node)) = self.victim(whom) {
            node.slow_until = (until, Span::from_millis(delay));
            self.coverage.hit("slow disk");
        }
    }

    fn fill_disk(&mut self, whom: Target, lasts: u64) {
        let Some((id, _)) = self.victim(whom) else { return };
        self.coverage.hit("low disk");
        self.handle(id, Event::DiskSpace { low: true });
        self.agenda.plan(self.after(lasts), Planned::DiskHasRoom(id));
    }

    /// A node loses what it had, or cannot read it any more, and is replaced by another one. One at a time, and never while
    /// another is down: together they could be a quorum, and nothing survives the loss of one.
    fn lose(&mut self, whom: Target, is_rot: bool) {
        let members = self.members();
        let are_well = members.by_id.keys().all(|id| self.nodes.get(id).is_some_and(is_well));
        let are_known = self.nodes.values().filter_map(|node| node.running.as_ref()).all(|running| {
            let machine = running.replica.machine();
            let known = &machine.members().by_id;
            // Who has no vote yet is no substitute for one who has; and while votes change hands both sides are needed.
            let votes = machine.conf_state();
            votes.learners.is_empty()
                && votes.voters_outgoing.is_empty()
                && known.keys().eq(members.by_id.keys())
                && known.values().all(|member| member.incarnation.is_some())
        });
        // Founders that lost their disks and do not know it yet could be a quorum of those that founded the cluster.
        let are_told = self.nodes.values().all(|node| !node.is_outcast || node.is_lost);
        if !are_well || !are_known || !are_told || members.by_id.len() < VOTERS_MIN || self.removals.len() > 1
        {
            return;
        }
        let Some((id, _)) = self.victim(whom) else { return };
        // Who founded the cluster alone does so again on an empty disk, unless a member meets it first.
        if !is_rot && self.scenario.voters == 1 && id == 1 {
            return;
        }
        self.coverage.hit(if is_rot { "rotten disk" } else { "wiped disk" });
        self.kill(id, 0);
        let incarnation = self.random.seed();
        let mut disk = Disk::new();
        if id <= self.scenario.voters
            && let Err(fatal) = disk.prepare(founding(self.founders.clone()))
        {
            self.fail("harness", format!("a new disk cannot be written: {fatal}"));
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match is_rot {
            true => node.disk.rot(),
            false => (node.disk, node.incarnation) = (disk, incarnation),
        }
        node.is_outcast = true;
        self.agenda.plan(self.after(200), Planned::Start(id));
        self.removals.insert(id);
        self.order(Order::Remove(id));
        self.grow();
    }

    fn jump_wall(&mut self, error: i64) {
        // The guarantees allow for one wrong wall clock in a quorum of right ones.
        let liar = 1 + self.scenario.seed % self.scenario.voters;
        if self.scenario.voters as usize >= VOTERS_MIN
            && let Some(node) = self.nodes.get_mut(&liar)
        {
            node.clock.set_wall_error(error);
            self.coverage.hit("wall clock jumped");
        }
    }

    fn grow(&mut self) {
        if self.members().by_id.len() >= MEMBERS_MAX {
            return;
        }
        let id = next_id(self.nodes.keys().copied());
        self.add_machine(id, Disk::new());
        self.order(Order::Add(member(id)));
    }

    fn shrink(&mut self, whom: Target) {
        let remaining = self.members().by_id.keys().filter(|id| !self.removals.contains(id)).count();
        if remaining > VOTERS_MIN
            && let Some((id, _)) = self.victim(whom)
            && self.removals.insert(id)
        {
            self.order(Order::Remove(id));
        }
    }

    fn restart_all(&mut self, pause: u64) {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for (position, id) in ids.into_iter().enumerate() {
            self.agenda.plan(self.after(position as u64 * pause), Planned::Stop(id));
        }
    }

    /// Operators change their minds.
    fn meddle(&mut self, fault: Fault) {
        match fault {
            Fault::Redefine { resource, seed } => {
                self.order(Order::Define(Box::new(workload::resource(resource, seed))));
            }
            Fault::Recreate { resource } => {
                let Some(&seed) = self.scenario.resources.get(resource) else { return };
                self.order(Order::Delete(workload::resource_name(resource)));
                self.order(Order::Define(Box::new(workload::resource(resource, seed))));
            }
            Fault::Pause { resource, lasts } => {
                let pause = Pause { left: Some(Span::from_millis(lasts)), reason: Label::default() };
                let resource = workload::resource_name(resource);
                let order = PauseResource { resource, key: Label::default(), pause };
                self.order(Order::Command(Command::PauseResource(order)));
            }
            Fault::WithdrawKey { resource, lasts } => {
                let key = workload::key(0);
                let resource = workload::resource_name(resource);
                let state = if lasts % 2 == 0 { KeyState::Draining } else { KeyState::Disabled };
                let set = |state| {
                    let order = SetKeyState { resource: resource.clone(), key: key.clone(), state };
                    Order::Command(Command::SetKeyState(order))
                };
                self.order(set(state));
                self.agenda.plan(self.after(lasts), Planned::Order(Box::new(set(KeyState::Active))));
            }
            _ => {}
        }
    }
}

fn is_well(node: &Node) -> bool {
    node.running.is_some() && !node.is_outcast
}
