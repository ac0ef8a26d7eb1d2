//! The network between nodes, over gRPC (`tollgate.peer.v1`).
//!
//! Every node calls every other one and keeps the connection: what a node has to say travels on the connection that it
//! made itself, answers to calls excepted. So each pair of nodes has two connections, and losing one of them cuts one
//! direction, as on any network; Raft is made for that.
//!
//! * [`handshake`]: who may speak to whom. Nothing passes before it.
//! * [`link`]: the connection to one peer, made again and again.
//! * [`converse`]: Raft messages and beats; lossy, checked before the replica sees them.
//! * [`calls`] and [`serve`]: client calls on their way to the leader, both sides.
//! * [`snapshot`]: the state in chunks.
//! * [`service`]: what the other nodes call here.
//!
//! **Invariant:** a message reaches the replica only if its sender is the node that the handshake admitted.

mod batch;
mod calls;
mod converse;
pub mod handshake;
mod link;
mod serve;
pub mod service;
mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use raft::eraftpb::Message;
use tokio::{sync::mpsc, time};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tollgate_proto::peer::v1::peer_service_server::PeerServiceServer;
use tonic::Status;
use tracing::{error, info, warn};

use self::{
    converse::Outgoing,
    handshake::{Addressee, Expelled, Introduction, Meaning, Mismatch, meaning},
    link::Link,
    service::Peer,
};
use super::{
    call::{Call, MemberChange, Refusal, Reply},
    door::{Door, PeerEvent},
    members::{Incarnation, Members, NodeId},
    peers::Peers,
};
use crate::{
    node::Versions,
    router::{Forward, Forwarded},
    storage::data_dir::Identity,
};

/// The largest message between nodes: far above a batch, for the one large entry or reply that does not divide.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Callers that this node does not know (yet), and calls back; beyond it they are refused.
const GUESTS_MAX: usize = 16;

/// How long the answers of a node that has just lost its leadership may take: one that handed over in order has some.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How often the leader looks whether it met a member whose incarnation is not recorded.
const REGISTER_EVERY: Duration = Duration::from_millis(250);

/// The way to the other nodes. Must be made and used inside a tokio runtime.
pub struct Transport {
    shared: Arc<Shared>,
    // Held, not read: the tasks end with the transport.
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What the links, the service and the transport's tasks share.
pub(crate) struct Shared {
    identity: Identity,
    introduction: Introduction,
    door: Door,
    versions: Versions,
    closed: CancellationToken,
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

impl Transport {
    /// The transport of this node, which others call at `address`, and the service for the peers' port. If the others say
    /// that this node does not belong to them, the reason is sent to `expelled`, and the process must stop.
    pub fn start(
        identity: Identity,
        address: &str,
        door: Door,
        versions: Versions,
        expelled: mpsc::Sender<Expelled>,
    ) -> (Arc<Transport>, PeerServiceServer<Peer>) {
        let introduction = Introduction::of(&identity, address);
        versions.note(identity.node, &introduction.version);
        let met = BTreeMap::from([(identity.node, identity.incarnation)]);
        let topology = Mutex::new(Topology { met, ..Topology::default() });
        let closed = CancellationToken::new();
        let shared = Arc::new(Shared { identity, introduction, door, versions, closed, expelled, topology });
        let tasks = [
            AbortOnDropHandle::new(tokio::spawn(lose_calls_of_deposed_leaders(shared.clone()))),
            AbortOnDropHandle::new(tokio::spawn(register_incarnations(shared.clone()))),
        ];
        let service =
            PeerServiceServer::new(Peer::new(shared.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
        (Arc::new(Transport { shared, _tasks: tasks }), service)
    }

    /// Parts with all peers: connections end, open calls are lost.
    pub fn close(&self) {
        self.shared.closed.cancel();
        self.shared.topology.lock().links.clear();
    }

    fn link(&self, to: NodeId) -> Option<Arc<Link>> {
        self.shared.link(to)
    }
}

impl Peers for Transport {
    fn send(&self, message: Message) {
        if let Some(link) = self.link(message.to) {
            link.send(Outgoing::Message(message));
        }
    }

    fn send_snapshot(&self, message: Message, data: PathBuf) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let to = message.to;
            let sent = match shared.link(to) {
                Some(link) => link.send_snapshot(&shared, &message, &data).await,
                None => Err("it is not a member".to_owned()),
            };
            match &sent {
                Ok(()) => info!(to, index = message.get_snapshot().get_metadata().index, "snapshot sent"),
                Err(reason) => warn!(to, reason, "the snapshot was not delivered"),
            }
            shared.door.deliver(PeerEvent::SnapshotSent { to, delivered: sent.is_ok() });
        });
    }

