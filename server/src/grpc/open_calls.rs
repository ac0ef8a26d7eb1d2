//! The calls of a stream that are not answered yet, in bounded numbers. Each can be given up by its id.

use std::{collections::HashMap, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use tollgate_proto::v1;

use super::permit::CALLS_MAX;

/// Calls that one stream can have open, besides those that may wait; no more are read until some are answered.
const OPEN_MAX: usize = 10_000;

/// Acquires that may wait which one stream can have open. More are refused, not left unread: behind them may be the
/// releases that they wait for.
pub const WAITING_MAX: usize = 10_000;

/// What becomes of a call's wish to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It has none.
    None,
    /// It may wait for its turn.
    Waits,
    /// Too many wait already.
    Refused,
}

/// Calls that are being decided, each a future of its answer.
pub struct OpenCalls<F> {
    calls: FuturesUnordered<Abortable<F>>,
    /// If a client uses an id twice at a time, the later one.
    by_id: HashMap<u64, (AbortHandle, Patience)>,
    /// How many of them may wait.
    waiting: usize,
}

impl<F: Future<Output = (v1::StreamAnswer, Patience)>> OpenCalls<F> {
    pub fn new() -> OpenCalls<F> {
        OpenCalls { calls: FuturesUnordered::new(), by_id: HashMap::new(), waiting: 0 }
    }

    /// Whether another message may be read.
    pub fn have_room(&self) -> bool {
        self.calls.len().saturating_sub(self.waiting) <= OPEN_MAX - CALLS_MAX
    }

    /// What becomes of the wish to wait for so long.
    pub fn patience(&self, max_wait: Duration) -> Patience {
        match max_wait.is_zero() {
            true => Patience::None,
            false if self.waiting < WAITING_MAX => Patience::Waits,
            false => Patience::Refused,
        }
    }

    pub fn open(&mut self, id: u64, patience: Patience, call: F) {
        let (handle, registration) = AbortHandle::new_pair();
        self.waiting += usize::from(patience == Patience::Waits);
        self.calls.push(Abortable::new(call, registration));
        self.by_id.insert(id, (handle, patience));
    }

    /// Drops the call, if it is open; it is not answered.
    pub fn cancel(&mut self, id: u64) {
        if let Some((handle, patience)) = self.by_id.remove(&id) {
            handle.abort();
            self.waiting -= usize::from(patience == Patience::Waits);
        }
    }

    /// The next answer; none when nothing is open.
    pub async fn next(&mut self) -> Option<v1::StreamAnswer> {
        loop {
            // A call that was given up is aborted when it is polled the next time.
            if let Ok((answer, patience)) = self.calls.next().await? {
                self.by_id.remove(&answer.id);
                self.waiting -= usize::from(patience == Patience::Waits);
                return Some(answer);
            }
        }
    }

    /// This answer and all others that are there already, as many as a message holds.
    pub fn with_others(&mut self, first: v1::StreamAnswer) -> Vec<v1::StreamAnswer> {
        let mut answers = vec![first];
        while answers.len() < CALLS_MAX
            && let Some(Some(answer)) = self.next().now_or_never()
        {
            answers.push(answer);
        }
        answers
    }
}
