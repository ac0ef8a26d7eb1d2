//! Tollgate's waiting queue: of those who wait for a permit, whose turn it is.
//!
//! The leader owns one. It is pure and synchronous as the limiter is: it knows no clock, I/O, randomness or async; time is
//! the [`Moment`] that it is given. It is not replicated: a new leader begins with an empty one, and those who waited come
//! again, with how long they have waited.

#![deny(clippy::float_arithmetic)]

mod arrival;
mod census;
mod fair;
mod flow;
mod front;
mod line;
mod lines;
mod queue;
mod turns;
mod waiter;

#[cfg(test)]
mod properties;

pub use self::{
    queue::{MAX_WAITERS, WaitingQueue},
    waiter::{Bound, ConsumerWaiting, Full, Moment, Turn, Waiter, WaiterId, Waiting},
};
