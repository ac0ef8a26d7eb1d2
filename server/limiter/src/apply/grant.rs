//! Carrying out a grant: everything that fits is debited, and what can be undone or renewed is remembered.

use smallvec::SmallVec;

use super::{
    Limiter, acquire::Plan, budget::Standing, budget_debit::Whole, evaluate, operations, request::Demand,
};
use crate::{
    counter::{RateCounter, Slots},
    model::{
        Acquire, Answer, COALESCED_LEASE_DEFAULT, ClusterTime, Grant, Label, LimitUsage, Outcome, PermitId,
        Rejection, Resource, Scope, Slot, Span, Stamp,
    },
    state::{
        Counters, Debited, Debits, Fingerprint, Hold, Holds, LimitState, MAX_LEASED_IN_ALL, MAX_SETTLEABLE,
        Permit, Permits, Remembered, ResourceState, terms_of,
    },
};

impl Limiter {
    pub(super) fn grant(&mut self, whole: &Acquire, plan: &mut Plan) -> Answer {
        match plan.alternative {
            0 => self.grant_choice(whole, whole, plan),
            other => {
                let choice = whole.choice(other).ok_or(Rejection::ResourceNotFound)?;
                self.grant_choice(whole, &choice, plan)
            }
        }
    }

    /// Grants the request as it is put to one of its resources.
    fn grant_choice(&mut self, whole: &Acquire, acquire: &Acquire, plan: &mut Plan) -> Answer {
        let now = self.now;
        // Looked through once: each look makes sure anew that no snapshot shares it.
        let demands = &mut plan.demands;
        self.admit_counters(acquire, demands)?;
        let state = self.resources.at_mut(plan.place);
        let is_coalesced = acquire.coalesce_key.is_some();
        let leased = is_coalesced || demands.iter().any(|demand| is_slot(&state.definition, demand));
        if leased && self.permits.leased() >= MAX_LEASED_IN_ALL {
            return Err(Rejection::TooManyLeases { max: MAX_LEASED_IN_ALL as u64 });
        }
        let counted = state.counter_bytes();
        let has_room = make_room(state, demands, now);
        if has_room.is_err() {
            self.counter_bytes.change(counted, state.counter_bytes());
        }
        has_room?;

        self.permits_granted += 1;
        let id = PermitId(self.permits_granted);
        let lease = lease(&state.definition, demands, acquire.lease)
            .or_else(|| is_coalesced.then(|| acquire.lease.unwrap_or(COALESCED_LEASE_DEFAULT)));
        let lease_end = now.cluster + lease.unwrap_or_default();
        let settled_by = now.cluster + state.definition.settle_within;
        let ends_at = if leased { lease_end } else { settled_by.max(lease_end) };
        // A permit that ends where it begins (no slots, nothing to be settled) leaves no record.
        let is_remembered = ends_at > now.cluster;
        let (mut debits, mut holds) = (Debits::new(), Holds::new());
        let taken = (is_remembered.then_some(&mut debits), &mut holds);
        debit(state, &acquire.consumer, demands, (id, lease_end), now, taken);
        self.counter_bytes.change(counted, state.counter_bytes());
        let ResourceState { definition, conditions, .. } = state;
        let probe = (id, leased.then_some(lease_end));
        let cost = operations::cost(definition, acquire);
        let turn = conditions.granted(definition, &plan.key, cost, probe, now.cluster);
        let grant = Grant {
            permit: id,
            key: std::mem::take(&mut plan.key),
            use_within: use_within(&state.definition, demands),
            lease: lease.filter(|_| leased),
            slots: slots(state, demands, &holds, id),
            usage: usage(state, demands, now),
            replayed: false,
            alternative: plan.alternative,
        };

        if is_remembered {
            let permit = Permit {
                resource: acquire.resource.clone(),
                granted_at: now.cluster,
                ends_at,
                leased,
                operation: acquire.operation.clone(),
                key: grant.key.clone(),
                consumer: acquire.consumer.clone(),
                subject: acquire.subject.clone(),
                amounts: acquire.amounts.clone(),
                debits,
                holds,
                request_id: acquire.request_id.clone(),
                coalesce_key: acquire.coalesce_key.clone(),
                reported: false,
            };
            if let Some(key) = &permit.coalesce_key {
                state.coalesced.begin(key.clone(), id, permit.reclaimed_at());
            }
            remember(state, &mut self.permits, id, permit);
            self.forget_surplus();
        }
        self.note_turns(turn);
        self.remember_request(whole, &grant);
        Ok(Outcome::Granted(grant))
    }

    fn remember_request(&mut self, acquire: &Acquire, grant: &Grant) {
        let Some(request_id) = &acquire.request_id else { return };
        let granted = Remembered {
            body: Fingerprint::of(acquire),
            permit: grant.permit,
            granted_at: self.now.cluster,
            key: grant.key.clone(),
            slots: grant.slots.clone(),
            use_within: grant.use_within,
            ended: false,
            replayed: false,
            alternative: grant.alternative,
        };
        self.request_ids.insert(request_id.clone(), granted, self.now.cluster);
    }
}

fn remember(state: &mut ResourceState, permits: &mut Permits, id: PermitId, permit: Permit) {
    if permit.leased {
        state.leased.insert(id, ());
    } else {
        state.settleable.insert(id, permit.ends_at);
    }
    if state.settleable.len() > MAX_SETTLEABLE
        && let Some((&oldest, _)) = state.settleable.first()
    {
        state.settleable.remove(&oldest);
        permits.drop_record(oldest);
    }
    permits.insert(id, permit);
}

