//! A leader's limiter and its queue, and what must hold of them after everything that happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tollgate_limiter::*;

use super::{generate::Event, model::Model};
use crate::{Moment, Turn, Waiter, WaiterId, WaitingQueue};

/// One that asks.
pub(super) type Caller = u64;

/// Turns that are taken before the queue must come to rest.
const ROUNDS_MAX: usize = 1_000;

pub(super) struct World {
    limiter: Limiter,
    queue: WaitingQueue<Caller>,
    now: Moment,
    asked: Caller,
    waiting: BTreeMap<Caller, (WaiterId, Span)>,
    /// With whether others may wait for its call.
    permits: Vec<(PermitId, bool)>,
    on_its_way: Option<ResourceName>,
    model: Option<Model>,
    resources: Vec<ResourceName>,
}

impl World {
    pub fn new(resources: Vec<Resource>) -> World {
        let mut world = World {
            limiter: Limiter::default(),
            queue: WaitingQueue::default(),
            now: Moment::default(),
            asked: 0,
            waiting: BTreeMap::new(),
            permits: Vec::new(),
            on_its_way: None,
            model: None,
            resources: resources.iter().map(|resource| resource.name.clone()).collect(),
        };
        for resource in resources {
            assert!(world.apply(Command::from(resource)).is_ok());
        }
        world
    }

    /// The first resource is watched by a model, and nothing happens that the model does not know.
    pub fn beside_a_model(mut self) -> World {
        let stored = self.limiter.resource(self.now.stamp, &self.resources[0]).unwrap();
        self.model = Some(Model::new(&stored.resource));
        self
    }

    pub fn happen(&mut self, event: &Event) {
        self.on_its_way = None;
        match event.clone() {
            Event::Ask { acquire, waited_for, patience } => self.ask(*acquire, waited_for, patience),
            Event::Release(at, cost, outcome) => {
                if let Some((permit, is_coalesced)) = self.take_permit(at) {
                    // The model knows of no refunds.
                    let outcome = if self.model.is_some() { CallOutcome::Ok } else { outcome };
                    let amounts = BTreeMap::new();
                    let result = CallResult { bytes: ResultBytes::default(), ttl: CallResult::TTL_MIN };
                    let result = Some(result).filter(|_| is_coalesced && at % 3 > 0);
                    // It may have run out.
                    let answer = None;
                    let release = Release { permit, outcome, cost, amounts, answer, result };
                    let _ = self.apply(Command::Release(release));
                }
            }
            Event::GiveBack(at) => {
                if let Some((permit, _)) = self.take_permit(at) {
                    let _ = self.apply(Command::GiveBack(permit));
                }
            }
            Event::Cancel(at) => {
                if let Some((&caller, &(id, _))) = self.waiting.iter().rev().nth(at) {
                    self.waiting.remove(&caller);
                    assert_eq!(self.queue.leave(id).map(|waiter| waiter.caller), Some(caller));
                    assert!(self.queue.leave(id).is_none());
                    self.model.iter_mut().for_each(|model| model.leave(caller));
                }
            }
            Event::Advance(span) => self.advance(self.now.monotonic + span),
            Event::Sleep => {
                let wake = self.queue.next_wake().map(|wake| wake.max(self.now.monotonic));
                self.advance(wake.unwrap_or(self.now.monotonic));
            }
            _ if self.model.is_some() => {}
            Event::Report(at, outcome) => {
                if let Some(&(permit, _)) = self.permits.iter().rev().nth(at) {
                    // It may be another resource's.
                    let answer = VendorAnswer::default();
                    let _ = self.report(self.resources[0].clone(), Some(permit), outcome, answer);
                }
            }
            Event::Answer(resource, outcome, wait) => {
                let answer = VendorAnswer { wait, ..VendorAnswer::default() };
                assert!(self.report(resource, None, outcome, answer).is_ok());
            }
            Event::Exhaust(at, limit, wait) => {
                if let Some(&(permit, _)) = self.permits.iter().rev().nth(at) {
                    let answer =
                        VendorAnswer { wait: Some(wait), exhausted: vec![limit], ..VendorAnswer::default() };
                    let resource = self.resources[0].clone();
                    let _ = self.report(resource, Some(permit), CallOutcome::Throttled, answer);
                }
            }
            Event::Propose(resource) => self.on_its_way = Some(resource),
            Event::Order(order) => {
                let resource = match &order {
                    Command::PauseResource(order) => order.resource.clone(),
                    Command::ResumeResource(order) => order.resource.clone(),
                    Command::SetKeyState(order) => order.resource.clone(),
                    other => panic!("no order: {other:?}"),
                };
                assert!(self.apply(order).is_ok());
                self.queue.touched(&resource);
            }
            Event::Widen(resource) => self.widen(&resource),
        }
        self.take_turns();
    }

