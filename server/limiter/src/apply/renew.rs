//! Extending a lease.

use super::{Limiter, request};
use crate::{
    model::{
        Answer, COALESCED_LEASE_DEFAULT, KeyState, LEASE_MAX, LEASE_MIN, Outcome, PermitId, Rejection, Renew,
        Span, Violation,
    },
    state::{Permit, ResourceState},
};

impl Limiter {
    pub(super) fn renew(&mut self, renew: &Renew) -> Answer {
        let now = self.now.cluster;
        let permit = self.live_permit(renew.permit)?;
        if !permit.leased {
            return Err(Rejection::PermitWithoutLease);
        }
        let state = self.resources.get(&permit.resource).ok_or(Rejection::PermitEnded)?;
        if state.availability.state(&permit.key) == KeyState::Disabled {
            return Err(Rejection::KeyDisabled);
        }
        let lease = lease(state, permit, renew.lease).map_err(Rejection::Invalid)?;
        let ends_at = permit.ends_at.max(now + lease);
        let (resource, holds) = (permit.resource.clone(), permit.holds.clone());
        let (key, granted_at) = (permit.key.clone(), permit.granted_at);
        let (coalesce_key, grace) =
            (permit.coalesce_key.clone(), permit.reclaimed_at().since(permit.ends_at));
        if let Some(state) = self.resources.get_mut(&resource) {
            for hold in &holds {
                state.change_slots(hold, |slots, index| {
                    slots.extend(index, renew.permit, ends_at + hold.kept_for);
                });
            }
            let ResourceState { definition, conditions, .. } = state;
            conditions.renewed(definition, &key, (renew.permit, granted_at), ends_at, now);
            if let Some(key) = &coalesce_key {
                state.coalesced.extend(key, renew.permit, ends_at + grace);
            }
        }
        self.permits.extend(renew.permit, ends_at);
        Ok(Outcome::Renewed(ends_at.since(now)))
    }

    /// The permit, if it was ever granted and has not ended.
    pub(super) fn live_permit(&self, id: PermitId) -> Result<&Permit, Rejection> {
        if !self.was_granted(id) {
            return Err(Rejection::PermitNotFound);
        }
        self.permits.live(id, self.now.cluster).ok_or(Rejection::PermitEnded)
    }
}

/// What was asked for, checked against the limits whose slots are held; else the smallest of their defaults. A coalesced
/// call without slots has a default of its own. When a change of the resource has removed all limits there is none, and
/// what is left of the lease stays.
fn lease(state: &ResourceState, permit: &Permit, asked: Option<Span>) -> Result<Span, Violation> {
    if let Some(lease) = asked.filter(|lease| !(LEASE_MIN..=LEASE_MAX).contains(lease)) {
        return Err(Violation::new("lease", format!("must be {LEASE_MIN} to {LEASE_MAX}, not {lease}")));
    }
    let held = permit.holds.iter().filter_map(|hold| state.position(hold.limit));
    let enforced = held.map(|at| &state.definition.limits[at]).filter(|limit| !limit.shadow);
    let mut default = None;
    for limit in enforced {
        request::check_lease(limit, asked)?;
        let own = limit.kind.concurrency().map(|concurrency| concurrency.lease_default);
        default = default.into_iter().chain(own).min();
    }
    let of_call =
        (permit.coalesce_key.is_some() && permit.holds.is_empty()).then_some(COALESCED_LEASE_DEFAULT);
    Ok(asked.or(default).or(of_call).unwrap_or(Span::ZERO))
}
