//! What only the leader has: calls that are queued, requests that wait, what was proposed, and the rules for all three.
//!
//! All of it ends with the leadership. What was not proposed did not happen, and says so; what was proposed may yet be
//! committed by the next leader, and says that.

use std::collections::{BTreeSet, VecDeque};

use raft::StateRole;
use tollgate_limiter::{Command, PermitId, ResourceName, Span, Stamp, WallTime};
use tollgate_waiting::Moment;

use crate::clock::Reading;

use super::{
    super::{
        call::{Call, CallNumber, MemberChange, MemberRefusal, Query, Refusal, Reply},
        door::OVERLOADED_RETRY_AFTER,
        entry::{Entry, Registration},
        members::{Incarnation, NodeId},
    },
    About, Replica,
    membership::PendingChange,
    packing::{Draft, Queued, Waiting},
    reads::Reads,
    waiters::{Patience, Waiters},
};

/// Commands that wait to be proposed; beyond it, calls wait at the door.
const QUEUED_MAX: usize = 8_192;

/// Log writes that are not durable yet; beyond it, what is asked gathers for the next entry.
const WRITES_OPEN_MAX: usize = 2;

/// Entries that no quorum has yet; beyond it, what is asked gathers, too. With two, one is written while the one before is agreed
/// upon. Each entry costs every node a sync, a message and some wake-ups, whatever is in it…
const ENTRIES_OPEN_MAX: u64 = 2;

/// …which is little for so many commands: they need not gather. Otherwise a slow quorum would have two entries at a time, however
/// many calls wait.
const COMMANDS_GATHERED: usize = 1_024;

/// A term of this node as the leader.
pub(super) struct Leadership<C> {
    pub term: u64,
    /// The first entry of the term was applied: everything that any leader before acknowledged is in the state.
    pub is_established: bool,
    pub reads: Reads<C>,
    pub change: Option<PendingChange<C>>,
    pub queue: VecDeque<Queued<C>>,
    pub waiters: Waiters<C>,
    pub proposals: VecDeque<Proposal<C>>,
    registrations: Vec<(Registration, Option<C>)>,
    /// A lease ran out: an entry is needed, if only for its stamp.
    is_due: bool,
}

/// An entry on its way.
pub(super) struct Proposal<C> {
    pub index: u64,
    /// What the log has there: it is applied without being read from its bytes.
    pub entry: Entry,
    pub proposed_at: Span,
    /// One for each command.
    pub waiting: Vec<Option<Waiting<C>>>,
    /// The resources of its acquires.
    pub debited: BTreeSet<ResourceName>,
    /// One for each registration.
    pub registering: Vec<Option<C>>,
}

impl<C> Leadership<C> {
    fn new(term: u64) -> Leadership<C> {
        Leadership {
            term,
            is_established: false,
            reads: Reads::new(term),
            change: None,
            queue: VecDeque::new(),
            waiters: Waiters::default(),
            proposals: VecDeque::new(),
            registrations: Vec::new(),
            is_due: false,
        }
    }

    pub fn has_room(&self) -> bool {
        self.queue.len() + self.reads.len() < QUEUED_MAX
    }

    /// Whether nobody waits for an entry of this leader.
    pub fn is_idle(&self) -> bool {
        self.proposals.is_empty() && self.change.is_none()
    }

    /// The proposal that is the entry there, of that index and term.
    pub fn take_proposal(&mut self, (index, term): (u64, u64)) -> Option<Proposal<C>> {
        self.proposals.front().filter(|proposal| (proposal.index, self.term) == (index, term))?;
        self.proposals.pop_front()
    }

    fn has_work(&self, now: Reading) -> bool {
        self.is_due
            || !self.queue.is_empty()
            || !self.registrations.is_empty()
            || self.waiters.are_due(now.monotonic)
    }
}

