//! Replication: one Raft group that carries the limiter.
//!
//! Everything that decides is synchronous: events in, effects out. Async stops at one door ([`door::Door`]).

pub mod call;
pub mod cluster_time;
pub mod digests;
pub mod door;
pub mod driver;
pub mod echoes;
pub mod entry;
pub mod fatal;
pub mod log;
pub mod log_writer;
pub mod machine;
pub mod members;
pub mod peers;
pub mod pieces;
pub mod replica;
pub mod replies;
pub mod slog_drain;
pub mod transport;
