//! The public API: one file a service. A service parses ([`convert`]), asks whoever leads ([`crate::router`]), and
//! answers; what goes wrong becomes a status in one table ([`status`]).

mod answer;
mod batch;
mod cluster;
pub mod convert;
mod feedback;
mod health;
mod large;
mod open_calls;
mod permit;
mod plan;
mod resource;
pub mod status;
mod stream;
mod waiting_room;

#[cfg(test)]
mod tests;

use tollgate_proto::v1::{
    self, cluster_service_server::ClusterServiceServer, permit_service_server::PermitServiceServer,
    planning_service_server::PlanningServiceServer, resource_service_server::ResourceServiceServer,
};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder as Reflection;

use self::large::Large;
use crate::node::Node;

/// The largest message of any call. Single acquires, renewals and releases are held to [`permit::UNARY_BYTES_MAX`].
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// All services of the clients' port.
pub fn routes(node: Node) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            PermitServiceServer::new(permit::Permits::new(node.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(Large::new(
            ResourceServiceServer::new(resource::Resources::new(node.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        ))
        .add_service(
            ClusterServiceServer::new(cluster::Cluster::new(node.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            PlanningServiceServer::new(plan::Plans::new(node.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(HealthServer::new(health::Probe::new(node)))
        .add_service(reflection().build_v1().expect(DESCRIPTORS))
        .add_service(reflection().build_v1alpha().expect(DESCRIPTORS));
    routes.routes().prepare()
}

const DESCRIPTORS: &str = "the descriptor sets are compiled in and decode";

fn reflection<'b>() -> Reflection<'b> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
