//! Who waits, for people: the queue's part of a resource's live figures.

use tollgate_limiter::{ConsumerFigures, Limiter, ResourceUsage};
use tollgate_waiting::{ConsumerWaiting, Moment};

use super::Replica;

/// Consumers told of, at most; those that use the resource come before those that only wait.
const CONSUMERS_MAX: usize = 1_000;

impl<C> Replica<C> {
    /// Adds who waits to what the limiter tells.
    pub(super) fn add_waiting(&self, usage: &mut ResourceUsage, moment: Moment) {
        let Some(leadership) = &self.leadership else { return };
        let waiting = leadership.waiters.queue.figures(&usage.stored.resource.name, moment);
        usage.waiting = waiting.total;
        for consumer in waiting.consumers {
            add_consumer(usage, consumer, self.machine.limiter());
        }
        usage.consumers.truncate(CONSUMERS_MAX);
    }
}

fn add_consumer(usage: &mut ResourceUsage, waiting: ConsumerWaiting, limiter: &Limiter) {
    let ConsumerWaiting { consumer, high, medium, low, oldest } = waiting;
    let (waiting, oldest_wait) = ([low, medium, high], Some(oldest));
    match usage.consumers.iter_mut().find(|figures| figures.consumer == consumer) {
        Some(figures) => (figures.waiting, figures.oldest_wait) = (waiting, oldest_wait),
        None => {
            let budget = limiter.budget(&usage.stored.resource.name, &consumer);
            let budget = budget.map(|budget| budget.name.clone());
            usage.consumers.push(ConsumerFigures {
                consumer,
                budget,
                waiting,
                oldest_wait,
                uses: Vec::new(),
            });
        }
    }
}
