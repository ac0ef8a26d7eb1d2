//! The peers' port: what other nodes may call here.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::peer::v1::{
    ForwardBatch, ForwardReply, PeerAck, PeerBatch, SnapshotChunk, SnapshotReceipt,
    peer_service_server::PeerService,
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    converse,
    handshake::{Addressee, Introduction},
    serve,
    shared::Shared,
    snapshot,
};
use crate::raft::{door::PeerEvent, members::NodeId};

/// Messages of replies that wait for a slow peer, each with many; beyond it its calls wait.
const REPLIES_QUEUED_MAX: usize = 64;

/// Serves the other nodes.
pub struct Peer {
    shared: Arc<Shared>,
    // One at a time: each may be large, and only a leader has one for us.
    installing: Semaphore,
}

impl Peer {
    pub(super) fn new(shared: Arc<Shared>) -> Peer {
        Peer { shared, installing: Semaphore::new(1) }
    }

    /// Who calls, if it may.
    fn admit(&self, metadata: &MetadataMap) -> Result<NodeId, Status> {
        let caller = Introduction::read(metadata)?;
        let addressee = Addressee::read(metadata)?;
        self.shared.admit(&caller, addressee).map_err(|mismatch| mismatch.into_status())?;
        Ok(caller.node)
    }

    fn introduced<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        self.shared.introduce(response.metadata_mut());
        response
    }
}

#[tonic::async_trait]
impl PeerService for Peer {
    type ConverseStream = ReceiverStream<Result<PeerAck, Status>>;
    type ForwardStream = ReceiverStream<Result<ForwardReply, Status>>;

    async fn converse(
        &self,
        request: Request<Streaming<PeerBatch>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let from = self.admit(request.metadata())?;
        let (acks, stream) = mpsc::channel(1);
        let shared = self.shared.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move {
            let may_speak = || shared.may_speak(from);
            let this = shared.identity.node;
            let conversation =
                converse::receive(inbound, from, this, &shared.door, &shared.echoes, may_speak);
            shared.closed.run_until_cancelled(conversation).await;
            // The peer sees the end of this stream, and calls again if it still may.
            drop(acks);
        });
        Ok(self.introduced(ReceiverStream::new(stream)))
    }

    async fn forward(
        &self,
        request: Request<Streaming<ForwardBatch>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let from = self.admit(request.metadata())?;
        let (replies, stream) = mpsc::channel(REPLIES_QUEUED_MAX);
        let shared = self.shared.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move {
            let calls = serve::serve(inbound, from, &shared.door, replies);
            shared.closed.run_until_cancelled(calls).await;
        });
        Ok(self.introduced(ReceiverStream::new(stream)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SnapshotReceipt>, Status> {
        let from = self.admit(request.metadata())?;
        let _one = self.installing.try_acquire().map_err(|_| {
            Status::resource_exhausted("another snapshot is being received; Raft tries again")
        })?;
        let message = snapshot::assemble(request.into_inner(), from, self.shared.identity.node).await?;
        if !self.shared.door.deliver(PeerEvent::Message(Box::new(message))) {
            return Err(Status::unavailable("the replica is busy; Raft tries again"));
        }
        Ok(self.introduced(SnapshotReceipt {}))
    }
}
