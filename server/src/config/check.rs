//! Checks the settings as a whole, and fills the defaults.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tollgate_limiter::LimitName;
use tracing_subscriber::EnvFilter;

use super::{Config, Listen, Log, Pause, Settings, Size};
use crate::{
    address,
    raft::{
        members::{Member, NodeId},
        replica::{ELECTION_TICKS, TICK},
    },
    toml_reader::Fault,
};

const CLIENT_PORT: u16 = 7600;
const PEER_PORT: u16 = 7601;
const HTTP_PORT: u16 = 7602;
const CLUSTER: &str = "tollgate";
const LOG_FILTER: &str = "info";

/// Five times the pause between two heartbeats, which are a fifth of it whatever it is, and a failover within two seconds.
const ELECTION_TIMEOUT: Pause = Pause(Duration::from_nanos(TICK.0 * ELECTION_TICKS as u64));
/// Below this, elections are won by whoever is not asleep for a moment.
const ELECTION_TIMEOUT_MIN: Pause = Pause::from_millis(100);
/// Nodes tell each other of their clocks twice in an election timeout, and what is older than three seconds does not count.
const ELECTION_TIMEOUT_MAX: Pause = Pause::from_millis(2_000);

/// Long enough for seconds of full load, short enough to be read in a second at a restart.
const SNAPSHOT_LOG: Size = Size::mebibytes(64);
/// Below this a snapshot would follow the other without a pause.
const SNAPSHOT_LOG_MIN: Size = Size::mebibytes(1);
/// Room for a snapshot beside the log.
const DISK_RESERVE: Size = Size::mebibytes(64);

/// Fills the defaults, or says everything that is wrong.
pub fn check(settings: Settings) -> Result<Config, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    let id = node_id(settings.node_id, &mut faults);
    let data_dir = data_dir(settings.data_dir.clone(), &mut faults);
    let join = settings.join.unwrap_or(false);
    let listen = listen(&settings, &mut faults);
    let cluster = cluster_name(settings.cluster.clone(), &mut faults);
    members(&settings.members, &mut faults);
    this_member(id, join, &settings, &mut faults);
    let election_timeout = settings.election_timeout.unwrap_or(ELECTION_TIMEOUT);
    if !(ELECTION_TIMEOUT_MIN..=ELECTION_TIMEOUT_MAX).contains(&election_timeout) {
        let range = format_args!("must be from {ELECTION_TIMEOUT_MIN} to {ELECTION_TIMEOUT_MAX}");
        faults.add("cluster.election_timeout", range);
    }
    let snapshot_log = settings.snapshot_log.unwrap_or(SNAPSHOT_LOG);
    if snapshot_log < SNAPSHOT_LOG_MIN {
        faults.add("storage.snapshot_log", format_args!("must be at least {SNAPSHOT_LOG_MIN}"));
    }
    let log = Log {
        filter: log_filter(settings.log_level, &mut faults),
        format: settings.log_format.unwrap_or_default(),
    };

    if !faults.0.is_empty() {
        return Err(faults.0);
    }
    let mut members = settings.members;
    members.sort_by_key(|member| member.id);
    let presets = settings.presets;
    let disk_reserve = settings.disk_reserve.unwrap_or(DISK_RESERVE);
    Ok(Config {
        id,
        data_dir,
        join,
        listen,
        cluster,
        members,
        election_timeout,
        snapshot_log,
        disk_reserve,
        presets,
        huge_pages: settings.huge_pages.unwrap_or(true),
        log,
    })
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: &str, problem: impl ToString) {
        self.0.push(Fault { line: None, key: key.to_owned(), problem: problem.to_string() });
    }
}

fn node_id(id: Option<NodeId>, faults: &mut Faults) -> NodeId {
    match id {
        Some(0) => faults.add("node.id", "must be 1 or more"),
        None => faults.add("node.id", "is required: set it in the file, by --node-id or by TOLLGATE_NODE_ID"),
        Some(_) => {}
    }
    id.unwrap_or(0)
}

