//! Asking for a permit: the decision, which changes nothing. `grant.rs` carries it out.

use std::ops::RangeInclusive;

use super::{
    Limiter,
    budget::Standing,
    evaluate::evaluate,
    headroom::Headroom,
    operations,
    request::{self, Caller, Demands},
};
use crate::{
    model::{
        Acquire, Answer, Denial, DenialReason, Grant, Label, Outcome, Rejection, Resource, Scope,
        SharedResult, Span, Stamp,
    },
    state::{Fingerprint, Gate, Place, Remembered, ResourceState},
};

/// What becomes of a request.
pub(super) enum Decision {
    /// It was granted before.
    Replay(Grant),
    /// Another request has made the call for it.
    Share(SharedResult),
    /// There is no room, or it is not open.
    Deny(Denial),
    /// There is room for it: the plan says where.
    Grant,
}

/// What a grant will debit. It is filled in place: as a part of the decision it would be moved from one function to the next.
#[derive(Default)]
pub(super) struct Plan {
    /// Of which of the request's resources.
    pub alternative: u32,
    /// Where that is.
    pub place: Place,
    pub key: Label,
    pub demands: Demands,
}

impl Limiter {
    /// Puts the request to those of its resources that are `among` the choices.
    pub(super) fn acquire(&mut self, acquire: &Acquire, among: RangeInclusive<u32>) -> Answer {
        let mut plan = Plan::default();
        match self.decide(acquire, among.clone(), self.now, &mut plan) {
            Ok(Decision::Grant) => {}
            Ok(Decision::Share(result)) => return Ok(Outcome::Shared(result)),
            Ok(Decision::Replay(grant)) => {
                if let Some(id) = &acquire.request_id {
                    self.request_ids.note_replay(id);
                }
                return Ok(Outcome::Granted(grant));
            }
            Ok(Decision::Deny(denial)) => return Ok(Outcome::Denied(denial)),
            Err(rejection) => return Err(rejection),
        }
        let after = plan.alternative + 1..=*among.end();
        if after.is_empty() {
            return self.grant(acquire, &mut plan);
        }
        match self.grant(acquire, &mut plan) {
            // Found out only here: that resource counts as many values as it may, or no more leases can be had. Another
            // may have room.
            Err(full) => match self.acquire(acquire, after) {
                granted @ Ok(Outcome::Granted(_)) => granted,
                _ => Err(full),
            },
            granted => granted,
        }
    }

    /// See [`Limiter::refuse`]. A replay debits nothing either, but goes through the log: only there is it certain that
    /// this node still leads, and that what it says of the lease is still true; and the permit must not be given back any
    /// more. Nor is a result told that may have been invalidated through another leader. That a scoped limit is full is found out at the grant,
    /// because idle counters go then, and so is that no more leases can be had; those rejections come from the log too.
    pub(super) fn refuse_acquire(
        &self,
        acquire: &Acquire,
        among: RangeInclusive<u32>,
        now: Stamp,
    ) -> Option<Answer> {
        match self.decide(acquire, among, now, &mut Plan::default()) {
            Ok(Decision::Replay(_) | Decision::Share(_) | Decision::Grant) => None,
            Ok(Decision::Deny(denial)) => Some(Ok(Outcome::Denied(denial))),
            Err(rejection) => Some(Err(rejection)),
        }
    }

    /// Request ids come first: a retry gets its permit even if the resource has changed or gone since.
    pub(super) fn decide(
        &self,
        acquire: &Acquire,
        among: RangeInclusive<u32>,
        now: Stamp,
        plan: &mut Plan,
    ) -> Result<Decision, Rejection> {
        if let Some(granted) =
            acquire.request_id.as_ref().and_then(|id| self.request_ids.get(id, now.cluster))
        {
            return match Fingerprint::of(acquire) == granted.body {
                true => Ok(Decision::Replay(self.replay(acquire, granted, now))),
                false => Err(Rejection::RequestIdReused),
            };
        }
        if let Some(key) = &acquire.coalesce_key
            && let Some(decision) = self.coalesce(acquire, key, now)?
        {
            return Ok(decision);
        }
        match self.choose(acquire, among, now, plan) {
            Ok(Ok(())) => Ok(Decision::Grant),
            Ok(Err(denial)) => Ok(Decision::Deny(denial)),
            Err(rejection) => Err(rejection),
        }
    }

