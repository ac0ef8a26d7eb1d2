//! The vendor's door: HTTP.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, request::Parts};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep_until};

use crate::{
    call::Asked,
    vendor::{Arrival, Outage, Vendor},
};

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, vendor: Arc<Vendor>) {
    // It ends only with the task.
    let _ = axum::serve(listener, router(vendor)).await;
}

/// What answers, whatever the path.
pub fn router(vendor: Arc<Vendor>) -> Router {
    Router::new().fallback(answer).with_state(vendor)
}

async fn answer(State(vendor): State<Arc<Vendor>>, parts: Parts) -> Response {
    let asked = match Asked::read(&parts) {
        Ok(asked) => asked,
        Err((status, message)) => return (status, message).into_response(),
    };
    match vendor.arrive(&asked) {
        Arrival::Accepted { number, until } => {
            // A task of its own goes on when the caller hangs up.
            let carried_out = tokio::spawn(async move {
                sleep_until(until).await;
                vendor.finish(number, &asked)
            });
            let headers = carried_out.await.unwrap_or_default();
            respond(StatusCode::OK, &json!({ "results": [] }), headers)
        }
        Arrival::Refused { refusal, mut headers } => {
            headers.extend(refusal.headers);
            respond(refusal.status, &refusal.body, headers)
        }
        Arrival::Down { until, outage } => {
            sleep_until(until).await;
            let status = match outage {
                Outage::Failing => StatusCode::SERVICE_UNAVAILABLE,
                Outage::Hanging => StatusCode::GATEWAY_TIMEOUT,
            };
            respond(status, &json!({ "message": "out of order" }), vec![])
        }
    }
}

fn respond(status: StatusCode, body: &Value, headers: Vec<(&'static str, String)>) -> Response {
    let mut response = (status, Json(body)).into_response();
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).expect("digits and words of this crate");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
