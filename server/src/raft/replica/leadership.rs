//! What only the leader has: calls that wait for their turn, calls that were proposed, and the rules for both.
//!
//! All of it ends with the leadership. What was not proposed did not happen, and says so; what was proposed may yet be
//! committed by the next leader, and says that.

use std::collections::VecDeque;

use raft::StateRole;
use tollgate_limiter::{Command, PermitId, Span, Stamp};

use crate::clock::Reading;

use super::{
    super::{
        call::{Call, CallNumber, MemberChange, MemberRefusal, Query, Refusal, Reply},
        door::OVERLOADED_RETRY_AFTER,
        entry::{EntryBuilder, Registration},
        members::{Incarnation, NodeId},
    },
    About, Effect, Replica,
    membership::PendingChange,
    reads::Reads,
};

/// Commands that wait to be proposed; beyond it, calls wait at the door.
const QUEUED_MAX: usize = 8_192;

/// Log writes that are not durable yet; beyond it, what is asked gathers for the next entry.
const WRITES_OPEN_MAX: usize = 2;

/// A term of this node as the leader.
pub(super) struct Leadership<C> {
    pub term: u64,
    /// The first entry of the term was applied: everything that any leader before acknowledged is in the state.
    pub is_established: bool,
    pub reads: Reads<C>,
    pub change: Option<PendingChange<C>>,
    queue: VecDeque<Queued<C>>,
    registrations: Vec<(Registration, Option<C>)>,
    proposals: VecDeque<Proposal<C>>,
    /// A lease ran out: an entry is needed, if only for its stamp.
    is_due: bool,
}

/// A command that waits for its turn.
struct Queued<C> {
    command: Command,
    attempt: u32,
    // Nobody waits for what the leader itself proposes.
    caller: Option<C>,
}

/// Who waits for the answer to a command.
pub(super) struct Waiting<C> {
    pub caller: C,
    pub about: About,
}

/// An entry on its way.
pub(super) struct Proposal<C> {
    pub index: u64,
    pub proposed_at: Span,
    /// One for each command.
    pub waiting: Vec<Option<Waiting<C>>>,
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
            registrations: Vec::new(),
            proposals: VecDeque::new(),
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

    /// The proposal that this entry carries, if it is one of this leader's.
    pub fn take_proposal(&mut self, index: u64) -> Option<Proposal<C>> {
        self.proposals.front().filter(|proposal| proposal.index == index)?;
        self.proposals.pop_front()
    }

    fn has_work(&self) -> bool {
        self.is_due || !self.queue.is_empty() || !self.registrations.is_empty()
    }
}

impl<C> Replica<C> {
    /// A call has arrived. It is queued or refused; nothing is proposed yet.
    pub(super) fn ask(&mut self, _number: CallNumber, call: Call, caller: C) {
        if call == Call::Query(Query::ClusterHere) {
            return self.reply(caller, Ok(Reply::Cluster(self.view())));
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
            Call::Command { command, attempt, .. } => {
                leadership.queue.push_back(Queued { command, attempt, caller: Some(caller) });
            }
            Call::AddMember(member) => self.add_member(member, caller),
            Call::RemoveMember(id) => self.remove_member(id, caller),
            Call::RegisterIncarnation { id, incarnation } => self.register(id, incarnation, Some(caller)),
        }
    }

    /// A grant reached nobody: it goes back the way it came, through the log.
    pub(super) fn give_back(&mut self, permit: PermitId) {
        if let Some(leadership) = &mut self.leadership {
            let command = Command::GiveBack(permit);
            leadership.queue.push_back(Queued { command, attempt: 0, caller: None });
        }
    }

