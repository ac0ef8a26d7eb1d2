//! A resource with the state of its limits.

use minicbor::{Decode, Encode};

use super::{
    Availability, ByConsumer, Coalesced, CowMap, Hold, Permits, Scoped, Share, ShareId, Shared, Whole,
};
use crate::{
    counter::{RateCounter, Slots, Terms},
    model::{ClusterTime, Limit, LimitKind, PermitId, Resource, Scope, Stamp, StoredResource},
};

/// Resources at a time: what every node can hold in memory with counters for each. The public API states it.
pub const MAX_RESOURCES: usize = 100_000;

/// Permits without slots that a resource remembers for settlement at most; the oldest is forgotten first. The public
/// API states it.
pub(crate) const MAX_SETTLEABLE: usize = 100_000;

/// One resource: its definition and everything it counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ResourceState {
    #[n(0)]
    pub definition: Shared<Resource>,
    #[n(1)]
    pub generation: u64,
    /// In the order of the definition's limits, as many.
    #[n(2)]
    pub limits: Vec<LimitState>,
    /// Permits that hold slots under a lease.
    #[n(3)]
    pub leased: CowMap<PermitId, ()>,
    /// Permits without slots that can be settled, with the moment until which.
    #[n(4)]
    pub settleable: CowMap<PermitId, ClusterTime>,
    /// Limits, and budgets' shares of them, ever added, over all changes: the last id given.
    #[n(5)]
    ids_given: u64,
    /// What operators ordered: no part of the definition, so that it survives a change of it.
    #[cbor(n(6), default)]
    pub availability: Availability,
    /// Calls that are made for many, and their results; they survive a change of the definition.
    #[cbor(n(10), skip_if = "Coalesced::is_empty")]
    pub coalesced: Shared<Coalesced>,
}

/// Names a limit's state within its resource, for ever: a limit that is removed and added again under the same name is
/// another one, and permits of the first must not settle with the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct LimitId(#[n(0)] u64);

/// What a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LimitState {
    #[n(0)]
    pub id: LimitId,
    #[n(1)]
    pub counters: Counters,
    /// What budgets have of it, in the resource's order.
    #[cbor(n(2), default)]
    pub shares: Vec<Share>,
    /// Of a resource with budgets, what each consumer uses of a rate limit of the resource or of its keys.
    #[cbor(n(3), default)]
    pub by_consumer: ByConsumer,
}

