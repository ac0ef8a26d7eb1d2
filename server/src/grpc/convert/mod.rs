//! Wire ⇄ core. What is wrong is refused here, by the names of the fields as the API has them, and defaults are filled
//! here, as the `.proto` files state them: behind this door nothing is invalid, and nothing is optional without reason.

pub mod acquire;
mod alternatives;
pub mod availability;
pub mod budget;
pub mod circuit;
pub mod cluster;
pub mod coalesce;
pub mod decision;
pub mod definition;
pub mod feedback;
mod fields;
pub mod permit;
pub mod plan;
mod reading;
pub mod resource;
pub mod usage;

#[cfg(test)]
pub(super) mod properties;
#[cfg(test)]
mod tests;

pub use fields::{Fields, Invalid};

use prost_types::Duration;
use tollgate_limiter::{NANOS_PER_SECOND, Span};

/// A span as the wire has it.
pub fn duration(span: Span) -> Duration {
    Duration {
        // At most 584 years of seconds, and less than a second of nanoseconds.
        seconds: (span.0 / NANOS_PER_SECOND) as i64,
        nanos: (span.0 % NANOS_PER_SECOND) as i32,
    }
}
