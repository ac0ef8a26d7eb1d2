//! A snapshot on its way to a follower: chunks, so that neither node holds it in one message, and a checksum over all of
//! it, so that what arrives is what was sent.

use std::{
    fs::File,
    io::{self, Read},
};

use bytes::{Bytes, BytesMut};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tokio::{sync::mpsc, task};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::peer::v1::SnapshotChunk;
use tonic::{Status, Streaming};

use super::converse::{GROUP, decode};
use crate::raft::members::NodeId;

/// Bytes of data in one chunk.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The largest snapshot that is accepted: the receiver holds it in memory. The fullest state takes less, as docs/OPERATIONS.md
/// works out.
const SNAPSHOT_BYTES_MAX: usize = 2 << 30;

/// Chunks that are read ahead of the network.
const CHUNKS_AHEAD: usize = 2;

/// The snapshot as chunks. The file is read on a thread for blocking work; an error there ends the stream without the
/// checksum, and so the receiver refuses what it has.
pub fn chunks(message: &Message, file: File) -> io::Result<ReceiverStream<SnapshotChunk>> {
    let message = Bytes::from(message.write_to_bytes().map_err(io::Error::other)?);
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    task::spawn_blocking(move || {
        if let Err(error) = read(message, file, &sender) {
            tracing::warn!(%error, "a snapshot cannot be read while it is sent");
        }
    });
    Ok(ReceiverStream::new(chunks))
}

fn read(message: Bytes, mut file: File, chunks: &mpsc::Sender<SnapshotChunk>) -> io::Result<()> {
    let mut crc = crc32fast::Hasher::new();
    let first = SnapshotChunk { message, group_id: GROUP, ..SnapshotChunk::default() };
    let mut sent = chunks.blocking_send(first).is_ok();
    while sent {
        let mut buffer = Vec::with_capacity(CHUNK_BYTES);
        (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut buffer)?;
        if buffer.is_empty() {
            let last = SnapshotChunk { crc: Some(crc.finalize()), ..SnapshotChunk::default() };
            // If nobody receives any more, the call has failed and says so.
            let _ = chunks.blocking_send(last);
            break;
        }
        crc.update(&buffer);
        sent =
            chunks.blocking_send(SnapshotChunk { data: buffer.into(), ..SnapshotChunk::default() }).is_ok();
    }
    Ok(())
}

/// Puts the chunks together again: the `MsgSnapshot`, with its data, or why it is refused.
pub async fn assemble(
    mut chunks: Streaming<SnapshotChunk>,
    from: NodeId,
    this: NodeId,
) -> Result<Message, Status> {
    let mut assembly = match chunks.message().await? {
        Some(first) => Assembly::begin(first, from, this)?,
        None => return Err(Status::invalid_argument("a snapshot without a chunk")),
    };
    loop {
        if let Some(crc) = assembly.crc {
            return assembly.end(crc);
        }
        match chunks.message().await? {
            Some(chunk) => assembly.add(&chunk)?,
            None => return Err(Status::data_loss("the snapshot ends without its checksum")),
        }
    }
}

struct Assembly {
    message: Message,
    data: BytesMut,
    crc: Option<u32>,
}

impl Assembly {
    fn begin(first: SnapshotChunk, from: NodeId, this: NodeId) -> Result<Assembly, Status> {
        if first.group_id != GROUP {
            return Err(Status::invalid_argument(format!("Raft group {} is unknown", first.group_id)));
        }
        let message = decode(&first.message, from, this)
            .map_err(|malformed| Status::invalid_argument(format!("the snapshot's message: {malformed}")))?;
        if message.msg_type != MessageType::MsgSnapshot {
            return Err(Status::invalid_argument("the snapshot's message is none of a snapshot"));
        }
        let mut assembly = Assembly { message, data: BytesMut::new(), crc: None };
        assembly.add(&first)?;
        Ok(assembly)
    }

    fn add(&mut self, chunk: &SnapshotChunk) -> Result<(), Status> {
        if self.data.len() + chunk.data.len() > SNAPSHOT_BYTES_MAX {
            let text = format!("the snapshot is larger than {SNAPSHOT_BYTES_MAX} bytes");
            return Err(Status::resource_exhausted(text));
        }
        self.data.extend_from_slice(&chunk.data);
        self.crc = chunk.crc;
        Ok(())
    }

    fn end(mut self, expected: u32) -> Result<Message, Status> {
        let crc = crc32fast::hash(&self.data);
        if crc != expected {
            let text = format!("the snapshot's checksum is {crc:08x}, not {expected:08x}: it was damaged");
            return Err(Status::data_loss(text));
        }
        self.message.mut_snapshot().data = self.data.freeze();
        Ok(self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use futures_util::StreamExt;

    use super::*;

    fn message() -> Message {
        Message { msg_type: MessageType::MsgSnapshot, from: 1, to: 2, term: 3, ..Message::default() }
    }

    async fn chunked(data: &[u8]) -> Vec<SnapshotChunk> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file.rewind().unwrap();
        chunks(&message(), file).unwrap().collect().await
    }

    fn assembled(mut chunks: Vec<SnapshotChunk>) -> Result<Message, Status> {
        let mut assembly = Assembly::begin(chunks.remove(0), 1, 2)?;
        for chunk in &chunks {
            assembly.add(chunk)?;
        }
        let crc = assembly.crc.expect("the last chunk has the checksum");
        assembly.end(crc)
    }

    #[tokio::test]
    async fn chunks_are_put_together_again() {
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let data: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let chunks = chunked(&data).await;
            assert!(chunks.iter().all(|chunk| chunk.data.len() <= CHUNK_BYTES));
            assert_eq!(assembled(chunks).unwrap().get_snapshot().data, data);
        }
    }

    #[tokio::test]
    async fn a_damaged_snapshot_is_refused() {
        let mut chunks = chunked(b"resources and permits").await;
        chunks[1].data = Bytes::from_static(b"resources and pfrmits");
        assert_eq!(assembled(chunks).unwrap_err().code(), tonic::Code::DataLoss);
    }

    #[tokio::test]
    async fn a_snapshot_for_somebody_else_is_refused() {
        let chunks = chunked(b"x").await;
        let refused = Assembly::begin(chunks[0].clone(), 1, 3).map(|_| ()).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}
