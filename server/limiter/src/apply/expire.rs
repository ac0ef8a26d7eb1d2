//! What time alone brings about, at the beginning of every entry.
//!
//! **Invariant:** no decision depends on how far this has come: permits are live while `now` is before their end, slots
//! count until they are reclaimed and results until they end, whether or not they have been cleared away. What is bounded here may therefore lag.

use super::Limiter;
use crate::{
    model::PermitId,
    state::{Permit, Shared},
};

/// Leases ended at most for each entry. [`Limiter::next_due`] stays in the past while there are more.
const ENDED_PER_ENTRY: usize = 4096;

/// Records forgotten at most for each entry, so that a peak that goes stale as a whole stops nobody.
const FORGOTTEN_PER_ENTRY: usize = 512;

impl Limiter {
    pub(super) fn expire(&mut self) {
        let now = self.now.cluster;
        for _ in 0..ENDED_PER_ENTRY {
            let Some((id, permit)) = self.permits.expire_next(now) else { break };
            self.leases_expired += 1;
            if permit.request_id.is_some() {
                self.request_ids.end(id);
            }
        }
        for _ in 0..FORGOTTEN_PER_ENTRY {
            let Some((id, permit)) = self.permits.forget_next(now) else { break };
            self.forget(id, permit);
        }
        self.clear_results();
    }

    /// Sees to it that not more permits are remembered for settlement than may be: a grant adds one at most.
    pub(super) fn forget_surplus(&mut self) {
        while let Some((id, permit)) = self.permits.forget_surplus() {
            self.forget(id, permit);
        }
    }

    fn forget(&mut self, id: PermitId, permit: Shared<Permit>) {
        if let Some(state) = self.resources.get_mut(&permit.resource) {
            state.leased.remove(&id);
            state.settleable.remove(&id);
        }
        self.end_call(id, &permit, None);
        self.permits.reuse(permit);
    }
}