    /// Proposes one entry with as much as is queued and fits. Denials are answered on the way, without the log.
    pub(super) fn propose(&mut self, now: Reading) {
        self.resume_clock(now);
        let Some(leadership) = &self.leadership else { return };
        let is_held_back = self.writes.open() >= WRITES_OPEN_MAX
            || self.handover.is_some()
            || self.node.raft.lead_transferee.is_some();
        if !leadership.is_established || is_held_back || !leadership.has_work() {
            return;
        }
        let stamp = self.stamp(now);
        let (entry, waiting) = self.pack(stamp);
        let Some(leadership) = &mut self.leadership else { return };
        if waiting.is_empty() && leadership.registrations.is_empty() && !leadership.is_due {
            return;
        }
        leadership.is_due = false;
        let (registrations, registering): (Vec<_>, Vec<_>) = leadership.registrations.drain(..).unzip();
        let elapsed = stamp.cluster.since(self.machine.limiter().now().cluster);
        let (last, voters) = (self.machine.wall_at_most(), self.machine.voters());
        let wall_at_most = self.clock.wall_at_most(last, elapsed, voters, now);
        match self.node.propose(Vec::new(), entry.finish(stamp, &registrations, wall_at_most)) {
            Ok(()) => leadership.proposals.push_back(Proposal {
                index: self.node.raft.raft_log.last_index(),
                proposed_at: now.monotonic,
                waiting,
                registering,
            }),
            // Too much is uncommitted: the quorum is slow, or gone.
            Err(error) => {
                tracing::debug!("proposal dropped: {error}");
                self.refuse_overloaded(waiting, registering);
            }
        }
    }

    /// Takes commands from the queue until the entry is full.
    fn pack(&mut self, stamp: Stamp) -> (EntryBuilder, Vec<Option<Waiting<C>>>) {
        let mut entry = EntryBuilder::default();
        let mut waiting = Vec::new();
        let Some(leadership) = &mut self.leadership else { return (entry, waiting) };
        while !entry.is_full()
            && let Some(Queued { command, attempt, caller }) = leadership.queue.pop_front()
        {
            let about = About::of(&command);
            let refused = match attempt {
                0 | 1 => self.machine.limiter().refuse(stamp, &command),
                // An earlier attempt may have been granted by an entry that is still to be applied.
                _ => None,
            };
            match (refused, caller) {
                (Some(answer), Some(caller)) => {
                    let result = Ok(answer.into());
                    self.effects.push(Effect::Reply { caller, result, about });
                }
                (_, caller) => {
                    entry.push(&command);
                    waiting.push(caller.map(|caller| Waiting { caller, about }));
                }
            }
        }
        (entry, waiting)
    }

    fn refuse_overloaded(&mut self, waiting: Vec<Option<Waiting<C>>>, registering: Vec<Option<C>>) {
        let callers = waiting.into_iter().flatten().map(|waiting| waiting.caller);
        for caller in callers.chain(registering.into_iter().flatten()) {
            self.reply(caller, Err(Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER }));
        }
    }

    /// A leader whose clock has no anchor looks for one; in a new cluster, the first time is worth an entry.
    fn resume_clock(&mut self, now: Reading) {
        let state = self.machine.limiter().now();
        // Before, the last stamp may not be applied yet, and the outage is counted from there.
        let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.is_established) else {
            return;
        };
        let wall_at_most = self.machine.wall_at_most();
        let runs = self.clock.resume(state, wall_at_most, self.machine.voters(), now);
        if runs && state == Stamp::default() && leadership.is_idle() {
            leadership.is_due = true;
        }
    }

    /// A lease that runs out is noticed by an entry, even an empty one: without any, an idle cluster writes nothing.
    pub(super) fn expire_if_due(&mut self, now: Reading) {
        let stamp = self.stamp(now);
        let next_due = self.machine.limiter().next_due();
        if let Some(leadership) = &mut self.leadership {
            leadership.is_due |= leadership.is_idle() && next_due.is_some_and(|due| due <= stamp.cluster);
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
    pub(super) fn follow_leadership(&mut self) {
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
            self.register(self.config.id, self.config.incarnation, None);
        }
    }

    pub(super) fn end_leadership(&mut self, lost: Leadership<C>) {
        let leader = self.known_leader();
        let not_proposed = lost.queue.into_iter().filter_map(|queued| queued.caller);
        let not_proposed = not_proposed.chain(lost.reads.into_callers());
        let not_proposed =
            not_proposed.chain(lost.registrations.into_iter().filter_map(|(_, caller)| caller));
        for caller in not_proposed {
            self.reply(caller, Err(Refusal::NotLeader { leader }));
        }
        for Proposal { waiting, registering, .. } in lost.proposals {
            let callers = waiting.into_iter().flatten().map(|waiting| waiting.caller);
            for caller in callers.chain(registering.into_iter().flatten()) {
                self.reply(caller, Err(Refusal::OutcomeUnknown));
            }
        }
        if let Some(caller) = lost.change.and_then(|change| change.caller) {
            self.reply(caller, Err(Refusal::OutcomeUnknown));
        }
    }
}
