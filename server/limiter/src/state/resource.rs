//! A resource with the state of its limits.

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use super::{
    Availability, ByConsumer, Coalesced, Conditions, CowMap, Gate, Hold, Permits, Rare, Scoped, Share,
    ShareId, Shared, Told, Whole,
};
use crate::{
    counter::{RateCounter, Slots, Terms},
    model::{
        ClusterTime, Label, Limit, LimitKind, PermitId, Resource, Scope, Stamp, StoredResource,
        TightenedLimit, VendorStatus,
    },
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
    #[cbor(n(2), with = "crate::model::inline")]
    pub limits: SmallVec<[LimitState; 1]>,
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
    pub availability: Rare<Availability>,
    /// Calls that are made for many, and their results; they survive a change of the definition.
    #[cbor(n(10), skip_if = "Coalesced::is_empty")]
    pub coalesced: Rare<Coalesced>,
    /// How the vendor is doing.
    #[cbor(n(11), default)]
    pub conditions: Conditions,
    /// As its owner defined it, where `definition`, which is in force, is tightened.
    #[n(12)]
    pub as_defined: Option<Shared<Resource>>,
    /// The last permit that was granted before an operator defined or resumed it last: what the vendor said of its limits to the
    /// calls until then is known, or was about others.
    #[cbor(n(13), default)]
    pub spoken_after: u64,
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
    pub by_consumer: Rare<ByConsumer>,
    /// What the vendor told of it.
    #[cbor(n(4), default)]
    pub told: Rare<Told>,
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
            limits: SmallVec::new(),
            leased: CowMap::default(),
            settleable: CowMap::default(),
            ids_given: 0,
            availability: Rare::default(),
            coalesced: Rare::default(),
            conditions: Conditions::default(),
            as_defined: None,
            spoken_after: 0,
        };
        let definition = state.definition.clone();
        state.limits =
            definition.limits.iter().map(|limit| state.fresh_limit(&definition, limit, now)).collect();
        state
    }

    /// The definition of its owner.
    pub(crate) fn defined(&self) -> &Resource {
        self.as_defined.as_ref().unwrap_or(&self.definition)
    }

    /// Replaces the definition. The state of a limit that keeps its name is carried over, never refilled; the caller has
    /// checked that it keeps its kind. A limit that its owner leaves as it is stays tightened. Takes time in proportion to the
    /// counters of the limits that change, and where a disabled key goes to the leases.
    pub(crate) fn redefine(&mut self, definition: Resource, generation: u64, permits: &Permits, now: Stamp) {
        let (old, mut in_force) = (Shared::new(self.defined().clone()), definition.clone());
        let tightened =
            old.limits.iter().zip(&self.definition.limits).filter(|(old, now)| old.kind != now.kind);
        for (before, tightened) in tightened {
            let same = |limit: &&mut Limit| limit.name == before.name && limit.kind == before.kind;
            if let Some(limit) = in_force.limits.iter_mut().find(same) {
                limit.kind = tightened.kind.clone();
            }
        }
        self.as_defined = (in_force != definition).then(|| Shared::new(definition));
        self.put_in_force(in_force, now);
        self.generation = generation;
        let new = Shared::new(self.defined().clone());
        for (limit, state) in new.limits.iter().zip(&mut self.limits) {
            let is_same = |old: &Limit| old.name == limit.name && old.kind == limit.kind;
            if !old.limits.iter().any(is_same)
                && let Some(told) = state.told.get_mut()
            {
                told.forget_amount();
            }
        }
        self.conditions.redefine(&old, &new);
        let ResourceState { availability, leased, .. } = self;
        let live = || leased.iter().filter_map(|(id, ())| permits.live(*id, now.cluster));
        if let Some(availability) = availability.get_mut() {
            availability.redefine(&old, &new, || live().map(|permit| permit.key.clone()).collect());
        }
    }

    /// Grants less of a limit than is defined.
    pub(crate) fn tighten(&mut self, limit: usize, kind: LimitKind, now: Stamp) {
        let mut in_force = Resource::clone(&self.definition);
        in_force.limits[limit].kind = kind;
        self.as_defined.get_or_insert_with(|| self.definition.clone());
        self.put_in_force(in_force, now);
    }

    /// Grants what is defined again, and forgets what the vendor told. `newest` is the last permit that was granted.
    pub(crate) fn loosen(&mut self, newest: PermitId, now: Stamp) {
        self.spoken_after = newest.0;
        if let Some(defined) = self.as_defined.take() {
            self.put_in_force(Resource::clone(&defined), now);
        }
        self.limits.iter_mut().for_each(|limit| limit.told = Rare::default());
    }

    /// Forgets what the vendor told of a key. `newest` is the last permit that was granted.
    pub(crate) fn forget_told(&mut self, key: &Label, newest: PermitId, now: ClusterTime) {
        let limits = self.definition.limits.iter().zip(&mut self.limits);
        let by_key = limits.filter(|(limit, _)| limit.scope == Scope::Key);
        by_key.for_each(|(_, state)| state.told.forget(key, newest, now));
    }

    fn put_in_force(&mut self, definition: Resource, now: Stamp) {
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
    }

    /// The limits of which less is in force than is defined, or of which the vendor says something else.
    fn tightened(&self, now: ClusterTime) -> Vec<TightenedLimit> {
        let in_force = self.definition.limits.iter().zip(&self.limits);
        let both = self.defined().limits.iter().zip(in_force);
        both.filter_map(|(limit, (in_force, state))| {
            let (defined, told) = (limit.kind.amount_per_period(), state.told.amount(now));
            let differs = limit.kind != in_force.kind || told.is_some_and(|told| told.amount != defined);
            let amount = in_force.kind.amount_per_period();
            differs.then(|| TightenedLimit { limit: limit.name.clone(), defined, amount, told })
        })
        .collect()
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
            conditions: self.conditions.clone(),
            as_defined: self.as_defined.clone(),
            spoken_after: self.spoken_after,
        }
    }

    pub(crate) fn stored(&self, now: ClusterTime) -> StoredResource {
        let ordered = self.availability.describe(self.defined().clone(), self.generation, now);
        let conditions = self.conditions.describe(&self.definition, now);
        let vendor = Box::new(VendorStatus { conditions, tightened: self.tightened(now) });
        StoredResource { vendor, ..ordered }
    }

    /// What stands before the key (empty: of a resource without keys): orders, and how the vendor is doing. Of all that stands
    /// there, what ends last; and orders before the rest.
    pub(crate) fn gate(&self, key: &Label, now: ClusterTime) -> Gate {
        let ordered = self.availability.gate(key, now);
        let Some(obstruction) = self.conditions.before(&self.definition, key, now) else { return ordered };
        match &ordered {
            Gate::Shut { opens_in, .. }
                if opens_in.is_none_or(|opens_in| opens_in >= obstruction.opens_in) =>
            {
                ordered
            }
            _ => Gate::Shut { reason: obstruction.reason, opens_in: Some(obstruction.opens_in) },
        }
    }

    pub(crate) fn terms(&self, limit: usize) -> Terms<'_> {
        terms_of(&self.definition, &self.definition.limits[limit])
    }

    /// Whether each limit has counters of its kind; a snapshot might say otherwise.
    pub(crate) fn is_consistent(&self) -> bool {
        let limits = &self.definition.limits;
        let is_same = |defined: &Resource| {
            let of = |limit: &Limit| (limit.name.clone(), limit.kind.field(), limit.scope);
            defined.name == self.definition.name && defined.limits.iter().map(of).eq(limits.iter().map(of))
        };
        limits.len() == self.limits.len()
            && self.as_defined.as_ref().is_none_or(|defined| is_same(defined))
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
        LimitState { id, counters, shares, by_consumer: Rare::default(), told: Rare::default() }
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
            true => Rare::default(),
            false => {
                let before = old.1.kind.with_capacity_of(&new.1.kind);
                Rare::new(from.carry(&state.by_consumer, &before, &to, &new.1.kind, now))
            }
        };
        LimitState { id: state.id, counters, shares, by_consumer, told: state.told.clone() }
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
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{CoalesceKey, Description, Queueing, ResourceName, Span};

    pub(in crate::state) fn unlimited(name: ResourceName) -> ResourceState {
        let definition = Resource {
            name,
            limits: vec![],
            keys: vec![],
            dispatch_tolerance: Span::ZERO,
            settle_within: Span::ZERO,
            description: Description::default(),
            budgets: vec![],
            queueing: Queueing::default(),
            circuit_breaker: None,
            feedback: Box::default(),
            operation_costs: Vec::new(),
        };
        ResourceState::new(definition, 1, Stamp::default())
    }

    #[test]
    fn a_state_from_before_there_were_orders_is_read() {
        let state = unlimited(ResourceName::new("acme").unwrap());
        let ResourceState { definition, generation, limits, leased, settleable, ids_given, .. } = &state;
        let before = (definition, generation, limits.as_slice(), leased, settleable, ids_given);
        let bytes = minicbor::to_vec(before).unwrap();
        assert_eq!(minicbor::decode::<ResourceState>(&bytes).unwrap(), state);
    }

    #[test]
    fn a_state_from_before_vendors_were_heeded_is_read() {
        let mut state = unlimited(ResourceName::new("acme").unwrap());
        state.coalesced.begin(CoalesceKey::new("k").unwrap(), PermitId(1), ClusterTime(5));
        let ResourceState { definition, generation, limits, leased, settleable, ids_given, .. } = &state;
        let counted = (definition, generation, limits.as_slice(), leased, settleable, ids_given);
        // Three numbers were left out then.
        let ordered = (&state.availability, (), (), (), &state.coalesced);
        let mut bytes = minicbor::to_vec(counted).unwrap();
        assert_eq!(bytes[0], 0x86, "an array of six");
        bytes[0] = 0x8b;
        bytes.extend_from_slice(&minicbor::to_vec(ordered).unwrap()[1..]);
        assert_eq!(minicbor::decode::<ResourceState>(&bytes).unwrap(), state);
    }

    #[test]
    fn a_limit_and_permits_from_before_there_were_budgets_are_read() {
        let (id, value) = (LimitId(1), Label::default());
        let counters = Counters::Slots(Scoped::with(Some(Slots::default())));
        let limit: LimitState = minicbor::decode(&minicbor::to_vec((id, &counters)).unwrap()).unwrap();
        let (by_consumer, told) = (Rare::<ByConsumer>::default(), Rare::<Told>::default());
        let before = minicbor::to_vec([BTreeMap::<Label, ()>::new()]).unwrap();
        assert_eq!(minicbor::decode::<Rare<Told>>(&before).unwrap(), told, "before amounts were remembered");
        let expected = LimitState { id, counters, shares: vec![], by_consumer, told };
        assert_eq!(limit, expected);

        let kept_for = Span::from_secs(1);
        let hold = minicbor::to_vec((id, &value, 7u32, kept_for)).unwrap();
        let expected = Hold { limit: id, scope_value: value, index: 7, kept_for, share: None };
        assert_eq!(minicbor::decode::<Hold>(&hold).unwrap(), expected);
    }
}
