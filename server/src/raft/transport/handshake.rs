//! Who calls whom: two nodes introduce themselves in the metadata of every call, and neither listens before it knows
//! that the other is what it should be.
//!
//! What is at stake: a node whose disk was wiped has forgotten its votes and the entries that it acknowledged. If it
//! spoke under its old id, a quorum could lose acknowledged permits. So every data directory is born with a random
//! incarnation, the cluster remembers each member's, and whoever returns with another one is refused for ever.
//!
//! A caller that this node does not know is *not* refused: this node may be the one that is behind, because it was away
//! while the other was added, and may need just that caller to catch up (Ongaro, "Consensus: Bridging Theory and
//! Practice", 4.1: servers take requests from servers that are not in their configuration).

use std::collections::HashMap;

use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    node::VERSION,
    raft::members::{Incarnation, Members, NodeId},
    storage::data_dir::Identity,
};

const CLUSTER: &str = "tollgate-cluster";
const NODE: &str = "tollgate-node";
const INCARNATION: &str = "tollgate-incarnation";
const ADDRESS: &str = "tollgate-address";
const NODE_VERSION: &str = "tollgate-version";
const PEER_NODE: &str = "tollgate-peer-node";
const PEER_INCARNATION: &str = "tollgate-peer-incarnation";

const DOMAIN: &str = "tollgate";

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The cluster's name.
    pub cluster: String,
    /// Its id.
    pub node: NodeId,
    /// Its data directory's.
    pub incarnation: Incarnation,
    /// host:port of its PeerService.
    pub address: String,
    /// Its software version.
    pub version: String,
}

impl Introduction {
    /// That of this node, which others call at `address`.
    pub fn of(identity: &Identity, address: &str) -> Introduction {
        Introduction {
            cluster: identity.cluster.clone(),
            node: identity.node,
            incarnation: identity.incarnation,
            address: address.to_owned(),
            version: VERSION.to_owned(),
        }
    }

    /// Puts it into the metadata of a call or an answer. What cannot stand in metadata is left out, and the other node
    /// misses it by its name.
    pub fn write(&self, metadata: &mut MetadataMap) {
        insert(metadata, CLUSTER, &self.cluster);
        insert(metadata, NODE, &self.node.to_string());
        insert(metadata, INCARNATION, &format!("{:016x}", self.incarnation));
        insert(metadata, ADDRESS, &self.address);
        insert(metadata, NODE_VERSION, &self.version);
    }

    /// Reads it from the metadata of a call or an answer. `INVALID_ARGUMENT` names what is missing or malformed.
    pub fn read(metadata: &MetadataMap) -> Result<Introduction, Status> {
        Ok(Introduction {
            cluster: text(metadata, CLUSTER)?.to_owned(),
            node: number(NODE, text(metadata, NODE)?, 10)?,
            incarnation: number(INCARNATION, text(metadata, INCARNATION)?, 16)?,
            address: text(metadata, ADDRESS)?.to_owned(),
            version: text(metadata, NODE_VERSION)?.to_owned(),
        })
    }
}

/// Whom a caller means to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The id.
    pub node: NodeId,
    /// What the caller knows it by, if it does.
    pub incarnation: Option<Incarnation>,
}

impl Addressee {
    /// Puts it into the metadata of a call.
    pub fn write(&self, metadata: &mut MetadataMap) {
        insert(metadata, PEER_NODE, &self.node.to_string());
        if let Some(incarnation) = self.incarnation {
            insert(metadata, PEER_INCARNATION, &format!("{incarnation:016x}"));
        }
    }

    /// Reads it from the metadata of a call.
    pub fn read(metadata: &MetadataMap) -> Result<Addressee, Status> {
        let incarnation = match metadata.contains_key(PEER_INCARNATION) {
            true => Some(number(PEER_INCARNATION, text(metadata, PEER_INCARNATION)?, 16)?),
            false => None,
        };
        Ok(Addressee { node: number(PEER_NODE, text(metadata, PEER_NODE)?, 10)?, incarnation })
    }
}

/// Why two nodes do not talk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Two clusters.
    #[error("node {node} is of cluster {cluster:?}")]
    ForeignCluster {
        /// Who answers.
        node: NodeId,
        /// Its cluster.
        cluster: String,
    },
    /// Somebody else lives at this address.
    #[error("this is node {node}, not node {meant}")]
    UnknownNode {
        /// Who answers.
        node: NodeId,
        /// Who was meant.
        meant: NodeId,
    },
    /// The node was removed.
    #[error("node {node} was removed from the cluster, and a removed id is never used again")]
    RemovedNode {
        /// Which.
        node: NodeId,
    },
    /// The node lost its disk.
    #[error(
        "node {node} came back with another data directory than the cluster knows it by: it lost what it acknowledged; remove this member and add it under a new id"
    )]
    WipedData {
        /// Which.
        node: NodeId,
    },
}