fn data_dir(dir: Option<PathBuf>, faults: &mut Faults) -> PathBuf {
    let dir = dir.unwrap_or_default();
    if dir.as_os_str().is_empty() {
        faults.add("node.data_dir", "is required: set it in the file, by --data-dir or by TOLLGATE_DATA_DIR");
    }
    dir
}

fn listen(settings: &Settings, faults: &mut Faults) -> Listen {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = Listen {
        client: settings.listen_client.unwrap_or(loopback(CLIENT_PORT)),
        peer: settings.listen_peer.unwrap_or(loopback(PEER_PORT)),
        http: settings.listen_http.unwrap_or(loopback(HTTP_PORT)),
    };
    let mut seen = BTreeMap::new();
    for (key, address) in
        [("listen.client", listen.client), ("listen.peer", listen.peer), ("listen.http", listen.http)]
    {
        // Port 0 is a free one, another each time.
        if let Some(other) = seen.insert(address, key).filter(|_| address.port() != 0) {
            faults.add(key, format_args!("{address} is the address of {other} already"));
        }
    }
    listen
}

fn cluster_name(name: Option<String>, faults: &mut Faults) -> String {
    let name = name.unwrap_or_else(|| CLUSTER.to_owned());
    if let Err(problem) = LimitName::new(&name) {
        faults.add("cluster.name", problem);
    }
    name
}

/// Each member by itself, and no id or address twice.
fn members(members: &[Member], faults: &mut Faults) {
    let mut ids = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        let key = |field: &str| format!("cluster.members[{index}].{field}");
        match member.id {
            0 => faults.add(&key("id"), "is required, and must be 1 or more"),
            id => {
                if let Some(other) = ids.insert(id, index) {
                    let problem = format!("{id} is the id of members[{other}] already");
                    faults.add(&key("id"), problem);
                }
            }
        }
        for (field, address) in [
            ("peer", &member.peer_address),
            ("client", &member.client_address),
            ("http", &member.http_address),
        ] {
            if address.is_empty() {
                if field != "http" {
                    faults.add(&key(field), "is required");
                }
            } else if let Err(problem) = address::check(address) {
                faults.add(&key(field), format_args!("`{address}` {problem}"));
            } else if let Some(other) = addresses.insert(address, key(field)) {
                faults.add(&key(field), format_args!("{address} is the address of {other} already"));
            }
        }
    }
}

/// This node's place among the members.
fn this_member(id: NodeId, join: bool, settings: &Settings, faults: &mut Faults) {
    if join {
        if !settings.members.is_empty() {
            let problem = "must be absent with join: a joining node learns the members from the leader";
            faults.add("cluster.members", problem);
        }
        return;
    }
    if settings.members.is_empty() {
        let problem = "is required: list all nodes, this one among them, in the file, by --member or by \
                       TOLLGATE_MEMBERS; or set join";
        faults.add("cluster.members", problem);
        return;
    }
    // Without an id of its own, which is a fault already, this node cannot be found among them.
    let Some(this) = settings.members.iter().find(|member| member.id == id) else {
        if id != 0 {
            faults.add("cluster.members", format_args!("this node (id {id}) is not among the members"));
        }
        return;
    };
    // Defaults listen on loopback alone. Members elsewhere would try in vain, and only their logs would say so.
    for (key, listen, address) in [
        ("listen.peer", settings.listen_peer, &this.peer_address),
        ("listen.client", settings.listen_client, &this.client_address),
    ] {
        if listen.is_none() && !address.is_empty() && !address::is_loopback(address) {
            faults.add(
                key,
                format_args!("is required (such as 0.0.0.0 and a port): others reach this node at {address}"),
            );
        }
    }
}

fn log_filter(filter: Option<String>, faults: &mut Faults) -> String {
    let filter = filter.unwrap_or_else(|| LOG_FILTER.to_owned());
    if let Err(problem) = EnvFilter::try_new(&filter) {
        faults.add(
            "log.level",
            format_args!("must be error, warn, info, debug or trace, or such by module: {problem}"),
        );
    }
    filter
}
