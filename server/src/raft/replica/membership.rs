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
    /// It is in force: what became of it is known to a quorum for good once an entry after this one is committed.
    in_force_at: Option<u64>,
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
                leadership.change = Some(PendingChange { caller, change, index, in_force_at: None });
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
    ///
    /// A node that starts goes by the configuration as of the last entry that it knows to be committed, which it need not
    /// have written down: a removed member could be missed in a quorum again. So the answer waits for one more entry. With it
    /// a quorum makes durable that the change is committed.
    pub(super) fn finish_change(&mut self, index: u64) {
        self.note_change_in_force(index);
        let is_known = |pending: &PendingChange<C>| {
            pending.in_force_at.is_some_and(|at| at < index || pending.caller.is_none())
        };
        let Some(done) = self.take_change(is_known) else { return };
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

    fn note_change_in_force(&mut self, index: u64) {
        let is_joint = self.machine.is_joint();
        let change = self.leadership.as_mut().and_then(|leadership| leadership.change.as_mut());
        let Some(change) = change.filter(|c| c.in_force_at.is_none() && c.index <= index && !is_joint) else {
            return;
        };
        change.in_force_at = Some(self.node.raft.raft_log.last_index());
        self.settle_change();
    }

    /// Sees to it that an entry follows a change that is in force. A leader that is handing over cannot propose it; should
    /// that fail, it tries again.
    pub(super) fn settle_change(&mut self) {
        let change = self.leadership.as_ref().and_then(|leadership| leadership.change.as_ref());
        let last = self.node.raft.raft_log.last_index();
        if change.is_some_and(|change| change.in_force_at == Some(last))
            && let Err(error) = self.node.propose(Vec::new(), Vec::new())
        {
            tracing::debug!("proposal dropped: {error}");
        }
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
