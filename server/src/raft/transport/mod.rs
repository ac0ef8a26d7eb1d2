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
//! * [`shared`]: who there is, and what this node knows of them.
//!
//! **Invariant:** a message reaches the replica only if its sender is the node that the handshake admitted.

mod batch;
mod calls;
mod converse;
pub mod handshake;
mod link;
mod serve;
pub mod service;
mod shared;
mod snapshot;

use std::{path::PathBuf, sync::Arc, time::Duration};

use raft::eraftpb::Message;
use tokio::{sync::mpsc, time};
use tokio_util::task::AbortOnDropHandle;
use tollgate_proto::peer::v1::peer_service_server::PeerServiceServer;
use tracing::{info, warn};

use self::{converse::Outgoing, handshake::Expelled, service::Peer, shared::Shared};
use super::{
    call::{Call, MemberChange, Refusal, Reply},
    door::{Door, PeerEvent},
    members::{Members, NodeId},
    peers::Peers,
    replies::Replies,
};
use crate::{node::Versions, router::Forward, storage::data_dir::Identity};

/// The largest message between nodes: far above a batch, for the one large entry or reply that does not divide.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

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

impl Transport {
    /// The transport of this node, which others call at `address`, and the service for the peers' port. Connections are given
    /// up that are silent for some election timeouts. If the others say
    /// that this node does not belong to them, the reason is sent to `expelled`, and the process must stop.
    pub fn start(
        identity: Identity,
        address: &str,
        election_timeout: Duration,
        door: Door,
        versions: Versions,
        expelled: mpsc::Sender<Expelled>,
    ) -> (Arc<Transport>, PeerServiceServer<Peer>) {
        let shared = Arc::new(Shared::new(identity, address, election_timeout, door, versions, expelled));
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
        self.shared.close();
    }
}

impl Peers for Transport {
    fn send(&self, message: Message) {
        if let Some(link) = self.shared.link(message.to) {
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
            // Raft sends this peer nothing until it hears of it.
            shared.door.report(PeerEvent::SnapshotSent { to, delivered: sent.is_ok() }).await;
        });
    }

    fn beat(&self, digest_index: u64, digest: u64, disk_is_low: bool) {
        self.shared.beat(digest_index, digest, disk_is_low);
    }

    fn update(&self, _this: NodeId, members: Arc<Members>) {
        self.shared.update(members);
    }
}

impl Forward for Transport {
    fn forward(&self, to: NodeId, calls: Vec<Call>) -> Replies {
        match self.shared.link(to) {
            Some(link) => link.hand_over(calls),
            None => Replies::refused(calls.len(), &Refusal::NotLeader { leader: None }),
        }
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
