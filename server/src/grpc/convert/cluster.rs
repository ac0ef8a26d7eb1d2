//! Members, from the wire and for it.

use tollgate_proto::v1;

use super::{Fields, Invalid, duration};
use crate::{
    address,
    node::Versions,
    raft::{
        call::{ClusterView, MemberView},
        members::{Member, NodeId},
    },
};

/// Reads and checks a new member.
pub fn new_member(request: v1::AddMemberRequest) -> Result<Member, Invalid> {
    let mut fields = Fields::default();
    if request.id == 0 {
        fields.reject("id", "must be 1 or more");
    }
    let addresses = [
        ("peer_address", &request.peer_address),
        ("client_address", &request.client_address),
        ("http_address", &request.http_address),
    ];
    for (index, (field, text)) in addresses.into_iter().enumerate() {
        if text.is_empty() {
            if field != "http_address" {
                fields.reject(field, "is required");
            }
        } else if let Err(problem) = address::check(text) {
            fields.reject(field, problem);
        } else if addresses[..index].iter().any(|(_, other)| *other == text) {
            fields.reject(field, "is the same as another of the node's addresses");
        }
    }
    fields.finish(Some(Member {
        id: request.id,
        peer_address: request.peer_address,
        client_address: request.client_address,
        http_address: request.http_address,
        incarnation: None,
    }))
}

/// Reads the id of a member.
pub fn member_id(field: &str, id: NodeId) -> Result<NodeId, Invalid> {
    if id == 0 { Err(Invalid::field(field, "must be 1 or more")) } else { Ok(id) }
}

/// The cluster as one node sees it.
pub fn cluster(name: &str, view: ClusterView, versions: &Versions) -> v1::GetClusterResponse {
    v1::GetClusterResponse {
        cluster: name.to_owned(),
        leader_id: view.leader,
        term: view.term,
        commit_index: view.commit_index,
        applied_index: view.applied_index,
        state_hash: format!("{:016x}", view.digest),
        cluster_time: Some(duration(view.cluster_time.since(Default::default()))),
        answered_by: view.answered_by,
        members: view.members.into_iter().map(|seen| member(seen, view.leader, versions)).collect(),
    }
}

/// One member of it.
pub fn member(seen: MemberView, leader: NodeId, versions: &Versions) -> v1::Member {
    let role = if seen.voter { v1::MemberRole::Voter } else { v1::MemberRole::Learner };
    let Member { id, peer_address, client_address, http_address, .. } = seen.member;
    v1::Member {
        id,
        peer_address,
        client_address,
        http_address,
        role: role.into(),
        leader: id == leader,
        reachable: seen.reachable,
        matched_index: seen.matched_index,
        version: versions.of(id),
    }
}