impl<C> Replica<C> {
    /// A call has arrived. It is queued or refused; nothing is proposed yet.
    pub(super) fn ask(&mut self, number: CallNumber, call: Call, caller: C, now: Reading) {
        match &call {
            Call::Query(Query::ClusterHere) => {
                return self.reply(caller, Ok(Reply::Cluster(Box::new(self.view()))));
            }
            Call::Query(Query::FeedbackRulesHere(called)) => {
                let rules = self.machine.limiter().feedback_rules(called).cloned().unwrap_or_default();
                return self.reply(caller, Ok(Reply::FeedbackRules(Box::new(rules))));
            }
            _ => {}
        }
        if self.is_shutting_down {
            return self.reply(caller, Err(Refusal::ShuttingDown));
        }
        if !self.is_serving() {
            let leader = self.known_leader();
            return self.reply(caller, Err(Refusal::NotLeader { leader }));
        }
        let Some(leadership) = &mut self.leadership else { return };
        match call {
            Call::Query(query) => leadership.reads.queue(query, caller),
            // It writes nothing here, and helps when the disk is full.
            Call::TransferLeadership(to) => self.transfer_leadership(to, caller),
            _ if self.disk_is_low => self.reply(caller, Err(Refusal::StorageFull)),
            Call::Command { command, attempt, wait } => {
                let patience = wait.map(|wait| Patience::begin(wait, now.monotonic));
                if patience.is_some() {
                    leadership.waiters.expect(number);
                }
                leadership.queue.push_back(Queued {
                    command,
                    attempt,
                    number,
                    patience,
                    caller: Some(caller),
                });
            }
            Call::AddMember(member) => self.add_member(member, caller),
            Call::RemoveMember(id) => self.remove_member(id, caller),
            Call::RegisterIncarnation { id, incarnation } => self.register(id, incarnation, Some(caller)),
        }
    }

    /// A grant reached nobody: it goes back the way it came, through the log.
    pub(super) fn give_back(&mut self, permit: PermitId) {
        if let Some(leadership) = &mut self.leadership {
            leadership.queue.push_back(Queued::of_the_leader(Command::GiveBack(permit)));
        }
    }

    /// Proposes one entry with as much as is queued and fits, and those who wait and whose turn it is. Denials are answered
    /// on the way, without the log.
    ///
    /// Nothing is decided while time stands still: what was granted then would grow old all at once when the outage is
    /// credited, and a lease could end, or a window be over, as soon as it had begun.
    pub(super) fn propose(&mut self, now: Reading) {
        if self.leadership.is_none() {
            return;
        }
        let wall_at_most = self.resume_clock(now);
        let stamp = self.stamp(now);
        let is_held_back =
            self.gathers() || self.handover.is_some() || self.node.raft.lead_transferee.is_some();
        let Some(leadership) = &mut self.leadership else { return };
        leadership.waiters.queue.tell_time(Moment { monotonic: now.monotonic, stamp });
        if !leadership.is_established || !leadership.has_work(now) {
            return;
        }
        let Some(wall_at_most) = wall_at_most.filter(|_| !is_held_back) else { return self.end_waits(now) };
        let Draft { entry, waiting, debited } = self.pack(now, stamp);
        let Some(leadership) = &mut self.leadership else { return };
        if waiting.is_empty() && leadership.registrations.is_empty() && !leadership.is_due {
            return;
        }
        leadership.is_due = false;
        let (registrations, registering): (Vec<_>, Vec<_>) = leadership.registrations.drain(..).unzip();
        let (entry, bytes) = entry.finish(stamp, registrations, wall_at_most);
        match self.node.propose(Vec::new(), bytes) {
            Ok(()) => leadership.proposals.push_back(Proposal {
                index: self.node.raft.raft_log.last_index(),
                entry,
                proposed_at: now.monotonic,
                waiting,
                debited,
                registering,
            }),
            // Too much is uncommitted: the quorum is slow, or gone.
            Err(error) => {
                tracing::debug!("proposal dropped: {error}");
                self.drop_proposal(waiting, &debited, registering, now);
            }
        }
    }

    /// Whether what is asked should gather for the next entry.
    fn gathers(&self) -> bool {
        let log = &self.node.raft.raft_log;
        let uncommitted = log.last_index().saturating_sub(log.committed);
        let queued = self.leadership.as_ref().map_or(0, |leadership| leadership.queue.len());
        self.writes.open() >= WRITES_OPEN_MAX
            || (uncommitted >= ENTRIES_OPEN_MAX && queued < COMMANDS_GATHERED)
    }

