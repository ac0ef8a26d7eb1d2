//! Leadership given away on purpose: because somebody asks, because the leader is to be removed, because its
//! disk is low, or because it shuts down.
//!
//! First the leader proposes nothing new, until what it has proposed is applied and answered; then the other one, which has
//! everything by now, is told to stand for election. What was asked meanwhile goes to the new leader.
//!
//! A node whose disk is low stands for election all the same: it may be the only one whose log has everything. It hands over
//! once it has won. (Raft's priorities could keep it from winning, but voters that compare them before logs may elect
//! nobody.)

use raft::{INVALID_ID, StateRole};
use tracing::{info, warn};

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

/// Ticks from one handover by a leader whose disk is low to its next: disks that are now low and now not, or a voter that
/// cannot win, must not keep the cluster busy with elections.
const RELIEF_TICKS: u64 = 10 * ELECTION_TICKS as u64;

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
    LowDisk,
    ShutDown,
}

impl<C> Replica<C> {
    /// Hands over to a voter; 0: to the one that can lead best.
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

    /// A leader without room refuses whatever has to be written. While no other voter has room, it stays: an election would not
    /// help.
    pub(super) fn hand_over_if_disk_is_low(&mut self) {
        let is_established = self.leadership.as_ref().is_some_and(|leadership| leadership.is_established);
        let may_begin = self.handover.is_none() && !self.is_shutting_down && self.ticks >= self.next_relief;
        if self.disk_is_low
            && is_established
            && may_begin
            && let Some(to) = self.best_voter_with_room()
        {
            info!(to, "leadership is handed over, because the disk is low");
            self.next_relief = self.ticks + RELIEF_TICKS;
            self.begin_handover(Purpose::LowDisk, Some(to));
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
                    Purpose::LowDisk => !leads,
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
            Purpose::LowDisk if leads => {
                warn!(to, "the disk is low, and leadership could not be handed over")
            }
            Purpose::LowDisk => {}
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

    /// The other voter that can lead best: heard from, with room on its disk, and lacking least, in this order.
    fn best_voter(&self) -> Option<NodeId> {
        self.other_voters().max_by_key(|id| {
            let progress = self.node.raft.prs().get(*id);
            progress.map(|progress| (progress.recent_active, self.has_disk_room(*id), progress.matched))
        })
    }

    /// The other voter that lacks least, of those that said lately that their disks have room.
    fn best_voter_with_room(&self) -> Option<NodeId> {
        let with_room = self.other_voters().filter(|id| self.has_disk_room(*id));
        with_room.max_by_key(|id| self.node.raft.prs().get(*id).map(|progress| progress.matched))
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> {
        self.machine.voters().iter().copied().filter(|id| *id != self.config.id)
    }

    fn has_disk_room(&self, id: NodeId) -> bool {
        self.recently_heard(id).is_some_and(|heard| heard.has_room)
    }
}
