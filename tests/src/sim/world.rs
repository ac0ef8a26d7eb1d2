//! The whole world of one run: machines, the network between them, clients, and one list of what will happen. It does one
//! thing after another in one thread, and looks at no clock but its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tollgate_limiter::Span;
use tollgate_server::raft::{
    call::{CallNumber, Refusal, Reply},
    door::PeerEvent,
    fatal::Fatal,
    members::{Members, NodeId},
    replica::{Effect, Event, TICK, founding},
};

use crate::history::History;

use super::{
    agenda::Agenda,
    calls::{Asker, Calls},
    client::{Client, Ground},
    clock::DRIFT_PPM_MAX,
    coverage::Coverage,
    disk::Disk,
    faults::Fault,
    handovers::{Handover, Leaving},
    healing::Progress,
    network::Network,
    node::{Node, Process, member},
    operator::{Operator, Order},
    parcel::Parcel,
    random::Random,
    scenario::Scenario,
    testimony::Testimony,
    trace::Trace,
    words::brief,
};

/// How long a healed cluster has to converge once nobody asks it for anything any more, in steps.
const CONVERGING_STEPS: u64 = 40;
const CONVERGING_STEP: Span = Span::from_millis(50);

/// Something that went wrong which no fault explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which check failed: a guarantee, or one of the simulator's own ([`OWN_CHECKS`]).
    pub check: String,
    /// The checker that noticed, where it is a guarantee.
    pub checker: Option<&'static str>,
    /// What it saw.
    pub what: String,
}

/// What the simulator itself looks at, besides what checkers do. `CONTRIBUTING.md` explains them.
pub const OWN_CHECKS: &[&str] = &["convergence", "determinism", "harness", "panic", "start", "survival"];

impl Failure {
    /// Whether it is meant by the name of a check or of a checker.
    pub fn is_called(&self, name: &str) -> bool {
        self.check == name || self.checker == Some(name)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checker {
            Some(checker) => write!(f, "{} by {checker}: {}", self.check, self.what),
            None => write!(f, "{}: {}", self.check, self.what),
        }
    }
}

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Planned {
    Fault(usize),
    Start(NodeId),
    Stop(NodeId),
    /// The process is killed, and started again so many milliseconds later.
    Crash {
        process: Process,
        down: u64,
    },
    Tick(Process),
    /// The process acts on what it has gathered.
    Act(Process),
    /// Somebody's turn may have come.
    Wake(Process),
    Synced(Process),
    SnapshotSaved(Process, u64),
    Arrival {
        from: NodeId,
        to: NodeId,
        parcel: Parcel,
    },
    /// What a process hears of its own network.
    Report(Process, PeerEvent),
    DiskHasRoom(NodeId),
    Ask(CallNumber),
    Answer(CallNumber, Box<Result<Reply, Refusal>>),
    /// The asker loses patience.
    GiveUp(CallNumber),
    /// The node hears that nobody waits any more.
    Cancelled(CallNumber),
    Client(usize),
    Operator,
    Order(Box<Order>),
    Heal,
    /// How far the furthest member is by now, the others are to be soon.
    NoteProgress,
    CompareProgress,
    HandOver(Handover),
}

/// A world.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) now: Span,
    pub(super) agenda: Agenda<Planned>,
    pub(super) network: Network,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) clients: Vec<Client>,
    pub(super) operator: Operator,
    pub(super) calls: Calls,
    pub(super) random: Random,
    /// What becomes of snapshots that are being written in a crash.
    pub(super) snapshots: Random,
    pub(super) founders: Members,
    /// Members whose removal was ordered.
    pub(super) removals: BTreeSet<NodeId>,
    pub(super) is_healed: bool,
    /// What all members are to have applied soon.
    pub(super) progress: Option<Progress>,
    /// The leader that was asked to go, until the next one serves.
    pub(super) leaving: Option<Leaving>,
    /// The leader that [`Fault::Usurp`] cut off last, and until when.
    pub(super) usurped: Option<(NodeId, Span)>,
    /// [`Fault::CrashInstalling`] is to come, and this is for how long.
    pub(super) crashes_installing: Option<u64>,
    pub(super) testimony: Testimony,
    /// What clients saw, and what nodes applied.
    pub history: History,
    /// What happened at least once.
    pub coverage: Coverage,
    /// What happened, for replays.
    pub trace: Trace,
    /// What no fault explains.
    pub failures: Vec<Failure>,
}

