//! Members come as learners, vote once they have caught up, and go.
//!
//! A change of the voters goes through a joint configuration (Ongaro's dissertation, 4.3), which Raft leaves by itself; a
//! learner comes and goes in one step. One change at a time; ids are never used again.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use tracing::info;

use super::{
    super::{
        call::{MemberChange, MemberRefusal, Refusal, Reply},
        entry::{Change, encode},
        members::{Member, NodeId},
    },
    Replica,
};

/// A learner that lacks no more entries than this votes: it can take part in the next ones.
const PROMOTION_LAG_MAX: u64 = 100;

/// A change on its way.
pub(super) struct PendingChange<C> {
    pub caller: Option<C>,
    change: Change,
    index: u64,
}

impl<C> Replica<C> {
    pub(super) fn add_member(&mut self, member: Member, caller: C) {
        let members = self.machine.members();
        let is_alike = |other: &&Member| {
            other.id == member.id
                || other.peer_address == member.peer_address
                || other.client_address == member.client_address
        };
        let refusal = match members.by_id.values().find(is_alike) {
            Some(other) => Some(MemberRefusal::Exists(other.id)),
            None if members.removed.contains(&member.id) => Some(MemberRefusal::IdWasRemoved(member.id)),
            None => None,
        };
        match refusal {
            Some(refusal) => self.reply(caller, Ok(Reply::Changed(Err(refusal)))),
            // Its data directory is known once it was heard from.
            None => self.propose_change(Change::Add(Member { incarnation: None, ..member }), Some(caller)),
        }
    }

    pub(super) fn remove_member(&mut self, id: NodeId, caller: C) {
        if !self.machine.members().by_id.contains_key(&id) {
            self.reply(caller, Ok(Reply::Changed(Err(MemberRefusal::NotFound(id)))));
        } else if self.machine.voters() == [id] {
            self.reply(caller, Ok(Reply::Changed(Err(MemberRefusal::LastVoter(id)))));
        } else if id == self.config.id {
            self.hand_over_to_be_removed(caller);
        } else {
            self.propose_change(Change::Remove(id), Some(caller));
        }
    }

    /// Promotes a learner that has caught up; one at a time.
    pub(super) fn promote_learners(&mut self) {
        if self.leadership.as_ref().is_none_or(|leadership| leadership.change.is_some()) {
            return;
        }
        let last = self.node.raft.raft_log.last_index();
        let has_caught_up = |id: &NodeId| {
            let progress = self.node.raft.prs().get(*id);
            progress.is_some_and(|p| p.recent_active && p.matched + PROMOTION_LAG_MAX >= last)
        };
        if self.can_change()
            && let Some(id) = self.machine.learners().iter().copied().find(has_caught_up)
        {
            self.propose_change(Change::Promote(id), None);
        }
    }

    fn can_change(&self) -> bool {
        let leadership = self.leadership.as_ref();
        leadership.is_some_and(|l| l.is_established && l.change.is_none())
            && self.handover.is_none()
            && !self.machine.is_joint()
            && !self.node.raft.has_pending_conf()
    }

    fn propose_change(&mut self, change: Change, caller: Option<C>) {
        let proposed = self.can_change().then(|| {
            let raft_change = self.raft_change(&change);
            self.node.propose_conf_change(Vec::new(), raft_change)
        });
        match (proposed, &mut self.leadership) {
            (Some(Ok(())), Some(leadership)) => {
                let index = self.node.raft.raft_log.last_index();
                leadership.change = Some(PendingChange { caller, change, index });
            }
            _ => self.refuse_change(caller),
        }
    }

    fn raft_change(&self, change: &Change) -> ConfChangeV2 {
        let mut single = ConfChangeSingle { node_id: change.id(), ..ConfChangeSingle::default() };
        single.set_change_type(match change {
            Change::Add(_) => ConfChangeType::AddLearnerNode,
            Change::Promote(_) => ConfChangeType::AddNode,
            Change::Remove(_) => ConfChangeType::RemoveNode,
        });
        let changes_voters = match change {
            Change::Add(_) => false,
            Change::Promote(_) => true,
            Change::Remove(id) => self.machine.voters().contains(id),
        };
        let mut raft_change = ConfChangeV2::default();
        raft_change.set_changes(vec![single].into());
        raft_change.set_transition(match changes_voters {
            true => ConfChangeTransition::Implicit,
            false => ConfChangeTransition::Auto,
        });
        raft_change.set_context(encode(change).into());
        raft_change
    }

    /// The entry was applied: the change that it brings to its end is answered.
    pub(super) fn finish_change(&mut self, index: u64) {
        if self.machine.is_joint() {
            return;
        }
        let Some(done) = self.take_change(|pending| pending.index <= index) else { return };
        if let Change::Promote(id) = done.change {
            info!("node {id} has caught up: it votes from now on");
        }
        let Some(caller) = done.caller else { return };
        let changed = match done.change {
            Change::Add(Member { id, .. }) => self.member_view(id).map(MemberChange::Added),
            Change::Remove(_) => Some(MemberChange::Removed),
            Change::Promote(_) => None,
        };
        let result = changed.map(|changed| Reply::Changed(Ok(changed)));
        self.reply(caller, result.ok_or(Refusal::OutcomeUnknown));
    }

    /// Raft put an empty entry in the place of the change: another was still under way.
    pub(super) fn void_change(&mut self, index: u64) {
        if let Some(void) = self.take_change(|pending| pending.index == index) {
            self.refuse_change(void.caller);
        }
    }

    fn take_change(&mut self, which: impl FnOnce(&PendingChange<C>) -> bool) -> Option<PendingChange<C>> {
        self.leadership.as_mut()?.change.take_if(|pending| which(pending))
    }

    fn refuse_change(&mut self, caller: Option<C>) {
        if let Some(caller) = caller {
            self.reply(caller, Ok(Reply::Changed(Err(MemberRefusal::ChangeInProgress))));
        }
    }
}
