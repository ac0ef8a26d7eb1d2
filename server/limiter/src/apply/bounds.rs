//! What happens where all resources together hold as much as they may.

use std::{collections::BTreeMap, sync::Arc};

use super::{Limiter, properties::applied};
use crate::{model::*, state::MAX_COUNTER_BYTES};

const SECOND: Span = Span::from_secs(1);

/// Resources, and a clock.
#[derive(Default)]
struct Fleet {
    limiter: Limiter,
    stamp: Stamp,
}

impl Fleet {
    /// With one resource of each limit, by the limit's name.
    fn with(limits: &[(&str, Scope, LimitKind)]) -> Fleet {
        let mut fleet = Fleet::default();
        for (name, scope, kind) in limits {
            let limit = Limit {
                name: LimitName::new(name).unwrap(),
                operations: vec![],
                dimension: None,
                scope: *scope,
                max_scope_values: Limit::MAX_SCOPE_VALUES,
                shadow: false,
                kind: kind.clone(),
            };
            let resource = Resource {
                name: ResourceName::new(name).unwrap(),
                limits: vec![limit],
                keys: vec![],
                dispatch_tolerance: Span::ZERO,
                settle_within: Span::from_secs(60),
                description: Description::default(),
                budgets: vec![],
                queueing: Queueing::default(),
                circuit_breaker: None,
                feedback: Box::default(),
                operation_costs: Vec::new(),
            };
            assert!(fleet.apply(&[Command::from(resource)])[0].is_ok());
        }
        fleet
    }

    fn apply(&mut self, commands: &[Command]) -> Vec<Answer> {
        let (limiter, answers) = applied(&self.limiter, self.stamp, commands);
        assert_eq!(Limiter::decode(&limiter.encode()).as_ref(), Ok(&limiter));
        self.limiter = limiter;
        answers
    }

    /// Of so many different consumers.
    fn acquire(&mut self, resource: &str, times: usize) -> Vec<Answer> {
        self.apply(&(0..times).map(|number| acquire(resource, &format!("c{number}"))).collect::<Vec<_>>())
    }

    fn release(&mut self, permit: u64) -> Answer {
        let (permit, amounts) = (PermitId(permit), BTreeMap::new());
        let outcome = CallOutcome::Ok;
        let release = Release { permit, outcome, cost: None, amounts, answer: None, result: None };
        self.apply(&[Command::Release(release)]).remove(0)
    }
}

