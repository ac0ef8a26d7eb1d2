//! How many wait for a resource, by consumer and priority.

use std::collections::BTreeMap;

use tollgate_limiter::{Label, Priority};

/// The count.
#[derive(Debug, Default)]
pub(crate) struct Census {
    total: u64,
    by_consumer: BTreeMap<Label, ByPriority>,
}

/// How many of each priority.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByPriority {
    pub high: u64,
    pub medium: u64,
    pub low: u64,
}

impl Census {
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn of_consumer(&self, consumer: &Label) -> u64 {
        self.by_consumer.get(consumer).map_or(0, ByPriority::total)
    }

    pub fn consumers(&self) -> impl Iterator<Item = (&Label, &ByPriority)> {
        self.by_consumer.iter()
    }

    pub fn add(&mut self, consumer: &Label, priority: Priority) {
        self.total += 1;
        *self.by_consumer.entry(consumer.clone()).or_default().of(priority) += 1;
    }

    pub fn remove(&mut self, consumer: &Label, priority: Priority) {
        let Some(counts) = self.by_consumer.get_mut(consumer) else { return };
        self.total -= 1;
        *counts.of(priority) -= 1;
        if counts.total() == 0 {
            self.by_consumer.remove(consumer);
        }
    }
}

impl ByPriority {
    fn total(&self) -> u64 {
        self.high + self.medium + self.low
    }

    fn of(&mut self, priority: Priority) -> &mut u64 {
        match priority {
            Priority::High => &mut self.high,
            Priority::Medium => &mut self.medium,
            Priority::Low => &mut self.low,
        }
    }
}
