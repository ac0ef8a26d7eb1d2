//! How far a pipeline is, and what failed on the way.

use std::{fmt, sync::Arc};

use crate::{answer::Answer, call::CallError};

/// How far a pipeline is, in tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Taken from the stream.
    pub taken: u64,
    /// Of those, not begun yet.
    pub queued: u64,
    /// Under way, those that wait for a permit or for their next try included.
    pub running: u64,
    /// Done.
    pub done: u64,
    /// Failed for good.
    pub dead: u64,
    /// Calls to the vendor beyond the first of each task.
    pub retries: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { taken, queued, running, done, dead, retries } = self;
        write!(
            f,
            "{done} of {taken} done, {dead} failed, {running} under way, {queued} queued, {retries} retries"
        )
    }
}

/// A task that failed for good.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeadLetter<T, E> {
    /// The task.
    pub task: Arc<T>,
    /// Why.
    pub failure: Failure<E>,
    /// How often the vendor was called for it.
    pub tries: u32,
}

/// Why a task failed for good.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// Its call did.
    Call(CallError<E>),
    /// The vendor refused it.
    Refused(Answer),
    /// Its call panicked.
    Panicked,
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Call(error) => error.fmt(f),
            Failure::Refused(answer) => answer.fmt(f),
            Failure::Panicked => f.write_str("its call panicked"),
        }
    }
}
