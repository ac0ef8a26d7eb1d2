//! Durations between this crate and the wire.

use std::time::Duration;

/// To the wire; beyond what it can carry (292 billion years) it is clamped, and the server names its maximum.
pub(crate) fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos() as i32,
    }
}

/// From the wire; a negative one, which the server never sends, reads as 0.
pub(crate) fn from_wire(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

/// A random part of `span`, to be *added* to a wait so that those who were refused together do not return together.
pub(crate) fn jitter(span: Duration) -> Duration {
    span.mul_f64(rand::random())
}
