//! The client against nodes that do what a test tells them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acquiring;
mod batching;
mod calling;
mod coalescing;
mod crowds;
mod failover;
mod fake;
mod layer;
mod leases;
mod middleware;
mod pipeline;
mod refusals;
mod repeating;
mod streaming;
mod unanswered;
mod vendor;
mod waiting;
