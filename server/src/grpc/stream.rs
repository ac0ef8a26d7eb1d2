//! StreamPermits: many calls in a message, answered as they are decided, many answers in a message.
//!
//! A conversation is one stream of answers that the connection polls: nothing is spawned and nothing is queued besides
//! the open calls. When the client reads slowly, nobody polls, and no more calls are read. When it goes away, the stream is
//! dropped, and every open call is cancelled with it.

use std::{mem, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, stream::unfold};
use tokio_util::sync::CancellationToken;
use tollgate_limiter::Span;
use tollgate_proto::v1::{self, stream_answer::Answer, stream_call};
use tonic::{Code, Status, Streaming};

use super::{
    answer::{TIMEOUT_DEFAULT, TIMEOUT_MAX},
    batch::{BatchAnswer, Read},
    convert::{Fields, Invalid, acquire::max_wait},
    open_calls::OpenCalls,
    permit::{CALLS_MAX, check_count, release},
    status::Failure,
};
use crate::{node::Node, raft::call::Refusal};

/// The answers to a stream.
pub type Answers = Pin<Box<dyn Stream<Item = Result<v1::StreamPermitsResponse, Status>> + Send>>;

/// The answers to the calls of a client.
pub fn answers(node: &Arc<Node>, calls: Streaming<v1::StreamPermitsRequest>) -> Answers {
    let (stopping, node) = (node.stopping.clone(), node.clone());
    let open = OpenCalls::default();
    let conversation = Conversation { node, stopping, calls, open, reading: true, ended: false, told: false };
    Box::pin(unfold(conversation, async |mut conversation| {
        let message = conversation.next().await?;
        Some((message, conversation))
    }))
}

struct Conversation {
    node: Arc<Node>,
    stopping: CancellationToken,
    calls: Streaming<v1::StreamPermitsRequest>,
    open: OpenCalls,
    /// More calls may come.
    reading: bool,
    /// No more answers come.
    ended: bool,
    /// The client was told why, or need not be.
    told: bool,
}

impl Conversation {
    /// The next message to the client.
    async fn next(&mut self) -> Option<Result<v1::StreamPermitsResponse, Status>> {
        while !self.ended {
            tokio::select! {
                message = self.calls.message(), if self.reading && self.open.have_room() => {
                    if let Err(status) = self.read(message) {
                        (self.ended, self.told) = (true, true);
                        return Some(Err(status));
                    }
                }
                answers = self.open.next(), if !self.open.are_none() => {
                    return Some(Ok(v1::StreamPermitsResponse { answers }));
                }
                () = self.stopping.cancelled(), if self.reading => self.reading = false,
                else => self.ended = true,
            }
        }
        // The calls that were read are answered; those that were not, the client learns to repeat elsewhere.
        let stopping = self.stopping.is_cancelled() && !mem::replace(&mut self.told, true);
        stopping.then(|| Err(Failure::from(Refusal::ShuttingDown).into_status()))
    }

    /// Opens the calls of a message, and gives up those that it cancels; at the client's end, just stops reading.
    fn read(&mut self, message: Result<Option<v1::StreamPermitsRequest>, Status>) -> Result<(), Status> {
        let Some(message) = message.map_err(oversize)? else {
            self.reading = false;
            return Ok(());
        };
        check(&message).map_err(|invalid| Failure::from(invalid).into_status())?;
        let mut together = Vec::with_capacity(message.calls.len());
        for call in message.calls {
            let id = call.id;
            match self.read_call(call) {
                Ok(Some(read)) => together.push((id, read)),
                Ok(None) => {}
                Err(failure) => self.open.refuse(id, failure),
            }
        }
        if !together.is_empty() {
            self.open.open(&self.node, together);
        }
        message.cancelled.into_iter().for_each(|id| self.open.cancel(id));
        Ok(())
    }

    /// Reads a call that is to be asked with the others; one that is not, it opens.
    fn read_call(&mut self, call: v1::StreamCall) -> Result<Option<Read>, Failure> {
        let timeout = timeout(call.timeout, max_wait_of(&call))?;
        match call.call {
            Some(stream_call::Call::Release(request)) if request.feedback.is_some() => {
                self.open.admit(false)?;
                let (id, node) = (call.id, self.node.clone());
                let released = async move {
                    let answer = release(&node, request, timeout).await.map(Answer::Released);
                    BatchAnswer { id, may_wait: false, answer }
                };
                self.open.open_alone(id, released.boxed());
                Ok(None)
            }
            call => {
                let read = Read::call(call, timeout)?;
                self.open.admit(read.may_wait())?;
                Ok(Some(read))
            }
        }
    }
}

fn max_wait_of(call: &v1::StreamCall) -> Duration {
    match &call.call {
        Some(stream_call::Call::Acquire(request)) => max_wait(request),
        _ => Duration::ZERO,
    }
}

/// Neither nothing nor too much.
fn check(message: &v1::StreamPermitsRequest) -> Result<(), Invalid> {
    if message.cancelled.is_empty() {
        return check_count("calls", message.calls.len());
    }
    if message.calls.len() > CALLS_MAX {
        check_count("calls", message.calls.len())?;
    }
    check_count("cancelled", message.cancelled.len())
}

fn timeout(given: Option<prost_types::Duration>, max_wait: Duration) -> Result<Duration, Invalid> {
    let mut fields = Fields::default();
    let longest = Span::from_secs(TIMEOUT_MAX.as_secs());
    let span = fields.span_within("timeout", given, Span(1)..=longest);
    fields.finish(Some(span.map_or(TIMEOUT_DEFAULT + max_wait, |span| Duration::from_nanos(span.0))))
}

/// The transport calls a message over its limit out of range; the API calls it invalid.
fn oversize(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Failure::from(Invalid::field("(message)", status.message())).into_status(),
        _ => status,
    }
}
