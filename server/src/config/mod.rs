//! The node's configuration: flags over environment over file over defaults, checked as a whole.
//!
//! Every setting can come from all three places ([`Settings`]); [`check`] fills the defaults and refuses what does not
//! fit together, all faults at once. `deploy/tollgate.toml` is the commented example.

mod check;
mod file;
mod pause;
mod settings;
mod size;

use std::{fmt, fs, io, net::SocketAddr, path::PathBuf};

pub use check::check;
pub use pause::Pause;
pub use settings::{Flags, Settings};
pub use size::Size;

use crate::{
    raft::members::{Member, NodeId},
    toml_reader::Fault,
};

/// A configuration without faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node's number: 1 or more.
    pub id: NodeId,
    /// Where its log and snapshots live.
    pub data_dir: PathBuf,
    /// It begins as nobody, and waits for the leader of a cluster that it was added to.
    pub join: bool,
    /// Where it listens.
    pub listen: Listen,
    /// The name that all members share.
    pub cluster: String,
    /// The first members of the cluster, this node among them, by id; empty with `join`. Only read while the data directory
    /// is empty: afterwards the replicated membership counts.
    pub members: Vec<Member>,
    /// Followers that hear nothing from the leader for so long, or up to twice as long, elect another.
    pub election_timeout: Pause,
    /// Bytes of log after which a snapshot is taken and the log is cut.
    pub snapshot_log: Size,
    /// Bytes that are kept free on the disk: below, another node is to lead, and while no voter has room, everything that has to be
    /// written is refused.
    pub disk_reserve: Size,
    /// Files of presets, and directories of such files, beside those of the program.
    pub presets: Vec<PathBuf>,
    /// Whether memory may be in huge pages.
    pub huge_pages: bool,
    /// What is logged, and how.
    pub log: Log,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For clients.
    pub client: SocketAddr,
    /// For the other nodes.
    pub peer: SocketAddr,
    /// For metrics and health.
    pub http: SocketAddr,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives such as `info,tollgate_server::raft=debug`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Everything that is wrong, at once.
    Faulty {
        /// The file, if there was one.
        path: Option<PathBuf>,
        /// At least one.
        faults: Vec<Fault>,
    },
}

impl Config {
    /// Reads the file that the flags name, if any, lays flags and environment over it, and checks the whole.
    pub fn load(flags: Flags) -> Result<Config, ConfigError> {
        let Flags { config: path, settings } = flags;
        let faulty = |faults| ConfigError::Faulty { path: path.clone(), faults };
        let (file, mut faults) = match &path {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
                file::read(&text)
            }
            None => (Settings::default(), Vec::new()),
        };
        match check(settings.over(file)) {
            Ok(config) if faults.is_empty() => Ok(config),
            Ok(_) => Err(faulty(faults)),
            Err(others) => {
                // What is there but cannot be read was told already; do not call it missing too.
                let told = |fault: &Fault| faults.iter().any(|known| known.key == fault.key);
                let others: Vec<Fault> = others.into_iter().filter(|fault| !told(fault)).collect();
                faults.extend(others);
                Err(faulty(faults))
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, error } => {
                write!(f, "cannot read the configuration {}: {error}", path.display())
            }
            ConfigError::Faulty { path, faults } => {
                match path {
                    Some(path) => write!(f, "the configuration ({}) is not valid:", path.display())?,
                    None => write!(f, "the configuration is not valid:")?,
                }
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
