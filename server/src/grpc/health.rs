//! grpc.health.v1: readiness for the services and for the node as a whole (""); and `liveness`, which serves as long as
//! the process answers at all.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tollgate_proto::v1::{
    cluster_service_server::SERVICE_NAME as CLUSTER, permit_service_server::SERVICE_NAME as PERMIT,
    planning_service_server::SERVICE_NAME as PLANNING, resource_service_server::SERVICE_NAME as RESOURCE,
};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use crate::{node::Node, readiness};

const LIVENESS: &str = "liveness";

/// The service.
#[derive(Clone)]
pub struct Probe {
    node: Node,
}

impl Probe {
    /// The service of a node.
    pub fn new(node: Node) -> Probe {
        Probe { node }
    }

    fn status_of(&self, service: &str) -> ServingStatus {
        match service {
            LIVENESS => ServingStatus::Serving,
            "" | PERMIT | RESOURCE | CLUSTER | PLANNING => match readiness::check(&self.node) {
                Ok(()) => ServingStatus::Serving,
                Err(_) => ServingStatus::NotServing,
            },
            _ => ServingStatus::ServiceUnknown,
        }
    }

    /// Waits until the status is another one; gives `None` when the node is gone.
    async fn next(&mut self, service: &str, last: Option<ServingStatus>) -> Option<ServingStatus> {
        loop {
            let now = self.status_of(service);
            if Some(now) != last {
                return Some(now);
            }
            let stopping = self.node.stopping.clone();
            tokio::select! {
                changed = self.node.status.changed() => changed.ok()?,
                // Told once; afterwards nothing changes any more.
                () = stopping.cancelled() => {
                    if self.status_of(service) == now {
                        return None;
                    }
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Health for Probe {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match self.status_of(service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found("no such service; known are \"\", liveness, and those of the API"))
            }
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let changes = stream::unfold((self.clone(), None), move |(mut probe, last)| {
            let service = service.clone();
            async move {
                let status = probe.next(&service, last).await?;
                Some((Ok(HealthCheckResponse { status: status.into() }), (probe, Some(status))))
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
