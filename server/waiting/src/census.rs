//! How many wait for a resource, by consumer and priority.

use std::collections::BTreeMap;

use tollgate_limiter::{Label, Priority, ResourceName, Span};

use super::{ConsumerWaiting, Moment, Waiting, WaitingQueue};

impl<C> WaitingQueue<C> {
    /// Who waits for the resource, those without patience aside. Takes time in proportion to the flows: it is for people.
    pub fn figures(&self, resource: &ResourceName, now: Moment) -> Waiting {
        let Some(front) = self.fronts.get(resource) else { return Waiting::default() };
        let mut oldest: BTreeMap<_, Span> = BTreeMap::new();
        for (key, head) in front.heads() {
            let waited = oldest.entry(&key.consumer).or_default();
            *waited = head.at.waited(now).max(*waited);
        }
        let consumers = front.census.consumers().map(|(consumer, waiting)| ConsumerWaiting {
            consumer: consumer.clone(),
            high: waiting.high,
            medium: waiting.medium,
            low: waiting.low,
            oldest: oldest.get(consumer).copied().unwrap_or_default(),
        });
        Waiting { total: front.census.total(), consumers: consumers.collect() }
    }

    /// How many wait for each resource that anybody waits for, by name; those without patience aside.
    pub fn lengths(&self) -> impl Iterator<Item = (&ResourceName, u64)> {
        self.fronts.iter().map(|(resource, front)| (resource, front.census.total()))
    }
}

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
