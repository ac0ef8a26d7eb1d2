//! Whether this node should be sent calls. Liveness is another matter: it never depends on the quorum, or a cluster that
//! lost it would be restarted in vain.

use crate::{node::Node, raft::door::Status};

/// Entries that a ready node may be behind: less than a second of full load.
pub const LAG_MAX: u64 = 10_000;

/// Why a node is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It is going away.
    #[error("this node is shutting down")]
    Stopping,
    /// It was removed, or waits to be added.
    #[error("this node is not a member of the cluster")]
    NotAMember,
    /// It could not lead: what it grants has to be written.
    #[error("this node has less room on its disk than its reserve (storage.disk_reserve)")]
    DiskIsLow,
    /// It could not hand calls to anybody.
    #[error("no leader is known: the cluster has no quorum, or is electing")]
    NoLeader,
    /// It is catching up.
    #[error("this node is {entries} log entries behind")]
    Behind {
        /// How far, as far as it knows.
        entries: u64,
    },
}

/// Whether the node should be sent calls now.
pub fn check(node: &Node) -> Result<(), NotReady> {
    if node.stopping.is_cancelled() {
        return Err(NotReady::Stopping);
    }
    check_status(&node.status.borrow())
}

fn check_status(status: &Status) -> Result<(), NotReady> {
    let entries = status.commit_index.saturating_sub(status.applied_index);
    if !status.members.by_id.contains_key(&status.id) {
        return Err(NotReady::NotAMember);
    }
    if status.disk_is_low {
        return Err(NotReady::DiskIsLow);
    }
    if status.leader.is_none() {
        return Err(NotReady::NoLeader);
    }
    if entries > LAG_MAX {
        return Err(NotReady::Behind { entries });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::raft::members::{Member, Members};

    #[test]
    fn a_ready_node_is_a_member_with_room_that_knows_a_leader_and_is_close_to_it() {
        let member = Member {
            id: 2,
            peer_address: "a:1".into(),
            client_address: "a:2".into(),
            http_address: String::new(),
            incarnation: None,
        };
        let members = Arc::new(Members { by_id: [(2, member)].into(), ..Default::default() });
        let ready = Status { id: 2, leader: Some(1), members, commit_index: LAG_MAX, ..Default::default() };
        assert_eq!(check_status(&ready), Ok(()));

        let behind = Status { commit_index: LAG_MAX + 1, ..ready.clone() };
        assert_eq!(check_status(&behind), Err(NotReady::Behind { entries: LAG_MAX + 1 }));
        assert_eq!(check_status(&Status { leader: None, ..ready.clone() }), Err(NotReady::NoLeader));
        assert_eq!(check_status(&Status { disk_is_low: true, ..ready.clone() }), Err(NotReady::DiskIsLow));
        assert_eq!(check_status(&Status { id: 3, ..ready }), Err(NotReady::NotAMember));
    }
}
