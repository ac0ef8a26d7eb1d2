//! What a grant debits of budgets, and what becomes of it when the permit ends.

use super::{budget::Standing, request::Demand};
use crate::{
    counter::{Debit, RateCounter, Terms, parts_per_unit, share_parts},
    model::{ClusterTime, Label, PermitId, Scope, Stamp},
    state::{
        BudgetDebit, ByConsumer, Counters, Debited, LimitState, MAX_CONSUMERS, Scoped, Share, ShareDebit,
        ShareHold,
    },
};

/// What a permit turns out to weigh on a limit.
#[derive(Clone, Copy)]
pub(super) enum Settlement {
    /// The call was never made.
    NotSent,
    /// So much.
    Weighs(u64),
}

/// A limit's own counter, which those of budgets follow.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub terms: Terms<'a>,
    /// Absent when it is idle.
    pub counter: Option<&'a RateCounter>,
}

impl Standing<'_> {
    /// Debits the budget's counters what `whole` was debited just now.
    pub(super) fn debit(
        &self,
        whole: Whole,
        shares: &mut [Share],
        by_consumer: &mut ByConsumer,
        demand: &Demand,
        now: Stamp,
    ) -> BudgetDebit {
        let share = self.share(shares).and_then(|share| share.debit(whole, demand, now));
        let mut key = (demand.scope_value.clone(), self.consumer.clone());
        // Limits that count by consumer know it, and one that counts by subject has too many counters already.
        let scope = self.resource.limits[demand.limit].scope;
        let by_consumer = matches!(scope, Scope::Resource | Scope::Key).then(|| {
            let idle = |counter: &RateCounter| counter.fresh_in(whole.terms, now).is_zero();
            if !by_consumer.admits(&key, MAX_CONSUMERS, idle) {
                key.1 = Label::default();
            }
            let mut debit = None;
            whole.change(by_consumer, &key, whole.terms, now, |counter, terms| {
                debit = Some(counter.debit(terms, demand.amount, now));
            });
            debit
        });
        BudgetDebit { share, consumer: key.1, by_consumer: by_consumer.flatten() }
    }

    /// Holds a slot of the budget's share.
    pub(super) fn hold(
        &self,
        shares: &mut [Share],
        demand: &Demand,
        permit: PermitId,
        now: ClusterTime,
        reclaim_at: ClusterTime,
    ) -> Option<ShareHold> {
        self.share(shares)?.hold(&demand.scope_value, permit, now, reclaim_at)
    }

    fn share<'s>(&self, shares: &'s mut [Share]) -> Option<&'s mut Share> {
        let own = self.own?;
        shares.iter_mut().find(|share| share.budget == own.name)
    }
}

impl Share {
    fn debit(&mut self, whole: Whole, demand: &Demand, now: Stamp) -> Option<ShareDebit> {
        let Counters::Rate(counters) = &mut self.used else { return None };
        let value = &demand.scope_value;
        let (mut used, mut covered) = (None, None);
        whole.change(counters, value, whole.of(&self.ceiling), now, |counter, terms| {
            used = Some(counter.debit(terms, demand.amount, now));
        });
        if let Some(reserve) = &self.reserve {
            whole.change(&mut self.covered, value, whole.of(reserve), now, |counter, terms| {
                covered = counter.cover(terms, demand.amount, now);
            });
        }
        Some(ShareDebit { share: self.id, used: used?, covered })
    }

    /// `given` is what the limit was given back, in parts of its shares; negative: what it was debited beyond.
    fn settle(
        &mut self,
        whole: Whole,
        value: &Label,
        debit: &mut ShareDebit,
        to: Settlement,
        given: i128,
        now: Stamp,
    ) {
        let Counters::Rate(counters) = &mut self.used else { return };
        whole.change(counters, value, whole.of(&self.ceiling), now, |counter, terms| {
            to.settle(counter, terms, &mut debit.used, now);
        });
        let Some(reserve) = &self.reserve else { return };
        whole.change(&mut self.covered, value, whole.of(reserve), now, |counter, terms| {
            if given < 0 {
                let owed = given.unsigned_abs() / parts_per_unit(terms.kind).unsigned_abs();
                counter.cover(terms, u64::try_from(owed).unwrap_or(u64::MAX), now);
            } else if let Some(covered) = &debit.covered {
                counter.uncover(terms, covered, to.amount(), given, now);
            }
        });
    }
}

impl Settlement {
    fn amount(self) -> u64 {
        match self {
            Settlement::NotSent => 0,
            Settlement::Weighs(amount) => amount,
        }
    }

    fn settle(self, counter: &mut RateCounter, terms: Terms, debit: &mut Debit, now: Stamp) {
        match self {
            Settlement::NotSent => counter.refund(terms, debit, now),
            Settlement::Weighs(amount) => counter.correct(terms, debit, amount, now),
        }
    }
}

impl LimitState {
    /// Settles what a permit was debited of the limit and of budgets.
    pub(super) fn settle(&mut self, terms: Terms, debited: &mut Debited, to: Settlement, now: Stamp) {
        let LimitState { counters, shares, by_consumer, .. } = self;
        let Counters::Rate(counters) = counters else { return };
        let Debited { scope_value: value, debit, budget, .. } = debited;
        let mut given = 0;
        let alone = Whole { terms, counter: None };
        alone.change(counters, value, terms, now, |counter, terms| {
            let left = |counter: &RateCounter| counter.parts_left(terms, now);
            let before = left(counter);
            to.settle(counter, terms, debit, now);
            given = (left(counter) - before) * share_parts(terms.kind);
        });
        let Some(budget) = budget else { return };
        let whole = Whole { terms, counter: counters.get(value) };
        if let Some(debit) = &mut budget.share
            && let Some(share) = shares.iter_mut().find(|share| share.id == debit.share)
        {
            share.settle(whole, value, debit, to, given, now);
        }
        if let Some(debit) = &mut budget.by_consumer {
            let key = (value.clone(), budget.consumer.clone());
            whole.change(by_consumer, &key, terms, now, |counter, terms| {
                to.settle(counter, terms, debit, now)
            });
        }
    }
}

impl<'a> Whole<'a> {
    /// The terms of a share.
    fn of(&self, kind: &'a crate::model::LimitKind) -> Terms<'a> {
        Terms { kind, ..self.terms }
    }

    /// Changes a rate counter that follows this one. A value that has none, because it was idle, gets one if the change makes
    /// it differ from a fresh one: a debt is not lost, even if the limit counts more values than it admits for as long as it
    /// lasts.
    pub(super) fn change<K: Ord + Clone + Default>(
        &self,
        counters: &mut Scoped<RateCounter, K>,
        key: &K,
        terms: Terms,
        now: Stamp,
        change: impl FnOnce(&mut RateCounter, Terms),
    ) {
        let follow =
            |counter: &mut RateCounter| self.counter.into_iter().for_each(|whole| counter.follow(whole));
        if let Some(counter) = counters.get_mut(key) {
            follow(counter);
            return change(counter, terms);
        }
        let mut counter = RateCounter::fresh(terms, now);
        follow(&mut counter);
        change(&mut counter, terms);
        if !counter.fresh_in(terms, now).is_zero() {
            counters.insert(key.clone(), counter);
        }
    }
}