    /// Nothing was proposed. Who may wait waits on; the others are refused, and leave room to those who were to go after them.
    fn drop_proposal(
        &mut self,
        waiting: Vec<Option<Waiting<C>>>,
        debited: &BTreeSet<ResourceName>,
        registering: Vec<Option<C>>,
        now: Reading,
    ) {
        if let Some(leadership) = &mut self.leadership {
            debited.iter().for_each(|resource| leadership.waiters.queue.touched(resource));
        }
        let mut refused: Vec<C> = registering.into_iter().flatten().collect();
        for Waiting { standing, about, .. } in waiting.into_iter().flatten() {
            match about {
                About::Acquire(acquire) if standing.is_patient(now.monotonic) => {
                    self.enter_again(acquire, standing, now);
                }
                _ => {
                    if let Some(leadership) = &mut self.leadership {
                        leadership.waiters.forget(&standing);
                    }
                    refused.push(standing.caller);
                }
            }
        }
        for caller in refused {
            self.reply(caller, Err(Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER }));
        }
    }

    /// A leader whose clock has no anchor looks for one; in a new cluster, the first time is worth an entry. Returns what wall clocks
    /// show at most, if time runs.
    fn resume_clock(&mut self, now: Reading) -> Option<WallTime> {
        let state = self.machine.limiter().now();
        // Before, the last stamp may not be applied yet, and the outage is counted from there.
        let leadership = self.leadership.as_mut().filter(|leadership| leadership.is_established)?;
        let before = self.machine.wall_at_most();
        let wall_at_most = self.clock.resume(state, before, self.machine.voters(), now)?;
        if state == Stamp::default() && leadership.is_idle() {
            leadership.is_due = true;
        }
        Some(wall_at_most)
    }

    /// A lease that runs out is noticed by an entry, even an empty one: without any, an idle cluster writes nothing.
    pub(super) fn expire_if_due(&mut self, now: Reading) {
        let is_idle = self.leadership.as_ref().is_some_and(Leadership::is_idle);
        let next_due = self.machine.limiter().next_due().filter(|_| is_idle);
        let is_due = next_due.is_some_and(|due| due <= self.stamp(now).cluster);
        if let Some(leadership) = &mut self.leadership {
            leadership.is_due |= is_due;
        }
    }

    /// Records the data directory of a member, unless that is done.
    fn register(&mut self, id: NodeId, incarnation: Incarnation, caller: Option<C>) {
        let known = self.machine.members().by_id.get(&id).map(|member| member.incarnation);
        let changed = match known {
            None => Err(MemberRefusal::NotFound(id)),
            Some(Some(known)) if known == incarnation => Ok(MemberChange::Registered),
            Some(Some(_)) => Err(MemberRefusal::WipedData(id)),
            Some(None) => {
                if let Some(leadership) = &mut self.leadership {
                    leadership.registrations.push((Registration { id, incarnation }, caller));
                }
                return;
            }
        };
        if let Some(caller) = caller {
            self.reply(caller, Ok(Reply::Changed(changed)));
        }
    }

    /// Notices that leadership was won, established or lost. Called after everything that may do so.
    pub(super) fn follow_leadership(&mut self, now: Reading) {
        let leads = self.node.raft.state == StateRole::Leader;
        let term = self.node.raft.term;
        if let Some(lost) = self.leadership.take_if(|leadership| !leads || leadership.term != term) {
            self.end_leadership(lost);
        }
        if !leads {
            return;
        }
        let leadership = self.leadership.get_or_insert_with(|| Leadership::new(term));
        if !leadership.is_established && self.machine.term() == term {
            leadership.is_established = true;
            leadership.waiters.begin(now.monotonic);
            self.register(self.config.id, self.config.incarnation, None);
        }
    }

    pub(super) fn end_leadership(&mut self, lost: Leadership<C>) {
        let leader = self.known_leader();
        let not_proposed = lost.queue.into_iter().filter_map(|queued| queued.caller);
        let not_proposed = not_proposed.chain(lost.waiters.into_callers());
        let not_proposed = not_proposed.chain(lost.reads.into_callers());
        let not_proposed =
            not_proposed.chain(lost.registrations.into_iter().filter_map(|(_, caller)| caller));
        for caller in not_proposed {
            self.reply(caller, Err(Refusal::NotLeader { leader }));
        }
        for Proposal { waiting, registering, .. } in lost.proposals {
            let callers = waiting.into_iter().flatten().map(|waiting| waiting.standing.caller);
            for caller in callers.chain(registering.into_iter().flatten()) {
                self.reply(caller, Err(Refusal::OutcomeUnknown));
            }
        }
        if let Some(caller) = lost.change.and_then(|change| change.caller) {
            self.reply(caller, Err(Refusal::OutcomeUnknown));
        }
    }
}
