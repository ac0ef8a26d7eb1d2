//! Deterministic simulation: whole clusters of the real replica and limiter in one thread, driven from a seed (as
//! FoundationDB and TigerBeetle test themselves). Nothing in here opens a socket, starts a thread or reads a clock.
//!
//! * [`scenario`]: everything about a run that is drawn, as a value that can be written down and shortened. [`faults`] go
//!   wrong, [`workload`] is asked for, [`temper`] says how badly clients behave.
//! * [`world`]: the scheduler. It takes one thing after another from its [`agenda`]; [`calls`], [`effects`], [`injuries`],
//!   [`crashes`], [`healing`], [`handovers`] and [`lives`] say what becomes of it; [`looks`] records it. Beneath it are [`network`],
//!   [`disk`] and [`clock`]; a [`node`] puts them around a replica, whose [`testimony`] is recorded.
//! * [`client`] and [`operator`]: who asks.
//! * [`run`]: a scenario run and judged by the checkers of [`crate::check`]; [`minimise`] shortens those that fail, and
//!   [`regressions`] keeps them. [`coverage`] counts what happened, so that nobody mistakes a workload that never reaches a
//!   bug for a system without one.
//!
//! **What it does not show:** the transport, the router of followers and the gRPC edge, which are async and have tests of
//! their own; the bytes of the log's files; versions other than this one (a rolling restart here comes back as the same
//! version, from its encoded state).

pub mod agenda;
pub mod calls;
pub mod client;
pub mod clock;
pub mod coverage;
mod crashes;
pub mod disk;
mod effects;
mod ending;
pub mod faults;
pub mod handovers;
mod healing;
mod injuries;
mod lives;
mod looks;
pub mod minimise;
pub mod network;
pub mod node;
pub mod operator;
pub mod parcel;
pub mod random;
pub mod regressions;
pub mod run;
pub mod scenario;
pub mod temper;
pub mod testimony;
pub mod trace;
mod words;
pub mod workload;
pub mod world;
