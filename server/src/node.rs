//! What the services of a node share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tollgate_limiter::Label;

use crate::{
    metrics::Metrics,
    preset::Presets,
    raft::{door::Status, members::NodeId},
    router::Router,
};

/// The software version that nodes tell each other.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One node, as its services see it. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    /// The name that all members of the cluster share.
    pub cluster: Arc<str>,
    /// This node.
    pub id: NodeId,
    /// Where calls go, whoever leads.
    pub router: Router,
    /// What the replica is like now.
    pub status: watch::Receiver<Status>,
    /// What is counted.
    pub metrics: Metrics,
    /// The software versions of the nodes heard from, this one included.
    pub versions: Versions,
    /// What answers of vendors are read with: those of the program, and those that its configuration names.
    pub presets: Arc<Presets>,
    /// Whose answers could not be read with any of them.
    pub strangers: Strangers,
    /// Cancelled when the node begins to shut down: readiness goes off, long streams end.
    pub stopping: CancellationToken,
}

/// The software versions of the nodes that this node has met.
#[derive(Clone, Debug, Default)]
pub struct Versions(Arc<Mutex<BTreeMap<NodeId, String>>>);

impl Versions {
    /// What a node says of itself.
    pub fn note(&self, id: NodeId, version: &str) {
        self.0.lock().insert(id, version.to_owned());
    }

    /// The version of a node; empty until it was heard from.
    pub fn of(&self, id: NodeId) -> String {
        self.0.lock().get(&id).cloned().unwrap_or_default()
    }
}

/// Vendors of whom resources say that a preset reads their answers, while this node has none. No more than there are
/// resources.
#[derive(Clone, Debug, Default)]
pub struct Strangers(Arc<Mutex<BTreeSet<Label>>>);

impl Strangers {
    /// Remembers one; whether it is new, so that the log tells of each once.
    pub fn meet(&self, vendor: &Label) -> bool {
        self.0.lock().insert(vendor.clone())
    }
}
