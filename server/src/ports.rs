//! The three ports of a node: bound before anything else happens, so that a port that is taken stops nothing half-way.

use std::{
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport};

use crate::{
    accept::{self, Bounds},
    config::Listen,
};

/// A connection that is silent for this long is asked whether it lives, and has as long again to answer: otherwise clients
/// that vanished would be kept for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Calls that one connection may have open; the client queues the others. Most of them may wait for their turn
/// ([`crate::grpc`] bounds those), and a thousand others still have room.
const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;

/// What a client may send on a connection that was not read yet. Half of it pays for frames of less than 256 bytes, by what
/// they lack: h2 takes more of these for a flood and closes the connection (RUSTSEC-2026-0258), so this is for a request of
/// each call that may be open, as they come when this node stood still for a moment.
const WINDOW: u32 = 2 * 256 * STREAMS_PER_CONNECTION_MAX;

/// All headers of a call together.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {source}; {advice} (in the file `{setting}`, or --{flag}, or {variable})", advice = advice(source))]
pub struct BindError {
    setting: &'static str,
    flag: &'static str,
    variable: &'static str,
    address: SocketAddr,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "stop the process that has this port, or choose another port",
        ErrorKind::AddrNotAvailable => "choose an address that this machine has",
        ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "choose another address",
    }
}

/// The ports, bound.
pub struct Ports {
    /// For clients.
    pub client: TcpListener,
    /// For the other nodes.
    pub peer: TcpListener,
    /// For metrics and health.
    pub http: TcpListener,
}

impl Ports {
    /// Binds all three, or says which setting to change.
    pub async fn bind(listen: Listen) -> Result<Ports, BindError> {
        Ok(Ports {
            client: bind("listen.client", "listen-client", "TOLLGATE_LISTEN_CLIENT", listen.client).await?,
            peer: bind("listen.peer", "listen-peer", "TOLLGATE_LISTEN_PEER", listen.peer).await?,
            http: bind("listen.http", "listen-http", "TOLLGATE_LISTEN_HTTP", listen.http).await?,
        })
    }

    /// Where they are; the system chose those whose port was given as 0.
    pub fn addresses(&self) -> io::Result<Listen> {
        Ok(Listen {
            client: self.client.local_addr()?,
            peer: self.peer.local_addr()?,
            http: self.http.local_addr()?,
        })
    }
}

async fn bind(
    setting: &'static str,
    flag: &'static str,
    variable: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { setting, flag, variable, address, source })
}

/// Who a port is for.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    /// As metrics and logs say it.
    pub name: &'static str,
    /// How many of them.
    bounds: Bounds,
    /// Whether they speak HTTP/1, too.
    http1: bool,
}

/// Those who ask for permits.
pub const CLIENTS: Audience =
    Audience { name: "clients", bounds: Bounds { connections: 16_384, per_address: 12_288 }, http1: false };

/// The other nodes.
pub const PEERS: Audience =
    Audience { name: "peers", bounds: Bounds { connections: 256, per_address: 128 }, http1: false };

/// Those who watch.
pub const WATCHERS: Audience =
    Audience { name: "watchers", bounds: Bounds { connections: 256, per_address: 128 }, http1: true };

/// Serves until `stop`, then until the calls that are open have ended. `refused` counts the connections that found no
/// place.
pub async fn serve(
    audience: Audience,
    listener: TcpListener,
    routes: Routes,
    refused: Counter,
    stop: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    let incoming = accept::incoming(listener, audience.bounds.within_files(), refused);
    // With HTTP/1 comes its own deadline of 30 s for the head of a request.
    transport::Server::builder()
        .accept_http1(audience.http1)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_connection_window_size(WINDOW)
        // A client may give up all that it sent while this node stood still. By default the 21st such call closes the connection
        // (CVE-2023-44487): those who wait on it would lose their places.
        .http2_max_pending_accept_reset_streams(Some(STREAMS_PER_CONNECTION_MAX as usize))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}

#[cfg(test)]
mod tests;
