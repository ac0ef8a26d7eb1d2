//! One call for many, beside a model that knows nothing of limits.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{BIRTH, applied, generate::plain_acquire};
use crate::{Limiter, model::*};

const GRACE: Span = Span::from_secs(2);

#[derive(Clone, Debug)]
enum Step {
    /// One that takes a slot, if `slot`.
    Acquire {
        key: &'static str,
        slot: bool,
        lease: Option<Span>,
    },
    Renew {
        permit: u64,
    },
    Release {
        permit: u64,
        outcome: CallOutcome,
        result: Option<(u8, Span)>,
    },
    Invalidate(CoalesceKeys),
    Wait(Span),
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let spans = |secs: &[u64]| select(secs.iter().copied().map(Span::from_secs).collect::<Vec<_>>());
    let key = || select(vec!["a/1", "a/2", "b"]);
    let result = option::weighted(0.7, (any::<u8>(), spans(&[5, 20, 600])));
    let outcome = select(vec![CallOutcome::Ok, CallOutcome::ClientError, CallOutcome::NotSent]);
    let invalidated = prop_oneof![
        key().prop_map(|key| CoalesceKeys::One(coalesce_key(key))),
        select(vec!["", "a/", "c"])
            .prop_map(|prefix| CoalesceKeys::With(CoalesceKeyPrefix::new(prefix).unwrap())),
    ];
    prop_oneof![
        8 => (key(), any::<bool>(), option::of(spans(&[1, 10])))
            .prop_map(|(key, slot, lease)| Step::Acquire { key, slot, lease }),
        2 => (1u64..20).prop_map(|permit| Step::Renew { permit }),
        5 => (1u64..20, outcome, result)
            .prop_map(|(permit, outcome, result)| Step::Release { permit, outcome, result }),
        1 => invalidated.prop_map(Step::Invalidate),
        4 => spans(&[0, 1, 2, 5, 7, 65]).prop_map(Step::Wait),
        1 => Just(Step::Restore),
    ]
}

fn coalesce_key(key: &str) -> CoalesceKey {
    CoalesceKey::new(key).unwrap()
}

fn limit(name: &str, operation: &str, kind: LimitKind) -> Limit {
    Limit {
        name: LimitName::new(name).unwrap(),
        operations: vec![Label::new(operation).unwrap()],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 1,
        shadow: false,
        kind,
    }
}

fn resource() -> Resource {
    let (capacity, refill_period) = (5, Span::from_secs(1));
    let bucket = LimitKind::TokenBucket(TokenBucket { capacity, refill_amount: 1, refill_period });
    let slots = LimitKind::Concurrency(Concurrency {
        slots: 2,
        lease_default: Span::from_secs(4),
        lease_max: Span::from_secs(60),
        grace: GRACE,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    });
    Resource {
        name: plain_acquire().resource,
        limits: vec![limit("burst", "*", bucket), limit("slots", "long", slots)],
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::from_secs(60),
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Default::default(),
        operation_costs: vec![],
    }
}

/// What should be true of a key.
#[derive(Clone, Debug, Default)]
struct Known {
    call: Option<(PermitId, Span, ClusterTime)>,
    is_outdated: bool,
    result: Option<(u8, ClusterTime, ClusterTime)>,
}

#[derive(Default)]
struct Model {
    limiter: Limiter,
    stamp: Stamp,
    known: BTreeMap<&'static str, Known>,
}

