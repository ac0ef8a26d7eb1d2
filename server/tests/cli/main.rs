//! The command line as people and scripts use it: the real binary, real processes, real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod budgets;
mod cluster;
mod commands;
mod demo;
mod examples;
mod failover;
mod members;
mod metrics;
mod orders;
mod permits;
mod plans;
mod presets;
mod refusals;
mod resources;
mod vendors;
