//! Who there is, and what this node knows of them: shared by the links, the service and the transport's tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Status, metadata::MetadataMap};
use tracing::{error, warn};

use super::{
    converse::Outgoing,
    handshake::{self, Addressee, Expelled, Introduction, Meaning, Mismatch, meaning},
    link::Link,
};
use crate::{
    node::Versions,
    raft::{
        door::Door,
        echoes::Echoes,
        members::{Incarnation, Members, NodeId},
    },
    storage::data_dir::Identity,
};

/// Callers that this node does not know (yet), and calls back; beyond it they are heard, but not answered.
const GUESTS_MAX: usize = 16;

/// What the links, the service and the transport's tasks share.
pub struct Shared {
    pub(super) identity: Identity,
    introduction: Introduction,
    pub(super) election_timeout: Duration,
    pub(super) door: Door,
    pub(super) echoes: Mutex<Echoes>,
    versions: Versions,
    pub(super) closed: CancellationToken,
    expelled: mpsc::Sender<Expelled>,
    topology: Mutex<Topology>,
}

/// Who there is.
#[derive(Default)]
struct Topology {
    members: Arc<Members>,
    /// Callers of this cluster that are not members as far as this node knows, and where to call them back.
    guests: BTreeMap<NodeId, String>,
    links: BTreeMap<NodeId, Linked>,
    /// The data directories of the nodes met.
    met: BTreeMap<NodeId, Incarnation>,
    /// Members that say that they are of another cluster.
    foreign: BTreeSet<NodeId>,
}

struct Linked {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

impl Shared {
    /// A node that knows nobody yet.
    pub(super) fn new(
        identity: Identity,
        address: &str,
        election_timeout: Duration,
        door: Door,
        versions: Versions,
        expelled: mpsc::Sender<Expelled>,
    ) -> Shared {
        let introduction = Introduction::of(&identity, address);
        versions.note(identity.node, &introduction.version);
        let met = BTreeMap::from([(identity.node, identity.incarnation)]);
        let topology = Mutex::new(Topology { met, ..Topology::default() });
        Shared {
            identity,
            introduction,
            election_timeout,
            door,
            echoes: Mutex::new(Echoes::new(rand::random())),
            versions,
            closed: CancellationToken::new(),
            expelled,
            topology,
        }
    }

    /// Puts this node's own word into the metadata of a call or an answer, with the address by which the cluster knows it, if it
    /// does: that at which it listens may mean nothing to others (0.0.0.0).
    pub(super) fn introduce(&self, metadata: &mut MetadataMap) {
        let members = self.topology.lock().members.clone();
        let mut introduction = self.introduction.clone();
        if let Some(this) = members.by_id.get(&self.identity.node) {
            introduction.address.clone_from(&this.peer_address);
        }
        introduction.write(metadata);
    }

    /// Who belongs to the cluster now: links to all of them, and to nobody else.
    pub(super) fn update(self: &Arc<Self>, members: Arc<Members>) {
        self.topology.lock().members = members;
        self.connect();
    }

    /// Parts with everybody.
    pub(super) fn close(&self) {
        self.closed.cancel();
        self.topology.lock().links.clear();
    }

    /// Tells all that are connected.
    pub(super) fn beat(&self, digest_index: u64, digest: u64, disk_is_low: bool) {
        let echoes = self.echoes.lock();
        let process = echoes.process();
        for (&peer, Linked { link, .. }) in &self.topology.lock().links {
            let heard = echoes.of(peer);
            link.send(Outgoing::Beat { digest_index, digest, disk_is_low, process, heard });
        }
    }

    pub(super) fn link(&self, to: NodeId) -> Option<Arc<Link>> {
        self.topology.lock().links.get(&to).map(|linked| linked.link.clone())
    }

    /// What the cluster knows a node by.
    pub(super) fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        self.topology.lock().members.by_id.get(&node)?.incarnation
    }

    /// Whether a node whose stream is open may still speak.
    pub(super) fn may_speak(&self, from: NodeId) -> bool {
        !self.topology.lock().members.removed.contains(&from)
    }

