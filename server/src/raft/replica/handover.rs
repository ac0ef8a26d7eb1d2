//! Leadership given away on purpose: because somebody asks, because the leader is to be removed, or because it shuts
//! down.
//!
//! First the leader proposes nothing new, until what it has proposed is applied and answered; then the other one, which has
//! everything by now, is told to stand for election. What was asked meanwhile goes to the new leader.

use raft::{INVALID_ID, StateRole};

use super::{
    super::{
        call::{MemberChange, MemberRefusal, Refusal, Reply},
        members::NodeId,
    },
    ELECTION_TICKS, Effect, Replica,
};

/// Ticks for what is open to be answered; then it may have to end as unknown.
const DRAIN_TICKS: u64 = ELECTION_TICKS as u64;

/// Ticks for all of it; Raft gives up a transfer an election timeout after it began.
const GIVE_UP_TICKS: u64 = DRAIN_TICKS + ELECTION_TICKS as u64 + 2;

/// A handover under way.
pub(super) struct Handover<C> {
    purpose: Purpose<C>,
    /// None: there is no other voter.
    to: Option<NodeId>,
    was_asked: bool,
    began_at: u64,
}

enum Purpose<C> {
    Transfer(C),
    Removal(C),
    ShutDown,
}

impl<C> Replica<C> {
    /// Hands over to a voter; 0: to the one that is furthest along.
    pub(super) fn transfer_leadership(&mut self, to: NodeId, caller: C) {
        let target = match to {
            0 => self.best_voter().ok_or(MemberRefusal::LastVoter(self.config.id)),
            id if !self.machine.members().by_id.contains_key(&id) => Err(MemberRefusal::NotFound(id)),
            id if !self.machine.voters().contains(&id) => Err(MemberRefusal::NotAVoter(id)),
            id => Ok(id),
        };
        match target {
            Ok(id) if id == self.config.id => {
                self.reply(caller, Ok(Reply::Changed(Ok(MemberChange::Transferred(id)))));
            }
            Ok(id) => self.begin_handover(Purpose::Transfer(caller), Some(id)),
            Err(refusal) => self.reply(caller, Ok(Reply::Changed(Err(refusal)))),
        }
    }

    /// A leader cannot see its own removal through: it hands over, and the new one is asked again.
    pub(super) fn hand_over_to_be_removed(&mut self, caller: C) {
        match self.best_voter() {
            Some(id) => self.begin_handover(Purpose::Removal(caller), Some(id)),
            None => {
                let refusal = MemberRefusal::LastVoter(self.config.id);
                self.reply(caller, Ok(Reply::Changed(Err(refusal))));
            }
        }
    }

    /// Ends the replica, after a handover if it leads.
    pub(super) fn shut_down(&mut self) {
        self.is_shutting_down = true;
        if self.handover.is_some() {
            return;
        }
        match self.node.raft.state {
            StateRole::Leader => {
                let to = self.best_voter();
                self.begin_handover(Purpose::ShutDown, to);
            }
            _ => self.stop(),
        }
    }

    /// Takes the next step of a handover: before Raft is asked what it has to send.
    pub(super) fn advance_handover(&mut self) {
        let (Some(handover), Some(leadership)) = (&mut self.handover, &self.leadership) else { return };
        let has_drained = leadership.is_idle() || self.ticks - handover.began_at >= DRAIN_TICKS;
        if let Some(to) = handover.to
            && has_drained
            && !handover.was_asked
        {
            handover.was_asked = true;
            self.node.transfer_leader(to);
        }
    }

    /// Ends a handover that has succeeded, or failed.
    pub(super) fn end_handover(&mut self) {
        let leads = self.leadership.is_some();
        let is_idle = self.leadership.as_ref().is_none_or(|leadership| leadership.is_idle());
        let ticks = self.ticks;
        let leader = self.node.raft.leader_id;
        let is_over = |handover: &mut Handover<C>| {
            let gives_up = ticks - handover.began_at >= GIVE_UP_TICKS;
            gives_up
                || match handover.purpose {
                    Purpose::ShutDown => !leads || (handover.to.is_none() && is_idle),
                    Purpose::Transfer(_) | Purpose::Removal(_) => !leads && leader != INVALID_ID,
                }
        };
        let Some(over) = self.handover.take_if(is_over) else { return };
        let to = over.to.unwrap_or_default();
        match over.purpose {
            Purpose::Transfer(caller) => {
                let result = if leader == to {
                    Ok(Reply::Changed(Ok(MemberChange::Transferred(to))))
                } else if leader != INVALID_ID {
                    Ok(Reply::Changed(Err(MemberRefusal::TransferTimedOut(to))))
                } else {
                    Err(Refusal::OutcomeUnknown)
                };
                self.reply(caller, result);
            }
            Purpose::Removal(caller) if leads => {
                self.reply(caller, Ok(Reply::Changed(Err(MemberRefusal::TransferTimedOut(to)))));
            }
            Purpose::Removal(caller) => {
                let leader = self.known_leader();
                self.reply(caller, Err(Refusal::NotLeader { leader }));
            }
            Purpose::ShutDown => return self.stop(),
        }
        if self.is_shutting_down {
            self.shut_down();
        }
    }

    fn begin_handover(&mut self, purpose: Purpose<C>, to: Option<NodeId>) {
        if self.handover.is_none() {
            self.handover = Some(Handover { purpose, to, was_asked: false, began_at: self.ticks });
        } else if let Purpose::Transfer(caller) | Purpose::Removal(caller) = purpose {
            self.reply(caller, Ok(Reply::Changed(Err(MemberRefusal::ChangeInProgress))));
        }
    }

    fn stop(&mut self) {
        if let Some(leadership) = self.leadership.take() {
            self.end_leadership(leadership);
        }
        self.effects.push(Effect::Stopped);
    }

    /// The other voter that lacks least, of those that were heard from.
    fn best_voter(&self) -> Option<NodeId> {
        let others = self.machine.voters().iter().copied().filter(|id| *id != self.config.id);
        others.max_by_key(|id| {
            let progress = self.node.raft.prs().get(*id);
            progress.map(|progress| (progress.recent_active, progress.matched))
        })
    }
}
