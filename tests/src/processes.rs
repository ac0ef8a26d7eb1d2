//! A cluster of real `tollgate server` processes on loopback, that can be killed as only processes can.

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tollgate_client::Client;

use crate::{cluster::PATIENCE, torture::binary};

/// Nodes 1 to 3.
const NODES: [u64; 3] = [1, 2, 3];

/// In which the system counts the time of processors: so many on every Linux that runs on a PC or an ARM server.
const TICKS_PER_SECOND: u64 = 100;

/// Three nodes, killed with this value.
pub struct Processes {
    directory: TempDir,
    /// Client, peer and HTTP port of each.
    ports: BTreeMap<u64, [u16; 3]>,
    running: BTreeMap<u64, Child>,
    /// What they are told beside their place.
    flags: &'static [&'static str],
}

impl Processes {
    /// A new cluster that answers.
    pub async fn start() -> Processes {
        Processes::start_with(&[]).await
    }

    /// One whose nodes are given these flags.
    pub async fn start_with(flags: &'static [&'static str]) -> Processes {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ports = NODES.into_iter().zip(free_ports()).collect();
        let mut processes = Processes { directory, ports, running: BTreeMap::new(), flags };
        NODES.into_iter().for_each(|id| processes.restart(id));
        processes.leader().await;
        processes
    }

    /// Starts a node that is not running, with the data that it has.
    pub fn restart(&mut self, id: u64) {
        let [client, peer, http] = self.ports[&id];
        let log = self.directory.path().join(format!("node-{id}.log"));
        let log = fs::File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(binary::server().expect("a server to test"));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOLLGATE_")) {
            command.env_remove(name);
        }
        command.args(["server", "--node-id", &id.to_string(), "--data-dir"]);
        command.arg(self.directory.path().join(format!("node-{id}")));
        for (flag, port) in [("--listen-client", client), ("--listen-peer", peer), ("--listen-http", http)] {
            command.args([flag, &format!("127.0.0.1:{port}")]);
        }
        for (id, [client, peer, _]) in &self.ports {
            command.args(["--member", &format!("id={id},peer=127.0.0.1:{peer},client=127.0.0.1:{client}")]);
        }
        command.args(self.flags);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.running.insert(id, process.expect("the binary runs"));
    }

    /// As `kill -9`.
    pub fn kill(&mut self, id: u64) {
        let mut process = self.running.remove(&id).expect("a running node");
        process.kill().expect("a process of this test");
        process.wait().expect("a process that was killed ends");
    }

    /// A new client of all nodes, with connections of its own.
    pub fn client(&self) -> Client {
        let nodes = self.ports.values().map(|[client, ..]| format!("127.0.0.1:{client}"));
        Client::connect(nodes).expect("addresses of this module").with_deadline(PATIENCE)
    }

    /// Where clients reach a node.
    pub fn client_address(&self, id: u64) -> String {
        format!("127.0.0.1:{}", self.ports[&id][0])
    }

    /// Where a node tells its metrics.
    pub fn http_address(&self, id: u64) -> String {
        format!("127.0.0.1:{}", self.ports[&id][2])
    }

    /// Who leads, once somebody does.
    pub async fn leader(&self) -> u64 {
        let client = self.client();
        let known = async {
            loop {
                match client.cluster().get().await {
                    Ok(cluster) if cluster.leader_id != 0 => return cluster.leader_id,
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        timeout(PATIENCE, known).await.expect("a leader in time")
    }

    /// The memory that a node has resident, in KiB.
    pub fn resident_kib(&self, id: u64) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running[&id].id()));
        let status = status.expect("the status of a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// How long a node has had a processor.
    pub fn processor_time(&self, id: u64) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.running[&id].id()));
        let stat = stat.expect("the state of a running process");
        // After the name, which is in parentheses, the 12th and 13th field: in user mode and in the system's (proc(5)).
        let (_, fields) = stat.rsplit_once(')').expect("the name in parentheses");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum();
        Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
    }

    /// Keeps the logs of the nodes, for whoever looks into a failure; says where.
    pub fn keep_logs(&self) -> PathBuf {
        let to = env::temp_dir().join(format!("tollgate-fleet-{}", std::process::id()));
        fs::create_dir_all(&to).expect("a directory for logs");
        for id in NODES {
            let name = format!("node-{id}.log");
            fs::copy(self.directory.path().join(&name), to.join(&name)).expect("a log can be copied");
        }
        to
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.running.values_mut() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ports that nobody has now.
fn free_ports() -> Vec<[u16; 3]> {
    let listeners: Vec<_> = (0..9).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("a bound socket").port();
    listeners.chunks(3).map(|node| [port(&node[0]), port(&node[1]), port(&node[2])]).collect()
}
