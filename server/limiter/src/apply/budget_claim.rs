//! When budgets let a demand pass: by its own budget's ceiling, and by the reserves. See `budget.rs` for the rule.

use super::{budget::Standing, request::Demand};
use crate::{
    counter::{RateCounter, Terms, following, parts_per_unit, share_parts},
    model::{Budget, Concurrency, LimitKind, Resource, Span, Stamp, WallTime},
    state::{Counters, LimitState, ResourceState, Share},
};

const NEVER: Span = Span::MAX;

/// Chances that are looked at: hours that begin and end, windows that pass. Beyond them the answer is early, never late.
const ROUNDS_MAX: usize = 64;

/// A demand on one counter of a limit, with what budgets have of it.
pub(super) struct Claim<'a> {
    resource: &'a Resource,
    limit: &'a LimitState,
    terms: Terms<'a>,
    demand: &'a Demand,
    own: Option<&'a Share>,
}

impl<'a> Claim<'a> {
    pub(super) fn new(standing: &Standing<'a>, state: &'a ResourceState, demand: &'a Demand) -> Claim<'a> {
        let limit = &state.limits[demand.limit];
        let own = standing.own.and_then(|own| limit.shares.iter().find(|share| share.budget == own.name));
        Claim { resource: standing.resource, limit, terms: state.terms(demand.limit), demand, own }
    }

    /// Whether its own budget has a share.
    pub(super) fn has_share(&self) -> bool {
        self.own.is_some()
    }

    /// How long until its own budget's reserve covers it; `None`: never.
    pub(super) fn covered_in(&self, at: Stamp) -> Option<Span> {
        match self.is_covered(at) {
            true => Some(Span::ZERO),
            false => Some(self.own_reserve_wait(at)).filter(|wait| *wait < NEVER),
        }
    }

    /// Whether what is left of its own budget's reserve covers it.
    fn is_covered(&self, at: Stamp) -> bool {
        self.own.is_some_and(|share| self.left(share, share.reserve.as_ref(), at) >= self.wanted())
    }

    /// How long until it fits under the own ceiling.
    pub(super) fn ceiling_wait(&self, at: Stamp) -> Span {
        let Some(share) = self.own else { return Span::ZERO };
        match &share.used {
            Counters::Slots(_) => self.slots_wait(share, &share.ceiling, at),
            Counters::Rate(used) => {
                let terms = self.of(&share.ceiling);
                let counter = following(used.get(&self.demand.scope_value), self.whole(), terms, at);
                until(counter.earliest(terms, self.demand.amount, at), at)
            }
        }
    }

    /// How long until the own reserve covers it, or the others' reserves leave it.
    pub(super) fn reserve_wait(&self, at: Stamp) -> Span {
        if self.others().next().is_none() {
            return Span::ZERO;
        }
        let mut after = Span::ZERO;
        for _ in 0..ROUNDS_MAX {
            let then = at.after(after);
            if self.passes(then) {
                break;
            }
            after = after + self.next_chance(then);
        }
        after
    }

    /// How long until it may pass that does not pass now: nothing changes for the better before.
    fn next_chance(&self, at: Stamp) -> Span {
        let own = self.own_reserve_wait(at).min(self.reserves_change_in(at));
        let wait = match self.terms.kind {
            LimitKind::TokenBucket(_) => self.refilled_in(at, own),
            _ => self.room_in(at).min(own),
        };
        wait.max(Span(1))
    }

    /// How long until the bucket has room beside the others' reserves, or `own` if that is less.
    ///
    /// Until the bucket is full, what it gains is no less than what all reserves gain; so once it has room it keeps it, and
    /// the first such moment is found by bisection. After that nothing but their own reserves can get better.
    fn refilled_in(&self, at: Stamp, own: Span) -> Span {
        let full_in = self.whole().map_or(Span::ZERO, |whole| whole.fresh_in(self.terms, at));
        let (mut before, mut after) = (0, own.0.min(full_in.0));
        if !self.passes(at.after(Span(after))) {
            return own;
        }
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            match self.passes(at.after(Span(middle))) {
                true => after = middle,
                false => before = middle,
            }
        }
        Span(after)
    }

    /// How long until a window, or slots, have room beside what is left of the others' reserves now. It only becomes more,
    /// unless hours begin or end.
    fn room_in(&self, at: Stamp) -> Span {
        let kept = u64::try_from(self.kept_for_others(at)).unwrap_or(u64::MAX);
        let wanted = self.demand.amount.saturating_add(kept);
        match (&self.limit.counters, self.terms.kind) {
            (Counters::Rate(_), _) => match self.whole() {
                Some(whole) => until(whole.earliest(self.terms, wanted, at), at),
                None => NEVER,
            },
            (Counters::Slots(slots), LimitKind::Concurrency(concurrency)) => {
                let kept = u32::try_from(kept).unwrap_or(u32::MAX);
                let beside = Concurrency { slots: concurrency.slots.saturating_sub(kept), ..*concurrency };
                let slots = slots.get(&self.demand.scope_value);
                let earliest = slots.and_then(|slots| slots.earliest(&beside, at.cluster));
                earliest.map_or(NEVER, |earliest| earliest.since(at.cluster))
            }
            (Counters::Slots(_), _) => NEVER,
        }
    }

