//! Tollgate's node: the limiter behind Raft, behind gRPC.
//!
//! `docs/ARCHITECTURE.md` traces one call through these files.

pub mod accept;
pub mod address;
pub mod cli;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod node;
pub mod ports;
pub mod preset;
pub mod raft;
pub mod readiness;
pub mod resource_file;
pub mod router;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod toml_reader;
