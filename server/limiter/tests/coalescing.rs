//! How much of coalescing there may be, and what goes first where there is more.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up is a failure")]

use std::collections::BTreeMap;

use tollgate_limiter::*;

const HOUR: Span = Span::from_secs(3600);

/// Resources that grant whatever is asked, and a clock.
#[derive(Default)]
struct Fleet {
    limiter: Limiter,
    stamp: Stamp,
}

impl Fleet {
    fn with(resources: &[&str]) -> Fleet {
        let mut fleet = Fleet::default();
        for name in resources {
            assert!(fleet.apply(Command::from(resource(name))).is_ok());
        }
        fleet
    }

    fn apply(&mut self, command: Command) -> Answer {
        let mut answers = Vec::new();
        self.limiter.apply(self.stamp, &[command], &mut answers);
        answers.remove(0)
    }

    fn acquire(&mut self, resource: &str, key: usize) -> Answer {
        self.apply(Command::from(acquire(resource, key)))
    }

    /// Makes the call, and leaves its result.
    fn call(&mut self, resource: &str, key: usize, bytes: &[u8], ttl: Span) {
        let Ok(Outcome::Granted(grant)) = self.acquire(resource, key) else {
            panic!("call {key} is to make")
        };
        let result = Some(CallResult { bytes: ResultBytes::new(bytes).unwrap(), ttl });
        let (outcome, amounts) = (CallOutcome::Ok, BTreeMap::new());
        let release = Release { permit: grant.permit, outcome, cost: None, amounts, answer: None, result };
        assert!(self.apply(Command::Release(release)).is_ok());
    }

    fn has_result(&self, resource: &str, key: usize) -> bool {
        let (_, answer) = self.clone_and(|fleet| fleet.acquire(resource, key));
        matches!(answer, Ok(Outcome::Shared(_)))
    }

    fn clone_and<T>(&self, then: impl FnOnce(&mut Fleet) -> T) -> (Fleet, T) {
        let mut copy = Fleet { limiter: self.limiter.clone(), stamp: self.stamp };
        let result = then(&mut copy);
        (copy, result)
    }
}

fn resource(name: &str) -> Resource {
    let bucket = TokenBucket { capacity: MAX_AMOUNT, refill_amount: 1, refill_period: Span::from_secs(1) };
    Resource {
        name: ResourceName::new(name).unwrap(),
        limits: vec![Limit {
            name: LimitName::new("only").unwrap(),
            operations: vec![],
            dimension: None,
            scope: Scope::Resource,
            max_scope_values: 1,
            shadow: false,
            kind: LimitKind::TokenBucket(bucket),
        }],
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::ZERO,
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Default::default(),
        operation_costs: vec![],
    }
}

fn acquire(resource: &str, key: usize) -> Acquire {
    Acquire {
        resource: ResourceName::new(resource).unwrap(),
        operation: Label::default(),
        cost: 1,
        amounts: BTreeMap::new(),
        consumer: Label::default(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::Medium,
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: Some(CoalesceKey::new(&format!("{key:05}")).unwrap()),
    }
}

#[test]
fn of_more_than_10_000_results_the_one_that_ends_first_goes() {
    let mut fleet = Fleet::with(&["acme"]);
    for key in 0..10_000 {
        fleet.call("acme", key, b"", if key == 4_711 { HOUR } else { HOUR + HOUR });
    }
    assert!(fleet.has_result("acme", 4_711));
    fleet.call("acme", 10_000, b"", HOUR + HOUR);
    assert!(!fleet.has_result("acme", 4_711) && fleet.has_result("acme", 10_000));
    // Of several that end together the first by key.
    fleet.call("acme", 10_001, b"", HOUR + HOUR);
    assert!(!fleet.has_result("acme", 0) && fleet.has_result("acme", 1));
    assert_eq!(fleet.limiter.totals().results, 10_000);
}

#[test]
fn results_of_a_resource_take_16_mib_and_of_all_resources_64() {
    let names = ["a", "b", "c", "d", "e"];
    let mut fleet = Fleet::with(&names);
    let largest = vec![7; ResultBytes::MAX];
    for name in names {
        for key in 0..1_024 {
            fleet.call(name, key, &largest, HOUR);
        }
        assert!(!fleet.has_result(name, 0) && fleet.has_result(name, 1_023));
        let of_all = names.iter().position(|other| *other == name).unwrap() as u64 + 1;
        let bytes = fleet.limiter.totals().result_bytes;
        assert!(bytes <= (16 << 20) * of_all.min(4), "{bytes}");
        assert!(bytes > (16 << 20) * of_all.min(4) - (17 << 10), "{bytes}");
    }
    // Room for the last came from what ends first, wherever that is.
    assert!(!fleet.has_result("a", 1_023) && fleet.has_result("b", 1_023));
    assert_eq!(Limiter::decode(&fleet.limiter.encode()).as_ref(), Ok(&fleet.limiter));
}

#[test]
fn more_than_10_000_calls_at_a_time_are_refused() {
    let mut fleet = Fleet::with(&["acme"]);
    for key in 0..10_000 {
        assert!(matches!(fleet.acquire("acme", key), Ok(Outcome::Granted(_))));
    }
    let full = Err(Rejection::TooManyCoalescedCalls { max: 10_000 });
    assert_eq!(fleet.acquire("acme", 10_000), full);
    let command = Command::from(acquire("acme", 10_000));
    assert_eq!(fleet.limiter.refuse(fleet.stamp, &command), Some(full));
    // Who wants one of those that are under way still waits for it.
    assert!(matches!(fleet.acquire("acme", 7), Ok(Outcome::Denied(_))));
    fleet.stamp = fleet.stamp.after(COALESCED_LEASE_DEFAULT + COALESCED_GRACE);
    fleet.limiter.apply(fleet.stamp, &[], &mut Vec::new());
    assert!(matches!(fleet.acquire("acme", 10_000), Ok(Outcome::Granted(_))));
}

#[test]
fn results_that_end_together_are_cleared_over_several_entries_and_count_for_nothing() {
    let mut fleet = Fleet::with(&["acme"]);
    for key in 0..2_000 {
        fleet.call("acme", key, b"x", HOUR);
    }
    fleet.stamp = fleet.stamp.after(HOUR);
    fleet.limiter.apply(fleet.stamp, &[], &mut Vec::new());
    assert_eq!(fleet.limiter.totals().results, 1_488);
    assert!((0..2_000).all(|key| !fleet.has_result("acme", key)));
    // A new one takes the place of one that is not cleared away yet.
    fleet.call("acme", 1_999, b"y", HOUR);
    assert!(fleet.has_result("acme", 1_999));
    (0..4).for_each(|_| fleet.limiter.apply(fleet.stamp, &[], &mut Vec::new()));
    assert_eq!(fleet.limiter.totals().results, 1);
    assert!(fleet.has_result("acme", 1_999));
}
