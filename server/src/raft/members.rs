//! Who belongs to the cluster. Replicated beside the limiter: addresses travel with the configuration change that adds
//! a member.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

/// A node's number: 1 or more, unique in the cluster for ever.
pub type NodeId = u64;

/// The random number that a node's data directory was born with. A node that returns with another one under its old id
/// has lost what it acknowledged, and is refused.
pub type Incarnation = u64;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Its number.
    #[n(0)]
    pub id: NodeId,
    /// host:port for the other nodes.
    #[n(1)]
    pub peer_address: String,
    /// host:port for clients.
    #[n(2)]
    pub client_address: String,
    /// host:port for metrics and health; may be empty.
    #[n(3)]
    pub http_address: String,
    /// Its data directory's, once it was heard from.
    #[n(4)]
    pub incarnation: Option<Incarnation>,
}

/// All nodes, and those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Members {
    /// By id.
    #[n(0)]
    pub by_id: BTreeMap<NodeId, Member>,
    /// Ids that are never used again.
    #[n(1)]
    pub removed: BTreeSet<NodeId>,
}
