//! What is to be measured, once the command line made sense.

use std::time::Duration;

/// Sides that are compared are loaded in turn for so long each.
pub const SLICE: Duration = Duration::from_secs(1);

/// Fewer pairs than this are no comparison: one disturbance would decide.
pub const PAIRS_MIN: u64 = 6;

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What one operation is.
    pub shape: Shape,
    /// When operations start.
    pub pace: Pace,
    /// Connections to each side, 1 or more.
    pub connections: usize,
    /// The sides: parts of the cluster, each loaded in its turn.
    pub targets: Vec<Target>,
    /// Whether the floor is one more side.
    pub floor: bool,
    /// How long each side is loaded and measured.
    pub duration: Duration,
    /// How long each side is loaded before.
    pub warm_up: Duration,
    /// Resources that the requests are for, 1 or more.
    pub resources: usize,
    /// The exponent by which resources differ in popularity; none: all are as popular.
    pub zipf: Option<f64>,
    /// Rate limits on each resource.
    pub limits: usize,
    /// Slots of each resource; none: it has no concurrency limit.
    pub slots: Option<u32>,
    /// Whether each request has an id of its own, as a client that retries would give it.
    pub request_ids: bool,
}

/// How operations go over a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// As calls of their own.
    Calls(Calls),
    /// Over one two-way stream on each connection.
    Stream(Stream),
    /// As permits that the Rust client has taken in advance. Those in flight are workers that take them.
    Prefetch,
}

/// An operation made of unary calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// AcquirePermit, granted.
    Acquire,
    /// AcquirePermit, denied.
    Deny,
    /// AcquirePermits; each permit is an operation.
    Batch {
        /// Requests in a call.
        size: usize,
    },
    /// AcquirePermit that waits for a slot; its release is not part of the latency.
    Wait,
    /// Acquire, renew, release.
    Lease {
        /// Renewals between the other two.
        renewals: u32,
    },
}

/// Operations over streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Calls in a message.
    pub per_message: usize,
    /// What one operation is.
    pub cycle: Cycle,
}

/// An operation on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycle {
    /// One permit.
    Acquire,
    /// One slot from acquire to release.
    Lease {
        /// Renewals between the two.
        renewals: u32,
    },
}

/// When operations start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many are open; each that ends starts the next. On streams and for batches, messages.
    Closed {
        /// How many, over all connections.
        in_flight: usize,
    },
    /// So many start in a second, whatever became of those before. Those of a batch start together.
    Open {
        /// Operations per second.
        rate: f64,
    },
}

/// To whom a side is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The leader.
    Leader,
    /// One follower, which hands calls on.
    Follower,
    /// All nodes, the connections spread evenly.
    All,
}

impl Shape {
    /// Operations that one call or message carries, or begins.
    pub fn operations_per_call(&self) -> usize {
        match self {
            Shape::Calls(Calls::Batch { size }) => *size,
            Shape::Stream(stream) => stream.per_message,
            Shape::Calls(_) | Shape::Prefetch => 1,
        }
    }
}

impl Plan {
    /// Seconds in which each of several sides is loaded once.
    pub fn rounds(&self) -> u64 {
        self.duration.as_secs().max(1)
    }

    /// How many sides there are.
    pub fn sides(&self) -> usize {
        self.targets.len() + usize::from(self.floor)
    }
}

impl Target {
    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Leader => "leader",
            Target::Follower => "follower",
            Target::All => "all",
        }
    }
}
