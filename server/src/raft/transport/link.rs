//! The connection to one peer, made again and again: one HTTP/2 connection, on it one stream of Raft messages and one of
//! forwarded calls, both long-lived. When either ends, both are given up.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use raft::eraftpb::Message;
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tollgate_proto::peer::v1::{ForwardReply, PeerAck, peer_service_client::PeerServiceClient};
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tracing::{debug, info, warn};

use super::{
    MESSAGE_BYTES_MAX,
    batch::batches,
    calls::{self, HANDED_QUEUED_MAX, OpenCalls},
    converse::{self, Outgoing},
    handshake::{Addressee, Introduction},
    shared::Shared,
    snapshot,
};
use crate::raft::{
    call::{Call, Refusal},
    door::PeerEvent,
    members::NodeId,
    replies::Replies,
};

/// Messages queued for a peer; beyond it they are dropped, Raft resends.
const MESSAGES_QUEUED_MAX: usize = 4_096;

/// The first pause before a peer is called again, doubled with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest pause: a peer that comes back is found within this time, or at once if it calls first.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// For the connection, and again for each introduction on it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent connection is tried, and how long it may take to answer, in election timeouts: a peer that is cut off
/// without a word is noticed after the sum.
const KEEP_ALIVE: (u32, u32) = (2, 4);

/// One peer.
pub struct Link {
    peer: NodeId,
    address: String,
    // `None` while there is no connection: what is sent then is lost, and must not pile up.
    session: Mutex<Option<Session>>,
    nudge: Notify,
}

#[derive(Clone)]
struct Session {
    client: PeerServiceClient<Channel>,
    messages: mpsc::Sender<Outgoing>,
    calls: Arc<OpenCalls>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] tonic::transport::Error),
    #[error("it does not answer in time")]
    TimedOut,
    #[error("it refuses: {}", .0.message())]
    Refused(Status),
    #[error("the connection ended{}", .0.as_ref().map(|status| format!(": {}", status.message())).unwrap_or_default())]
    Ended(Option<Status>),
}

impl Link {
    /// A link without a connection; [`Link::keep`] makes it.
    pub fn new(peer: NodeId, address: String) -> Link {
        Link { peer, address, session: Mutex::new(None), nudge: Notify::new() }
    }

    /// Where the peer is called.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The peer has just called: it can be called back without a further pause.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Queues a message or a beat. Drops it if there is no connection or the queue is full.
    pub fn send(&self, outgoing: Outgoing) {
        if let Some(session) = self.session.lock().as_ref() {
            let _ = session.messages.try_send(outgoing);
        }
    }

    /// Hands calls over. None are if there is no connection.
    pub fn hand_over(&self, calls: Vec<Call>) -> Replies {
        let open = self.session.lock().as_ref().map(|session| session.calls.clone());
        match open {
            Some(open) => open.hand_over(calls),
            None => Replies::refused(calls.len(), &Refusal::NotLeader { leader: None }),
        }
    }

    /// The peer does not lead any more: its open calls end as `OutcomeUnknown`.
    pub fn lose_calls(&self) {
        if let Some(session) = self.session.lock().as_ref() {
            session.calls.lose();
        }
    }

    /// Sends a snapshot, and waits until the peer has it.
    pub async fn send_snapshot(&self, shared: &Shared, message: &Message, path: &Path) -> Result<(), String> {
        let session = self.session.lock().clone().ok_or("there is no connection")?;
        // Opened before the next snapshot replaces the file; what is open stays readable.
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let chunks = snapshot::chunks(message, file).map_err(|error| error.to_string())?;
        let mut client = session.client;
        let received = client.install_snapshot(self.request(shared, chunks)).await;
        received.map(|_| ()).map_err(|status| status.message().to_owned())
    }