    /// All give up and all permits end: nothing is left.
    pub fn end(mut self) {
        (self.on_its_way, self.model) = (None, None);
        for (_, (id, _)) in std::mem::take(&mut self.waiting) {
            assert!(self.queue.leave(id).is_some());
        }
        self.take_turns();
        assert!(self.queue.is_clean(), "{:?}", self.queue);
        while let Some((permit, _)) = self.take_permit(0) {
            let _ = self.apply(Command::Release(Release {
                permit,
                outcome: CallOutcome::Ok,
                cost: None,
                amounts: BTreeMap::new(),
                answer: None,
                result: None,
            }));
        }
        self.pass_time(self.now.monotonic + Span::from_secs(1_000));
        for resource in &self.resources {
            let usage = self.limiter.usage(self.now.stamp, resource, None, 100, 100).unwrap();
            assert!(
                usage.limits.iter().flat_map(|limit| &limit.counters).all(|counter| counter.used == 0),
                "{usage:?}"
            );
        }
    }

    /// Nobody waits who could go: nobody beside a result, and whoever is first of a flow is denied by the limiter, or is to go
    /// after one who stands in a line that it would pass, or is looked at again within a moment, where nobody but time tells;
    /// and not all are held by each other.
    pub fn check(&mut self) {
        self.queue.check();
        let is_held = |resource: &ResourceName| self.on_its_way.as_ref() == Some(resource);
        assert!(self.queue.ready.iter().all(is_held), "it rests while somebody could be looked at");
        for resource in self.resources.clone() {
            if self.on_its_way.as_ref() == Some(&resource) {
                continue;
            }
            self.queue.regroup(&resource, &self.limiter);
            self.check_results(&resource);
            let Some(front) = self.queue.fronts.get(&resource) else { continue };
            let mut will_anybody_move = false;
            for (line, candidate, is_next) in front.all_standing() {
                let parked = &self.queue.waiters[&candidate.arrival.id];
                let alternative = parked.alternative(candidate.flow).unwrap();
                match self.limiter.prospect(self.now.stamp, &parked.waiter.acquire, alternative) {
                    // Another request was granted under its id meanwhile.
                    Err(Rejection::RequestIdReused) => will_anybody_move = true,
                    Err(rejection) => assert!(!is_next, "{line:?}: waits in vain: {rejection}"),
                    Ok(Err(_)) => will_anybody_move = true,
                    Ok(Ok(passages)) => {
                        let is_looked_at_soon = front.is_looked_at_soon(&candidate);
                        will_anybody_move |= is_looked_at_soon;
                        let is_held = is_looked_at_soon || front.blocked_at(&candidate, &passages).is_some();
                        assert!(is_held, "{:?} could go from {line:?}: {front:?}", parked.waiter);
                    }
                }
            }
            assert!(will_anybody_move, "all hold each other: {front:?}");
        }
        let over = self.waiting.values().filter(|(_, end)| *end <= self.now.monotonic);
        assert!(over.count() == 0 || self.on_its_way.is_some(), "patience is over");
    }

    fn check_results(&self, resource: &ResourceName) {
        let acquires = self.queue.waiters.values().map(|parked| &parked.waiter.acquire);
        let at_risk =
            acquires.filter(|acquire| acquire.resource == *resource && acquire.request_id.is_none());
        let mut rehearsal = self.limiter.rehearse(resource).expect("it is there");
        for acquire in at_risk.filter(|acquire| acquire.coalesce_key.is_some()) {
            let answer = rehearsal.rehearse_acquire(self.now.stamp, acquire, 0);
            assert!(!matches!(answer, Ok(Outcome::Shared(_))), "{acquire:?} has a result");
        }
    }

    fn ask(&mut self, mut acquire: Acquire, waited_for: Span, patience: Span) {
        if self.model.is_some() {
            acquire.resource = self.resources[0].clone();
            (acquire.key, acquire.request_id) = (Label::default(), None);
            (acquire.alternatives, acquire.coalesce_key) = (Vec::new(), None);
        }
        self.asked += 1;
        let caller = self.asked;
        let others_wait = acquire.choices().any(|alternative| {
            acquire.choice(alternative).is_some_and(|choice| self.queue.has_waiters(&choice.resource))
        });
        if !others_wait && self.limiter.refusal(self.now.stamp, &acquire).is_none() {
            let is_coalesced = acquire.coalesce_key.is_some();
            let answer = self.apply(Command::from(acquire));
            return self.note(&answer, is_coalesced);
        }
        let waiter = Waiter { acquire: Arc::new(acquire.clone()), waited_for, patience, caller };
        match self.queue.enter(waiter, &self.limiter, self.now) {
            Ok(id) => {
                self.waiting.insert(caller, (id, self.now.monotonic + patience));
                let now = self.now;
                self.model.iter_mut().for_each(|model| model.enter(caller, &acquire, now, waited_for));
            }
            Err(full) => assert_eq!(full.waiter.caller, caller),
        }
    }

