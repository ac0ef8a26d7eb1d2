//! A cluster of processes: who sits where, how they are started and ended, and what is kept of them.

mod files;
mod launch;
mod membership;
mod small_disk;
mod wall_clock;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tollgate_client::{Client, Error, v1};
use tollgate_server::raft::members::NodeId;

use super::{
    binary,
    network::{Kind, Network},
    process::Process,
    seat::{FOUNDERS, SEATS, Seat},
};
use crate::{cluster::free_port, history::History};
pub use files::wipe;
use small_disk::SmallDisk;
pub use wall_clock::WallClock;

/// How long anything may take that must happen at last. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often something is looked for that must happen at last.
const POLL: Duration = Duration::from_millis(50);

/// The seat whose disk is small, where the machine lets us make one.
pub const SMALL_DISK_SEAT: usize = 2;

/// The seat whose wall clock can be set, where the machine lets us.
pub const CLOCK_SEAT: usize = 1;

/// A running cluster. Nothing is left of it when it is dropped.
pub struct Cluster {
    /// Who there is, running or not. First, so that processes end before what they stand on.
    pub nodes: BTreeMap<NodeId, Node>,
    /// What lies between them.
    pub network: Network,
    /// Where they sit.
    pub seats: Vec<Seat>,
    /// Administers it.
    pub client: Client,
    /// What [`CLOCK_SEAT`] sees as wall clock, or why it cannot be set.
    pub wall_clock: Result<WallClock, String>,
    /// Why the disk of [`SMALL_DISK_SEAT`] is not small, if it is not.
    pub small_disk: Result<SmallDisk, String>,
    /// How long it took until it was whole, each time that it was not so at the first look.
    pub returns: Vec<Duration>,
    binary: PathBuf,
    next_id: NodeId,
    directory: TempDir,
}

/// A node, as a process or as what is left of one.
#[derive(Debug)]
pub struct Node {
    /// Where it sits.
    pub seat: usize,
    /// Whether it did not found the cluster.
    joined: bool,
    /// While it runs.
    pub process: Option<Process>,
}

impl Cluster {
    /// A fresh one of three nodes, once it has a leader.
    ///
    /// # Errors
    /// What the machine cannot do; or that the nodes run and come to nothing, and where what they have written is kept.
    pub async fn start(kind: Kind) -> Result<Cluster, String> {
        let binary = binary::server()?;
        let network = Network::new(kind).await.map_err(|error| error.to_string())?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let seats: Vec<_> = (0..SEATS).map(|number| seat(number, &network, directory.path())).collect();
        let small_disk = SmallDisk::mount(&seats[SMALL_DISK_SEAT].directory);
        let wall_clock = WallClock::new(directory.path());
        let nodes =
            (1..).zip(0..FOUNDERS).map(|(id, seat)| (id, Node { seat, joined: false, process: None }));
        let client = Client::connect(seats.iter().map(|seat| &seat.client)).map_err(|e| e.to_string())?;
        let mut cluster = Cluster {
            nodes: nodes.collect(),
            network,
            client: client.with_deadline(Duration::from_secs(20)),
            seats,
            wall_clock,
            small_disk,
            returns: Vec::new(),
            binary,
            next_id: FOUNDERS as NodeId + 1,
            directory,
        };
        for id in cluster.ids() {
            cluster.launch(id).map_err(|error| error.to_string())?;
        }
        match cluster.whole().await {
            Ok(()) => {
                // That it has come to stand is no return.
                cluster.returns.clear();
                Ok(cluster)
            }
            Err(why) => Err(format!("{why}; {}", cluster.keep())),
        }
    }

    /// The ids of all that there are.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Where clients reach it.
    pub fn client_addresses(&self) -> Vec<String> {
        self.seats.iter().map(|seat| seat.client.clone()).collect()
    }

    /// The seat of a node.
    pub fn seat_of(&self, id: NodeId) -> &Seat {
        &self.seats[self.nodes[&id].seat]
    }