    fn replay(&self, acquire: &Acquire, granted: &Remembered, now: Stamp) -> Grant {
        let held_for = now.cluster.since(granted.granted_at);
        let permit = self.permits.get(granted.permit).filter(|permit| permit.leased);
        let lease_left = permit.map_or(Span::ZERO, |permit| permit.ends_at.since(now.cluster));
        let ended = granted.ended || permit.is_some() && lease_left.is_zero();
        let usable = |within: Span| match ended {
            true => Span::ZERO,
            false => Span(within.0.saturating_sub(held_for.0)),
        };
        Grant {
            permit: granted.permit,
            key: granted.key.clone(),
            use_within: granted.use_within.map(usable),
            lease: (!granted.slots.is_empty() || acquire.coalesce_key.is_some()).then_some(lease_left),
            slots: granted.slots.clone(),
            usage: Default::default(),
            replayed: true,
            alternative: granted.alternative,
        }
    }
}

/// Plans to grant, of the keys with which everything fits, the one with the most headroom, and of several such the first in the
/// resource's order; if there is none, the denial of the key that can be had first.
pub(super) fn choose_key(
    state: &ResourceState,
    acquire: &Acquire,
    now: Stamp,
    plan: &mut Plan,
) -> Result<(), Denial> {
    let resource = &*state.definition;
    let standing = Standing::of(resource, &acquire.consumer);
    let cost = operations::cost(resource, acquire);
    let mut demands = Demands::new();
    let mut most: Option<Headroom> = None;
    let mut soonest: Option<Denial> = None;
    for key in candidates(resource, acquire) {
        request::demand(resource, &Caller::of(acquire, key), cost, &acquire.amounts, &mut demands);
        let by_key = demands.iter().any(|demand| resource.limits[demand.limit].scope == Scope::Key);
        let gate = state.gate(key, now.cluster);
        // Where nothing counts by key, no other key fits better or sooner than one that stands open.
        let is_last = !by_key && gate == Gate::Open;
        match evaluate(state, &mut demands, standing.as_ref(), gate, now) {
            Ok(()) => {
                let headroom = Headroom::of(state, &demands, now);
                if most.is_none_or(|most| headroom.exceeds(most)) {
                    most = Some(headroom);
                    plan.key.clone_from(key);
                    std::mem::swap(&mut plan.demands, &mut demands);
                }
            }
            Err(denial) => {
                if soonest.as_ref().is_none_or(|soonest| is_sooner(&denial, soonest)) {
                    soonest = Some(denial);
                }
            }
        }
        if is_last {
            break;
        }
    }
    match most {
        Some(_) => Ok(()),
        None => {
            Err(soonest.expect("there is a candidate at least, and each that does not fit leaves a denial"))
        }
    }
}

/// What ends at a moment comes before what ends by an order, and of two that end together what limits deny: there the
/// pause of another key makes no difference. Of those that end by an order a pause, which is meant to end, comes first.
pub(super) fn is_sooner(one: &Denial, other: &Denial) -> bool {
    let rank = |denial: &Denial| {
        let by = match denial.reason {
            DenialReason::LimitExhausted => 0,
            DenialReason::Paused { .. } | DenialReason::CircuitOpen { .. } | DenialReason::Paced { .. } => 1,
            DenialReason::BudgetExhausted { .. } => 2,
            DenialReason::OthersWait => 3,
            DenialReason::KeyUnavailable => 4,
            DenialReason::CallUnderWay => 9,
        };
        (denial.retry_after.is_none(), denial.retry_after, by)
    };
    rank(one) < rank(other)
}

fn candidates<'a>(resource: &'a Resource, acquire: &'a Acquire) -> &'a [Label] {
    match acquire.key.is_empty() && !resource.keys.is_empty() {
        true => &resource.keys,
        false => std::slice::from_ref(&acquire.key),
    }
}