impl Mismatch {
    fn reason(&self) -> &'static str {
        match self {
            Mismatch::ForeignCluster { .. } => "FOREIGN_CLUSTER",
            Mismatch::UnknownNode { .. } => "UNKNOWN_NODE",
            Mismatch::RemovedNode { .. } => "REMOVED_NODE",
            Mismatch::WipedData { .. } => "WIPED_DATA",
        }
    }

    /// The node at fault; for a foreign cluster, the one that says so.
    fn node(&self) -> NodeId {
        match *self {
            Mismatch::ForeignCluster { node, .. }
            | Mismatch::UnknownNode { node, .. }
            | Mismatch::RemovedNode { node }
            | Mismatch::WipedData { node } => node,
        }
    }

    /// As the refusal of a call.
    pub fn into_status(self) -> Status {
        let named = HashMap::from([("node".to_owned(), self.node().to_string())]);
        let details = ErrorDetails::with_error_info(self.reason(), DOMAIN, named);
        Status::with_error_details(Code::FailedPrecondition, self.to_string(), details)
    }
}

/// Why this node has to stop: the others say that it does not belong to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Expelled {
    /// Its disk was wiped.
    #[error(
        "the cluster knows node {0} by another data directory: this one is new or was restored, and has lost what the node acknowledged. Remove member {0}, add this machine under a new id, and start it with join = true and an empty data_dir"
    )]
    Wiped(NodeId),
    /// Its id is gone.
    #[error(
        "node {0} was removed from the cluster, and a removed id is never used again: add it under a new id"
    )]
    Removed(NodeId),
    /// It calls nodes of another cluster.
    #[error(
        "most of this node's members say that they are of another cluster than {cluster:?}: correct the cluster name, or the members' addresses"
    )]
    Foreign {
        /// This node's cluster.
        cluster: String,
    },
}

/// What a refused call means to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// This node has to stop.
    Expelled(Expelled),
    /// The called node is of another cluster; one of the two is wrong.
    Foreign,
    /// Anything else: try again later.
    Other,
}

/// Reads a refusal of a call by `this`.
pub fn meaning(this: NodeId, refusal: &Status) -> Meaning {
    let Some(info) = refusal.get_details_error_info().filter(|info| info.domain == DOMAIN) else {
        return Meaning::Other;
    };
    let at_fault = info.metadata.get("node").and_then(|node| node.parse().ok()) == Some(this);
    match info.reason.as_str() {
        "WIPED_DATA" if at_fault => Meaning::Expelled(Expelled::Wiped(this)),
        "REMOVED_NODE" if at_fault => Meaning::Expelled(Expelled::Removed(this)),
        "FOREIGN_CLUSTER" => Meaning::Foreign,
        _ => Meaning::Other,
    }
}

/// What the called node makes of its caller.
pub fn admit(
    this: &Identity,
    members: &Members,
    caller: &Introduction,
    addressee: Addressee,
) -> Result<(), Mismatch> {
    if caller.cluster != this.cluster {
        return Err(Mismatch::ForeignCluster { node: this.node, cluster: this.cluster.clone() });
    }
    if addressee.node != this.node || caller.node == this.node {
        return Err(Mismatch::UnknownNode { node: this.node, meant: addressee.node });
    }
    if addressee.incarnation.is_some_and(|known| known != this.incarnation) {
        return Err(Mismatch::WipedData { node: this.node });
    }
    known_as(members, caller)
}

/// What the caller makes of the node that answered.
pub fn accept(
    this: &Identity,
    members: &Members,
    called: NodeId,
    answer: &Introduction,
) -> Result<(), Mismatch> {
    if answer.cluster != this.cluster {
        return Err(Mismatch::ForeignCluster { node: answer.node, cluster: answer.cluster.clone() });
    }
    if answer.node != called {
        return Err(Mismatch::UnknownNode { node: answer.node, meant: called });
    }
    known_as(members, answer)
}

fn known_as(members: &Members, node: &Introduction) -> Result<(), Mismatch> {
    if members.removed.contains(&node.node) {
        return Err(Mismatch::RemovedNode { node: node.node });
    }
    let known = members.by_id.get(&node.node).and_then(|member| member.incarnation);
    if known.is_some_and(|known| known != node.incarnation) {
        return Err(Mismatch::WipedData { node: node.node });
    }
    Ok(())
}

fn insert(metadata: &mut MetadataMap, key: &'static str, value: &str) {
    if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
        metadata.insert(key, value);
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &'static str) -> Result<&'a str, Status> {
    metadata
        .get(key)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Status::invalid_argument(format!("metadata {key} is missing: this port is for nodes")))
}

