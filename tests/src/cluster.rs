//! A cluster of whole nodes in one process: each with its own thread, runtime, sockets and data directory, so that one
//! can be killed as a process can be, and the others do not notice more than they would of a process.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    runtime::Builder,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tollgate_proto::v1::{
    cluster_service_client::ClusterServiceClient, permit_service_client::PermitServiceClient,
    resource_service_client::ResourceServiceClient,
};
use tollgate_server::{
    config::{Config, Settings, Size, check},
    node::Node,
    raft::{
        fatal::Fatal,
        members::{Member, NodeId},
    },
    server::{Server, ServerError},
    storage::data_dir::DataDirError,
};
use tonic::transport::{Channel, Endpoint};

/// How long a test waits for what must happen at last. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a node is told to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// In order.
    Stop,
    /// As by kill -9: everything is dropped where it stands.
    Kill,
}

/// The cluster.
pub struct Cluster {
    directory: TempDir,
    members: BTreeMap<NodeId, Member>,
    running: BTreeMap<NodeId, Running>,
}

struct Running {
    node: Node,
    end: watch::Sender<End>,
    thread: JoinHandle<Result<(), ServerError>>,
}

impl Cluster {
    /// A new cluster of nodes 1 to `count`, all running.
    pub fn start(count: u64) -> Cluster {
        let members = (1..=count).map(|id| (id, free_member(id))).collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut cluster = Cluster { directory, members, running: BTreeMap::new() };
        for id in 1..=count {
            cluster.restart(id);
        }
        cluster
    }

    /// Starts a node that was stopped or killed, with the data that it has.
    pub fn restart(&mut self, id: NodeId) {
        let members = self.members.values().cloned().collect();
        self.launch(id, Settings { members, ..Settings::default() });
    }

    /// Starts a further node that waits to be added, and says where it is.
    pub fn join(&mut self, id: NodeId) -> Member {
        self.members.insert(id, free_member(id));
        self.launch(id, Settings { join: Some(true), ..Settings::default() });
        self.members[&id].clone()
    }

    fn launch(&mut self, id: NodeId, settings: Settings) {
        let config = self.config(id, settings);
        let (end, ends) = watch::channel(End::NotYet);
        let (started, starts) = mpsc::channel();
        let thread = thread::spawn(move || run(config, &started, ends));
        let Ok(node) = starts.recv_timeout(PATIENCE) else {
            panic!("node {id} does not start: {:?}", thread.join());
        };
        self.running.insert(id, Running { node, end, thread });
    }

    fn config(&self, id: NodeId, settings: Settings) -> Config {
        let member = &self.members[&id];
        let address = |text: &String| Some(text.parse().expect("an address of this module"));
        let settings = Settings {
            node_id: Some(id),
            data_dir: Some(self.data_dir(id)),
            listen_client: address(&member.client_address),
            listen_peer: address(&member.peer_address),
            listen_http: address(&member.http_address),
            cluster: Some("test".to_owned()),
            snapshot_log: Some(Size::mebibytes(1)),
            ..settings
        };
        check(settings).expect("a valid configuration")
    }

    /// Where a node keeps its data.
    pub fn data_dir(&self, id: NodeId) -> PathBuf {
        self.directory.path().join(format!("node-{id}"))
    }

    /// Cuts a node off in the middle of whatever it does.
    pub fn kill(&mut self, id: NodeId) {
        // It may have stopped by itself, and then says why.
        let _ = self.end(id, End::Kill);
    }

    /// Ends a node in order.
    pub fn stop(&mut self, id: NodeId) -> Result<(), ServerError> {
        self.end(id, End::Stop)
    }

    fn end(&mut self, id: NodeId, how: End) -> Result<(), ServerError> {
        let Running { node: _, end, thread } = self.running.remove(&id).expect("a running node");
        end.send_replace(how);
        thread.join().expect("a node does not panic")
    }

    /// Waits until a node ends by itself, and says why.
    pub fn ended(&mut self, id: NodeId) -> Result<(), ServerError> {
        let Running { node: _, end, thread } = self.running.remove(&id).expect("a running node");
        let ended = thread.join().expect("a node does not panic");
        drop(end);
        ended
    }

    /// The ids of the nodes that run.
    pub fn running(&self) -> Vec<NodeId> {
        self.running.keys().copied().collect()
    }

    /// Who leads, once all nodes that run agree.
    pub async fn leader(&self) -> NodeId {
        let agreed = async {
            loop {
                let mut leaders = self.running.values().map(|running| running.node.status.borrow().leader);
                let first = leaders.next().flatten();
                if let Some(leader) = first.filter(|leader| self.running.contains_key(leader))
                    && leaders.all(|other| other == first)
                {
                    return leader;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, agreed).await.expect("a leader that all nodes know")
    }

    /// A node that runs and does not lead.
    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        self.running().into_iter().find(|id| *id != leader).expect("a second node")
    }

    /// What a running node shares with its services.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.running[&id].node
    }

    /// Where clients reach a node.
    pub fn client_address(&self, id: NodeId) -> &str {
        &self.members[&id].client_address
    }

    /// A client of this node's PermitService.
    pub fn permits(&self, id: NodeId) -> PermitServiceClient<Channel> {
        PermitServiceClient::new(self.channel(id))
    }

    /// A client of this node's ResourceService.
    pub fn resources(&self, id: NodeId) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.channel(id))
    }

    /// A client of this node's ClusterService.
    pub fn administration(&self, id: NodeId) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel(id))
    }

    fn channel(&self, id: NodeId) -> Channel {
        let address = format!("http://{}", self.client_address(id));
        Endpoint::from_shared(address).expect("a valid address").connect_lazy()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.running() {
            self.kill(id);
        }
    }
}

/// The life of a node, on its own thread.
fn run(
    config: Config,
    started: &mpsc::Sender<Node>,
    mut ends: watch::Receiver<End>,
) -> Result<(), ServerError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let server = start(config).await?;
        // If the cluster is gone already, so is the other end of `ends`.
        let _ = started.send(server.node().clone());
        let mut kills = ends.clone();
        let stopped = async move { _ = ends.wait_for(|end| *end == End::Stop).await };
        tokio::select! {
            ended = server.run(stopped) => ended,
            _ = kills.wait_for(|end| *end == End::Kill) => Ok(()),
        }
    });
    runtime.shutdown_background();
    ended
}

/// Starts a node. The threads of one that was killed in this process let go of its files only a moment later.
async fn start(config: Config) -> Result<Server, ServerError> {
    let began = Instant::now();
    loop {
        match Server::start(config.clone()).await {
            Err(
                ServerError::Fatal(Fatal::LogRead { .. }) | ServerError::DataDir(DataDirError::Locked { .. }),
            ) if began.elapsed() < PATIENCE / 2 => {
                sleep(Duration::from_millis(20)).await;
            }
            started => return started,
        }
    }
}

/// A member on ports of its own.
fn free_member(id: NodeId) -> Member {
    let [client, peer, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    Member { id, client_address: client, peer_address: peer, http_address: http, incarnation: None }
}

/// A port that nobody has. Below those that the system gives to outgoing connections, so that none takes it while a node
/// is down; begun by process, so that two test binaries do not meet.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed).wrapping_add(process::id().wrapping_mul(64));
        let port = u16::try_from(FIRST + number % COUNT).expect("within the range of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
