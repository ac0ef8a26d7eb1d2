//! One machine: its disk, its clocks, and the process that runs on it, if one does.

use std::sync::{
    Arc,
    mpsc::{Receiver, channel},
};

use tollgate_limiter::Span;
use tollgate_server::{
    raft::{
        call::CallNumber,
        echoes::Echoes,
        fatal::Fatal,
        members::{Incarnation, Member, Members, NodeId},
        replica::{Applied, Replica, ReplicaConfig},
    },
    storage::Mark,
};

use crate::history;

use super::{clock::Clock, disk::Disk, testimony::Testimony};

/// A process, told apart from the ones before it on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// On which machine.
    pub id: NodeId,
    /// Which of its processes.
    pub life: u64,
}

/// A machine.
pub struct Node {
    /// What survives a process.
    pub disk: Disk,
    /// Its clocks.
    pub clock: Clock,
    /// The number of its data directory.
    pub incarnation: Incarnation,
    /// Its process.
    pub running: Option<Running>,
    /// How many processes it has had.
    pub life: u64,
    /// Until then its process does nothing.
    pub frozen_until: Span,
    /// Until then its syncs take longer, by so much.
    pub slow_until: (Span, Span),
    /// It never starts again.
    pub is_lost: bool,
    /// It has lost what it acknowledged: its peers refuse it.
    pub is_outcast: bool,
}

/// A process that runs.
pub struct Running {
    /// The real thing.
    pub replica: Replica<CallNumber>,
    /// What its transport has heard.
    pub echoes: Echoes,
    /// Entries that it has applied.
    applied: Receiver<Arc<history::Entry>>,
    /// The last entry that its state contains, and was told of.
    pub known_index: u64,
    // Who voted and who learned at the last look.
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    /// Whether it is to act on what it has gathered.
    pub will_act: bool,
    /// When it wants to be woken, by its own clock.
    pub wakes_at: Option<Span>,
    /// Whether it led at the last look.
    pub was_serving: bool,
}

/// What a process finds at its start that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The log begins at a snapshot later than the founding one.
    pub snapshot: bool,
}

impl Node {
    /// A machine whose process is still to be started.
    pub fn new(disk: Disk, clock: Clock, incarnation: Incarnation) -> Node {
        Node {
            disk,
            clock,
            incarnation,
            running: None,
            life: 0,
            frozen_until: Span::ZERO,
            slow_until: (Span::ZERO, Span::ZERO),
            is_lost: false,
            is_outcast: false,
        }
    }

    /// Starts the process. What it applies it tells with the words of those who have applied the same before it.
    pub fn start(&mut self, now: Span, config: ReplicaConfig, testimony: &Testimony) -> Result<Found, Fatal> {
        let recovered = self.disk.load()?;
        let Mark { snapshot_index, .. } = recovered.mark;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let id = config.id;
        let mut replica = Replica::new(config, recovered, &logger)?;
        let (tell, applied) = channel();
        let testimony = testimony.clone();
        replica.attend(Box::new(move |applied: Applied<'_>| {
            // Nobody listens once the process has ended.
            let _ = tell.send(testimony.entry(applied));
        }));
        let machine = replica.machine();
        let known_index = machine.index();
        let (voters, learners) = (machine.voters().to_vec(), machine.learners().to_vec());
        self.life += 1;
        self.clock.restart(now);
        self.frozen_until = now;
        let (will_act, wakes_at, was_serving) = (false, None, false);
        let echoes = Echoes::new(id << 32 | self.life);
        self.running = Some(Running {
            replica,
            echoes,
            applied,
            known_index,
            voters,
            learners,
            will_act,
            wakes_at,
            was_serving,
        });
        Ok(Found { snapshot: snapshot_index > 1 })
    }

    /// The process, if it runs and is the one that is meant.
    pub fn process(&mut self, life: u64) -> Option<&mut Running> {
        self.running.as_mut().filter(|_| self.life == life)
    }
}

impl Running {
    /// What it has applied since the last look.
    pub fn take_applied(&mut self) -> Vec<Arc<history::Entry>> {
        self.applied.try_iter().collect()
    }

    /// The members, if one of them has come, has gone, or votes since the last look. A leader sees that first: an entry is
    /// committed when it applies it.
    pub fn take_changed_members(&mut self) -> Option<Arc<Members>> {
        let machine = self.replica.machine();
        if (&self.voters[..], &self.learners[..]) == (machine.voters(), machine.learners()) {
            return None;
        }
        (self.voters, self.learners) = (machine.voters().to_vec(), machine.learners().to_vec());
        Some(machine.members().clone())
    }
}

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
