//! What budgets have of a limit, beside the limit's own counters.

use std::sync::LazyLock;

use minicbor::{Decode, Encode};

use super::{Blank, Counters, Scoped};
use crate::{
    counter::{Covered, Debit, RateCounter, Slots, Terms},
    model::{
        Budget, BudgetName, BudgetShare, ClusterTime, Label, Limit, LimitKind, PermitId, Resource, Scope,
        Span, Stamp,
    },
};

/// Consumers whose use a limit counts by name at most; the use of others is counted under no name. The public API shows
/// as many.
pub(crate) const MAX_CONSUMERS: u32 = 1_000;

/// What one budget has of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Share {
    #[n(0)]
    pub id: ShareId,
    #[n(1)]
    pub budget: BudgetName,
    /// The limit's terms, scaled to the reserve; absent when there is none.
    #[n(2)]
    pub reserve: Option<LimitKind>,
    /// What the reserve covers of what is used, by the limit's scope value. Stays empty for slots: of them what is held is
    /// compared with the reserve.
    #[n(3)]
    pub covered: Scoped<RateCounter>,
    /// The limit's terms, scaled to the ceiling.
    #[n(4)]
    pub ceiling: LimitKind,
    /// All that is used, by the limit's scope value.
    #[n(5)]
    pub used: Counters,
}

/// Names a share within its resource, for ever, as [`super::LimitId`] names a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct ShareId(#[n(0)] pub u64);

/// The use of a limit by each consumer, by scope value and consumer.
pub(crate) type ByConsumer = Scoped<RateCounter, (Label, Label)>;

impl Blank for ByConsumer {
    fn blank() -> &'static ByConsumer {
        static BLANK: LazyLock<ByConsumer> = LazyLock::new(ByConsumer::default);
        &BLANK
    }
}

/// What a debit of a limit was, in the counters of budgets.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BudgetDebit {
    /// In the share of the consumer's budget, if it has one.
    #[n(0)]
    pub share: Option<ShareDebit>,
    /// In the use of this consumer.
    #[n(1)]
    pub consumer: Label,
    #[n(2)]
    pub by_consumer: Option<Debit>,
}

/// What a debit of a limit was, in a share.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ShareDebit {
    #[n(0)]
    pub share: ShareId,
    #[n(1)]
    pub used: Debit,
    #[n(2)]
    pub covered: Option<Covered>,
}

/// The place of a held slot among those of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ShareHold {
    #[n(0)]
    pub share: ShareId,
    #[n(1)]
    pub index: u32,
}

impl Share {
    /// Unused.
    pub(crate) fn fresh(id: ShareId, budget: &Budget, share: &BudgetShare, of: &Whole, now: Stamp) -> Share {
        let (reserve, ceiling) = of.terms(share);
        let (covered, used) = match of.limit.kind {
            LimitKind::Concurrency(_) => {
                let whole = of.limit.scope == Scope::Resource;
                (Scoped::default(), Counters::Slots(Scoped::with(whole.then(Slots::default))))
            }
            _ => (of.covered(reserve.as_ref(), now), Counters::Rate(of.fresh(&ceiling, now))),
        };
        Share { id, budget: budget.name.clone(), reserve, covered, ceiling, used }
    }

    /// The same use under other terms.
    pub(crate) fn carry(&self, share: &BudgetShare, from: &Whole, to: &Whole, now: Stamp) -> Share {
        let (reserve, ceiling) = to.terms(share);
        let covered = match (&self.reserve, &reserve) {
            (Some(before), Some(after)) => from.carry(&self.covered, before, to, after, now),
            (None, Some(_)) if ceiling.concurrency().is_none() => to.covered(reserve.as_ref(), now),
            _ => Scoped::default(),
        };
        let used = match (&self.used, ceiling.concurrency()) {
            (Counters::Slots(counters), Some(concurrency)) => {
                Counters::Slots(counters.map_each(|_, slots| {
                    let mut slots = slots.clone();
                    slots.carry(concurrency, now.cluster);
                    slots
                }))
            }
            (Counters::Rate(counters), _) => {
                Counters::Rate(from.carry(counters, &self.ceiling, to, &ceiling, now))
            }
            (slots, None) => slots.clone(),
        };
        Share { reserve, covered, ceiling, used, ..self.clone() }
    }

