//! What can be set, and where: each setting as flag, environment variable or key of the file.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{LogFormat, Pause, Size};
use crate::raft::members::{Member, NodeId};

/// What `tollgate server` is told on its command line and in its environment.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// The configuration file (TOML). Flags and environment variables count more than it.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub settings: Settings,
}

/// Settings from one place. What is absent comes from the next, at last from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Settings {
    /// This node's number: 1 or more, unique in the cluster for ever. Required, here, in the file or in the environment.
    #[arg(long, env = "TOLLGATE_NODE_ID", value_name = "ID")]
    pub node_id: Option<NodeId>,

    /// The directory of its log and snapshots, created if absent. Required, here, in the file or in the environment.
    #[arg(long, env = "TOLLGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Begin as nobody, and wait to be added to a running cluster (`tollgate cluster add`).
    #[arg(long, env = "TOLLGATE_JOIN", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    pub join: Option<bool>,

    /// Where to listen for clients [default: 127.0.0.1:7600].
    #[arg(long, env = "TOLLGATE_LISTEN_CLIENT", value_name = "IP:PORT")]
    pub listen_client: Option<SocketAddr>,

    /// Where to listen for the other nodes [default: 127.0.0.1:7601].
    #[arg(long, env = "TOLLGATE_LISTEN_PEER", value_name = "IP:PORT")]
    pub listen_peer: Option<SocketAddr>,

    /// Where to serve metrics and health over HTTP [default: 127.0.0.1:7602].
    #[arg(long, env = "TOLLGATE_LISTEN_HTTP", value_name = "IP:PORT")]
    pub listen_http: Option<SocketAddr>,

    /// The name that all nodes of the cluster share [default: tollgate].
    #[arg(long, env = "TOLLGATE_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,

    /// One of the cluster's first members, this node among them; repeat it for each. In the environment, divide by `;`.
    #[arg(long = "member", env = "TOLLGATE_MEMBERS", value_delimiter = ';', value_parser = parse_member,
          value_name = "id=ID,peer=HOST:PORT,client=HOST:PORT[,http=HOST:PORT]")]
    pub members: Vec<Member>,

    /// Followers that hear nothing from the leader for so long, or up to twice as long, elect another; 100ms to 2s, the same on
    /// every node [default: 500ms].
    #[arg(long, env = "TOLLGATE_ELECTION_TIMEOUT", value_name = "DURATION")]
    pub election_timeout: Option<Pause>,

    /// Take a snapshot and cut the log when the log is this long [default: 64MiB].
    #[arg(long, env = "TOLLGATE_SNAPSHOT_LOG", value_name = "SIZE")]
    pub snapshot_log: Option<Size>,

    /// Leave leading to others while the disk has less room than this; if no voter has more, refuse whatever has to be
    /// written, releases and renewals too [default: 64MiB].
    #[arg(long, env = "TOLLGATE_DISK_RESERVE", value_name = "SIZE")]
    pub disk_reserve: Option<Size>,

    /// A preset of one's own (TOML, as `tollgate preset check` checks it) or a directory of them, with which this node reads
    /// answers; repeat it for each. In the environment, divide by `:`.
    #[arg(long, env = "TOLLGATE_PRESETS", value_delimiter = ':', value_name = "PATH")]
    pub presets: Vec<PathBuf>,

    /// Keep memory in huge pages where the system offers them: faster with many resources, but a connection takes twice as
    /// much [default: true].
    #[arg(long, env = "TOLLGATE_HUGE_PAGES", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    pub huge_pages: Option<bool>,

    /// What to log: error, warn, info, debug, trace, or directives by module [default: info].
    #[arg(long, env = "TOLLGATE_LOG", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// The form of the log's lines [default: human].
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Settings {
    /// These, and where they are silent, `below`.
    pub fn over(self, below: Settings) -> Settings {
        Settings {
            node_id: self.node_id.or(below.node_id),
            data_dir: self.data_dir.or(below.data_dir),
            join: self.join.or(below.join),
            listen_client: self.listen_client.or(below.listen_client),
            listen_peer: self.listen_peer.or(below.listen_peer),
            listen_http: self.listen_http.or(below.listen_http),
            cluster: self.cluster.or(below.cluster),
            members: if self.members.is_empty() { below.members } else { self.members },
            election_timeout: self.election_timeout.or(below.election_timeout),
            snapshot_log: self.snapshot_log.or(below.snapshot_log),
            disk_reserve: self.disk_reserve.or(below.disk_reserve),
            presets: if self.presets.is_empty() { below.presets } else { self.presets },
            huge_pages: self.huge_pages.or(below.huge_pages),
            log_level: self.log_level.or(below.log_level),
            log_format: self.log_format.or(below.log_format),
        }
    }
}

/// Reads a member as the flag states it. Whether its addresses make sense is checked with the rest.
fn parse_member(text: &str) -> Result<Member, String> {
    let mut member = Member {
        id: 0,
        peer_address: String::new(),
        client_address: String::new(),
        http_address: String::new(),
        incarnation: None,
    };
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or(format!("`{pair}` is not of the form key=value"))?;
        match key.trim() {
            "id" => member.id = value.parse().map_err(|_| format!("id must be a number, not `{value}`"))?,
            "peer" => member.peer_address = value.to_owned(),
            "client" => member.client_address = value.to_owned(),
            "http" => member.http_address = value.to_owned(),
            key => {
                return Err(crate::toml_reader::unknown(key, ["id", "peer", "client", "http"].into_iter()));
            }
        }
    }
    Ok(member)
}