    /// Connects, and connects again, for as long as the link is wanted.
    pub async fn keep(self: Arc<Self>, shared: Arc<Shared>) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let (was_connected, lost) = self.connect_once(&shared).await;
            if was_connected {
                info!(peer = self.peer, address = self.address, %lost, "disconnected");
                backoff = BACKOFF_MIN;
            } else if backoff == BACKOFF_MIN {
                warn!(peer = self.peer, address = self.address, %lost, "cannot connect; trying again");
            } else {
                debug!(peer = self.peer, address = self.address, %lost, "still cannot connect");
            }
            if let Lost::Refused(status) = &lost {
                shared.refused_by(self.peer, status);
            }
            shared.door.deliver(PeerEvent::Unreachable(self.peer));
            // Jitter, so that two nodes that started together do not stay in step.
            let pause = backoff.mul_f64(rand::random_range(0.5..1.0));
            let _ = timeout(pause, self.nudge.notified()).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One connection from beginning to end; whether there was one, and why there is none now.
    async fn connect_once(&self, shared: &Shared) -> (bool, Lost) {
        let (session, streams) = match self.connect(shared).await {
            Ok(connected) => connected,
            Err(lost) => return (false, lost),
        };
        let open = Opened { link: self, calls: session.calls.clone() };
        *self.session.lock() = Some(session);
        info!(peer = self.peer, address = self.address, version = streams.peer.version, "connected");
        let Streams { acks, replies, .. } = streams;
        let ended = tokio::select! {
            ended = until_end(acks) => ended,
            ended = open.calls.receive(replies) => ended,
        };
        (true, Lost::Ended(ended))
    }

    async fn connect(&self, shared: &Shared) -> Result<(Session, Streams), Lost> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?
            .connect_timeout(HANDSHAKE_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0 * shared.election_timeout)
            .keep_alive_timeout(KEEP_ALIVE.1 * shared.election_timeout)
            .keep_alive_while_idle(true);
        let channel = in_time(endpoint.connect()).await??;
        let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);

        let (messages, queued) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let conversation = self.request(shared, batches(queued, converse::add));
        let acks = in_time(client.converse(conversation)).await?.map_err(Lost::Refused)?;
        let peer = Introduction::read(acks.metadata()).map_err(Lost::Refused)?;
        shared.accept(self.peer, &peer).map_err(|mismatch| Lost::Refused(mismatch.into_status()))?;

        let (handed, queued) = mpsc::channel(HANDED_QUEUED_MAX);
        let forwarding = self.request(shared, batches(queued, calls::add));
        let replies = in_time(client.forward(forwarding)).await?.map_err(Lost::Refused)?;

        let calls = Arc::new(OpenCalls::new(handed));
        let streams = Streams { peer, acks: acks.into_inner(), replies: replies.into_inner() };
        Ok((Session { client, messages, calls }, streams))
    }

    fn request<T>(&self, shared: &Shared, body: T) -> Request<T> {
        let mut request = Request::new(body);
        self.introduce(shared, request.metadata_mut());
        request
    }

    fn introduce(&self, shared: &Shared, metadata: &mut MetadataMap) {
        shared.introduce(metadata);
        Addressee { node: self.peer, incarnation: shared.incarnation_of(self.peer) }.write(metadata);
    }
}

/// What the peer sends on a connection.
struct Streams {
    peer: Introduction,
    acks: Streaming<PeerAck>,
    replies: Streaming<ForwardReply>,
}

/// A link with a connection. However its task ends, nobody is left waiting for a reply that cannot come.
struct Opened<'a> {
    link: &'a Link,
    calls: Arc<OpenCalls>,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        *self.link.session.lock() = None;
        self.calls.close();
    }
}

async fn until_end(mut acks: Streaming<PeerAck>) -> Option<Status> {
    loop {
        match acks.message().await {
            Ok(Some(PeerAck {})) => {}
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

async fn in_time<F: Future>(future: F) -> Result<F::Output, Lost> {
    timeout(HANDSHAKE_TIMEOUT, future).await.map_err(|_| Lost::TimedOut)
}
