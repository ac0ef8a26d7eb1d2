//! The client against nodes that do what a test tells them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acquiring;
mod calling;
mod failover;
mod fake;
mod leases;
mod streaming;
mod waiting;
