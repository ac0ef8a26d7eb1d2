//! Time as the log knows it.

use std::{
    fmt,
    ops::{Add, Sub},
};

use minicbor::{Decode, Encode};

/// Nanoseconds in a millisecond.
pub const NANOS_PER_MILLI: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A length of time in nanoseconds: up to 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Span(#[n(0)] pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// More than anything lasts.
    pub const MAX: Span = Span(u64::MAX);

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(NANOS_PER_SECOND))
    }

    /// What is left of it after `other`; zero if that is longer.
    pub const fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }

    /// Its nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// In the largest unit that divides it: `90 s`, `1500 ms`, `24 h`, `400 days`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR: u64 = 3600 * NANOS_PER_SECOND;
        let units = [
            (48 * HOUR, 24 * HOUR, "days"),
            (HOUR, HOUR, "h"),
            (10 * 60 * NANOS_PER_SECOND, 60 * NANOS_PER_SECOND, "min"),
            (NANOS_PER_SECOND, NANOS_PER_SECOND, "s"),
            (NANOS_PER_MILLI, NANOS_PER_MILLI, "ms"),
            (1_000, 1_000, "µs"),
        ];
        match units.iter().find(|(least, unit, _)| self.0 >= *least && self.0.is_multiple_of(*unit)) {
            Some((_, unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None if self.0 == 0 => f.write_str("0 s"),
            None => write!(f, "{} ns", self.0),
        }
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

/// A point of cluster time: nanoseconds since the cluster was born, monotonic, the same on every node because it comes
/// from the log. It has no relation to any clock on a wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ClusterTime(#[n(0)] pub u64);

impl ClusterTime {
    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: ClusterTime) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for ClusterTime {
    type Output = ClusterTime;
    fn add(self, span: Span) -> ClusterTime {
        ClusterTime(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for ClusterTime {
    type Output = ClusterTime;
    fn sub(self, span: Span) -> ClusterTime {
        ClusterTime(self.0.saturating_sub(span.0))
    }
}

/// Wall time as a quorum agrees on it: nanoseconds since the Unix epoch. Only windows that are tied to the calendar
/// look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct WallTime(#[n(0)] pub i64);

/// What the leader stamps an entry with: the same moment on both scales. Neither ever goes backwards in the state: a
/// stamp that lies before the last one counts as the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Stamp {
    /// Cluster time.
    #[n(0)]
    pub cluster: ClusterTime,
    /// Wall time.
    #[n(1)]
    pub wall: WallTime,
}

impl Stamp {
    /// The moment `span` later, on both scales.
    pub fn after(self, span: Span) -> Stamp {
        let wall_ns = self.wall.0.saturating_add_unsigned(span.0);
        Stamp { cluster: self.cluster + span, wall: WallTime(wall_ns) }
    }

    /// The later of the two, scale by scale.
    pub fn max(self, other: Stamp) -> Stamp {
        Stamp { cluster: self.cluster.max(other.cluster), wall: self.wall.max(other.wall) }
    }
}
