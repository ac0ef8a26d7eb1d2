//! Windows that follow one another.

use std::time::Duration;

use tokio::time::Instant;

use super::Amount;
use crate::account::Capacity;

/// At most an amount in each window.
#[derive(Clone, Debug)]
pub struct Fixed {
    pub amount: Amount,
    period: Duration,
    /// When the window of the last call ends; none before the first call, if that opens the window.
    ends: Option<Instant>,
    used: u64,
    by_first_call: bool,
}

impl Fixed {
    /// A window opens with the first call after the last one has ended.
    pub fn opened_by_first_call(amount: u64, period: Duration) -> Fixed {
        let amount = Amount::documented(amount);
        Fixed { amount, period, ends: None, used: 0, by_first_call: true }
    }

    /// Windows without gaps, one of which ends at this moment.
    pub fn ending_at(end: Instant, amount: u64, period: Duration) -> Fixed {
        Fixed { ends: Some(end), by_first_call: false, ..Fixed::opened_by_first_call(amount, period) }
    }

    pub fn has_room(&mut self, now: Instant, cost: u64) -> bool {
        self.used(now) + cost <= self.amount.enforced()
    }

    pub fn spend(&mut self, now: Instant, cost: u64) {
        self.used = self.used(now) + cost;
        self.ends.get_or_insert(now + self.period);
    }

    pub fn used(&mut self, now: Instant) -> u64 {
        if let Some(end) = self.ends
            && end <= now
        {
            self.used = 0;
            self.ends = (!self.by_first_call).then(|| {
                let whole_ones = now.duration_since(end).as_nanos() / self.period.as_nanos();
                end + self.period * (whole_ones as u32 + 1)
            });
        }
        self.used
    }

    /// As headers say it.
    pub fn remaining(&mut self, now: Instant) -> u64 {
        self.amount.shown().saturating_sub(self.used(now))
    }

    /// How long until there is room for everything again.
    pub fn ends_in(&self, now: Instant) -> Duration {
        self.ends.map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    /// What goes through at most.
    pub fn capacity(&self) -> Capacity {
        Capacity::Cost { amount: self.amount.enforced(), window: self.period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fill(window: &mut Fixed, now: Instant) -> u64 {
        let mut filled = 0;
        while window.has_room(now, 1) {
            window.spend(now, 1);
            filled += 1;
        }
        filled
    }

    #[test]
    fn the_first_call_opens_the_window() {
        let start = Instant::now() + MINUTE * 5;
        let mut window = Fixed::opened_by_first_call(2, MINUTE);
        window.spend(start, 2);
        assert_eq!(window.ends_in(start), MINUTE);
        let just_before = start + MINUTE - Duration::from_nanos(1);
        assert!(!window.has_room(just_before, 1));
        assert!(window.has_room(start + MINUTE, 2));
        // Nobody called at the end of the window: the next one begins with the next call.
        window.spend(start + MINUTE * 7 / 2, 1);
        assert_eq!(window.ends_in(start + MINUTE * 4), MINUTE / 2);
    }

    #[test]
    fn windows_of_a_calendar_follow_without_gaps() {
        let start = Instant::now();
        let mut window = Fixed::ending_at(start + MINUTE / 2, 2, MINUTE);
        assert_eq!(fill(&mut window, start), 2);
        assert_eq!(fill(&mut window, start + MINUTE / 2), 2);
        // In the fourth window.
        let later = start + MINUTE * 3 - Duration::from_secs(10);
        assert_eq!(fill(&mut window, later), 2);
        assert_eq!(window.ends_in(later), Duration::from_secs(40));
    }
}
