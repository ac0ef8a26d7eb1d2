//! A window that ends now, wherever now is.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::Amount;
use crate::account::Capacity;

/// At most an amount in any interval of a length, both ends included. Exact: it remembers every call of the last period.
#[derive(Clone, Debug)]
pub struct Rolling {
    pub amount: Amount,
    period: Duration,
    /// Oldest first.
    spent: VecDeque<(Instant, u64)>,
    used: u64,
}

impl Rolling {
    pub fn new(amount: u64, period: Duration) -> Rolling {
        Rolling { amount: Amount::documented(amount), period, spent: VecDeque::new(), used: 0 }
    }

    pub fn has_room(&mut self, now: Instant, cost: u64) -> bool {
        self.used(now) + cost <= self.amount.enforced()
    }

    pub fn spend(&mut self, now: Instant, cost: u64) {
        self.spent.push_back((now, cost));
        self.used += cost;
    }

    pub fn used(&mut self, now: Instant) -> u64 {
        while let Some(&(at, cost)) = self.spent.front()
            && at + self.period < now
        {
            self.spent.pop_front();
            self.used -= cost;
        }
        self.used
    }

    /// As headers say it.
    pub fn remaining(&mut self, now: Instant) -> u64 {
        self.amount.shown().saturating_sub(self.used(now))
    }

    /// What goes through at most.
    pub fn capacity(&self) -> Capacity {
        Capacity::Cost { amount: self.amount.enforced(), window: self.period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn any_closed_interval_of_the_length_holds_at_most_the_amount() {
        let start = Instant::now();
        let mut window = Rolling::new(3, SECOND);
        for at in [0, 400, 900] {
            let now = start + Duration::from_millis(at);
            assert!(window.has_room(now, 1));
            window.spend(now, 1);
        }
        assert!(!window.has_room(start + SECOND, 1), "the first call is exactly a window old");
        let later = start + SECOND + Duration::from_nanos(1);
        assert!(window.has_room(later, 1) && !window.has_room(later, 2));
    }

    #[test]
    fn an_amount_is_lowered_with_or_without_a_word() {
        let now = Instant::now();
        for (told, remaining) in [(false, 100), (true, 60)] {
            let mut window = Rolling::new(100, SECOND);
            window.amount.tighten(60, told);
            assert!(window.has_room(now, 60) && !window.has_room(now, 61));
            assert_eq!(window.remaining(now), remaining);
        }
    }
}