    /// How long until the own reserve covers the whole amount.
    fn own_reserve_wait(&self, at: Stamp) -> Span {
        let Some((share, reserve)) = self.own.and_then(|share| Some((share, share.reserve.as_ref()?))) else {
            return NEVER;
        };
        match &share.used {
            Counters::Slots(_) => self.slots_wait(share, reserve, at),
            Counters::Rate(_) => {
                let terms = self.of(reserve);
                let counter = following(share.covered.get(&self.demand.scope_value), self.whole(), terms, at);
                until(counter.earliest(terms, self.demand.amount, at), at)
            }
        }
    }

    fn slots_wait(&self, share: &Share, terms: &LimitKind, at: Stamp) -> Span {
        let Some(concurrency) = terms.concurrency() else { return NEVER };
        match share.slots(&self.demand.scope_value) {
            Some(slots) => {
                slots.earliest(concurrency, at.cluster).map_or(NEVER, |earliest| earliest.since(at.cluster))
            }
            None => Span::ZERO,
        }
    }

    /// How long until the hours of a budget with a reserve begin or end, so that it is kept or no longer kept.
    fn reserves_change_in(&self, at: Stamp) -> Span {
        let schedules = self.others().filter_map(|(share, _)| self.budget(share)?.schedule.as_ref());
        let changes = schedules.filter_map(|schedule| schedule.next_change(at.wall));
        let wait = |change: WallTime| Span(change.0.saturating_sub(at.wall.0).cast_unsigned());
        changes.map(wait).min().unwrap_or(NEVER)
    }

    /// Rule 2. That all reserves are kept is tried first: hours cost more to look up.
    fn passes(&self, at: Stamp) -> bool {
        if self.is_covered(at) {
            return true;
        }
        let room = self.whole_left(at) - self.wanted();
        let reserved: i128 = self.others().map(|(share, reserve)| self.left(share, Some(reserve), at)).sum();
        room >= reserved || room >= 0 && room >= self.kept_for_others(at)
    }

    /// What is left of the reserves of others, in parts, without those that do not hold others back at this hour.
    fn kept_for_others(&self, at: Stamp) -> i128 {
        let lefts = self.others().map(|(share, reserve)| (share, self.left(share, Some(reserve), at)));
        lefts.filter(|(share, left)| *left > 0 && self.is_kept(share, at)).map(|(_, left)| left).sum()
    }

    fn is_kept(&self, share: &Share, at: Stamp) -> bool {
        let Some(schedule) = self.budget(share).and_then(|budget| budget.schedule.as_ref()) else {
            return true;
        };
        schedule.is_open(at.wall)
            || self
                .window_ends(at)
                .is_some_and(|ends| schedule.next_change(at.wall).is_some_and(|opens| opens < ends))
    }

    fn window_ends(&self, at: Stamp) -> Option<WallTime> {
        match (self.whole(), &self.limit.counters) {
            (Some(whole), _) => whole.counts_until(self.terms, at),
            (None, Counters::Rate(_)) => RateCounter::fresh(self.terms, at).counts_until(self.terms, at),
            (None, Counters::Slots(_)) => None,
        }
    }

    /// What is left of a reserve, in parts: at least 0.
    fn left(&self, share: &Share, reserve: Option<&LimitKind>, at: Stamp) -> i128 {
        let Some(reserve) = reserve else { return 0 };
        let left = match reserve.concurrency() {
            Some(concurrency) => match share.slots(&self.demand.scope_value) {
                Some(slots) => i128::from(slots.available(concurrency, at.cluster)),
                None => i128::from(concurrency.slots),
            },
            None => {
                let terms = self.of(reserve);
                let counter = share.covered.get(&self.demand.scope_value);
                following(counter, self.whole(), terms, at).parts_left(terms, at)
            }
        };
        left.max(0)
    }

    /// What is left of the limit, in parts of its shares.
    fn whole_left(&self, at: Stamp) -> i128 {
        match (&self.limit.counters, self.terms.kind.concurrency()) {
            (Counters::Slots(slots), Some(concurrency)) => match slots.get(&self.demand.scope_value) {
                Some(slots) => i128::from(slots.available(concurrency, at.cluster)),
                None => i128::from(concurrency.slots),
            },
            _ => {
                let left = match self.whole() {
                    Some(whole) => whole.parts_left(self.terms, at),
                    None => RateCounter::fresh(self.terms, at).parts_left(self.terms, at),
                };
                left * share_parts(self.terms.kind)
            }
        }
    }

    /// What is demanded, in parts of the limit's shares.
    fn wanted(&self) -> i128 {
        i128::from(self.demand.amount) * parts_per_unit(self.terms.kind) * share_parts(self.terms.kind)
    }

    /// The shares of other budgets that have something set aside.
    fn others(&self) -> impl Iterator<Item = (&'a Share, &'a LimitKind)> {
        let own = self.own.map(|share| share.id);
        let others = self.limit.shares.iter().filter(move |share| Some(share.id) != own);
        others.filter_map(|share| Some((share, share.reserve.as_ref()?)))
    }

    fn budget(&self, share: &Share) -> Option<&'a Budget> {
        self.resource.budgets.iter().find(|budget| budget.name == share.budget)
    }

    fn whole(&self) -> Option<&'a RateCounter> {
        match &self.limit.counters {
            Counters::Rate(counters) => counters.get(&self.demand.scope_value),
            Counters::Slots(_) => None,
        }
    }

    /// The terms of a share.
    fn of<'k>(&self, kind: &'k LimitKind) -> Terms<'k> {
        Terms { kind, dispatch_tolerance: self.terms.dispatch_tolerance }
    }
}

fn until(earliest: Option<Stamp>, at: Stamp) -> Span {
    earliest.map_or(NEVER, |earliest| earliest.cluster.since(at.cluster))
}
