//! What happens where tables are full, or where much falls due at once.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up is a failure")]

use std::collections::BTreeMap;

use tollgate_limiter::*;

const SECOND: Span = Span::from_secs(1);

/// One resource with one limit, and a clock.
struct Account {
    limiter: Limiter,
    stamp: Stamp,
}

impl Account {
    fn new(kind: LimitKind, settle_within: Span) -> Account {
        let limit = Limit {
            name: LimitName::new("only").unwrap(),
            operations: vec![],
            dimension: None,
            scope: Scope::Resource,
            max_scope_values: 1,
            shadow: false,
            kind,
        };
        let resource = Resource {
            name: name(),
            limits: vec![limit],
            keys: vec![],
            dispatch_tolerance: Span::ZERO,
            settle_within,
            description: Description::default(),
            budgets: vec![],
            queueing: Queueing::default(),
            circuit_breaker: None,
            feedback: Box::default(),
            operation_costs: Vec::new(),
        };
        let mut account = Account { limiter: Limiter::default(), stamp: Stamp::default() };
        assert!(account.apply(&[Command::from(resource)])[0].is_ok());
        account
    }

    fn apply(&mut self, commands: &[Command]) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.limiter.apply(self.stamp, commands, &mut answers);
        answers
    }

    fn acquire(&mut self, times: usize) {
        let answers = self.apply(&vec![acquire(); times]);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Outcome::Granted(_)))));
    }

    fn release(&mut self, permit: u64) -> Answer {
        let outcome = CallOutcome::NotSent;
        let (permit, amounts) = (PermitId(permit), BTreeMap::new());
        let release = Release { permit, outcome, cost: None, amounts, answer: None, result: None };
        self.apply(&[Command::Release(release)]).remove(0)
    }
}

fn name() -> ResourceName {
    ResourceName::new("acme").unwrap()
}

fn acquire() -> Command {
    Command::from(Acquire {
        resource: name(),
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
        coalesce_key: None,
    })
}

fn bucket() -> LimitKind {
    LimitKind::TokenBucket(TokenBucket { capacity: MAX_AMOUNT, refill_amount: 1, refill_period: SECOND })
}

#[test]
fn the_oldest_of_100_000_settleable_permits_is_forgotten_first() {
    let mut account = Account::new(bucket(), Span::from_secs(60));
    account.acquire(100_001);
    assert_eq!(account.limiter.totals().permits_live, 100_000);
    assert_eq!(account.release(1), Err(Rejection::PermitEnded));
    assert_eq!(account.release(2), Ok(Outcome::Released(Span::ZERO)));
}

#[test]
fn what_is_not_cleared_away_yet_has_ended_all_the_same() {
    let mut account = Account::new(bucket(), SECOND);
    account.acquire(2_000);
    account.stamp = account.stamp.after(SECOND);
    account.apply(&[]);
    let usage = account.limiter.usage(account.stamp, &name(), None, 1, 1).unwrap();
    assert_eq!(usage.settleable_permits, 0);
    assert!((1..=2_000).all(|permit| account.release(permit) == Err(Rejection::PermitEnded)));
    assert_eq!(account.limiter.totals().permits_live, 0);
}

#[test]
fn leases_that_fall_due_at_once_end_over_several_entries() {
    let slots = Concurrency {
        slots: 5_000,
        lease_default: SECOND,
        lease_max: SECOND,
        grace: Span::ZERO,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    };
    let mut account = Account::new(LimitKind::Concurrency(slots), Span::ZERO);
    account.acquire(5_000);
    assert_eq!(account.limiter.next_due(), Some(ClusterTime::default() + SECOND));
    account.stamp = account.stamp.after(SECOND);
    account.apply(&[]);
    assert_eq!(account.limiter.next_due(), Some(ClusterTime::default() + SECOND));
    assert_eq!(account.release(5_000), Err(Rejection::PermitEnded));
    account.acquire(5_000);
    assert_eq!(account.limiter.totals().leases_expired, 5_000);
    assert_eq!(account.limiter.next_due(), Some(ClusterTime::default() + SECOND + SECOND));
}

#[test]
fn a_snapshot_that_is_cut_or_continued_is_refused() {
    let mut account = Account::new(bucket(), SECOND);
    account.acquire(3);
    let bytes = account.limiter.encode();
    assert_eq!(Limiter::decode(&bytes), Ok(account.limiter));
    assert!((0..bytes.len()).all(|length| Limiter::decode(&bytes[..length]).is_err()));
    assert!(Limiter::decode(&[bytes, vec![0]].concat()).is_err());
}