    /// Decides about a caller.
    pub(super) fn admit(
        self: &Arc<Self>,
        caller: &Introduction,
        addressee: Addressee,
    ) -> Result<(), Mismatch> {
        let members = self.topology.lock().members.clone();
        if let Err(mismatch) = handshake::admit(&self.identity, &members, caller, addressee) {
            warn!(caller = caller.node, address = caller.address, %mismatch, "a caller is refused");
            let it_is_me = Mismatch::WipedData { node: self.identity.node };
            if mismatch == it_is_me {
                self.stop(Expelled::Wiped(self.identity.node));
            }
            return Err(mismatch);
        }
        self.meet(caller);
        if !members.by_id.contains_key(&caller.node) {
            self.host(caller);
        }
        // It can be reached, then: no need to wait out a pause.
        if let Some(link) = self.link(caller.node) {
            link.nudge();
        }
        Ok(())
    }

    /// Decides about a node that answered.
    pub(super) fn accept(&self, called: NodeId, answer: &Introduction) -> Result<(), Mismatch> {
        let members = self.topology.lock().members.clone();
        handshake::accept(&self.identity, &members, called, answer)?;
        self.meet(answer);
        Ok(())
    }

    fn meet(&self, node: &Introduction) {
        self.versions.note(node.node, &node.version);
        let mut topology = self.topology.lock();
        topology.met.insert(node.node, node.incarnation);
        topology.foreign.remove(&node.node);
    }

    fn host(self: &Arc<Self>, guest: &Introduction) {
        {
            let mut topology = self.topology.lock();
            let known = topology.guests.contains_key(&guest.node);
            if !known && topology.guests.len() >= GUESTS_MAX {
                warn!(guest = guest.node, "too many unknown nodes call; this one is not called back");
                return;
            }
            topology.guests.insert(guest.node, guest.address.clone());
        }
        self.connect();
    }

    /// A peer refused to talk to this node.
    pub(super) fn refused_by(&self, peer: NodeId, refusal: &Status) {
        match meaning(self.identity.node, refusal) {
            Meaning::Expelled(expelled) => self.stop(expelled),
            Meaning::Foreign => {
                let mut topology = self.topology.lock();
                topology.foreign.insert(peer);
                // One misguided peer must not stop a node; but when most say it, it is this one that is misguided.
                let others = topology.members.by_id.len().saturating_sub(1);
                if topology.foreign.len() * 2 > others {
                    self.stop(Expelled::Foreign { cluster: self.identity.cluster.clone() });
                }
            }
            Meaning::Other => {}
        }
    }

    fn stop(&self, reason: Expelled) {
        error!(%reason, "this node does not belong to the cluster");
        // When one reason is under way already, it is enough.
        let _ = self.expelled.try_send(reason);
    }

    /// Makes the links that are wanted, and drops the others.
    fn connect(self: &Arc<Self>) {
        let mut topology = self.topology.lock();
        if self.closed.is_cancelled() {
            return;
        }
        let members = topology.members.clone();
        topology.guests.retain(|id, _| !members.by_id.contains_key(id) && !members.removed.contains(id));
        let of_members = members.by_id.values().map(|member| (member.id, member.peer_address.clone()));
        let of_guests = topology.guests.iter().map(|(id, address)| (*id, address.clone()));
        let wanted: BTreeMap<NodeId, String> =
            of_members.chain(of_guests).filter(|(id, _)| *id != self.identity.node).collect();
        topology.links.retain(|id, linked| wanted.get(id).is_some_and(|at| at == linked.link.address()));
        for (id, address) in wanted {
            topology.links.entry(id).or_insert_with(|| {
                let link = Arc::new(Link::new(id, address));
                let task = tokio::spawn(link.clone().keep(self.clone()));
                Linked { link, _task: AbortOnDropHandle::new(task) }
            });
        }
    }

    /// Members that were met, and whose incarnation is not recorded.
    pub(super) fn unregistered(&self) -> Vec<(NodeId, Incarnation)> {
        let topology = self.topology.lock();
        let unknown = topology.members.by_id.values().filter(|member| member.incarnation.is_none());
        unknown.filter_map(|member| Some((member.id, *topology.met.get(&member.id)?))).collect()
    }
}
