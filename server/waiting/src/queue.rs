//! Everybody who waits on this leader.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{
    Answer, ClusterTime, Denial, DenialReason, Freed, Label, Limiter, Line, Outcome, Priority, ResourceName,
    Span,
};

use super::{Bound, ConsumerWaiting, Full, Moment, Turn, Waiter, WaiterId, Waiting};

/// Waiters at a time, over all resources: what a leader can hold in memory.
pub const MAX_WAITERS: usize = 200_000;

/// Who waits, by resource.
#[derive(Debug)]
pub struct WaitingQueue<C> {
    waiters: BTreeMap<WaiterId, Parked<C>>,
    entered: u64,
    wakes: BTreeMap<ResourceName, ClusterTime>,
    now: Moment,
}

#[derive(Debug)]
struct Parked<C> {
    waiter: Waiter<C>,
    entered_at: Span,
}

impl<C> Default for WaitingQueue<C> {
    fn default() -> Self {
        WaitingQueue { waiters: BTreeMap::new(), entered: 0, wakes: BTreeMap::new(), now: Moment::default() }
    }
}

impl<C> WaitingQueue<C> {
    /// Whether anybody waits for the resource.
    pub fn has_waiters(&self, resource: &ResourceName) -> bool {
        self.waiters.values().any(|parked| parked.waiter.acquire.resource == *resource)
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Takes in a request. It has its first chance at the next [`take_turns`](Self::take_turns).
    ///
    /// # Errors
    ///
    /// [`Full`], with the waiter, when as many wait as may. Those without patience are let in all the same.
    pub fn enter(&mut self, waiter: Waiter<C>, limiter: &Limiter, now: Moment) -> Result<WaiterId, Full<C>> {
        self.now = now;
        if let Err(bound) = self.check_bounds(&waiter, limiter) {
            return Err(Full { waiter, bound });
        }
        self.entered += 1;
        let id = WaiterId(self.entered);
        self.touched(&waiter.acquire.resource);
        self.waiters.insert(id, Parked { waiter, entered_at: now.monotonic });
        Ok(id)
    }

    /// Takes a waiter out, who has given up; none if it has left before.
    pub fn leave(&mut self, id: WaiterId) -> Option<Waiter<C>> {
        let waiter = self.waiters.remove(&id)?.waiter;
        self.touched(&waiter.acquire.resource);
        Some(waiter)
    }

    /// Something was given back; ask [`Limiter::freed_by`] before the command is applied, and say it after.
    pub fn freed(&mut self, freed: &Freed) {
        self.touched(&freed.resource);
    }

    /// The resource was created, changed or deleted, or something was ordered about it.
    pub fn touched(&mut self, resource: &ResourceName) {
        self.wakes.insert(resource.clone(), ClusterTime::default());
    }

    /// Whose turn it is now, and whose wait is over: at most `most` go. Of resources that `may_go` says no to, because what
    /// was proposed for them is still to be applied, nobody goes.
    pub fn take_turns(
        &mut self,
        limiter: &Limiter,
        now: Moment,
        may_go: &dyn Fn(&ResourceName) -> bool,
        most: usize,
    ) -> Vec<Turn<C>> {
        self.now = now;
        let mut turns = Vec::new();
        let due = self.wakes.iter().filter(|(resource, at)| **at <= now.stamp.cluster && may_go(resource));
        for resource in due.map(|(resource, _)| resource.clone()).collect::<Vec<_>>() {
            self.wakes.remove(&resource);
            self.take_turns_at(&resource, limiter, most, &mut turns);
        }
        self.end_patience(limiter, &mut turns);
        turns
    }

    /// When to call [`take_turns`](Self::take_turns) at the latest, if nothing happens before: the next capacity that is
    /// known to return, or the end of somebody's patience.
    pub fn next_wake(&self) -> Option<Span> {
        let due = self.wakes.values().min();
        let due = due.map(|due| self.now.monotonic + due.since(self.now.stamp.cluster));
        let patience = self.waiters.values().map(|parked| parked.entered_at + parked.waiter.patience).min();
        due.into_iter().chain(patience).min()
    }

    /// Who waits for the resource.
    pub fn figures(&self, resource: &ResourceName, now: Moment) -> Waiting {
        let mut consumers: BTreeMap<Label, ConsumerWaiting> = BTreeMap::new();
        let waiting = self.waiters.values().filter(|parked| parked.waiter.acquire.resource == *resource);
        for parked in waiting {
            let acquire = &parked.waiter.acquire;
            let consumer = acquire.consumer.clone();
            let (high, medium, low, oldest) = (0, 0, 0, Span::ZERO);
            let none = ConsumerWaiting { consumer: consumer.clone(), high, medium, low, oldest };
            let waiting = consumers.entry(consumer).or_insert(none);
            match acquire.priority {
                Priority::High => waiting.high += 1,
                Priority::Medium => waiting.medium += 1,
                Priority::Low => waiting.low += 1,
            }
            waiting.oldest = waiting.oldest.max(parked.waited(now));
        }
        let consumers: Vec<_> = consumers.into_values().collect();
        Waiting { total: consumers.iter().map(|c| c.high + c.medium + c.low).sum(), consumers }
    }

    /// Everybody, when the leadership is lost.
    pub fn into_waiters(self) -> impl Iterator<Item = Waiter<C>> {
        self.waiters.into_values().map(|parked| parked.waiter)
    }

    fn check_bounds(&self, waiter: &Waiter<C>, limiter: &Limiter) -> Result<(), Bound> {
        if self.waiters.len() >= MAX_WAITERS {
            return Err(Bound::Leader);
        }
        let (resource, consumer) = (&waiter.acquire.resource, &waiter.acquire.consumer);
        let Some((queueing, _)) = limiter.queueing(resource).filter(|_| !waiter.patience.is_zero()) else {
            return Ok(());
        };
        let waiting = self.figures(resource, self.now);
        if waiting.total >= u64::from(queueing.max_waiters) {
            return Err(Bound::Resource { resource: resource.clone(), max: queueing.max_waiters });
        }
        let own = waiting.consumers.iter().find(|waiting| waiting.consumer == *consumer);
        let max = queueing.max_waiters_per_consumer;
        if own.is_some_and(|own| own.high + own.medium + own.low >= u64::from(max)) {
            return Err(Bound::Consumer { resource: resource.clone(), consumer: consumer.clone(), max });
        }
        Ok(())
    }

    fn take_turns_at(
        &mut self,
        resource: &ResourceName,
        limiter: &Limiter,
        most: usize,
        turns: &mut Vec<Turn<C>>,
    ) {
        let now = self.now;
        let Some(mut rehearsal) = limiter.rehearse(resource) else { return };
        let mut held: BTreeSet<Line> = BTreeSet::new();
        for id in self.in_order(resource) {
            if turns.len() >= most {
                return self.touched(resource);
            }
            let Some(parked) = self.waiters.get(&id) else { continue };
            let acquire = &parked.waiter.acquire;
            match rehearsal.prospect(now.stamp, acquire, 0) {
                Err(rejection) => turns.extend(self.done(id, Err(rejection))),
                Ok(Err(denial)) => {
                    let obstacle = rehearsal.obstacle(&denial, acquire);
                    held.insert(obstacle.line);
                    if let Some(frees_in) = obstacle.frees_in {
                        let at = now.stamp.after(frees_in).cluster;
                        let wake = self.wakes.entry(resource.clone()).or_insert(at);
                        *wake = at.min(*wake);
                    }
                }
                Ok(Ok(passages)) if passages.iter().any(|passage| held.contains(&passage.line)) => {}
                Ok(Ok(_)) => {
                    let answer = rehearsal.rehearse_acquire(now.stamp, acquire, 0);
                    match answer {
                        Err(rejection) => turns.extend(self.done(id, Err(rejection))),
                        Ok(_) => turns.extend(self.waiters.remove(&id).map(|parked| Turn::Go {
                            waited: parked.waited(now),
                            waiter: parked.waiter,
                            alternative: 0,
                        })),
                    }
                }
            }
        }
    }

    fn in_order(&self, resource: &ResourceName) -> Vec<WaiterId> {
        let waiting = self.waiters.iter().filter(|(_, parked)| parked.waiter.acquire.resource == *resource);
        let mut order: Vec<_> = waiting
            .map(|(id, parked)| {
                let rank = std::cmp::Reverse((parked.waiter.acquire.priority, parked.waited(self.now)));
                (rank, *id)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    fn end_patience(&mut self, limiter: &Limiter, turns: &mut Vec<Turn<C>>) {
        let now = self.now;
        let is_over = |parked: &Parked<C>| parked.entered_at + parked.waiter.patience <= now.monotonic;
        let over = self.waiters.iter().filter(|(_, parked)| is_over(parked));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(parked) = self.waiters.get(&id) else { continue };
            let answer = limiter.refusal(now.stamp, &parked.waiter.acquire).unwrap_or_else(|| {
                let (reason, retry_after) = (DenialReason::OthersWait, Some(Span::from_millis(1)));
                Ok(Outcome::Denied(Denial {
                    limit: None,
                    exhausted: vec![],
                    retry_after,
                    reason,
                    alternative: 0,
                }))
            });
            turns.extend(self.done(id, answer));
        }
    }

    fn done(&mut self, id: WaiterId, answer: Answer) -> Option<Turn<C>> {
        let parked = self.waiters.remove(&id)?;
        Some(Turn::Done { waited: parked.waited(self.now), waiter: parked.waiter, answer })
    }
}

impl<C> Parked<C> {
    fn waited(&self, now: Moment) -> Span {
        Span(now.monotonic.0.saturating_sub(self.entered_at.0)) + self.waiter.waited_for
    }
}