    /// Whether its counters and terms are of the limit's kind; a snapshot might say otherwise.
    pub(crate) fn is_consistent(&self, limit: &Limit) -> bool {
        let kinds = self.reserve.iter().chain([&self.ceiling]);
        kinds.into_iter().all(|kind| kind.field() == limit.kind.field())
            && matches!(self.used, Counters::Slots(_)) == limit.kind.concurrency().is_some()
    }

    /// The slots it has of a concurrency limit.
    pub(crate) fn slots(&self, scope_value: &Label) -> Option<&Slots> {
        match &self.used {
            Counters::Slots(slots) => slots.get(scope_value),
            Counters::Rate(_) => None,
        }
    }

    /// Holds one of its slots, beside the limit's.
    pub(crate) fn hold(
        &mut self,
        scope_value: &Label,
        permit: PermitId,
        now: ClusterTime,
        reclaim_at: ClusterTime,
    ) -> Option<ShareHold> {
        let Counters::Slots(slots) = &mut self.used else { return None };
        let slots = slots.get_or_insert(scope_value, Slots::default);
        slots.reclaim(now);
        let index = slots.hold(self.ceiling.concurrency()?, permit, now, reclaim_at);
        Some(ShareHold { share: self.id, index })
    }

    /// As [`slots`](Self::slots).
    pub(crate) fn slots_mut(&mut self, scope_value: &Label) -> Option<&mut Slots> {
        match &mut self.used {
            Counters::Slots(slots) => slots.get_mut(scope_value),
            Counters::Rate(_) => None,
        }
    }
}

/// The limit that shares are of.
pub(crate) struct Whole<'a> {
    pub limit: &'a Limit,
    pub dispatch_tolerance: Span,
    /// The limit's own counters, which those of its shares follow.
    pub counters: &'a Counters,
}

impl Whole<'_> {
    fn terms(&self, share: &BudgetShare) -> (Option<LimitKind>, LimitKind) {
        let reserve = (share.reserve_percent > 0).then(|| self.limit.kind.share(share.reserve_percent));
        (reserve, self.limit.kind.share(share.ceiling_percent))
    }

    fn covered(&self, reserve: Option<&LimitKind>, now: Stamp) -> Scoped<RateCounter> {
        reserve.map_or_else(Scoped::default, |reserve| self.fresh(reserve, now))
    }

    /// As the limit's own counters, those of a limit of the whole resource exist from the beginning.
    fn fresh(&self, kind: &LimitKind, now: Stamp) -> Scoped<RateCounter> {
        let terms = Terms { kind, dispatch_tolerance: self.dispatch_tolerance };
        let whole = self.limit.scope == Scope::Resource;
        Scoped::with(whole.then(|| RateCounter::fresh(terms, now)))
    }

    /// Counters that follow this limit's, under the terms of what it has become.
    pub(crate) fn carry<K: Ord + Clone + Default + ScopeValue>(
        &self,
        counters: &Scoped<RateCounter, K>,
        old: &LimitKind,
        to: &Whole,
        new: &LimitKind,
        now: Stamp,
    ) -> Scoped<RateCounter, K> {
        let old = Terms { kind: old, dispatch_tolerance: self.dispatch_tolerance };
        let new = Terms { kind: new, dispatch_tolerance: to.dispatch_tolerance };
        if old.kind == new.kind && old.dispatch_tolerance == new.dispatch_tolerance {
            return counters.clone();
        }
        counters.map_each(|key, counter| {
            let mut counter = counter.clone();
            if let Counters::Rate(whole) = self.counters
                && let Some(whole) = whole.get(key.scope_value())
            {
                counter.follow(whole);
            }
            counter.carry(old, new, now)
        })
    }
}

/// What a key says of the limit's scope value.
pub(crate) trait ScopeValue {
    fn scope_value(&self) -> &Label;
}

impl ScopeValue for Label {
    fn scope_value(&self) -> &Label {
        self
    }
}

impl ScopeValue for (Label, Label) {
    fn scope_value(&self) -> &Label {
        &self.0
    }
}

impl Resource {
    /// The budgets that have a share of the limit, each with it, in the resource's order.
    pub(crate) fn shares_of<'a>(
        &'a self,
        limit: &'a Limit,
    ) -> impl Iterator<Item = (&'a Budget, &'a BudgetShare)> {
        self.budgets.iter().filter_map(|budget| {
            budget.shares.iter().find(|share| share.limit == limit.name).map(|share| (budget, share))
        })
    }
}
