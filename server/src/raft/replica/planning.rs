//! Plans are made of a copy of the state, away from the replica: they take long beside everything else it does.

use std::collections::BTreeSet;

use tollgate_limiter::{Ahead, Limiter, Priority, Stamp, Work};
use tollgate_waiting::{ConsumerWaiting, Moment};

use super::{super::call::Reply, Effect, Replica};

/// Everything that a plan is made of. The copy of the state shares what does not change.
#[derive(Debug)]
pub struct Planning {
    limiter: Limiter,
    stamp: Stamp,
    work: Work,
    ahead: Vec<Ahead>,
}

impl Planning {
    /// Makes the plan. Takes up to some tens of milliseconds.
    pub fn carry_out(&self) -> Reply {
        Reply::Estimate(Box::new(self.limiter.estimate(self.stamp, &self.work, &self.ahead)))
    }
}

impl<C> Replica<C> {
    /// Has a plan made of the state as it is now.
    pub(super) fn plan(&mut self, work: Work, moment: Moment, caller: C) {
        let limiter = self.machine.limiter().clone();
        let ahead = self.waiting_ahead(&work, moment);
        let planning = Box::new(Planning { limiter, stamp: moment.stamp, work, ahead });
        self.effects.push(Effect::Plan { planning, caller });
    }

    fn waiting_ahead(&self, work: &Work, moment: Moment) -> Vec<Ahead> {
        let Some(leadership) = &self.leadership else { return Vec::new() };
        let resources: BTreeSet<_> = work.steps.iter().map(|step| &step.resource).collect();
        let mut ahead = Vec::new();
        for resource in resources {
            for waiting in leadership.waiters.queue.figures(resource, moment).consumers {
                let requests = before(&waiting, work.priority);
                if requests > 0 {
                    ahead.push(Ahead { resource: resource.clone(), consumer: waiting.consumer, requests });
                }
            }
        }
        ahead
    }
}

/// How many of them go before one of this priority that comes now.
fn before(waiting: &ConsumerWaiting, priority: Priority) -> u64 {
    let ConsumerWaiting { high, medium, low, .. } = waiting;
    match priority {
        Priority::High => *high,
        Priority::Medium => high + medium,
        Priority::Low => high + medium + low,
    }
}
