//! Tollgate's limiter: a pure, deterministic state machine over resources, limits, permits and leases.
//!
//! The limiter is a function of its inputs. It knows no I/O, no clock, no randomness, no async and no locks: time is
//! the [`Stamp`] of the log entry that is applied, and [`Limiter::apply`] gives every node the same outcomes, the same
//! state and the same digest, in log order. The Raft replica around it decides *when* a command is applied and who is
//! told; what a command does is decided here alone.
//!
//! Read in this order:
//!
//! * [`model`]: the words. Resources and limits as they are defined, commands, outcomes, time.
//! * [`counter`]: one file a kind of limit, each a small integer algorithm with its proof in the comments.
//! * [`state`]: what is replicated. Resources with their counters, permits, slots, request ids.
//! * [`apply`]: how a command changes the state, one file a command.
//!
//! **Invariant:** the limiter sees time only as the stamp in the entry. **Invariant:** leases expire only in `apply`.
//! **Invariant:** a denial changes nothing but time.

pub mod apply;
pub mod counter;
pub mod model;
pub mod state;

pub use apply::Limiter;
pub use model::*;