fn acquire(resource: &str, consumer: &str) -> Command {
    Command::from(Acquire {
        resource: ResourceName::new(resource).unwrap(),
        operation: Label::default(),
        cost: 1,
        amounts: BTreeMap::new(),
        consumer: Label::new(consumer).unwrap(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::Medium,
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: None,
    })
}

fn bucket() -> LimitKind {
    LimitKind::TokenBucket(TokenBucket { capacity: MAX_AMOUNT, refill_amount: 1, refill_period: SECOND })
}

fn slots() -> LimitKind {
    LimitKind::Concurrency(Concurrency {
        slots: 10_000,
        lease_default: SECOND,
        lease_max: SECOND,
        grace: SECOND,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    })
}

fn all_granted(answers: &[Answer]) -> bool {
    answers.iter().all(|answer| matches!(answer, Ok(Outcome::Granted(_))))
}

#[test]
fn the_oldest_settleable_permit_of_all_resources_is_forgotten_first() {
    let whole = Scope::Resource;
    let mut fleet = Fleet::with(&[("a", whole, bucket()), ("b", whole, bucket()), ("c", whole, slots())]);
    // One with a lease, which is not forgotten.
    assert!(all_granted(&fleet.acquire("c", 1)));
    assert!(all_granted(&fleet.acquire("a", 500)));
    assert!(all_granted(&fleet.acquire("b", 501)));
    assert_eq!(fleet.limiter.totals().permits_live, 1_001);
    assert_eq!(fleet.release(2), Err(Rejection::PermitEnded));
    assert_eq!(fleet.release(3), Ok(Outcome::Released(Span::ZERO)));
    let settleable = |name| {
        let name = ResourceName::new(name).unwrap();
        fleet.limiter.usage(fleet.stamp, &name, None, 1, 1).unwrap().settleable_permits
    };
    assert_eq!((settleable("a"), settleable("b")), (498, 501));
    // There is room for one again.
    assert!(all_granted(&fleet.acquire("b", 1)));
    assert_eq!(fleet.release(4), Ok(Outcome::Released(Span::ZERO)));
}

#[test]
fn leases_are_refused_while_all_resources_have_as_many_as_they_may() {
    let whole = Scope::Resource;
    let mut fleet = Fleet::with(&[("a", whole, slots()), ("b", whole, slots()), ("c", whole, bucket())]);
    assert!(all_granted(&fleet.acquire("a", 500)));
    assert!(all_granted(&fleet.acquire("b", 500)));
    let full = [Err(Rejection::TooManyLeases { max: 1_000 })];
    let before = fleet.limiter.clone();
    assert_eq!(fleet.acquire("b", 1), full);
    assert_eq!(fleet.limiter.resources, before.resources);
    // What needs no lease goes on.
    assert!(all_granted(&fleet.acquire("c", 1)));
    let Command::Acquire(mut either) = acquire("a", "c0") else { unreachable!() };
    let alternative = Alternative {
        resource: ResourceName::new("c").unwrap(),
        operation: Label::default(),
        cost: 1,
        amounts: BTreeMap::new(),
        key: Label::default(),
    };
    Arc::make_mut(&mut either).alternatives.push(alternative);
    let answers = fleet.apply(&[Command::Acquire(either)]);
    assert!(matches!(&answers[0], Ok(Outcome::Granted(grant)) if grant.alternative == 1), "{answers:?}");
    assert_eq!(fleet.release(1), Ok(Outcome::Released(Span::ZERO)));
    assert!(all_granted(&fleet.acquire("b", 1)));
    // Leases that ran out count while their slots are kept.
    fleet.stamp = fleet.stamp.after(SECOND);
    assert_eq!(fleet.acquire("a", 1), full);
    fleet.stamp = fleet.stamp.after(SECOND);
    assert!(all_granted(&fleet.acquire("a", 1)));
}

/// With as many sub-buckets as there can be: 33,280 bytes a counter, of which 504 and a little are as many as there may be.
fn fine_window() -> LimitKind {
    LimitKind::SlidingWindow(SlidingWindow { amount: 10, period: SECOND, resolution: 1_000 })
}

#[test]
fn counters_of_all_resources_are_bounded_and_idle_ones_make_room_wherever_they_are() {
    let each = Scope::Consumer;
    let mut fleet = Fleet::with(&[("a", each, fine_window()), ("b", each, fine_window())]);
    assert!(all_granted(&fleet.acquire("a", 305)));
    assert!(all_granted(&fleet.acquire("b", 200)));
    let full = MAX_COUNTER_BYTES..MAX_COUNTER_BYTES + 33_280;
    assert!(full.contains(&fleet.limiter.totals().counter_bytes));
    let Command::Acquire(another) = acquire("b", "another") else { unreachable!() };
    let refused = fleet.apply(&[Command::Acquire(another.clone())]);
    assert_eq!(refused, [Err(Rejection::TooManyCounters { max_bytes: MAX_COUNTER_BYTES })]);
    // Whoever is counted already goes on.
    assert!(all_granted(&fleet.acquire("b", 200)));

    // Those of the first resource have become idle, and nobody asks for it any more.
    fleet.stamp = fleet.stamp.after(SECOND + SECOND);
    let mut others = Vec::new();
    for number in 0..200 {
        fleet.stamp = fleet.stamp.after(Span::from_millis(1));
        others.push(acquire("b", &format!("other{number}")));
    }
    assert!(all_granted(&fleet.apply(&others)));
    assert!(fleet.limiter.totals().counter_bytes < MAX_COUNTER_BYTES);
}

#[test]
fn definitions_that_would_take_too_many_counters_are_refused() {
    let coarse = SlidingWindow { amount: 10, period: SECOND, resolution: 10 };
    let each = Scope::Consumer;
    let mut fleet = Fleet::with(&[("a", each, LimitKind::SlidingWindow(coarse))]);
    assert!(all_granted(&fleet.acquire("a", 1_000)));
    let stored = fleet.limiter.resource(fleet.stamp, &ResourceName::new("a").unwrap()).unwrap();
    let mut finer = stored.resource.clone();
    finer.limits[0].kind = fine_window();
    let update = UpdateResource { resource: finer, generation: stored.generation };
    let before = fleet.limiter.clone();
    let refused = fleet.apply(&[Command::from(update)]);
    let full = [Err(Rejection::TooManyCounters { max_bytes: MAX_COUNTER_BYTES })];
    assert_eq!(refused, full);
    assert_eq!(fleet.limiter.resources, before.resources);

    // A counter of the whole resource is there from the beginning.
    let create = |number| {
        let mut resource = stored.resource.clone();
        resource.name = ResourceName::new(&format!("b{number}")).unwrap();
        resource.limits[0].scope = Scope::Resource;
        resource.limits[0].kind = fine_window();
        Command::from(resource)
    };
    let answers = fleet.apply(&(0..504).map(create).collect::<Vec<_>>());
    assert_eq!(answers.last(), full.first());
    let delete = DeleteResource { name: ResourceName::new("b0").unwrap(), generation: 0 };
    assert_eq!(fleet.apply(&[Command::DeleteResource(delete), create(504)])[1].as_ref().err(), None);
}
