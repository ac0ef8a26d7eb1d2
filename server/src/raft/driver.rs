//! The task that carries events to the replica and effects from it: the only async part of replication.

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinHandle};

use crate::{metrics::Metrics, storage::data_dir::DataDir};

use super::{door::Inside, fatal::Fatal, members::Members, peers::Peers};

/// How a node begins when its data directory is empty; otherwise it goes on where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// As one of these voters of a new cluster. All of them must be given the same ones.
    Found(Members),
    /// As nobody: it waits until the leader of a cluster, to which it was added, calls.
    Join,
}

/// What a replica is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// How it begins.
    pub beginning: Beginning,
    /// Bytes of log after which a snapshot is taken and the log is cut.
    pub snapshot_log_bytes: u64,
    /// Bytes that are kept free on the disk: below, nothing is granted any more.
    pub disk_reserve_bytes: u64,
}

/// A replica that runs.
pub struct Running {
    /// Ends when the replica does: after [`Running::shut_down`] with `Ok`, otherwise with what it could not survive.
    pub task: JoinHandle<Result<(), Fatal>>,
    shutdown: oneshot::Sender<()>,
}

impl Running {
    /// Asks the replica to hand its leadership over, answer what is open, and end. Returns the task to wait for.
    pub fn shut_down(self) -> JoinHandle<Result<(), Fatal>> {
        // If nobody listens, it has ended.
        let _ = self.shutdown.send(());
        self.task
    }
}

/// Starts the replica of `data_dir` as a task of the current runtime: reads its log and its snapshot, joins or founds
/// the cluster, and serves the door until it is told to end.
pub fn start(
    config: NodeConfig,
    data_dir: DataDir,
    inside: Inside,
    peers: Arc<dyn Peers>,
    metrics: Metrics,
) -> Result<Running, Fatal> {
    let _ = (config, data_dir, inside, peers, metrics);
    todo!()
}
