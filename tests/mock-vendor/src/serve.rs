//! The vendor's door: HTTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, request::Parts};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::{sleep, sleep_until},
};

use crate::{
    call::Asked,
    vendor::{Arrival, Outage, Vendor},
};

/// Connections that are made and not yet taken.
const BACKLOG: u32 = 1_024;

/// Until a port is asked for again that was let go of just now.
const PORT_PAUSE: Duration = Duration::from_millis(5);

/// Serves until it is aborted. While the vendor refuses connections nobody listens, and those that there were are cut.
pub async fn serve(mut listener: TcpListener, address: SocketAddr, vendor: Arc<Vendor>) {
    loop {
        tokio::select! {
            () = vendor.refuses() => {}
            () = accept(&listener, &vendor) => {}
        }
        drop(listener);
        let shut = keep(address).await;
        vendor.refuses_no_more().await;
        listener = shut.listen(BACKLOG).expect("the port is this vendor's");
    }
}

/// Takes connections for as long as it is polled; dropping it cuts them.
async fn accept(listener: &TcpListener, vendor: &Arc<Vendor>) {
    let mut connections = JoinSet::new();
    let service = TowerToHyperService::new(router(vendor.clone()));
    loop {
        tokio::select! {
            // One that cannot be taken is its caller's trouble.
            Ok((stream, _)) = listener.accept() => {
                let (stream, service) = (TokioIo::new(stream), service.clone());
                connections.spawn(async move {
                    // Callers hang up as they please.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Holds a port on which nobody listens: the system refuses those who come, and gives the port to nobody else.
async fn keep(address: SocketAddr) -> TcpSocket {
    loop {
        let socket = TcpSocket::new_v4().and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => return socket,
            Err(_) => sleep(PORT_PAUSE).await,
        }
    }
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
                // Nobody who is refused reads it.
                Outage::Hanging | Outage::Refusing => StatusCode::GATEWAY_TIMEOUT,
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
