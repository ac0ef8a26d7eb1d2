//! ResourceService: definitions and live figures.

use std::time::Duration;

use prost::Message;
use tollgate_limiter::{Command, DeleteResource, Outcome, Rejection, Resource, UpdateResource};
use tollgate_proto::v1::{self, resource_service_server::ResourceService};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    answer::{answer, timeout},
    convert::{Invalid, availability, decision, definition, resource, usage},
    status::Failure,
};
use crate::{
    node::Node,
    raft::call::{Call, Query, Reply},
};

/// A page ends early when it grows beyond this: clients read messages of up to 4 MiB unless told otherwise.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// The service.
pub struct Resources {
    node: Node,
}

#[tonic::async_trait]
impl ResourceService for Resources {
    async fn create_resource(
        &self,
        request: Request<v1::CreateResourceRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.create(request.into_inner(), timeout).await;
        answer(&self.node, "CreateResource", result)
    }

    async fn get_resource(
        &self,
        request: Request<v1::GetResourceRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.get(request.into_inner(), timeout).await;
        answer(&self.node, "GetResource", result)
    }

    async fn list_resources(
        &self,
        request: Request<v1::ListResourcesRequest>,
    ) -> Result<Response<v1::ListResourcesResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.list(request.into_inner(), timeout).await;
        answer(&self.node, "ListResources", result)
    }

    async fn update_resource(
        &self,
        request: Request<v1::UpdateResourceRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.update(request.into_inner(), timeout).await;
        answer(&self.node, "UpdateResource", result)
    }

    async fn delete_resource(
        &self,
        request: Request<v1::DeleteResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.delete(request.into_inner(), timeout).await;
        answer(&self.node, "DeleteResource", result)
    }

    async fn pause_resource(
        &self,
        request: Request<v1::PauseResourceRequest>,
    ) -> Result<Response<v1::PauseResourceResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.pause(request.into_inner(), timeout).await;
        answer(&self.node, "PauseResource", result)
    }

    async fn resume_resource(
        &self,
        request: Request<v1::ResumeResourceRequest>,
    ) -> Result<Response<v1::ResumeResourceResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.resume(request.into_inner(), timeout).await;
        answer(&self.node, "ResumeResource", result)
    }

    async fn set_key_state(
        &self,
        request: Request<v1::SetKeyStateRequest>,
    ) -> Result<Response<v1::SetKeyStateResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.change_key(request.into_inner(), timeout).await;
        answer(&self.node, "SetKeyState", result)
    }

    async fn get_resource_usage(
        &self,
        request: Request<v1::GetResourceUsageRequest>,
    ) -> Result<Response<v1::GetResourceUsageResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = self.usage(request.into_inner(), timeout).await;
        answer(&self.node, "GetResourceUsage", result)
    }
}

impl Resources {
    /// The service of a node.
    pub fn new(node: Node) -> Resources {
        Resources { node }
    }

    async fn create(
        &self,
        request: v1::CreateResourceRequest,
        timeout: Duration,
    ) -> Result<v1::Resource, Failure> {
        let wire = required(request.resource)?;
        if wire.generation != 0 {
            return Err(Invalid::field("generation", "must be 0: the server sets it").into());
        }
        let resource = self.definition(wire)?;
        let stored = self.store(Command::from(resource), timeout).await?;
        info!(resource = stored.name, generation = stored.generation, "resource created");
        Ok(stored)
    }

    /// Reads and checks a definition. Whose answers nobody here could read is told now, and not when they come.
    fn definition(&self, wire: v1::Resource) -> Result<Resource, Failure> {
        let resource = definition::definition(wire)?;
        let vendor = resource.feedback.vendor.as_str();
        if !vendor.is_empty()
            && let Err(problem) = self.node.presets.select(vendor)
        {
            // What to do goes first: long messages are cut.
            let problem = format!(
                "there is no preset `{vendor}` on this node: name its file in `presets` of each node's configuration, or say \
                 vendor = \"\" (only statuses and Retry-After are read then); {problem}"
            );
            return Err(Invalid::field("feedback.vendor", problem).into());
        }
        Ok(resource)
    }