/// Of the kind that the definition says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Counters {
    #[n(0)]
    Rate(#[n(0)] Scoped<RateCounter>),
    #[n(1)]
    Slots(#[n(0)] Scoped<Slots>),
}

impl ResourceState {
    pub(crate) fn new(definition: Resource, generation: u64, now: Stamp) -> ResourceState {
        let mut state = ResourceState {
            definition: Shared::new(definition),
            generation,
            limits: Vec::new(),
            leased: CowMap::default(),
            settleable: CowMap::default(),
            ids_given: 0,
            availability: Availability::default(),
            coalesced: Shared::default(),
        };
        let definition = state.definition.clone();
        state.limits =
            definition.limits.iter().map(|limit| state.fresh_limit(&definition, limit, now)).collect();
        state
    }

    /// Replaces the definition. The state of a limit that keeps its name is carried over, never refilled; the caller has
    /// checked that it keeps its kind. Takes time in proportion to the counters of the limits that change, and where a
    /// disabled key goes to the leases.
    pub(crate) fn redefine(&mut self, definition: Resource, generation: u64, permits: &Permits, now: Stamp) {
        let old = std::mem::replace(&mut self.definition, Shared::new(definition));
        let new = self.definition.clone();
        let states = std::mem::take(&mut self.limits);
        self.limits = new
            .limits
            .iter()
            .map(|limit| match old.limits.iter().position(|other| other.name == limit.name) {
                Some(at) => self.carry(&states[at], (&old, &old.limits[at]), (&new, limit), now),
                None => self.fresh_limit(&new, limit, now),
            })
            .collect();
        self.generation = generation;
        let ResourceState { availability, leased, .. } = self;
        let live = || leased.iter().filter_map(|(id, ())| permits.live(*id, now.cluster));
        availability.redefine(&old, &new, || live().map(|permit| permit.key.clone()).collect());
    }

    /// The definition, what is counted, ordered and coalesced, but not whom it was granted to.
    pub(crate) fn without_permits(&self) -> ResourceState {
        ResourceState {
            definition: self.definition.clone(),
            generation: self.generation,
            limits: self.limits.clone(),
            leased: CowMap::default(),
            settleable: CowMap::default(),
            ids_given: self.ids_given,
            availability: self.availability.clone(),
            coalesced: self.coalesced.clone(),
        }
    }

    pub(crate) fn stored(&self, now: ClusterTime) -> StoredResource {
        self.availability.describe(Resource::clone(&self.definition), self.generation, now)
    }

    pub(crate) fn terms(&self, limit: usize) -> Terms<'_> {
        terms_of(&self.definition, &self.definition.limits[limit])
    }

    /// Whether each limit has counters of its kind; a snapshot might say otherwise.
    pub(crate) fn is_consistent(&self) -> bool {
        let limits = &self.definition.limits;
        limits.len() == self.limits.len()
            && limits.iter().zip(&self.limits).all(|(limit, state)| {
                matches!(state.counters, Counters::Slots(_)) == limit.kind.concurrency().is_some()
                    && state.shares.iter().all(|share| share.is_consistent(limit))
                    && state
                        .shares
                        .iter()
                        .map(|share| &share.budget)
                        .eq(self.definition.shares_of(limit).map(|(budget, _)| &budget.name))
            })
    }

    /// Where the limit of that id stands now; absent when a change has removed it.
    pub(crate) fn position(&self, id: LimitId) -> Option<usize> {
        self.limits.iter().position(|limit| limit.id == id)
    }

    /// Changes a slot that is held, wherever it is counted.
    pub(crate) fn change_slots(&mut self, hold: &Hold, change: impl Fn(&mut Slots, u32)) {
        let Some(limit) = self.limits.iter_mut().find(|limit| limit.id == hold.limit) else { return };
        if let Counters::Slots(slots) = &mut limit.counters
            && let Some(slots) = slots.get_mut(&hold.scope_value)
        {
            change(slots, hold.index);
        }
        let Some(place) = hold.share else { return };
        let share = limit.shares.iter_mut().find(|share| share.id == place.share);
        if let Some(slots) = share.and_then(|share| share.slots_mut(&hold.scope_value)) {
            change(slots, place.index);
        }
    }

    /// The counter of a limit of the whole resource exists from the beginning, so that a change of the definition finds
    /// what to carry over: a bucket nobody touched is no fuller after its capacity was raised.
    fn fresh_limit(&mut self, resource: &Resource, limit: &Limit, now: Stamp) -> LimitState {
        let id = LimitId(self.next_id());
        let whole = limit.scope == Scope::Resource;
        let counters = match limit.kind {
            LimitKind::Concurrency(_) => Counters::Slots(Scoped::with(whole.then(Slots::default))),
            _ => Counters::Rate(Scoped::with(
                whole.then(|| RateCounter::fresh(terms_of(resource, limit), now)),
            )),
        };
        let of = whole_of(resource, limit, &counters);
        let shares = resource.shares_of(limit);
        let shares = shares
            .map(|(budget, share)| Share::fresh(ShareId(self.next_id()), budget, share, &of, now))
            .collect();
        LimitState { id, counters, shares, by_consumer: ByConsumer::default() }
    }

    /// The same use under other terms, and of budgets that keep their name.
    fn carry(
        &mut self,
        state: &LimitState,
        old: (&Resource, &Limit),
        new: (&Resource, &Limit),
        now: Stamp,
    ) -> LimitState {
        let counters = carry(&state.counters, terms_of(old.0, old.1), terms_of(new.0, new.1), now);
        let (from, to) = (whole_of(old.0, old.1, &state.counters), whole_of(new.0, new.1, &counters));
        let mut shares = Vec::new();
        for (budget, share) in new.0.shares_of(new.1) {
            shares.push(match state.shares.iter().find(|other| other.budget == budget.name) {
                Some(other) => other.carry(share, &from, &to, now),
                None => Share::fresh(ShareId(self.next_id()), budget, share, &to, now),
            });
        }
        let by_consumer = match new.0.budgets.is_empty() {
            true => ByConsumer::default(),
            false => {
                let before = old.1.kind.with_capacity_of(&new.1.kind);
                from.carry(&state.by_consumer, &before, &to, &new.1.kind, now)
            }
        };
        LimitState { id: state.id, counters, shares, by_consumer }
    }

    fn next_id(&mut self) -> u64 {
        self.ids_given += 1;
        self.ids_given
    }
}

