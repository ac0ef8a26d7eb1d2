//! A cluster of processes: who sits where, and how they are started, ended and replaced.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
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
use crate::cluster::free_port;

/// How long anything may take that must happen at last. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often something is looked for that must happen at last.
const POLL: Duration = Duration::from_millis(50);

/// The seat whose disk is small, where the machine lets us make one.
pub const SMALL_DISK_SEAT: usize = 2;

/// Its size; far above what a node needs in a few minutes.
const SMALL_DISK: &str = "size=256m";

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
    /// The file with what the wall clock of [`CLOCK_SEAT`] shows, relative to the truth; none where it cannot be set.
    pub clock_file: Option<PathBuf>,
    /// Why the disk of [`SMALL_DISK_SEAT`] is not small, if it is not.
    pub small_disk: Result<SmallDisk, String>,
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

/// A small file system in memory.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<SmallDisk, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SMALL_DISK, "none"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Ok(SmallDisk(at.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still have files open. If it fails, it is not there any more.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Cluster {
    /// A fresh one of three nodes, once it has a leader.
    ///
    /// # Errors
    /// What the machine cannot do.
    pub async fn start(kind: Kind) -> Result<Cluster, String> {
        let binary = binary::server()?;
        let network = Network::new(kind).await.map_err(|error| error.to_string())?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let seats: Vec<_> = (0..SEATS).map(|number| seat(number, &network, directory.path())).collect();
        let small_disk = SmallDisk::mount(&seats[SMALL_DISK_SEAT].directory);
        let clock_file = binary::faketime().map(|_| directory.path().join("clock"));
        let nodes =
            (1..).zip(0..FOUNDERS).map(|(id, seat)| (id, Node { seat, joined: false, process: None }));
        let client = Client::connect(seats.iter().map(|seat| &seat.client)).map_err(|e| e.to_string())?;
        let mut cluster = Cluster {
            nodes: nodes.collect(),
            network,
            client: client.with_deadline(Duration::from_secs(20)),
            seats,
            clock_file,
            small_disk,
            binary,
            next_id: FOUNDERS as NodeId + 1,
            directory,
        };
        cluster.set_clock(0).map_err(|error| error.to_string())?;
        for id in cluster.ids() {
            cluster.launch(id).map_err(|error| error.to_string())?;
        }
        cluster.whole().await?;
        Ok(cluster)
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

    /// Starts the process of a node, on what it keeps.
    pub fn launch(&mut self, id: NodeId) -> io::Result<()> {
        let seat = self.seat_of(id).clone();
        let log = fs::OpenOptions::new().create(true).append(true).open(seat.log_path())?;
        let mut command = self.command(id, &seat);
        let process = Process::start(command.stdout(log.try_clone()?).stderr(log))?;
        if let Network::Proxies(proxies) = &self.network {
            proxies.seat(seat.number, process.pid(), seat.peer.parse().map_err(io::Error::other)?);
        }
        self.nodes.entry(id).and_modify(|node| node.process = Some(process));
        Ok(())
    }

    fn command(&self, id: NodeId, seat: &Seat) -> Command {
        let mut command = match &self.network {
            Network::Proxies(_) => Command::new(&self.binary),
            Network::Namespaces(namespaces) => {
                // It becomes the node's process itself.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &namespaces.name(seat.number)]).arg(&self.binary);
                command
            }
        };
        let settings = env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        command.args(["server", "--cluster", "torture", "--snapshot-log", "1MiB", "--disk-reserve", "16MiB"]);
        command.args(["--node-id", &id.to_string()]).arg("--data-dir").arg(&seat.directory);
        command.args(["--listen-client", &seat.client, "--listen-peer", &seat.peer]);
        command.args(["--listen-http", &seat.http]);
        if self.nodes[&id].joined {
            command.arg("--join");
        } else {
            for (id, seat) in (1..).zip(&self.seats[..FOUNDERS]) {
                command.args(["--member", &seat.member(id)]);
            }
        }
        if let (CLOCK_SEAT, Some(file), Some(library)) = (seat.number, &self.clock_file, binary::faketime()) {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
            command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        }
        command
    }

    /// From now on the wall clock of [`CLOCK_SEAT`] is off by so many seconds, where it can be set.
    pub fn set_clock(&self, offset_s: i64) -> io::Result<()> {
        let Some(file) = &self.clock_file else { return Ok(()) };
        let written = file.with_extension("new");
        fs::write(&written, format!("{offset_s:+}s\n"))?;
        fs::rename(written, file)
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
        let mut goal = 0;
        loop {
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
            let Some(lacking) = lacking else { return Ok(None) };
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

    /// Starts a node with a new id and nothing on its disk, and makes it a member.
    ///
    /// # Errors
    /// What the cluster says instead.
    pub async fn join(&mut self, seat: usize) -> Result<NodeId, String> {
        let id = self.next_id;
        self.next_id += 1;
        wipe(&self.seats[seat].directory).map_err(|error| error.to_string())?;
        self.nodes.insert(id, Node { seat, joined: true, process: None });
        self.launch(id).map_err(|error| error.to_string())?;
        let Seat { client, peer_advertised, http, .. } = self.seats[seat].clone();
        let member = v1::AddMemberRequest {
            id,
            peer_address: peer_advertised,
            client_address: client,
            http_address: http,
        };
        let began = Instant::now();
        // A change that is under way, or a leader that has just changed, stands in the way for a moment.
        while let Err(error) = self.client.cluster().add(member.clone()).await {
            if self.view().await.is_ok_and(|view| view.members.iter().any(|member| member.id == id)) {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("node {id} is not added: {error}"));
            }
            sleep(POLL).await;
        }
        Ok(id)
    }

    /// Takes a member out, dead or alive. What becomes of its process is up to the caller.
    ///
    /// # Errors
    /// What the cluster says instead.
    pub async fn remove(&mut self, id: NodeId) -> Result<Node, String> {
        let began = Instant::now();
        while let Err(error) = self.client.cluster().remove(id).await {
            if self.view().await.is_ok_and(|view| view.members.iter().all(|member| member.id != id)) {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("node {id} is not removed: {error}"));
            }
            sleep(POLL).await;
        }
        self.nodes.remove(&id).ok_or_else(|| format!("there is no node {id}"))
    }

    /// Removes a node that cannot come back, and puts a new one into its seat: what the manual says.
    ///
    /// # Errors
    /// As [`Cluster::join`] and [`Cluster::remove`].
    pub async fn replace(&mut self, id: NodeId) -> Result<NodeId, String> {
        let seat = self.remove(id).await?.seat;
        self.join(seat).await
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

    /// Leaves everything where it is, for a look; and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }
}

/// Empties a directory, which need not exist and may be a mount.
pub fn wipe(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
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
