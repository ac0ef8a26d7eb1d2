//! The leader's side of Forward: calls of other nodes' clients are asked at this node's door.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use tokio::sync::mpsc;
use tollgate_proto::peer::v1::{
    ForwardBatch, ForwardReply, ForwardedCall, ForwardedOutcome, forwarded_outcome::Result as Outcome,
};
use tonic::{Status, Streaming};
use tracing::warn;

use super::{
    calls::{OPEN_MAX, PARKED_MAX},
    converse::GROUP,
};
use crate::raft::{
    call::{Call, Refusal, Reply},
    door::{Door, OVERLOADED_RETRY_AFTER},
    members::NodeId,
};

/// Replies in one message, at most: the rest goes into the next one, so that the first need not wait for the last.
const OUTCOMES_PER_MESSAGE: usize = 1_024;

/// Asks the door for the calls of a stream, and sends the replies as they are decided. When the stream ends, the calls
/// that are still open are dropped, and what they are granted is given back.
pub async fn serve(
    mut inbound: Streaming<ForwardBatch>,
    from: NodeId,
    door: &Door,
    replies: mpsc::Sender<Result<ForwardReply, Status>>,
) {
    let mut open = FuturesUnordered::new();
    let mut cancels: HashMap<u64, AbortHandle> = HashMap::new();
    let mut parked = 0;
    loop {
        tokio::select! {
            batch = inbound.message() => {
                let Ok(Some(batch)) = batch else { return };
                for id in &batch.cancelled {
                    if let Some(cancel) = cancels.remove(id) {
                        cancel.abort();
                    }
                }
                for ForwardedCall { id, call } in batch.calls {
                    let asked = admit(batch.group_id, &call, from, open.len(), parked);
                    let may_wait = asked.as_ref().is_ok_and(|call| call.wait().is_some());
                    parked += usize::from(may_wait);
                    let (cancel, cancelled) = AbortHandle::new_pair();
                    cancels.insert(id, cancel);
                    let answered = async move {
                        match asked {
                            Ok(call) => door.call(call).await,
                            Err(refusal) => Err(refusal),
                        }
                    };
                    open.push(Abortable::new(answered, cancelled).map(move |result| (id, may_wait, result)));
                }
            }
            Some(first) = open.next(), if !open.is_empty() => {
                let mut reply = ForwardReply::default();
                let mut next = Some(first);
                while let Some((id, may_wait, answered)) = next.take() {
                    cancels.remove(&id);
                    parked -= usize::from(may_wait);
                    if let Ok(answered) = answered {
                        reply.outcomes.push(encode(id, &answered));
                    }
                    if reply.outcomes.len() < OUTCOMES_PER_MESSAGE {
                        next = open.next().now_or_never().flatten();
                    }
                }
                if !reply.outcomes.is_empty() && replies.send(Ok(reply)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What may be asked of the door in the name of a client.
fn admit(group: u64, call: &[u8], from: NodeId, open: usize, parked: usize) -> Result<Call, Refusal> {
    let refused = |reason: &str| {
        warn!(from, reason, "a forwarded call is refused");
        // Nothing was done, and no other node would do it either: the client hears of it when its patience ends.
        Refusal::NotLeader { leader: None }
    };
    if group != GROUP {
        return Err(refused("its Raft group is unknown"));
    }
    match minicbor::decode(call) {
        Ok(Call::RegisterIncarnation { .. }) => Err(refused("only a leader's own transport registers")),
        Ok(call) => {
            let has_room = match call.wait() {
                Some(_) => parked < PARKED_MAX,
                None => open - parked < OPEN_MAX,
            };
            has_room.then_some(call).ok_or(Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER })
        }
        Err(error) => Err(refused(&error.to_string())),
    }
}

fn encode(id: u64, answered: &Result<Reply, Refusal>) -> ForwardedOutcome {
    const IN_MEMORY: &str = "encoding into memory cannot fail";
    let result = match answered {
        Ok(reply) => Outcome::Reply(Bytes::from(minicbor::to_vec(reply).expect(IN_MEMORY))),
        Err(refusal) => Outcome::Refusal(Bytes::from(minicbor::to_vec(refusal).expect(IN_MEMORY))),
    };
    ForwardedOutcome { id, result: Some(result) }
}
