//! What others may know of a replica.

use tollgate_limiter::Stamp;

use super::{
    super::{
        call::{ClusterView, MemberView},
        door::Status,
        members::NodeId,
    },
    ELECTION_TICKS, Heard, Replica,
};

impl<C> Replica<C> {
    /// What the rest of the node may know.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            leader: self.known_leader(),
            term: self.node.raft.term,
            commit_index: self.node.raft.raft_log.committed,
            applied_index: self.machine.index(),
            disk_is_low: self.disk_is_low,
            members: self.machine.members().clone(),
        }
    }

    /// The entry up to which the last snapshot reaches.
    pub fn snapshot_index(&self) -> u64 {
        self.node.store().mark().snapshot_index
    }

    /// Whether this node leads, and answers.
    pub fn is_serving(&self) -> bool {
        self.leadership.as_ref().is_some_and(|leadership| leadership.is_established)
            && !self.is_shutting_down
            // A new cluster has no time before a quorum has told its wall time.
            && self.machine.limiter().now() != Stamp::default()
    }

    /// The term in which this node leads, whether or not it answers yet.
    pub fn leads_in(&self) -> Option<u64> {
        self.leadership.as_ref().map(|leadership| leadership.term)
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> ClusterView {
        let members = self.machine.members().by_id.keys();
        ClusterView {
            leader: self.known_leader().unwrap_or_default(),
            term: self.node.raft.term,
            commit_index: self.node.raft.raft_log.committed,
            applied_index: self.machine.index(),
            digest: self.machine.digest(),
            cluster_time: self.machine.limiter().now().cluster,
            answered_by: self.config.id,
            members: members.filter_map(|id| self.member_view(*id)).collect(),
        }
    }

    pub(super) fn member_view(&self, id: NodeId) -> Option<MemberView> {
        let is_this = id == self.config.id;
        let progress = self.node.raft.prs().get(id).filter(|_| self.leadership.is_some());
        Some(MemberView {
            member: self.machine.members().by_id.get(&id)?.clone(),
            voter: self.machine.voters().contains(&id),
            reachable: is_this || self.recently_heard(id).is_some(),
            matched_index: progress.map_or(0, |progress| progress.matched),
        })
    }

    /// What is known of a peer that was heard from within an election timeout.
    pub(super) fn recently_heard(&self, id: NodeId) -> Option<Heard> {
        self.heard.get(&id).copied().filter(|heard| self.ticks - heard.tick <= ELECTION_TICKS as u64)
    }

    /// Who leads, if known; this node only once it answers.
    pub(super) fn known_leader(&self) -> Option<NodeId> {
        match self.node.raft.leader_id {
            raft::INVALID_ID => None,
            id if id == self.config.id => self.is_serving().then_some(id),
            id => Some(id),
        }
    }
}
