//! Plans are made of a copy of the state, away from the replica: they take long beside everything else it does.

use tollgate_limiter::{Ahead, Limiter, Stamp, Work};

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
        Reply::Estimate(self.limiter.estimate(self.stamp, &self.work, &self.ahead))
    }
}

impl<C> Replica<C> {
    /// Has a plan made of the state as it is now.
    pub(super) fn plan(&mut self, work: Work, stamp: Stamp, caller: C) {
        let limiter = self.machine.limiter().clone();
        let planning = Box::new(Planning { limiter, stamp, work, ahead: Vec::new() });
        self.effects.push(Effect::Plan { planning, caller });
    }
}