/// Sees to it that each scoped limit can have the counter that it needs. A shadow limit that cannot goes without.
fn make_room(state: &mut ResourceState, demands: &mut [Demand], now: Stamp) -> Result<(), Rejection> {
    let ResourceState { definition, limits, .. } = state;
    for demand in demands.iter_mut().filter(|demand| demand.fits) {
        let limit = &definition.limits[demand.limit];
        let terms = terms_of(definition, limit);
        let (value, max) = (&demand.scope_value, limit.max_scope_values);
        let admitted = match &mut limits[demand.limit].counters {
            _ if limit.scope == Scope::Resource => true,
            Counters::Rate(counters) => counters.admits(value, max, |c| c.fresh_in(terms, now).is_zero()),
            Counters::Slots(counters) => {
                counters.admits(value, max, |slots| slots.fresh_in(now.cluster).is_zero())
            }
        };
        if !admitted && !limit.shadow {
            return Err(Rejection::TooManyScopeValues { limit: limit.name.clone(), max });
        }
        demand.fits = admitted;
    }
    Ok(())
}

/// Debits every demand that fits. What was debited is noted if anybody wants to know it, and which slots are held.
fn debit(
    state: &mut ResourceState,
    consumer: &Label,
    demands: &[Demand],
    (permit, lease_end): (PermitId, ClusterTime),
    now: Stamp,
    (mut debits, holds): (Option<&mut Debits>, &mut Holds),
) {
    let ResourceState { definition, limits, .. } = state;
    let standing = Standing::of(definition, consumer);
    for demand in demands.iter().filter(|demand| demand.fits) {
        let kind = &definition.limits[demand.limit].kind;
        let terms = terms_of(definition, &definition.limits[demand.limit]);
        let LimitState { id: limit, counters, shares, by_consumer, told } = &mut limits[demand.limit];
        let (limit, scope_value) = (*limit, &demand.scope_value);
        if let Some(told) = told.get_mut() {
            told.granted(scope_value, demand.amount, now.cluster);
        }
        match counters {
            Counters::Rate(counters) => {
                let counter = counters.get_or_insert(scope_value, || RateCounter::fresh(terms, now));
                let debit = counter.debit(terms, demand.amount, now);
                let whole = Whole { terms, counter: Some(counter) };
                let budget = standing
                    .map(|standing| Box::new(standing.debit(whole, shares, by_consumer, demand, now)));
                if let Some(debits) = &mut debits {
                    debits.push(Debited { limit, scope_value: scope_value.clone(), debit, budget });
                }
            }
            Counters::Slots(counters) => {
                let Some(concurrency) = kind.concurrency() else { continue };
                let kept_for = concurrency.grace + concurrency.quarantine;
                let reclaim_at = lease_end + kept_for;
                let slots = counters.get_or_insert(scope_value, Slots::default);
                slots.reclaim(now.cluster);
                let index = slots.hold(concurrency, permit, now.cluster, reclaim_at);
                let share = standing
                    .and_then(|standing| standing.hold(shares, demand, permit, now.cluster, reclaim_at));
                holds.push(Hold { limit, scope_value: scope_value.clone(), index, kept_for, share });
            }
        }
    }
}

/// Whether the demand is for a slot that the client is told of.
fn is_slot(resource: &Resource, demand: &Demand) -> bool {
    let limit = &resource.limits[demand.limit];
    !limit.shadow && limit.kind.concurrency().is_some()
}

/// How long slots are held: what was asked for, or the smallest default of the limits that apply. Shadow limits have a
/// say only where no other gives a lease, and then never more than their own most.
fn lease(resource: &Resource, demands: &[Demand], asked: Option<Span>) -> Option<Span> {
    let held = demands.iter().filter(|demand| demand.fits);
    let concurrency = |demand: &Demand| resource.limits[demand.limit].kind.concurrency();
    let enforced = held.clone().filter(|demand| is_slot(resource, demand)).filter_map(concurrency);
    match enforced.map(|c| c.lease_default).min() {
        Some(smallest) => Some(asked.unwrap_or(smallest)),
        None => held.filter_map(concurrency).map(|c| asked.unwrap_or(c.lease_default).min(c.lease_max)).min(),
    }
}

/// Calls must arrive within the tolerance wherever windows count. A tolerance of zero is a wish not to be told: it cannot
/// be met by any call.
fn use_within(resource: &Resource, demands: &[Demand]) -> Option<Span> {
    let mut limits = demands.iter().map(|demand| &resource.limits[demand.limit]);
    let tolerance = Some(resource.dispatch_tolerance).filter(|tolerance| !tolerance.is_zero());
    tolerance.filter(|_| limits.any(|limit| limit.kind.is_window() && !limit.shadow))
}

fn slots(state: &ResourceState, demands: &[Demand], holds: &[Hold], permit: PermitId) -> SmallVec<[Slot; 1]> {
    let told = demands.iter().filter(|demand| is_slot(&state.definition, demand));
    told.filter_map(|demand| {
        let id = state.limits[demand.limit].id;
        let hold = holds.iter().find(|hold| hold.limit == id)?;
        let limit = state.definition.limits[demand.limit].name.clone();
        Some(Slot { limit, index: hold.index, generation: permit.0 })
    })
    .collect()
}

fn usage(state: &ResourceState, demands: &[Demand], now: Stamp) -> SmallVec<[LimitUsage; 4]> {
    let usage = |demand: &Demand| {
        let limit = &state.definition.limits[demand.limit];
        LimitUsage {
            limit: limit.name.clone(),
            amount: limit.kind.amount(),
            available: evaluate::available(state, demand, now),
            shadow: limit.shadow,
            would_deny: !demand.fits,
        }
    };
    demands.iter().map(usage).collect()
}