impl Model {
    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Acquire { key, slot, lease } => self.acquire(key, slot, lease)?,
            Step::Renew { permit } => {
                let permit = PermitId(permit);
                let answer = self.apply(Command::Renew(Renew { permit, lease: None }));
                if let Ok(Outcome::Renewed(lease)) = answer {
                    let ends_at = self.stamp.cluster + lease;
                    let calls = self.known.values_mut().filter_map(|known| known.call.as_mut());
                    calls
                        .filter(|(id, ..)| *id == permit)
                        .for_each(|(_, grace, free)| *free = ends_at + *grace);
                }
            }
            Step::Release { permit, outcome, result } => self.release(PermitId(permit), outcome, result),
            Step::Invalidate(keys) => self.invalidate(keys)?,
            Step::Wait(span) => self.stamp = self.stamp.after(span),
            Step::Restore => {
                let restored = Limiter::decode(&self.limiter.encode()).unwrap();
                prop_assert_eq!(&restored, &self.limiter);
                self.limiter = restored;
            }
        }
        Ok(())
    }

    fn apply(&mut self, command: Command) -> Answer {
        let (limiter, mut answers) = applied(&self.limiter, self.stamp, &[command]);
        self.limiter = limiter;
        answers.remove(0)
    }

    fn acquire(&mut self, key: &'static str, slot: bool, lease: Option<Span>) -> Result<(), TestCaseError> {
        let operation = Label::new(if slot { "long" } else { "short" }).unwrap();
        let coalesce_key = Some(coalesce_key(key));
        let acquire = Acquire { operation, lease, coalesce_key, ..plain_acquire() };
        let refused = self.limiter.refuse(self.stamp, &Command::from(acquire.clone()));
        let answer = self.apply(Command::from(acquire));
        let (now, known) = (self.stamp.cluster, self.known.entry(key).or_default());
        let result = known.result.filter(|(.., until)| now < *until);
        let call = known.call.filter(|(.., free_at)| now < *free_at);
        match &answer {
            Ok(Outcome::Shared(shared)) => {
                let told = result.map(|(byte, since, _)| (vec![byte], now.since(since)));
                prop_assert_eq!(told, Some((shared.bytes.as_slice().to_vec(), shared.age)));
                prop_assert!(refused.is_none());
            }
            Ok(Outcome::Denied(denial)) => {
                let is_others = denial.reason == DenialReason::CallUnderWay;
                prop_assert!(result.is_none() && is_others == call.is_some());
                if let Some((.., free_at)) = call {
                    prop_assert_eq!(denial.retry_after, Some(free_at.since(now)));
                }
                prop_assert_eq!(refused, Some(answer));
            }
            Ok(Outcome::Granted(grant)) => {
                prop_assert!(result.is_none() && call.is_none() && refused.is_none());
                let grace = if slot { GRACE } else { COALESCED_GRACE };
                known.call = grant.lease.map(|lease| (grant.permit, grace, now + lease + grace));
                prop_assert!(known.call.is_some());
                known.is_outdated = false;
            }
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    }

    fn release(&mut self, permit: PermitId, outcome: CallOutcome, result: Option<(u8, Span)>) {
        let result = result.filter(|_| outcome != CallOutcome::NotSent);
        let bytes = |byte: u8| ResultBytes::new(&[byte]).unwrap();
        let told = result.map(|(byte, ttl)| CallResult { bytes: bytes(byte), ttl });
        let release =
            Release { permit, outcome, cost: None, amounts: BTreeMap::new(), answer: None, result: told };
        if self.apply(Command::Release(release)).is_err() {
            return;
        }
        let now = self.stamp.cluster;
        for known in self.known.values_mut().filter(|known| known.call.is_some_and(|(id, ..)| id == permit)) {
            known.call = None;
            known.result = result.filter(|_| !known.is_outdated).map(|(byte, ttl)| (byte, now, now + ttl));
        }
    }

    fn invalidate(&mut self, keys: CoalesceKeys) -> Result<(), TestCaseError> {
        let (mut gone, now) = (0, self.stamp.cluster);
        for (key, known) in &mut self.known {
            if keys.contain(&coalesce_key(key)) {
                known.is_outdated = true;
                gone += known.result.take().map_or(0, |(.., until)| u64::from(now < until));
            }
        }
        let order = InvalidateResults { resource: plain_acquire().resource, keys };
        prop_assert_eq!(self.apply(Command::InvalidateResults(order)), Ok(Outcome::Invalidated(gone)));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_call_at_a_time_and_its_result_for_all(steps in vec(step(), 1..60)) {
        let mut model = Model { stamp: BIRTH, ..Model::default() };
        prop_assert!(model.apply(Command::from(resource())).is_ok());
        for step in steps {
            model.take(step)?;
        }
    }
}