impl World {
    /// A world that is about to begin.
    pub fn new(scenario: &Scenario, is_told: bool) -> World {
        let random = |purpose| Random::new(scenario.seed, purpose);
        let clients = scenario.clients.iter().enumerate().map(|(at, temper)| {
            let number = at as u64 + 1;
            Client::new(number, temper.clone(), Random::new(scenario.seed ^ number << 48, "client"))
        });
        let by_id = (1..=scenario.voters).map(|id| (id, member(id))).collect();
        let mut world = World {
            now: Span::ZERO,
            agenda: Agenda::new(),
            network: Network::new(scenario.weather, random("network")),
            nodes: BTreeMap::new(),
            clients: clients.collect(),
            operator: Operator::default(),
            calls: Calls::default(),
            random: random("world"),
            snapshots: random("snapshots"),
            founders: Members { by_id, ..Members::default() },
            removals: BTreeSet::new(),
            is_healed: false,
            progress: None,
            leaving: None,
            usurped: None,
            crashes_installing: None,
            testimony: Testimony::default(),
            history: History::new(DRIFT_PPM_MAX),
            coverage: Coverage::default(),
            trace: Trace::new(is_told),
            failures: Vec::new(),
            scenario: scenario.clone(),
        };
        world.begin();
        world
    }

    /// Lets everything happen.
    pub fn run(&mut self) {
        let end = Span::from_millis(self.scenario.lasts_ms);
        self.run_until(end);
        // The last entries may be on their way still.
        for step in 1..=CONVERGING_STEPS {
            if !self.is_healed || self.has_converged() {
                break;
            }
            self.run_until(end + Span(step * CONVERGING_STEP.0));
        }
        self.history.ending = Some(self.ending());
    }

    fn run_until(&mut self, end: Span) {
        while self.failures.is_empty()
            && let Some((at, planned)) = self.agenda.next_until(end)
        {
            self.now = at;
            self.happen(planned);
        }
        self.now = end;
    }

    fn begin(&mut self) {
        for id in 1..=self.scenario.voters {
            let mut disk = Disk::new();
            if let Err(fatal) = disk.prepare(founding(self.founders.clone())) {
                self.fail("harness", format!("a new disk cannot be written: {fatal}"));
            }
            self.add_machine(id, disk);
        }
        for resource in self.scenario.definitions() {
            self.operator.take(Order::Define(Box::new(resource)));
        }
        self.agenda.plan(Span::from_millis(100), Planned::Operator);
        for at in 0..self.clients.len() {
            self.plan_client(at);
        }
        for at in 0..self.scenario.faults.len() {
            let at_ms = self.scenario.faults[at].at_ms;
            self.agenda.plan(Span::from_millis(at_ms), Planned::Fault(at));
        }
        if let Some(at_ms) = self.scenario.healed_at_ms {
            self.agenda.plan(Span::from_millis(at_ms), Planned::Heal);
        }
    }

    fn happen(&mut self, planned: Planned) {
        if let Some(thaws_at) = self.thaws_at(&planned) {
            return self.agenda.plan(thaws_at, planned);
        }
        match planned {
            Planned::Fault(at) => {
                let fault: Fault = self.scenario.faults[at].fault;
                self.strike(fault);
            }
            Planned::Start(id) => self.start(id),
            Planned::Stop(id) => self.handle(id, Event::ShutDown),
            Planned::Crash { process, down } if self.lives(process) => self.crash_node(process.id, down),
            Planned::Tick(process) if self.lives(process) => {
                // A timer fires a little late now and then.
                let late = Span(self.random.below(2_000_000));
                self.agenda.plan(self.now + TICK + late, Planned::Tick(process));
                self.handle(process.id, Event::Tick);
            }
            Planned::Act(process) if self.lives(process) => self.act(process.id),
            Planned::Wake(process) if self.lives(process) => self.act_soon(process.id),
            Planned::Synced(process) if self.lives(process) => self.end_sync(process),
            Planned::SnapshotSaved(process, index) if self.lives(process) => {
                self.end_snapshot(process, index);
            }
            Planned::Arrival { from, to, parcel } => self.arrive(from, to, parcel),
            Planned::Report(process, event) if self.lives(process) => {
                self.handle(process.id, Event::Peer(event));
            }
            Planned::DiskHasRoom(id) => self.handle(id, Event::DiskSpace { low: false }),
            Planned::Ask(number) => self.take_in(number),
            Planned::Answer(number, result) => self.deliver(number, &result),
            Planned::GiveUp(number) => self.give_up(number),
            Planned::Cancelled(number) => self.cancel(number),
            Planned::Client(at) => self.wake_client(at),
            Planned::Operator => self.wake_operator(),
            Planned::Order(order) => {
                self.operator.take(*order);
                self.wake_operator();
            }
            Planned::Heal => self.heal(),
            Planned::NoteProgress => self.note_progress(),
            Planned::CompareProgress => self.compare_progress(),
            Planned::HandOver(handover) => self.hand_over(handover),
            // Lost with its process.
            _ => {}
        }
    }

