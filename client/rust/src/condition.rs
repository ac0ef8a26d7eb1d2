//! How a vendor is doing, as denials and resources tell it.

use std::{fmt, time::Duration};

use tollgate_proto::v1::{self, CircuitState, Outcome, PaceCause};

use crate::duration::from_wire;

/// Where a circuit breaker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitStatus {
    /// Whether permits are granted.
    pub state: CircuitState,
    /// Open: until the vendor is tried again. Half-open, and all probes are out: until the first gives up its place at the latest.
    pub left: Option<Duration>,
    /// How often it has opened since it was closed last.
    pub times_opened: u32,
    /// Failures since the last success. Open and half-open, this and the next two are as they stood when it opened.
    pub failures_in_row: u32,
    /// Calls in the window of the share.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Half-open: probes of which nothing is told yet.
    pub probes_out: u32,
    /// Half-open: probes that succeeded.
    pub probes_succeeded: u32,
    /// Open and half-open: how long it has been that, since it was closed last. None, as the next one: the server does not know.
    pub open_for: Option<Duration>,
    /// Open and half-open: the last failure.
    pub opened_by: Option<Outcome>,
}

/// A rate that rises evenly: permits are granted no faster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaceStatus {
    /// Now, in millionths of a unit of cost a second.
    pub micros_per_second: u64,
    /// When it is over.
    pub full_micros_per_second: u64,
    /// Until it is over.
    pub full_in: Duration,
    /// What it comes of; [`PaceCause::Unspecified`] if the server does not know.
    pub cause: PaceCause,
}

impl From<v1::Circuit> for CircuitStatus {
    fn from(circuit: v1::Circuit) -> CircuitStatus {
        CircuitStatus {
            state: circuit.state(),
            left: circuit.left.map(from_wire),
            times_opened: circuit.times_opened,
            failures_in_row: circuit.failures_in_row,
            calls: circuit.calls,
            failures: circuit.failures,
            probes_out: circuit.probes_out,
            probes_succeeded: circuit.probes_succeeded,
            open_for: circuit.open_for.map(from_wire),
            opened_by: Some(circuit.opened_by()).filter(|outcome| *outcome != Outcome::Unspecified),
        }
    }
}

impl From<v1::Pace> for PaceStatus {
    fn from(pace: v1::Pace) -> PaceStatus {
        PaceStatus {
            micros_per_second: pace.micros_per_second,
            full_micros_per_second: pace.full_micros_per_second,
            full_in: pace.full_in.map(from_wire).unwrap_or_default(),
            cause: pace.cause(),
        }
    }
}

/// `open`, `half-open` or `closed`.
impl fmt::Display for CircuitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            // A server that says no more denies because of it.
            CircuitState::Open | CircuitState::Unspecified => "open",
            CircuitState::HalfOpen => "half-open",
            CircuitState::Closed => "closed",
        })
    }
}
