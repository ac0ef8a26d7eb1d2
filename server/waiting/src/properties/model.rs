//! The rules for one limit, as a plain list that is searched in full each time.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::*;

use super::world::Caller;
use crate::Moment;

/// What a unit costs, as in the queue: else ties would differ.
const UNIT: u128 = 1 << 32;

pub(super) struct Model {
    limit: Limit,
    budgets: Vec<Budget>,
    ageing: Span,
    listed: Vec<Listed>,
    /// By priority and consumer: the virtual time at which its next request begins.
    tags: BTreeMap<(Priority, Label), u128>,
    times: BTreeMap<Priority, u128>,
    passes: u64,
}

#[derive(Clone)]
struct Listed {
    caller: Caller,
    acquire: Acquire,
    /// Smaller is older.
    arrival: (i64, Caller),
    /// It was looked at, and stands in line.
    stands: bool,
    /// Since it aged: permits that passed, and who was older at that.
    passed_by: u64,
    older: BTreeSet<Caller>,
}

impl Model {
    pub fn new(resource: &Resource) -> Model {
        let (listed, tags, times) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Model {
            limit: resource.limits[0].clone(),
            budgets: resource.budgets.clone(),
            ageing: resource.queueing.ageing,
            listed,
            tags,
            times,
            passes: 0,
        }
    }

    pub fn enter(&mut self, caller: Caller, acquire: &Acquire, now: Moment, waited_for: Span) {
        let arrival = (now.monotonic.0 as i64 - waited_for.0 as i64, caller);
        let (acquire, older) = (acquire.clone(), BTreeSet::new());
        self.listed.push(Listed { caller, acquire, arrival, stands: false, passed_by: 0, older });
    }

    pub fn leave(&mut self, caller: Caller) {
        self.listed.retain(|listed| listed.caller != caller);
        if self.listed.is_empty() {
            (self.tags, self.times, self.passes) = (BTreeMap::new(), BTreeMap::new(), 0);
        }
    }

    /// Who goes now, in order.
    pub fn take_turns(&mut self, limiter: &Limiter, now: Moment) -> Vec<Caller> {
        let (mut limiter, mut gone) = (limiter.clone(), Vec::new());
        loop {
            // One that comes looks whether it is to go before the next one in the line.
            let comer = self.listed.iter().find(|listed| !listed.stands).cloned();
            let next = self.next(now);
            let looked_at = match (comer, next) {
                (Some(comer), Some(next)) if self.stands_behind(&comer, &next, now) => {
                    self.stand(&comer);
                    continue;
                }
                (Some(comer), _) => comer,
                (None, Some(next)) => next,
                (None, None) => return gone,
            };
            let mut answers = Vec::new();
            limiter.apply(now.stamp, &[Command::from(looked_at.acquire.clone())], &mut answers);
            match answers[0] {
                Ok(Outcome::Granted(_)) => {
                    self.pass(&looked_at, now);
                    self.leave(looked_at.caller);
                    gone.push(looked_at.caller);
                }
                _ if looked_at.stands => return gone,
                _ => self.stand(&looked_at),
            }
        }
    }

    /// The queue must want to be woken when what holds the next one frees.
    pub fn check_wake(&self, limiter: &Limiter, now: Moment, wake: Option<Span>) {
        let Some(next) = self.next(now) else { return };
        if let Some(Ok(Outcome::Denied(denial))) = limiter.refusal(now.stamp, &next.acquire) {
            let frees_at = now.monotonic + denial.retry_after.unwrap();
            assert!(wake.is_some_and(|wake| wake <= frees_at), "woken at {wake:?}, it frees at {frees_at}");
        }
    }

    fn next(&self, now: Moment) -> Option<Listed> {
        let standing = || self.listed.iter().filter(|listed| listed.stands);
        let oldest = standing().min_by_key(|listed| listed.arrival)?;
        if self.passes >= 3 && self.has_aged(oldest, now) {
            return Some(oldest.clone());
        }
        standing().min_by_key(|listed| self.rank(listed)).cloned()
    }

