//! The only file that reads a clock. What it reads is passed on as an argument.

#![allow(clippy::disallowed_methods)]

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tollgate_limiter::{Span, WallTime};

/// What this node's clocks show at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Monotonic time since this process first looked: no jump of the wall clock changes it.
    pub monotonic: Span,
    /// The wall clock, as it is; it may jump.
    pub wall: WallTime,
}

/// Reads both clocks.
pub fn read() -> Reading {
    Reading { monotonic: monotonic(), wall: wall() }
}

/// Monotonic time since this process first looked.
pub fn monotonic() -> Span {
    static START: OnceLock<Instant> = OnceLock::new();
    Span(u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The wall clock; before 1970 it reads 0.
pub fn wall() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