    /// Something happens to a node. It acts a little later, on everything that has happened to it by then.
    pub(super) fn handle(&mut self, id: NodeId, event: Event<CallNumber>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let now = node.clock.read(self.now);
        let Some(running) = &mut node.running else { return };
        match running.replica.handle(event, now) {
            Ok(()) => self.act_soon(id),
            Err(fatal) => self.end(id, Err(fatal)),
        }
    }

    pub(super) fn act_soon(&mut self, id: NodeId) {
        let delay = Span(self.random.between(0, self.scenario.loop_us_max) * 1_000);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let life = node.life;
        let Some(running) = &mut node.running else { return };
        if std::mem::replace(&mut running.will_act, true) {
            return;
        }
        // Never on the spot: the node may be in the middle of doing what it was told before.
        self.agenda.plan(self.now + delay, Planned::Act(Process { id, life }));
    }

    fn act(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let now = node.clock.read(self.now);
        let Some(running) = &mut node.running else { return };
        running.will_act = false;
        let flushed = running.replica.flush(now);
        self.look_at(id);
        self.perform_all(id, flushed);
        let Some(running) = self.nodes.get_mut(&id).and_then(|node| node.running.as_mut()) else { return };
        let settled = running.replica.settle(now);
        self.look_at(id);
        self.perform_all(id, settled);
        self.plan_wake(id);
    }

    fn perform_all(&mut self, id: NodeId, effects: Result<Vec<Effect<CallNumber>>, Fatal>) {
        match effects {
            Ok(effects) => effects.into_iter().for_each(|effect| self.perform(id, effect)),
            Err(fatal) => self.end(id, Err(fatal)),
        }
    }

    /// Who serves as the leader in the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let running = self.nodes.iter().filter_map(|(id, node)| Some((*id, &node.running.as_ref()?.replica)));
        let serving = running.filter(|(_, replica)| replica.is_serving());
        serving.max_by_key(|(_, replica)| replica.status().term).map(|(id, _)| id)
    }

    /// The members as the furthest node knows them.
    pub(super) fn members(&self) -> Members {
        let replicas = self.nodes.values().filter_map(|node| Some(&node.running.as_ref()?.replica));
        let furthest = replicas.max_by_key(|replica| replica.machine().index());
        furthest.map_or_else(|| self.founders.clone(), |replica| replica.machine().members().as_ref().clone())
    }

    fn plan_wake(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let shown = node.clock.read(self.now).monotonic;
        let life = node.life;
        let Some(running) = &mut node.running else { return };
        let wakes_at = running.replica.next_wake();
        if wakes_at.is_none() || wakes_at == running.wakes_at {
            return;
        }
        running.wakes_at = wakes_at;
        // Within the drift of the clock; it is asked again then.
        let left = Span(wakes_at.unwrap_or_default().0.saturating_sub(shown.0).max(1_000));
        self.agenda.plan(self.now + left, Planned::Wake(Process { id, life }));
    }

    pub(super) fn plan_client(&mut self, at: usize) {
        if let Some(wakes_at) = self.clients[at].wakes_at() {
            self.agenda.plan(wakes_at.max(self.now), Planned::Client(at));
        }
    }

    fn wake_client(&mut self, at: usize) {
        if self.clients[at].wakes_at().is_none_or(|wakes_at| wakes_at > self.now) {
            return;
        }
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        let ground = self.ground(&nodes);
        let moves = self.clients[at].wake(ground, &mut self.coverage);
        if moves.has_crashed {
            self.trace.tell(self.now, || format!("client {} crashes", at + 1));
            self.abandon(at);
        }
        for ask in moves.asks {
            self.send_ask(at, ask);
        }
        self.plan_client(at);
    }

    pub(super) fn ground<'a>(&self, nodes: &'a [NodeId]) -> Ground<'a> {
        Ground {
            now: self.now,
            nodes,
            resources: self.scenario.resource_count(),
            is_quiet: self.now >= Span::from_millis(self.scenario.quiet_from_ms()),
        }
    }

    fn wake_operator(&mut self) {
        if let Some(call) = self.operator.next_call() {
            let to = self.leader().or_else(|| self.nodes.keys().next().copied()).unwrap_or_default();
            self.trace.tell(self.now, || format!("operator asks node {to}: {}", brief(&call)));
            self.send_call(Asker::Operator, to, call, Span::from_secs(2));
        }
    }

    /// Something is wrong that no fault explains.
    pub(super) fn fail(&mut self, check: &str, what: String) {
        self.trace.tell(self.now, || format!("FAILS {check}: {what}"));
        self.failures.push(Failure { check: check.to_owned(), checker: None, what });
    }
}
