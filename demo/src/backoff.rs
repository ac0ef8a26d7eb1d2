//! Exponential backoff with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

/// When to try again, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest wait before the first retry; it doubles with each.
    pub base: Duration,
    /// No wait is longer.
    pub cap: Duration,
    /// After so many tries the work is given up.
    pub tries: u32,
}

impl Backoff {
    /// The wait before the nth retry, counted from 0; `random` is in 0 to 1.
    pub fn delay(&self, retry: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(2u32.saturating_pow(retry));
        doubled.min(self.cap).mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_cap_and_are_random_below() {
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60), tries: 6 };
        let longest: Vec<_> = [0, 1, 5, 6, 40].map(|retry| backoff.delay(retry, 1.0).as_secs()).to_vec();
        assert_eq!(longest, [1, 2, 32, 60, 60]);
        assert_eq!(backoff.delay(5, 0.25), Duration::from_secs(8));
    }
}
