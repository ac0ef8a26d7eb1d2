//! ClusterService: the members and who leads.

use std::time::Duration;

use tollgate_proto::v1::{self, cluster_service_server::ClusterService};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    answer::{answer, timeout},
    convert::cluster,
    status::Failure,
};
use crate::{
    node::Node,
    raft::call::{Call, MemberChange, Query, Refusal, Reply},
};

/// The service.
pub struct Cluster {
    node: Node,
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let result = self.get(timeout(request.metadata())).await;
        answer(&self.node, "GetCluster", result)
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.add(request.into_inner(), timeout).await;
        answer(&self.node, "AddMember", result)
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.remove(request.into_inner(), timeout).await;
        answer(&self.node, "RemoveMember", result)
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.transfer(request.into_inner(), timeout).await;
        answer(&self.node, "TransferLeadership", result)
    }
}

impl Cluster {
    /// The service of a node.
    pub fn new(node: Node) -> Cluster {
        Cluster { node }
    }

    async fn get(&self, timeout: Duration) -> Result<v1::GetClusterResponse, Failure> {
        let reply = match self.node.router.call(Call::Query(Query::Cluster), timeout).await {
            // The leader's view is better, but without one this node's own helps to find out why.
            Err(Refusal::NoLeader) => {
                self.node.router.call_here(Call::Query(Query::ClusterHere), timeout).await
            }
            reply => reply,
        };
        match reply? {
            Reply::Cluster(view) => Ok(cluster::cluster(&self.node.cluster, *view, &self.node.versions)),
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn add(
        &self,
        request: v1::AddMemberRequest,
        timeout: Duration,
    ) -> Result<v1::AddMemberResponse, Failure> {
        let member = cluster::new_member(request)?;
        match self.change(Call::AddMember(member), timeout).await? {
            MemberChange::Added(view) => {
                info!(member = view.member.id, peer_address = view.member.peer_address, "member added");
                // A learner does not lead.
                let member = cluster::member(view, 0, &self.node.versions);
                Ok(v1::AddMemberResponse { member: Some(member) })
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn remove(
        &self,
        request: v1::RemoveMemberRequest,
        timeout: Duration,
    ) -> Result<v1::RemoveMemberResponse, Failure> {
        let id = cluster::member_id("id", request.id)?;
        match self.change(Call::RemoveMember(id), timeout).await? {
            MemberChange::Removed => {
                info!(member = id, "member removed");
                Ok(v1::RemoveMemberResponse {})
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn transfer(
        &self,
        request: v1::TransferLeadershipRequest,
        timeout: Duration,
    ) -> Result<v1::TransferLeadershipResponse, Failure> {
        match self.change(Call::TransferLeadership(request.to), timeout).await? {
            MemberChange::Transferred(leader_id) => {
                info!(leader = leader_id, "leadership handed over on request");
                Ok(v1::TransferLeadershipResponse { leader_id })
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn change(&self, call: Call, timeout: Duration) -> Result<MemberChange, Failure> {
        match self.node.router.call(call, timeout).await? {
            Reply::Changed(change) => Ok(change?),
            other => Err(Failure::mismatch(&other)),
        }
    }
}
