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
//! * [`estimate`]: how long work would take, found out by carrying it out on a copy.
//!
//! **Invariant:** the limiter sees time only as the stamp in the entry. **Invariant:** leases expire only in `apply`.
//! **Invariant:** a denial changes nothing but time.
//!
//! ```
//! use tollgate_limiter::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name = ResourceName::new("salesforce/acme")?;
//! let burst = TokenBucket { capacity: 5, refill_amount: 1, refill_period: Span::from_secs(1) };
//! let limit = Limit {
//!     name: LimitName::new("burst")?,
//!     operations: vec![],
//!     dimension: None,
//!     scope: Scope::Resource,
//!     max_scope_values: 1,
//!     shadow: false,
//!     kind: LimitKind::TokenBucket(burst),
//! };
//! let resource = Resource {
//!     name: name.clone(),
//!     limits: vec![limit],
//!     keys: vec![],
//!     dispatch_tolerance: Span::ZERO,
//!     settle_within: Span::from_secs(60),
//!     description: Description::default(),
//!     budgets: vec![],
//!     queueing: Queueing::default(),
//!     circuit_breaker: None,
//!     feedback: Box::default(),
//!     operation_costs: vec![],
//! };
//! let acquire = Command::from(Acquire {
//!     resource: name,
//!     operation: Label::default(),
//!     cost: 3,
//!     amounts: Default::default(),
//!     consumer: Label::default(),
//!     subject: Label::default(),
//!     key: Label::default(),
//!     priority: Priority::Medium,
//!     lease: None,
//!     request_id: None,
//!     alternatives: vec![],
//!     coalesce_key: None,
//! });
//!
//! let (mut limiter, mut answers) = (Limiter::default(), vec![]);
//! let entry = [Command::from(resource), acquire.clone(), acquire];
//! limiter.apply(Stamp::default(), &entry, &mut answers);
//! assert!(matches!(&answers[1], Ok(Outcome::Granted(grant)) if grant.usage[0].available == 2));
//! assert!(matches!(&answers[2], Ok(Outcome::Denied(denial)) if denial.retry_after == Some(Span::from_secs(1))));
//! # Ok(())
//! # }
//! ```

// `clippy.toml` bans the types; this catches floats that nobody names.
#![deny(clippy::float_arithmetic)]

pub mod apply;
pub mod counter;
pub mod estimate;
pub mod model;
pub mod state;

pub use apply::{Freed, Limiter, Line, Obstacle, Passage, Signature};
pub use model::*;