    fn beat(&self, digest_index: u64, digest: u64) {
        for linked in self.shared.topology.lock().links.values() {
            linked.link.send(Outgoing::Beat { digest_index, digest });
        }
    }

    fn update(&self, _this: NodeId, members: Arc<Members>) {
        self.shared.topology.lock().members = members;
        self.shared.clone().connect();
    }
}

impl Forward for Transport {
    fn forward(&self, to: NodeId, call: Call) -> Forwarded {
        let link = self.link(to).ok_or(Refusal::NotLeader { leader: None });
        match link.and_then(|link| link.hand_over(&call)) {
            Ok(open) => Box::pin(open),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}

impl Shared {
    fn link(&self, to: NodeId) -> Option<Arc<Link>> {
        self.topology.lock().links.get(&to).map(|linked| linked.link.clone())
    }

    /// What the cluster knows a node by.
    fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        self.topology.lock().members.by_id.get(&node)?.incarnation
    }

    /// Whether a node whose stream is open may still speak.
    fn may_speak(&self, from: NodeId) -> bool {
        !self.topology.lock().members.removed.contains(&from)
    }

    /// Decides about a caller.
    fn admit(self: &Arc<Self>, caller: &Introduction, addressee: Addressee) -> Result<(), Mismatch> {
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
    fn accept(&self, called: NodeId, answer: &Introduction) -> Result<(), Mismatch> {
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
        self.clone().connect();
    }

    /// A peer refused to talk to this node.
    fn refused_by(&self, peer: NodeId, refusal: &Status) {
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

    /// Links to all that there are, and to nobody else.
    fn connect(self: Arc<Self>) {
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
    fn unregistered(&self) -> Vec<(NodeId, Incarnation)> {
        let topology = self.topology.lock();
        let unknown = topology.members.by_id.values().filter(|member| member.incarnation.is_none());
        unknown.filter_map(|member| Some((member.id, *topology.met.get(&member.id)?))).collect()
    }
}

/// Calls that are open at a node that does not lead any more would wait for its silence to be noticed.
async fn lose_calls_of_deposed_leaders(shared: Arc<Shared>) {
    let mut status = shared.door.status();
    let mut leader = status.borrow_and_update().leader;
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().leader;
        if now == leader {
            continue;
        }
        if let Some((deposed, link)) = leader.and_then(|deposed| Some((deposed, shared.link(deposed)?))) {
            let status = status.clone();
            tokio::spawn(async move {
                time::sleep(LAST_WORDS).await;
                if status.borrow().leader != Some(deposed) {
                    link.lose_calls();
                }
            });
        }
        leader = now;
    }
}

/// The leader records the data directories of the members that it meets, its own too.
async fn register_incarnations(shared: Arc<Shared>) {
    let status = shared.door.status();
    let mut ticks = time::interval(REGISTER_EVERY);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if status.borrow().leader != Some(shared.identity.node) {
            continue;
        }
        for (id, incarnation) in shared.unregistered() {
            match shared.door.call(Call::RegisterIncarnation { id, incarnation }).await {
                Ok(Reply::Changed(Ok(MemberChange::Registered))) => {
                    info!(member = id, incarnation = format!("{incarnation:016x}"), "incarnation recorded");
                }
                answer => warn!(member = id, ?answer, "the incarnation is not recorded yet"),
            }
        }
    }
}
