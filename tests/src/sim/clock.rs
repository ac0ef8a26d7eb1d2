//! Clocks that are wrong. A monotonic clock runs a little fast or slow, within a bound that the guarantees state; a wall
//! clock may be wrong by hours, and jump, on one machine of a cluster.

use tollgate_limiter::{Span, WallTime};
use tollgate_server::clock::Reading;

/// By how much monotonic clocks run fast or slow at most, in millionths: what NTP corrects a healthy oscillator by.
pub const DRIFT_PPM_MAX: u64 = 500;

/// What a right wall clock shows when a world begins: a Sunday in June 2025, 15:06:40 UTC.
const BEGINNING_NS: i64 = 1_750_000_000_000_000_000;

/// The clocks of one machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    // The monotonic clock showed `shown` at the real time `at`, and has run at this rate since.
    at: Span,
    shown: Span,
    rate_ppm: i64,
    wall_error_ns: i64,
}

impl Clock {
    /// A process starts: monotonic time begins anew, the machine's rate and wall clock stay.
    pub fn restart(&mut self, now: Span) {
        (self.at, self.shown) = (now, Span::ZERO);
    }

    /// From now on the monotonic clock runs so much faster (slower, if negative) than real time.
    pub fn drift(&mut self, now: Span, rate_ppm: i64) {
        (self.at, self.shown) = (now, self.monotonic(now));
        self.rate_ppm = rate_ppm;
    }

    /// From now on the wall clock is wrong by so much.
    pub fn set_wall_error(&mut self, error_ms: i64) {
        self.wall_error_ns = error_ms * 1_000_000;
    }

    /// What the clocks show.
    pub fn read(&self, now: Span) -> Reading {
        let true_ns = BEGINNING_NS.saturating_add_unsigned(now.0);
        Reading { monotonic: self.monotonic(now), wall: WallTime(true_ns + self.wall_error_ns) }
    }

    fn monotonic(&self, now: Span) -> Span {
        let elapsed = now.0.saturating_sub(self.at.0);
        // Worlds last minutes: their nanoseconds are far from overflowing when multiplied by a rate.
        let error = (elapsed as i64) * self.rate_ppm / 1_000_000;
        Span(self.shown.0 + elapsed.saturating_add_signed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_and_goes_on_from_where_it_is() {
        let mut clock = Clock::default();
        clock.restart(Span::from_secs(10));
        clock.drift(Span::from_secs(10), 500);
        assert_eq!(clock.read(Span::from_secs(20)).monotonic, Span::from_millis(10_005));
        clock.drift(Span::from_secs(20), 0);
        assert_eq!(clock.read(Span::from_secs(21)).monotonic, Span::from_millis(11_005));
    }

    #[test]
    fn a_jump_of_the_wall_clock_leaves_monotonic_time_alone() {
        let mut clock = Clock::default();
        let before = clock.read(Span::from_secs(1));
        clock.set_wall_error(-3_600_000);
        let after = clock.read(Span::from_secs(1));
        assert_eq!(after.monotonic, before.monotonic);
        assert_eq!(before.wall.0 - after.wall.0, 3_600_000_000_000);
    }
}
