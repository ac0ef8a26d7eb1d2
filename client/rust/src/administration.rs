//! Resources and members, in the words of the wire ([`v1`]), with the client's failover.

use tollgate_proto::v1::{
    self, cluster_service_client::ClusterServiceClient, resource_service_client::ResourceServiceClient,
};

use crate::{
    attempt::{Answered, Repeat, Terms},
    client::Client,
    error::Error,
};

/// Resources read at a time.
const PAGE_SIZE: u32 = 500;

/// One call of a service.
macro_rules! call {
    ($client:expr, $repeat:ident, $service:ident . $method:ident ($request:expr)) => {{
        let client: &Client = $client;
        let request = $request;
        let answered = client.call(Terms::at_once(client.deadline(), Repeat::$repeat), |attempt| {
            let request = attempt.request(request.clone());
            async move { $service::new(attempt.channel).$method(request).await }
        });
        answered.await.map(|Answered { message, .. }| message).map_err(Error::from)
    }};
}

/// Administers resources.
pub struct Resources<'a> {
    client: &'a Client,
}

impl<'a> Resources<'a> {
    pub(crate) fn new(client: &'a Client) -> Resources<'a> {
        Resources { client }
    }

    /// Adds a resource; as it is with its defaults and generation.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is one of that name; [`Error::Invalid`] naming each wrong field.
    pub async fn create(&self, resource: v1::Resource) -> Result<v1::Resource, Error> {
        let request = v1::CreateResourceRequest { resource: Some(resource) };
        call!(self.client, OnlyUnsent, ResourceServiceClient.create_resource(request))
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get(&self, name: &str) -> Result<v1::Resource, Error> {
        let request = v1::GetResourceRequest { name: name.to_owned() };
        call!(self.client, Freely, ResourceServiceClient.get_resource(request))
    }

    /// Reads all resources whose names begin with `prefix`, by name.
    ///
    /// # Errors
    /// Only those that any call may have.
    pub async fn list(&self, prefix: &str) -> Result<Vec<v1::Resource>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let prefix = prefix.to_owned();
            let request = v1::ListResourcesRequest { page_size: PAGE_SIZE, page_token, prefix };
            let page = call!(self.client, Freely, ResourceServiceClient.list_resources(request))?;
            all.extend(page.resources);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Replaces a resource's definition; `generation` must be what it was read with. Never refills for free.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed it since; [`Error::Invalid`]; [`Error::NotFound`].
    pub async fn update(&self, resource: v1::Resource) -> Result<v1::Resource, Error> {
        let request = v1::UpdateResourceRequest { resource: Some(resource) };
        call!(self.client, OnlyUnsent, ResourceServiceClient.update_resource(request))
    }

    /// Removes a resource with the state of its limits and its permits; `generation` as it was read, or 0 for whatever it
    /// is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when somebody else changed it since.
    pub async fn delete(&self, name: &str, generation: u64) -> Result<(), Error> {
        let request = v1::DeleteResourceRequest { name: name.to_owned(), generation };
        call!(self.client, OnlyUnsent, ResourceServiceClient.delete_resource(request)).map(drop)
    }

    /// Grants nothing on a resource, or with one of its keys, for a while; what was granted before goes on. The resource
    /// with its pauses.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`], also for a key that the resource does not have.
    pub async fn pause(&self, request: v1::PauseResourceRequest) -> Result<v1::Resource, Error> {
        let answer = call!(self.client, OnlyUnsent, ResourceServiceClient.pause_resource(request))?;
        answer.resource.ok_or_else(|| Error::incomplete("resource"))
    }

    /// Ends the pause of a resource, or of one of its keys, and what came of the vendor's answers: waits, circuits, paces. With an
    /// empty key of the resource as a whole and of all its keys; only the pauses that operators ordered of keys stay. The resource
    /// with what is left.
    ///
    /// # Errors
    /// As [`Resources::pause`].
    pub async fn resume(&self, name: &str, key: &str) -> Result<v1::Resource, Error> {
        let request = v1::ResumeResourceRequest { name: name.to_owned(), key: key.to_owned() };
        let answer = call!(self.client, OnlyUnsent, ResourceServiceClient.resume_resource(request))?;
        answer.resource.ok_or_else(|| Error::incomplete("resource"))
    }

    /// Takes a key out of use, or back into it. The resource with the states of its keys.
    ///
    /// # Errors
    /// As [`Resources::pause`].
    pub async fn set_key_state(
        &self,
        name: &str,
        key: &str,
        state: v1::KeyState,
    ) -> Result<v1::Resource, Error> {
        let request =
            v1::SetKeyStateRequest { name: name.to_owned(), key: key.to_owned(), state: state.into() };
        let answer = call!(self.client, OnlyUnsent, ResourceServiceClient.set_key_state(request))?;
        answer.resource.ok_or_else(|| Error::incomplete("resource"))
    }

    /// The live figures of a resource.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn usage(
        &self,
        request: v1::GetResourceUsageRequest,
    ) -> Result<v1::GetResourceUsageResponse, Error> {
        call!(self.client, Freely, ResourceServiceClient.get_resource_usage(request))
    }
}

/// Shows and changes the cluster.
pub struct Cluster<'a> {
    client: &'a Client,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(client: &'a Client) -> Cluster<'a> {
        Cluster { client }
    }

    /// The cluster as the leader sees it; without a leader, as the node that answers does.
    ///
    /// # Errors
    /// Only those that any call may have.
    pub async fn get(&self) -> Result<v1::GetClusterResponse, Error> {
        call!(self.client, Freely, ClusterServiceClient.get_cluster(v1::GetClusterRequest {}))
    }

    /// Adds a node, which first learns the log and is promoted to a voter once it has caught up.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its id or an address is taken or was removed before, or another change is in progress.
    pub async fn add(&self, member: v1::AddMemberRequest) -> Result<v1::Member, Error> {
        let answer = call!(self.client, OnlyUnsent, ClusterServiceClient.add_member(member))?;
        answer.member.ok_or_else(|| Error::incomplete("member"))
    }

    /// Removes a node, dead or alive.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it is the last voter, or another change is in progress.
    pub async fn remove(&self, id: u64) -> Result<(), Error> {
        let request = v1::RemoveMemberRequest { id };
        call!(self.client, OnlyUnsent, ClusterServiceClient.remove_member(request)).map(drop)
    }

    /// Hands leadership to this voter, 0: to the one that is furthest along; who leads then.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it is not a voter; [`Error::Unavailable`] or
    /// [`Error::OutcomeUnknown`] when it did not take over.
    pub async fn transfer(&self, to: u64) -> Result<u64, Error> {
        let request = v1::TransferLeadershipRequest { to };
        let answer = call!(self.client, OnlyUnsent, ClusterServiceClient.transfer_leadership(request))?;
        Ok(answer.leader_id)
    }
}
