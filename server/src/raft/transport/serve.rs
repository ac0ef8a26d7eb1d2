//! The leader's side of Forward: calls of other nodes' clients are asked at this node's door.

use std::{future, mem, pin::Pin};

use bytes::Bytes;
use foldhash::HashMap;
use futures_util::{FutureExt, Stream, StreamExt, stream::SelectAll};
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
    call::{Call, Refusal},
    door::{Door, OVERLOADED_RETRY_AFTER},
    members::NodeId,
    replies::{Answered, Canceller, Replies},
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
    let mut open = OpenCalls::default();
    loop {
        tokio::select! {
            batch = inbound.message() => {
                let Ok(Some(batch)) = batch else { return };
                batch.cancelled.iter().for_each(|id| open.cancel(*id));
                open.ask(batch, from, door);
            }
            reply = open.next() => {
                if replies.send(Ok(reply)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The outcomes of calls that came in one message, as they are decided.
type Outcomes = Pin<Box<dyn Stream<Item = Vec<ForwardedOutcome>> + Send>>;

/// The calls of a stream that are not answered yet.
#[derive(Default)]
struct OpenCalls {
    messages: SelectAll<Outcomes>,
    by_id: HashMap<u64, OpenCall>,
    /// How many of them may wait.
    parked: usize,
    /// Not sent yet.
    decided: Vec<ForwardedOutcome>,
}

struct OpenCall {
    canceller: Canceller,
    may_wait: bool,
}

impl OpenCalls {
    fn ask(&mut self, batch: ForwardBatch, from: NodeId, door: &Door) {
        let (mut ids, mut calls) = (Vec::new(), Vec::new());
        // Of those in this message.
        let (mut waiting, mut parked) = (0, 0);
        for ForwardedCall { id, call } in batch.calls {
            match self.admit(batch.group_id, &call, from, waiting, parked) {
                Ok(call) => {
                    *(if call.wait().is_some() { &mut parked } else { &mut waiting }) += 1;
                    ids.push(id);
                    calls.push(call);
                }
                Err(refusal) => self.decided.push(encode(id, &Err(refusal))),
            }
        }
        if calls.is_empty() {
            return;
        }
        let may_wait: Vec<_> = calls.iter().map(|call| call.wait().is_some()).collect();
        let replies = door.ask(calls);
        for (place, (id, may_wait)) in ids.iter().zip(may_wait).enumerate() {
            self.forget(*id);
            self.by_id.insert(*id, OpenCall { canceller: replies.canceller(place), may_wait });
            self.parked += usize::from(may_wait);
        }
        self.messages.push(outcomes(ids, replies));
    }

    /// What may be asked of the door in the name of a client, besides so many others of the same message.
    fn admit(
        &self,
        group: u64,
        call: &[u8],
        from: NodeId,
        waiting: usize,
        parked: usize,
    ) -> Result<Call, Refusal> {
        let refused = |reason: &str| {
            warn!(from, reason, "a forwarded call is refused");
            // Nothing was done, and no other node would do it either: the client hears of it when its patience ends.
            Refusal::NotLeader { leader: None }
        };
        if group != GROUP {
            return Err(refused("its Raft group is unknown"));
        }
        match minicbor::decode::<Call>(call) {
            Ok(Call::RegisterIncarnation { .. }) => Err(refused("only a leader's own transport registers")),
            Ok(call) => {
                let has_room = match call.wait() {
                    Some(_) => self.parked + parked < PARKED_MAX,
                    None => self.by_id.len() - self.parked + waiting < OPEN_MAX,
                };
                has_room.then_some(call).ok_or(Refusal::Overloaded { retry_after: OVERLOADED_RETRY_AFTER })
            }
            Err(error) => Err(refused(&error.to_string())),
        }
    }

    fn cancel(&mut self, id: u64) {
        if let Some(call) = self.forget(id) {
            call.canceller.cancel();
        }
    }

    fn forget(&mut self, id: u64) -> Option<OpenCall> {
        let call = self.by_id.remove(&id)?;
        self.parked -= usize::from(call.may_wait);
        Some(call)
    }

    /// The next message with outcomes. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> ForwardReply {
        if self.decided.is_empty() {
            match self.messages.next().await {
                Some(outcomes) => self.decide(outcomes),
                // Nothing is open: the next call wakes the task.
                None => future::pending().await,
            }
        }
        while self.decided.len() < OUTCOMES_PER_MESSAGE
            && let Some(Some(outcomes)) = self.messages.next().now_or_never()
        {
            self.decide(outcomes);
        }
        let later = self.decided.split_off(self.decided.len().min(OUTCOMES_PER_MESSAGE));
        ForwardReply { outcomes: mem::replace(&mut self.decided, later) }
    }

    fn decide(&mut self, outcomes: Vec<ForwardedOutcome>) {
        for outcome in &outcomes {
            self.forget(outcome.id);
        }
        self.decided.extend(outcomes);
    }
}

fn outcomes(ids: Vec<u64>, replies: Replies) -> Outcomes {
    Box::pin(replies.map(move |replies| {
        replies.into_iter().map(|(place, answered)| encode(ids[place], &answered)).collect()
    }))
}

fn encode(id: u64, answered: &Answered) -> ForwardedOutcome {
    const IN_MEMORY: &str = "encoding into memory cannot fail";
    let result = match answered {
        Ok(reply) => Outcome::Reply(Bytes::from(minicbor::to_vec(reply).expect(IN_MEMORY))),
        Err(refusal) => Outcome::Refusal(Bytes::from(minicbor::to_vec(refusal).expect(IN_MEMORY))),
    };
    ForwardedOutcome { id, result: Some(result) }
}