fn whole_of<'a>(resource: &Resource, limit: &'a Limit, counters: &'a Counters) -> Whole<'a> {
    Whole { limit, dispatch_tolerance: resource.dispatch_tolerance, counters }
}

pub(crate) fn terms_of<'a>(resource: &Resource, limit: &'a Limit) -> Terms<'a> {
    Terms { kind: &limit.kind, dispatch_tolerance: resource.dispatch_tolerance }
}

fn carry(counters: &Counters, old: Terms, new: Terms, now: Stamp) -> Counters {
    if old.kind == new.kind && old.dispatch_tolerance == new.dispatch_tolerance {
        return counters.clone();
    }
    match (counters, new.kind.concurrency()) {
        (Counters::Slots(counters), Some(concurrency)) => Counters::Slots(counters.map_each(|_, slots| {
            let mut slots = slots.clone();
            slots.carry(concurrency, now.cluster);
            slots
        })),
        (Counters::Rate(counters), _) => {
            Counters::Rate(counters.map_each(|_, counter| counter.carry(old, new, now)))
        }
        (slots, None) => slots.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Description, Queueing, ResourceName, Span};

    #[test]
    fn a_state_from_before_there_were_orders_is_read() {
        let definition = Resource {
            name: ResourceName::new("acme").unwrap(),
            limits: vec![],
            keys: vec![],
            dispatch_tolerance: Span::ZERO,
            settle_within: Span::ZERO,
            description: Description::default(),
            budgets: vec![],
            queueing: Queueing::default(),
        };
        let state = ResourceState::new(definition, 1, Stamp::default());
        let mut bytes = minicbor::to_vec(&state).unwrap();
        // An array of seven, the last of which is an array of nothing and of no keys.
        assert_eq!((bytes[0], &bytes[bytes.len() - 3..]), (0x87, &[0x82, 0xf6, 0xa0][..]));
        bytes[0] = 0x86;
        bytes.truncate(bytes.len() - 3);
        assert_eq!(minicbor::decode::<ResourceState>(&bytes).unwrap(), state);
    }

    #[test]
    fn a_limit_and_permits_from_before_there_were_budgets_are_read() {
        let (id, value) = (LimitId(1), crate::model::Label::default());
        let counters = Counters::Slots(Scoped::with(Some(Slots::default())));
        let limit: LimitState = minicbor::decode(&minicbor::to_vec((id, &counters)).unwrap()).unwrap();
        let expected = LimitState { id, counters, shares: vec![], by_consumer: ByConsumer::default() };
        assert_eq!(limit, expected);

        let kept_for = Span::from_secs(1);
        let hold = minicbor::to_vec((id, &value, 7u32, kept_for)).unwrap();
        let expected = Hold { limit: id, scope_value: value, index: 7, kept_for, share: None };
        assert_eq!(minicbor::decode::<Hold>(&hold).unwrap(), expected);
    }
}