    async fn get(&self, request: v1::GetResourceRequest, timeout: Duration) -> Result<v1::Resource, Failure> {
        let query = Query::Resource(resource::name(&request.name)?);
        match self.node.router.call(Call::Query(query), timeout).await? {
            Reply::Resource(stored) => {
                Ok(resource::resource(*stored.ok_or_else(|| not_found(&request.name))?))
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn list(
        &self,
        request: v1::ListResourcesRequest,
        timeout: Duration,
    ) -> Result<v1::ListResourcesResponse, Failure> {
        let query = resource::page(&request)?;
        match self.node.router.call(Call::Query(query), timeout).await? {
            Reply::Resources { page, more } => {
                Ok(cut(page.into_iter().map(resource::resource).collect(), more))
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn update(
        &self,
        request: v1::UpdateResourceRequest,
        timeout: Duration,
    ) -> Result<v1::Resource, Failure> {
        let wire = required(request.resource)?;
        let generation = wire.generation;
        if generation == 0 {
            let problem = "is required: the generation that the resource was read with";
            return Err(Invalid::field("generation", problem).into());
        }
        let name = wire.name.clone();
        let resource = self.definition(wire)?;
        let command = Command::from(UpdateResource { resource, generation });
        let stored = self.store(command, timeout).await.map_err(|failure| failure.naming(&name))?;
        info!(resource = stored.name, generation = stored.generation, "resource updated");
        Ok(stored)
    }

    async fn delete(&self, request: v1::DeleteResourceRequest, timeout: Duration) -> Result<(), Failure> {
        let name = resource::name(&request.name)?;
        let command = Command::DeleteResource(DeleteResource { name, generation: request.generation });
        let answer = self.command(command, timeout).await;
        match answer.map_err(|failure| failure.naming(&request.name))? {
            Outcome::Deleted => {
                info!(resource = request.name, "resource deleted, with what its limits had counted");
                Ok(())
            }
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn pause(
        &self,
        request: v1::PauseResourceRequest,
        timeout: Duration,
    ) -> Result<v1::PauseResourceResponse, Failure> {
        let resource = self.order(availability::pausing(&request)?, &request.name, timeout).await?;
        let v1::PauseResourceRequest { name, key, reason, .. } = request;
        info!(resource = name, key, reason, "paused");
        Ok(v1::PauseResourceResponse { resource: Some(resource) })
    }

    async fn resume(
        &self,
        request: v1::ResumeResourceRequest,
        timeout: Duration,
    ) -> Result<v1::ResumeResourceResponse, Failure> {
        let resource = self.order(availability::resumption(&request)?, &request.name, timeout).await?;
        info!(resource = request.name, key = request.key, "resumed");
        Ok(v1::ResumeResourceResponse { resource: Some(resource) })
    }

    async fn change_key(
        &self,
        request: v1::SetKeyStateRequest,
        timeout: Duration,
    ) -> Result<v1::SetKeyStateResponse, Failure> {
        let resource = self.order(availability::key_change(&request)?, &request.name, timeout).await?;
        let state = request.state().as_str_name();
        info!(resource = request.name, key = request.key, state, "key changed its state");
        Ok(v1::SetKeyStateResponse { resource: Some(resource) })
    }

    async fn usage(
        &self,
        request: v1::GetResourceUsageRequest,
        timeout: Duration,
    ) -> Result<v1::GetResourceUsageResponse, Failure> {
        let query = usage::query(&request)?;
        match self.node.router.call(Call::Query(query), timeout).await? {
            Reply::Usage(figures) => Ok(usage::figures(*figures.ok_or_else(|| not_found(&request.name))?)),
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn order(&self, command: Command, name: &str, timeout: Duration) -> Result<v1::Resource, Failure> {
        self.store(command, timeout).await.map_err(|failure| failure.naming(name))
    }

    async fn store(&self, command: Command, timeout: Duration) -> Result<v1::Resource, Failure> {
        match self.command(command, timeout).await? {
            Outcome::Stored(stored) => Ok(resource::resource(stored)),
            other => Err(Failure::mismatch(&other)),
        }
    }

    async fn command(&self, command: Command, timeout: Duration) -> Result<Outcome, Failure> {
        decision::outcome(self.node.router.call(command.into(), timeout).await)
    }
}

fn not_found(name: &str) -> Failure {
    Failure::from(Rejection::ResourceNotFound).naming(name)
}

fn required(resource: Option<v1::Resource>) -> Result<v1::Resource, Invalid> {
    resource.ok_or_else(|| Invalid::field("resource", "is required"))
}

/// The page, cut where it grows too large for a message; at least one resource long.
fn cut(mut resources: Vec<v1::Resource>, more: bool) -> v1::ListResourcesResponse {
    let mut bytes = 0;
    let fitting = resources.iter().take_while(|resource| {
        bytes += resource.encoded_len();
        bytes <= PAGE_BYTES_MAX
    });
    let keep = fitting.count().max(1);
    let more = more || keep < resources.len();
    resources.truncate(keep);
    let last = resources.last().filter(|_| more).map(|resource| resource.name.clone());
    v1::ListResourcesResponse { resources, next_page_token: last.unwrap_or_default() }
}
