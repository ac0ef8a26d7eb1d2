//! One node, from its ports to its end.
//!
//! The parts are made in the order in which they need each other: ports, data directory, door, transport, replica,
//! services. They end the other way round: first nobody is sent here any more, then leadership goes to another node,
//! then the open calls are answered, and only then does the replica stop.

use std::{io, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinError,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    config::{Config, Listen},
    grpc, http,
    metrics::{Metrics, PortLabels},
    node::{Node, Strangers, VERSION, Versions},
    ports::{self, Audience, BindError, CLIENTS, PEERS, Ports, WATCHERS},
    preset::{self, Loaded, PresetFile, PresetFileError, Presets},
    raft::{
        call::{Call, MemberChange, Reply},
        door::{Door, door},
        driver::{self, Beginning, NodeConfig, Running},
        fatal::Fatal,
        members::{Member, Members},
        transport::{Transport, handshake::Expelled},
    },
    router::Router,
    storage::data_dir::{DataDir, DataDirError},
};

/// How long another node may take to take over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// How long open calls may take to end; then they are cut off. Their clients repeat them elsewhere.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long the connections of other nodes may take to end.
const PARTING_MAX: Duration = Duration::from_secs(1);

/// Why a node cannot start, or cannot go on. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A preset of the user's own cannot be used.
    #[error("presets: {0}")]
    Preset(#[from] PresetFileError),
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The replica met something that it must not survive.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The cluster refuses this node.
    #[error(transparent)]
    Expelled(#[from] Expelled),
    /// The replica's task is gone.
    #[error("the replica ended without being asked to: {0}")]
    ReplicaGone(String),
    /// The system refuses what it never should.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// A node that serves. Dropping it cuts everything off, as a crash would.
pub struct Server {
    node: Node,
    door: Door,
    addresses: Listen,
    replica: Running,
    transport: Arc<Transport>,
    expelled: mpsc::Receiver<Expelled>,
    client_port: Port,
    peer_port: Port,
    _http_port: Port,
}

/// A port that is served.
struct Port {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Server {
    /// Starts a node; it serves when this returns, and answers calls as soon as the cluster has a leader.
    ///
    /// # Errors
    ///
    /// A preset that is not valid, a port that is taken, a data directory that cannot be used, a log or snapshot that cannot be read.
    pub async fn start(config: Config) -> Result<Server, ServerError> {
        let presets = load_presets(&config)?;
        let ports = Ports::bind(config.listen).await?;
        let addresses = ports.addresses()?;
        let data_dir = DataDir::open(&config.data_dir, &config.cluster, config.id)?;

        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let versions = Versions::default();
        let (door, inside) = door();
        let (expel, expelled) = mpsc::channel(1);
        let this = config.members.iter().find(|member| member.id == config.id);
        let own_address = this.map_or_else(|| addresses.peer.to_string(), |this| this.peer_address.clone());
        let identity = data_dir.identity().clone();
        let election_timeout = config.election_timeout.0;
        let (transport, peer_service) =
            Transport::start(identity, &own_address, election_timeout, door.clone(), versions.clone(), expel);
        let replica =
            driver::start(node_config(&config), data_dir, inside, transport.clone(), metrics.clone())?;

        let node = Node {
            cluster: config.cluster.as_str().into(),
            id: config.id,
            router: Router::new(config.id, door.clone(), transport.clone()),
            status: door.status(),
            metrics,
            versions,
            presets: Arc::new(presets),
            strangers: Strangers::default(),
            stopping: CancellationToken::new(),
        };
        let metrics = &node.metrics;
        let client_port = Port::serve(CLIENTS, ports.client, grpc::routes(node.clone()), metrics);
        let peer_port = Port::serve(PEERS, ports.peer, Routes::new(peer_service), metrics);
        let watched = http::routes(node.clone(), Arc::new(registry));
        let http_port = Port::serve(WATCHERS, ports.http, Routes::from(watched), metrics);
        info!(
            node = config.id,
            cluster = config.cluster,
            version = VERSION,
            client = %addresses.client,
            peer = %addresses.peer,
            http = %addresses.http,
            "serving"
        );
        Ok(Server {
            node,
            door,
            addresses,
            replica,
            transport,
            expelled,
            client_port,
            peer_port,
            _http_port: http_port,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Listen {
        self.addresses
    }

    /// What its services share.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Serves until `stop`, and then ends in order.
    ///
    /// # Errors
    ///
    /// What the node could not survive. The process must exit then: nothing is retried in it.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::select! {
            () = stop => self.shut_down().await,
            ended = &mut self.replica.task => Err(why_ended(ended)),
            Some(expelled) = self.expelled.recv() => Err(expelled.into()),
        }
    }

    async fn shut_down(self) -> Result<(), ServerError> {
        info!("shutting down");
        self.node.stopping.cancel();
        self.hand_over().await;
        if !self.client_port.close(DRAIN_MAX).await {
            warn!("calls were still open after {DRAIN_MAX:?}; they are cut off");
        }
        let ended = timeout(DRAIN_MAX, self.replica.shut_down()).await;
        self.transport.close();
        self.peer_port.close(PARTING_MAX).await;
        match ended {
            Ok(Ok(ended)) => ended?,
            Ok(Err(gone)) => return Err(ServerError::ReplicaGone(gone.to_string())),
            Err(_) => warn!("the replica was still busy after {DRAIN_MAX:?}; it is cut off"),
        }
        info!("shut down");
        Ok(())
    }

    /// Hands leadership over while calls are still served, so that they meet a leader without a pause.
    async fn hand_over(&self) {
        let status = self.node.status.borrow().clone();
        if status.leader != Some(self.node.id) || status.members.by_id.len() < 2 {
            return;
        }
        match timeout(HAND_OVER_MAX, self.door.call(Call::TransferLeadership(0))).await {
            Ok(Ok(Reply::Changed(Ok(MemberChange::Transferred(to))))) => info!(to, "leadership handed over"),
            refused => warn!(?refused, "leadership could not be handed over; the other nodes will elect"),
        }
    }
}

impl Port {
    fn serve(audience: Audience, listener: TcpListener, routes: Routes, metrics: &Metrics) -> Port {
        let stop = CancellationToken::new();
        let refused = metrics.connections_refused.get_or_create(&PortLabels { port: audience.name }).clone();
        let served = ports::serve(audience, listener, routes, refused, stop.clone().cancelled_owned());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = served.await {
                warn!(%error, "the port for {} is not served any more", audience.name);
            }
        }));
        Port { stop, task }
    }

    /// Takes no more calls, and waits for those that are open; whether they all ended in time.
    async fn close(self, within: Duration) -> bool {
        self.stop.cancel();
        timeout(within, self.task).await.is_ok()
    }
}

/// The presets of the program and those of the configuration; the log says which files count.
fn load_presets(config: &Config) -> Result<Presets, PresetFileError> {
    let Loaded { presets, files } = preset::load(&config.presets)?;
    for PresetFile { path, vendor, replaces_embedded } in files {
        let place = if replaces_embedded { ", in the place of the program's own" } else { "" };
        info!(file = %path.display(), vendor, "a preset is read from a file{place}");
    }
    Ok(presets)
}

fn node_config(config: &Config) -> NodeConfig {
    let beginning = if config.join {
        Beginning::Join
    } else {
        let by_id = config.members.iter().map(|member: &Member| (member.id, member.clone())).collect();
        Beginning::Found(Members { by_id, ..Members::default() })
    };
    NodeConfig {
        beginning,
        election_timeout: config.election_timeout.0,
        snapshot_log_bytes: config.snapshot_log.0,
        disk_reserve_bytes: config.disk_reserve.0,
    }
}

fn why_ended(ended: Result<Result<(), Fatal>, JoinError>) -> ServerError {
    match ended {
        Ok(Err(fatal)) => fatal.into(),
        Ok(Ok(())) => ServerError::ReplicaGone("its task returned".to_owned()),
        Err(gone) => ServerError::ReplicaGone(gone.to_string()),
    }
}

/// Starts a node and serves until the process is told to end (SIGTERM or SIGINT).
///
/// # Errors
///
/// As [`Server::start`] and [`Server::run`].
pub async fn serve(config: Config) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(config).await?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.run(stop).await
}
