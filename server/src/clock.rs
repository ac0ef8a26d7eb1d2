//! The only file that reads a clock. What it reads is passed on as an argument.

#![allow(clippy::disallowed_methods)]

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
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

/// Sleeps until [`monotonic`] shows this; not at all if it does already.
pub async fn sleep_until(moment: Span) {
    tokio::time::sleep(Duration::from_nanos(moment.saturating_sub(monotonic()).0)).await;
}

/// The moment by which an answer is due. Follows tokio's clock, so that tests can pause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(tokio::time::Instant);

/// The furthest deadline that makes sense; also keeps the sum within what an instant can hold.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

impl Deadline {
    /// So far from now; at most a day.
    pub fn after(timeout: Duration) -> Deadline {
        Deadline(tokio::time::Instant::now() + timeout.min(DEADLINE_MAX))
    }

    /// So far from now, for each of these, with one look at the clock.
    pub fn after_each(timeouts: impl Iterator<Item = Duration>) -> impl Iterator<Item = Deadline> {
        let now = tokio::time::Instant::now();
        timeouts.map(move |timeout| Deadline(now + timeout.min(DEADLINE_MAX)))
    }

    /// What is left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(tokio::time::Instant::now())
    }

    /// Whether nothing is left.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Waits until it passes.
    pub fn passing(self) -> tokio::time::Sleep {
        tokio::time::sleep_until(self.0)
    }

    /// The future's output, or `None` if the deadline passes first; the future is dropped then.
    pub async fn bound<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }
}
