//! Replication: one Raft group that carries the limiter.
//!
//! Everything that decides is synchronous: events in, effects out. Async stops at one door ([`door::Door`]).

pub mod call;
pub mod door;
pub mod driver;
pub mod fatal;
pub mod members;
pub mod peers;
pub mod transport;