    /// The smaller first. Of one consumer the oldest counts, so a tag never separates its requests.
    fn rank(&self, listed: &Listed) -> (std::cmp::Reverse<Priority>, u128, (i64, Caller)) {
        (std::cmp::Reverse(listed.acquire.priority), self.tag(listed), listed.arrival)
    }

    fn stands_behind(&self, comer: &Listed, next: &Listed, now: Moment) -> bool {
        // It lines up with its own consumer's requests in any case, and is looked at when it is the first of them.
        if self.listed.iter().any(|listed| listed.stands && is_same_share(listed, comer)) {
            return true;
        }
        match self.passes >= 3 && self.has_aged(next, now) && self.is_oldest(next) {
            true => next.arrival < comer.arrival,
            false => self.rank(next) < self.rank(comer),
        }
    }

    fn stand(&mut self, comer: &Listed) {
        let tag = self.tag(comer);
        self.tags.insert(share(comer), tag);
        self.listed
            .iter_mut()
            .filter(|listed| listed.caller == comer.caller)
            .for_each(|listed| listed.stands = true);
    }

    fn tag(&self, listed: &Listed) -> u128 {
        let own = self.tags.get(&share(listed)).copied().unwrap_or(0);
        if self.listed.iter().any(|other| other.stands && is_same_share(other, listed)) {
            return own;
        }
        let time = self.times.get(&listed.acquire.priority).copied().unwrap_or(0);
        own.max(time).max(self.first_tag(listed.acquire.priority).unwrap_or(0))
    }

    fn first_tag(&self, priority: Priority) -> Option<u128> {
        let standing = self.listed.iter().filter(|other| other.stands && other.acquire.priority == priority);
        standing.map(|other| self.tags[&share(other)]).min()
    }

    fn pass(&mut self, goer: &Listed, now: Moment) {
        let (start, priority) = (self.tag(goer), goer.acquire.priority);
        let next = self.first_tag(priority).map_or(start, |first| first.min(start));
        let time = self.times.entry(priority).or_default();
        *time = next.max(*time);
        let amount = self.limit.weight(goer.acquire.cost, &goer.acquire.amounts);
        let consumer = &goer.acquire.consumer;
        let budget = self.budgets.iter().find(|budget| budget.consumers.contains(consumer));
        let weight = budget.map_or(1, |budget| budget.weight);
        self.tags.insert(share(goer), start + u128::from(amount) * UNIT / u128::from(weight));
        self.passes = match self.is_oldest(goer) && self.has_aged(goer, now) {
            true => 0,
            false => self.passes + 1,
        };
        self.check_ageing(goer, now);
    }

    /// With k older ones, an aged waiter has its permit within 4·(k + 1).
    fn check_ageing(&mut self, goer: &Listed, now: Moment) {
        let all: Vec<_> = self.listed.iter().map(|listed| (listed.caller, listed.arrival)).collect();
        let aged: Vec<_> = self.listed.iter().map(|listed| self.has_aged(listed, now)).collect();
        for (listed, _) in self.listed.iter_mut().zip(aged).filter(|(listed, aged)| *aged && listed.stands) {
            listed.older.extend(
                all.iter().filter(|(_, arrival)| *arrival < listed.arrival).map(|(caller, _)| *caller),
            );
            listed.passed_by += 1;
            let bound = 4 * (listed.older.len() as u64 + 1);
            let is_within =
                listed.passed_by < bound || listed.caller == goer.caller && listed.passed_by == bound;
            assert!(is_within, "{} of {bound} permits passed an aged waiter by", listed.passed_by);
        }
    }

    fn is_oldest(&self, listed: &Listed) -> bool {
        self.listed.iter().filter(|other| other.stands).all(|other| listed.arrival <= other.arrival)
    }

    fn has_aged(&self, listed: &Listed, now: Moment) -> bool {
        listed.arrival.0 <= now.monotonic.0 as i64 - self.ageing.0 as i64
    }
}

fn share(listed: &Listed) -> (Priority, Label) {
    (listed.acquire.priority, listed.acquire.consumer.clone())
}

fn is_same_share(one: &Listed, other: &Listed) -> bool {
    share(one) == share(other)
}