fn number(key: &'static str, text: &str, radix: u32) -> Result<u64, Status> {
    u64::from_str_radix(text, radix)
        .map_err(|_| Status::invalid_argument(format!("metadata {key} is not a number: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::members::Member;

    fn identity(node: NodeId, incarnation: Incarnation) -> Identity {
        Identity { cluster: "test".to_owned(), node, incarnation }
    }

    fn members(known: &[(NodeId, Option<Incarnation>)]) -> Members {
        let member = |&(id, incarnation): &(NodeId, Option<Incarnation>)| {
            let address = format!("127.0.0.1:{id}");
            let client_address = address.clone();
            (
                id,
                Member {
                    id,
                    peer_address: address,
                    client_address,
                    http_address: String::new(),
                    incarnation,
                },
            )
        };
        Members { by_id: known.iter().map(member).collect(), removed: [9].into() }
    }

    fn caller(node: NodeId, incarnation: Incarnation) -> Introduction {
        Introduction::of(&identity(node, incarnation), "127.0.0.1:7601")
    }

    fn admitted(caller: &Introduction, knows_us_by: Option<Incarnation>) -> Result<(), Mismatch> {
        let addressee = Addressee { node: 1, incarnation: knows_us_by };
        admit(&identity(1, 11), &members(&[(1, Some(11)), (2, Some(22)), (3, None)]), caller, addressee)
    }

    #[test]
    fn an_introduction_survives_the_metadata() {
        let mut metadata = MetadataMap::new();
        let addressee = Addressee { node: 2, incarnation: Some(u64::MAX) };
        caller(1, 0).write(&mut metadata);
        addressee.write(&mut metadata);
        assert_eq!(Introduction::read(&metadata).unwrap(), caller(1, 0));
        assert_eq!(Addressee::read(&metadata).unwrap(), addressee);
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let error = Introduction::read(&MetadataMap::new()).unwrap_err();
        assert!(error.message().contains(CLUSTER), "{error}");
        let mut metadata = MetadataMap::new();
        caller(1, 0).write(&mut metadata);
        insert(&mut metadata, NODE, "one");
        let error = Introduction::read(&metadata).unwrap_err();
        assert!(error.message().contains(NODE), "{error}");
    }

    #[test]
    fn members_and_strangers_of_the_same_cluster_are_admitted() {
        assert_eq!(admitted(&caller(2, 22), Some(11)), Ok(()));
        assert_eq!(admitted(&caller(3, 33), None), Ok(()));
        assert_eq!(admitted(&caller(4, 44), None), Ok(()));
    }

    #[test]
    fn whoever_lost_its_disk_is_told() {
        let refused = admitted(&caller(2, 23), None).unwrap_err();
        assert_eq!(meaning(2, &refused.clone().into_status()), Meaning::Expelled(Expelled::Wiped(2)));
        assert_eq!(meaning(3, &refused.into_status()), Meaning::Other);
        // Here the called node is the one at fault, and the caller goes on.
        let refused = admitted(&caller(2, 22), Some(12)).unwrap_err();
        assert_eq!(refused, Mismatch::WipedData { node: 1 });
        assert_eq!(meaning(2, &refused.into_status()), Meaning::Other);
    }

    #[test]
    fn foreign_removed_and_misdirected_callers_are_refused() {
        let foreign = Introduction { cluster: "other".to_owned(), ..caller(2, 22) };
        let refused = admitted(&foreign, None).unwrap_err();
        assert_eq!(meaning(2, &refused.into_status()), Meaning::Foreign);
        let refused = admitted(&caller(9, 1), None).unwrap_err();
        assert_eq!(meaning(9, &refused.into_status()), Meaning::Expelled(Expelled::Removed(9)));
        assert_eq!(admitted(&caller(1, 11), None), Err(Mismatch::UnknownNode { node: 1, meant: 1 }));
        let meant = Addressee { node: 7, incarnation: None };
        let refused = admit(&identity(1, 11), &Members::default(), &caller(2, 22), meant);
        assert_eq!(refused, Err(Mismatch::UnknownNode { node: 1, meant: 7 }));
    }

    #[test]
    fn an_answer_by_somebody_else_is_not_accepted() {
        let known = members(&[(2, Some(22))]);
        let this = identity(1, 11);
        assert_eq!(accept(&this, &known, 2, &caller(2, 22)), Ok(()));
        assert_eq!(
            accept(&this, &known, 2, &caller(3, 22)),
            Err(Mismatch::UnknownNode { node: 3, meant: 2 })
        );
        assert_eq!(accept(&this, &known, 2, &caller(2, 23)), Err(Mismatch::WipedData { node: 2 }));
    }
}
