//! The words of the queue: who waits, what becomes of it, and when.

use std::sync::Arc;

use tollgate_limiter::{Acquire, Answer, Label, ResourceName, Span, Stamp};

/// The same moment on two scales. Patience and arrival are told by the leader's own clock, which runs on when cluster time
/// stands still; capacity is told by cluster time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since any fixed moment; never goes backwards.
    pub monotonic: Span,
    /// As an entry would be stamped now.
    pub stamp: Stamp,
}

/// Names a waiter in the queue that it entered; rises from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId(pub(crate) u64);

/// A request that waits for its turn.
#[derive(Clone, Debug)]
pub struct Waiter<C> {
    /// What it asks for.
    pub acquire: Arc<Acquire>,
    /// How long it had waited before it entered: its place is that of one who has stood here for so long.
    pub waited_for: Span,
    /// How long it waits from its entry on, at most. Zero: it takes part in the next turn of its resource, and is answered
    /// then.
    pub patience: Span,
    /// Who is to be told.
    pub caller: C,
}

/// What becomes of a waiter. It has left the queue.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "turns are few, and move once")]
pub enum Turn<C> {
    /// It is its turn: propose it now, for this one of its resources. Unless something comes in between in the log, it will
    /// be granted.
    Go {
        /// Whose turn it is.
        waiter: Waiter<C>,
        /// 0 is the request's own resource, then its alternatives.
        alternative: u32,
        /// How long it has waited, what it had waited before included. Entering again with so much keeps its place.
        waited: Span,
    },
    /// The wait is over without a permit.
    Done {
        /// Whose wait.
        waiter: Waiter<C>,
        /// A denial, or why the request cannot be granted any more.
        answer: Answer,
        /// How long it has waited, what it had waited before included.
        waited: Span,
    },
}

/// There is no room for the waiter, which comes back.
#[derive(Clone, Debug)]
pub struct Full<C> {
    /// As it was handed in.
    pub waiter: Waiter<C>,
    /// What is full.
    pub bound: Bound,
}

/// What limits how many may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `max_waiters` of the resource.
    Resource {
        /// Which.
        resource: ResourceName,
        /// The bound.
        max: u32,
    },
    /// `max_waiters_per_consumer` of the resource.
    Consumer {
        /// Of which resource.
        resource: ResourceName,
        /// Whose; may be empty.
        consumer: Label,
        /// The bound.
        max: u32,
    },
    /// [`super::MAX_WAITERS`].
    Leader,
}

/// Who waits for a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// All.
    pub total: u64,
    /// By name.
    pub consumers: Vec<ConsumerWaiting>,
}

/// Who waits of one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerWaiting {
    /// May be empty.
    pub consumer: Label,
    /// Of high priority.
    pub high: u64,
    /// Of medium priority.
    pub medium: u64,
    /// Of low priority.
    pub low: u64,
    /// How long the oldest has waited.
    pub oldest: Span,
}
