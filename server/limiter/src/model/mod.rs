//! The words of the core: what is asked, what is answered, what a resource is.
//!
//! Types here cannot be wrong: what does not satisfy their rules is refused where it enters, at the wire. They are
//! encoded as they are (`minicbor`, by field number) in the log, in snapshots and between nodes; a field's number is
//! never used again, and a new field is optional or has a default, so that the versions of a rolling upgrade
//! understand each other.

mod alternative;
mod availability;
mod budget;
mod budget_rules;
mod change;
mod circuit;
mod coalesce;
mod command;
mod feedback;
pub(crate) mod inline;
mod name;
mod outcome;
mod plan;
mod resource;
mod schedule;
pub(crate) mod shared;
mod time;
mod usage;
mod validate;

pub use alternative::*;
pub use availability::*;
pub use budget::*;
pub use circuit::*;
pub use coalesce::*;
pub use command::*;
pub use feedback::*;
pub use name::*;
pub use outcome::*;
pub use plan::*;
pub(crate) use resource::percent_of;
pub use resource::*;
pub use time::*;
pub use usage::*;
pub use validate::{LEASE_MAX, LEASE_MIN};
