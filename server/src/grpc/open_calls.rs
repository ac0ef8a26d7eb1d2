//! The calls of a stream that are not answered yet, in bounded numbers. Each can be given up by its id.

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use foldhash::HashMap;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::{FuturesUnordered, SelectAll},
};
use tollgate_proto::v1::{self, acquire_permit_response::Decision, stream_answer::Answer};

use super::{
    batch::{Batch, BatchAnswer, Read},
    permit::CALLS_MAX,
    status::Failure,
};
use crate::{node::Node, raft::replies::Canceller};

/// Calls that one stream can have open, besides those that may wait; no more are read until some are answered.
const OPEN_MAX: usize = 10_000;

/// Bytes of results in one message: clients take messages of up to 4 MiB, and all else in an answer is small.
const RESULT_BYTES_MAX: usize = 1 << 20;

/// Acquires that may wait which one stream can have open. More are refused, not left unread: behind them may be the
/// releases that they wait for.
pub const WAITING_MAX: usize = 10_000;

/// Calls that are being decided.
#[derive(Default)]
pub struct OpenCalls {
    batches: SelectAll<Batch>,
    alone: FuturesUnordered<Abortable<BoxFuture<'static, BatchAnswer>>>,
    /// If a client uses an id twice at a time, the later one.
    by_id: HashMap<u64, OpenCall>,
    count: usize,
    /// How many of them may wait.
    waiting: usize,
    /// Not sent yet.
    answers: Vec<v1::StreamAnswer>,
}

struct OpenCall {
    cancel: Cancel,
    may_wait: bool,
}

enum Cancel {
    Call(Canceller),
    Future(AbortHandle),
}

impl OpenCalls {
    /// Whether another message may be read.
    pub fn have_room(&self) -> bool {
        self.count - self.waiting <= OPEN_MAX - CALLS_MAX
    }

    /// Whether nobody waits for an answer.
    pub fn are_none(&self) -> bool {
        self.count == 0 && self.answers.is_empty()
    }

    /// Takes a call in that will be opened.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` when it may wait and as many do as may.
    pub fn admit(&mut self, may_wait: bool) -> Result<(), Failure> {
        if may_wait && self.waiting >= WAITING_MAX {
            return Err(Failure::too_many_wait("stream", WAITING_MAX));
        }
        self.count += 1;
        self.waiting += usize::from(may_wait);
        Ok(())
    }

    /// Asks for calls that were admitted.
    pub fn open(&mut self, node: &Arc<Node>, calls: Vec<(u64, Read)>) {
        let named: Vec<_> = calls.iter().map(|(id, read)| (*id, read.may_wait())).collect();
        let batch = Batch::ask(node, calls);
        for (index, (id, may_wait)) in named.into_iter().enumerate() {
            let cancel = Cancel::Call(batch.canceller(index));
            self.by_id.insert(id, OpenCall { cancel, may_wait });
        }
        self.batches.push(batch);
    }

    /// Carries out a call that was admitted, is more than one question, and does not wait.
    pub fn open_alone(&mut self, id: u64, call: BoxFuture<'static, BatchAnswer>) {
        let (handle, registration) = AbortHandle::new_pair();
        self.alone.push(Abortable::new(call, registration));
        self.by_id.insert(id, OpenCall { cancel: Cancel::Future(handle), may_wait: false });
    }

    /// Answers a call that was not admitted.
    pub fn refuse(&mut self, id: u64, failure: Failure) {
        self.answers.push(to_wire(id, Err(failure)));
    }

    /// Gives the call up, if it is open; it is not answered.
    pub fn cancel(&mut self, id: u64) {
        let Some(OpenCall { cancel, may_wait }) = self.by_id.remove(&id) else { return };
        match cancel {
            Cancel::Call(canceller) => canceller.cancel(),
            Cancel::Future(handle) => handle.abort(),
        }
        self.end(may_wait);
    }

    /// The next answers, as many as are there and a message holds. None are lost when the future is dropped.
    pub async fn next(&mut self) -> Vec<v1::StreamAnswer> {
        poll_fn(|context| self.poll_answers(context)).await;
        let later = self.answers.split_off(fitting(&self.answers));
        mem::replace(&mut self.answers, later)
    }

    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.answers.len() < CALLS_MAX
            && let Poll::Ready(Some(answers)) = self.batches.poll_next_unpin(context)
        {
            self.answers.reserve(answers.len());
            answers.into_iter().for_each(|answer| self.take(answer));
        }
        while self.answers.len() < CALLS_MAX
            && let Poll::Ready(Some(answered)) = self.alone.poll_next_unpin(context)
        {
            // One that was given up is aborted when it is polled the next time.
            answered.into_iter().for_each(|answer| self.take(answer));
        }
        if self.answers.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn take(&mut self, BatchAnswer { id, may_wait, answer }: BatchAnswer) {
        self.by_id.remove(&id);
        self.end(may_wait);
        self.answers.push(to_wire(id, answer));
    }

    fn end(&mut self, may_wait: bool) {
        self.count -= 1;
        self.waiting -= usize::from(may_wait);
    }
}

/// How many of the answers, one at least, go into one message.
fn fitting(answers: &[v1::StreamAnswer]) -> usize {
    let mut result_bytes = 0;
    let fit = answers.iter().take(CALLS_MAX).take_while(|answer| {
        let has_room = result_bytes < RESULT_BYTES_MAX;
        result_bytes += result_length(answer);
        has_room
    });
    fit.count()
}

/// Of the result that another has found out, if the answer is that.
fn result_length(answer: &v1::StreamAnswer) -> usize {
    match &answer.answer {
        Some(Answer::Acquired(v1::AcquirePermitResponse { decision: Some(Decision::Result(shared)) })) => {
            shared.result.len()
        }
        _ => 0,
    }
}

fn to_wire(id: u64, answer: Result<Answer, Failure>) -> v1::StreamAnswer {
    let answer = answer.unwrap_or_else(|failure| Answer::Error(failure.into_call_error()));
    v1::StreamAnswer { id, answer: Some(answer) }
}
