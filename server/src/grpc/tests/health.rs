//! Health over gRPC and HTTP, and reflection.

use std::{iter, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::Service;

use super::*;
use crate::http;

async fn check(rig: &Rig, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let checked = HealthClient::new(rig.channel.clone()).check(request).await;
    checked.map(|response| response.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test]
async fn readiness_follows_the_leader_and_liveness_does_not() {
    let rig = Rig::leaderless(silent).await;
    let of_the_api = ["PermitService", "ResourceService", "ClusterService", "PlanningService"]
        .map(|name| format!("tollgate.v1.{name}"));
    for service in iter::once(String::new()).chain(of_the_api) {
        assert_eq!(check(&rig, &service).await, Ok(ServingStatus::NotServing), "{service}");
    }
    assert_eq!(check(&rig, "liveness").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&rig, "tollgate.v1.Nothing").await, Err(Code::NotFound));

    rig.status.send_modify(|status| status.leader = Some(THIS));
    assert_eq!(check(&rig, "").await, Ok(ServingStatus::Serving));
    rig.node.stopping.cancel();
    assert_eq!(check(&rig, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(check(&rig, "liveness").await, Ok(ServingStatus::Serving));
}

#[tokio::test]
async fn changes_of_health_are_told_to_those_who_watch() {
    let rig = Rig::leaderless(silent).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = HealthClient::new(rig.channel.clone()).watch(request).await.unwrap().into_inner();
    let mut next = async || watched.next().await.map(|health| health.unwrap().status());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    rig.status.send_modify(|status| status.leader = Some(THIS));
    assert_eq!(next().await, Some(ServingStatus::Serving));
    rig.node.stopping.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn reflection_lists_the_public_services() {
    let rig = Rig::leading(silent).await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(rig.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::iter([list])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["PermitService", "ResourceService", "ClusterService", "PlanningService"] {
        assert!(names.contains(&format!("tollgate.v1.{service}")), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("peer")), "{names:?}");
}

async fn get(routes: &mut axum::Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = routes.call(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn http_serves_health_and_metrics() {
    let rig = Rig::leaderless(silent).await;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    metrics.term.set(7);
    let node = Node { metrics, ..rig.node.clone() };
    let mut routes = http::routes(node, Arc::new(registry));

    assert_eq!(get(&mut routes, "/livez").await.0, StatusCode::OK);
    let (status, reason) = get(&mut routes, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reason.contains("no leader"), "{reason}");
    assert!(get(&mut routes, "/metrics").await.1.contains("tollgate_ready 0\n"));
    rig.status.send_modify(|status| status.leader = Some(THIS));
    assert_eq!(get(&mut routes, "/readyz").await.0, StatusCode::OK);

    let (status, text) = get(&mut routes, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("tollgate_term 7\n") && text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("tollgate_ready 1\n"), "{text}");
    assert!(get(&mut routes, "/").await.1.contains("/readyz"));
    assert_eq!(get(&mut routes, "/nothing").await.0, StatusCode::NOT_FOUND);
}