    /// The process of a node that runs.
    pub fn process(&mut self, id: NodeId) -> &mut Process {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut());
        process.expect("nodes run but for the time that a fault has stopped them")
    }

    /// What the cluster says of itself, in time.
    ///
    /// # Errors
    /// What it says instead.
    pub async fn view(&self) -> Result<v1::GetClusterResponse, Error> {
        self.client.cluster().get().await
    }

    /// Who leads.
    ///
    /// # Errors
    /// That nobody does, for too long.
    pub async fn leader(&self) -> Result<NodeId, String> {
        let view = self.view().await.map_err(|error| format!("nobody says who leads: {error}"))?;
        let known = self.nodes.contains_key(&view.leader_id);
        known
            .then_some(view.leader_id)
            .ok_or_else(|| format!("node {} leads, which is none of ours", view.leader_id))
    }

    /// A member that does not lead.
    ///
    /// # Errors
    /// As [`Cluster::leader`].
    pub async fn follower(&self) -> Result<NodeId, String> {
        let leader = self.leader().await?;
        let other = self.nodes.keys().find(|id| **id != leader);
        other.copied().ok_or_else(|| "the leader is alone".to_owned())
    }

    /// Waits until every node runs, votes, can be reached, and has the whole log.
    ///
    /// # Errors
    /// What is missing, after [`PATIENCE`], or at once if a process has ended.
    pub async fn whole(&mut self) -> Result<(), String> {
        match self.settle().await? {
            None => Ok(()),
            Some((id, status)) => Err(format!("node {id} has ended: {status}")),
        }
    }

    /// As [`Cluster::whole`], but a process that ends is an answer, too.
    ///
    /// # Errors
    /// What is missing after [`PATIENCE`].
    pub async fn settle(&mut self) -> Result<Option<(NodeId, ExitStatus)>, String> {
        let began = Instant::now();
        let (mut goal, mut looks) = (0, 0);
        loop {
            looks += 1;
            if let Some(ended) = self.ended() {
                return Ok(Some(ended));
            }
            let lacking = match self.view().await {
                Ok(view) => {
                    goal = if goal == 0 { view.commit_index } else { goal };
                    self.lacking(&view, goal)
                }
                Err(error) => Some(error.to_string()),
            };
            let Some(lacking) = lacking else {
                if looks > 1 {
                    self.returns.push(began.elapsed());
                }
                return Ok(None);
            };
            if began.elapsed() > PATIENCE {
                return Err(format!("not whole after {PATIENCE:?}: {lacking}"));
            }
            sleep(POLL).await;
        }
    }

    fn ended(&mut self) -> Option<(NodeId, ExitStatus)> {
        self.nodes.iter_mut().find_map(|(id, node)| Some((*id, node.process.as_mut()?.ended()?)))
    }

    fn lacking(&self, view: &v1::GetClusterResponse, goal: u64) -> Option<String> {
        for id in self.nodes.keys() {
            let Some(member) = view.members.iter().find(|member| member.id == *id) else {
                return Some(format!("node {id} is no member"));
            };
            if member.role() != v1::MemberRole::Voter || !member.reachable || member.matched_index < goal {
                return Some(format!("node {id} lags behind entry {goal}: {member:?}"));
            }
        }
        let strangers = view.members.len() - self.nodes.len();
        (strangers > 0).then(|| format!("{strangers} members that should be gone"))
    }

    /// What no node may ever write into its log: that it panicked, or that its state differs from the leader's.
    pub fn confessions(&self) -> Vec<String> {
        let logs = self.seats.iter().filter_map(|seat| Some((seat, fs::read(seat.log_path()).ok()?)));
        let mut found = Vec::new();
        for (seat, log) in logs {
            let log = String::from_utf8_lossy(&log).into_owned();
            let bad = |line: &&str| {
                // The log's library ends its thread in this way when an fsync fails, as it must.
                let is_panic = line.contains("panicked at") && !line.contains("thread 'log-writer'");
                is_panic || line.contains("differs from that of leader")
            };
            found.extend(log.lines().filter(bad).map(|line| format!("seat {}: {line}", seat.number)));
        }
        found
    }

    /// Ends the nodes, and leaves what they have written where it is, for a look; says where.
    pub fn keep(&mut self) -> String {
        self.nodes.values_mut().for_each(|node| node.process = None);
        self.directory.disable_cleanup(true);
        let at = self.directory.path().display();
        if self.small_disk.is_err() {
            return format!("logs and data are kept in {at}");
        }
        // This disk is in memory, and goes with this value.
        let disk = &self.seats[SMALL_DISK_SEAT].directory;
        let copy = disk.with_extension("kept");
        match files::copy_all(disk, &copy) {
            Ok(()) => {
                format!("logs and data are kept in {at}, those of a disk in memory in {}", copy.display())
            }
            Err(error) => {
                format!("logs and data are kept in {at}, but not those of a disk in memory: {error}")
            }
        }
    }

    /// Keeps what clients saw, too: what the checkers have judged; says where everything is.
    pub fn keep_with(&mut self, history: &History) -> String {
        let path = self.directory.path().join("events.jsonl");
        let events = match files::write_events(history, &path) {
            Ok(()) => format!("what clients saw in {}", path.display()),
            Err(error) => format!("but not what clients saw: {error}"),
        };
        format!("{}; {events}", self.keep())
    }
}

fn seat(number: usize, network: &Network, directory: &Path) -> Seat {
    let directory = directory.join(format!("seat-{number}"));
    match network {
        Network::Proxies(proxies) => {
            let [client, peer, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
            let peer_advertised = proxies.address(number).to_string();
            Seat { number, client, peer, peer_advertised, http, directory }
        }
        Network::Namespaces(namespaces) => {
            let [client, peer, http] =
                [7600, 7601, 7602].map(|port| format!("{}:{port}", namespaces.address(number)));
            Seat { number, client, peer_advertised: peer.clone(), peer, http, directory }
        }
    }
}