    /// From one moment at which the queue wants to be woken to the next.
    fn advance(&mut self, end: Span) {
        for _ in 0..ROUNDS_MAX {
            let wake = self.queue.next_wake().filter(|wake| *wake <= end);
            self.pass_time(wake.unwrap_or(end));
            self.take_turns();
            if wake.is_none() {
                return;
            }
        }
        panic!("the queue is woken and woken: {:?}", self.queue);
    }

    fn pass_time(&mut self, until: Span) {
        let passed = Span(until.0.saturating_sub(self.now.monotonic.0));
        self.now = Moment { monotonic: self.now.monotonic + passed, stamp: self.now.stamp.after(passed) };
        self.limiter.apply(self.now.stamp, &[], &mut Vec::new());
    }

    /// Until nobody goes any more.
    fn take_turns(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut ended = BTreeSet::new();
            let expected = self.model.as_mut().map(|model| model.take_turns(&self.limiter, self.now));
            let gone = self.take_turns_once(&mut ended);
            if let Some(model) = &mut self.model {
                assert_eq!(Some(&gone), expected.as_ref(), "who goes, in order");
                ended.iter().for_each(|caller| model.leave(*caller));
                model.check_wake(&self.limiter, self.now, self.queue.next_wake());
            }
            if self.queue.next_wake().is_none_or(|wake| wake > self.now.monotonic) {
                return;
            }
        }
        panic!("the queue does not come to rest: {:?}", self.queue);
    }

    fn take_turns_once(&mut self, ended: &mut BTreeSet<Caller>) -> Vec<Caller> {
        let World { limiter, queue, now, on_its_way, .. } = self;
        let turns = queue.take_turns(limiter, *now, &|resource| on_its_way.as_ref() != Some(resource), 100);
        let mut gone = Vec::new();
        for turn in turns {
            match turn {
                Turn::Go { waiter, alternative, .. } => {
                    assert!(self.waiting.remove(&waiter.caller).is_some(), "granted after it had left");
                    gone.push(waiter.caller);
                    let has_id = waiter.acquire.request_id.is_some();
                    let is_coalesced = waiter.acquire.coalesce_key.is_some();
                    let answer = self.apply(Command::AcquireFrom { acquire: waiter.acquire, alternative });
                    let is_granted = matches!(answer, Ok(Outcome::Granted(_)));
                    let is_shared = is_coalesced && matches!(answer, Ok(Outcome::Shared(_)));
                    assert!(is_granted || is_shared || has_id, "went and was not granted: {answer:?}");
                    self.note(&answer, is_coalesced);
                }
                Turn::Done { waiter, answer, .. } => {
                    let (_, end) = self.waiting.remove(&waiter.caller).expect("told twice");
                    let is_over = end <= self.now.monotonic;
                    assert!(is_over || answer.is_err(), "ended early: {answer:?}");
                    ended.insert(waiter.caller);
                }
            }
        }
        gone
    }

    fn apply(&mut self, command: Command) -> Answer {
        let freed = self.limiter.freed_by(&command);
        let mut answers = Vec::new();
        self.limiter.apply(self.now.stamp, &[command], &mut answers);
        freed.into_iter().for_each(|freed| self.queue.freed(&freed));
        answers.pop().unwrap()
    }

    fn report(
        &mut self,
        resource: ResourceName,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        answer: VendorAnswer,
    ) -> Answer {
        self.apply(Command::from(Report {
            resource,
            key: Label::default(),
            permit,
            outcome,
            answer,
            operation: Label::default(),
            consumer: Label::default(),
            subject: Label::default(),
        }))
    }

    fn widen(&mut self, name: &ResourceName) {
        let StoredResource { mut resource, generation, .. } =
            self.limiter.resource(self.now.stamp, name).unwrap();
        for limit in &mut resource.limits {
            match &mut limit.kind {
                LimitKind::TokenBucket(bucket) => bucket.capacity += 1,
                LimitKind::Concurrency(concurrency) => concurrency.slots += 1,
                LimitKind::FixedWindow(window) => window.amount += 1,
                LimitKind::LeakyBucket(bucket) => bucket.amount += 1,
                LimitKind::SlidingWindow(window) => window.amount += 1,
            }
        }
        assert!(self.apply(Command::from(UpdateResource { resource, generation })).is_ok());
        self.queue.touched(name);
    }

    fn note(&mut self, answer: &Answer, is_coalesced: bool) {
        if let Ok(Outcome::Granted(grant)) = answer {
            self.permits.push((grant.permit, is_coalesced));
        }
    }

    fn take_permit(&mut self, at: usize) -> Option<(PermitId, bool)> {
        let at = self.permits.len().checked_sub(at + 1)?;
        Some(self.permits.remove(at))
    }
}
