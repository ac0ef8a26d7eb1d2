//! The HTTP port, for people and machines that watch: metrics, liveness, readiness. No calls are served here.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{
    node::{Node, VERSION},
    readiness,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of the HTTP port.
pub fn routes(node: Node, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(move |node: State<Node>| metrics(node, registry.clone())))
        .with_state(node)
}

async fn index(State(node): State<Node>) -> String {
    let status = node.status.borrow();
    let leader = status.leader.map_or_else(|| "none known".to_owned(), |leader| leader.to_string());
    format!(
        "Tollgate {VERSION}, node {} of cluster {}, leader {leader}\n\n\
         /metrics  for Prometheus\n\
         /livez    200 while the process answers\n\
         /readyz   200 while this node should be sent calls\n",
        node.id, node.cluster,
    )
}

async fn live() -> &'static str {
    "alive\n"
}

async fn ready(State(node): State<Node>) -> (StatusCode, String) {
    match readiness::check(&node) {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(node): State<Node>, registry: Arc<Registry>) -> Response {
    // Looked at when somebody asks: the replica, which keeps the other gauges, does not know that its node is going away.
    node.metrics.ready.set(i64::from(readiness::check(&node).is_ok()));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
