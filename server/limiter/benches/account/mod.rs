//! Resources of which there is always enough, and requests as they come out of the log: what is measured.

use tollgate_limiter::{
    Acquire, Anchor, Answer, CallOutcome, Command, Concurrency, Description, FixedWindow, Label, Limit,
    LimitKind, LimitName, Limiter, Outcome, PermitId, Priority, Queueing, Release, RequestId, Resource,
    ResourceName, Scope, SlidingWindow, Span, Stamp, TokenBucket,
};

/// Commands in one entry of the log, as a leader under load packs them.
pub const COMMANDS: usize = 64;

/// Between two entries: 64,000 permits a second.
const ENTRY_PERIOD: Span = Span::from_millis(1);

const PLENTY: u64 = 1_000_000_000;

/// A limiter that is led through a log.
pub struct Account {
    pub limiter: Limiter,
    stamp: Stamp,
    answers: Vec<Answer>,
}

impl Account {
    /// With so many resources of these limits, nothing acquired yet.
    pub fn new(resources: usize, limits: &[Limit], settle_within: Span) -> Account {
        let limiter = Limiter::default();
        let mut account = Account { limiter, stamp: Stamp::default(), answers: Vec::with_capacity(COMMANDS) };
        for number in 0..resources {
            let create = Command::from(resource(number, limits, settle_within));
            assert!(account.apply(&[create])[0].is_ok(), "a valid resource");
        }
        account
    }

    /// One entry.
    pub fn apply(&mut self, commands: &[Command]) -> &[Answer] {
        self.answers.clear();
        self.stamp = self.stamp.after(ENTRY_PERIOD);
        self.limiter.apply(self.stamp, commands, &mut self.answers);
        &self.answers
    }

    /// So many entries, all of which must be granted.
    pub fn grant(&mut self, entries: usize, requests: &mut Requests) {
        for _ in 0..entries {
            let granted = granted(self.apply(&requests.entry())).count();
            assert_eq!(granted, COMMANDS);
        }
    }
}

/// Requests for one resource after the other.
pub struct Requests {
    resources: usize,
    made: usize,
    with_ids: bool,
}

impl Requests {
    pub fn of(resources: usize) -> Requests {
        Requests { resources, made: 0, with_ids: false }
    }

    /// The same, each with an id.
    pub fn with_ids(self) -> Requests {
        Requests { with_ids: true, ..self }
    }

    /// As many as an entry takes.
    pub fn entry(&mut self) -> Vec<Command> {
        (0..COMMANDS).map(|_| self.request().into()).collect()
    }

    /// As decoded from the log: no text is shared.
    pub fn request(&mut self) -> Acquire {
        self.made += 1;
        let label = |text: &str| Label::new(text).expect("a valid label");
        // Resources and ids come in no order that a processor could foresee: to multiply by an odd number is a permutation
        // of the 64-bit numbers, and 7,919 is a prime that divides no number of resources measured.
        let id = (self.made as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let id = || RequestId::new(&format!("{id:016x}-0000-0000-000000000000")).expect("a valid id");
        Acquire {
            resource: name(self.made * 7_919 % self.resources),
            operation: label("contacts/read"),
            cost: 1,
            amounts: Default::default(),
            consumer: label("crm-sync"),
            subject: label(""),
            key: label(""),
            priority: Priority::Medium,
            lease: None,
            request_id: self.with_ids.then(id),
            alternatives: Vec::new(),
            coalesce_key: None,
        }
    }
}

/// Ends a permit in order.
pub fn release(permit: PermitId) -> Command {
    let outcome = CallOutcome::Ok;
    Command::Release(Release {
        permit,
        outcome,
        cost: None,
        amounts: Default::default(),
        answer: None,
        result: None,
    })
}

/// The permits among the answers.
pub fn granted(answers: &[Answer]) -> impl Iterator<Item = PermitId> {
    answers.iter().map(|answer| match answer {
        Ok(Outcome::Granted(grant)) => grant.permit,
        other => panic!("there is plenty, and yet: {other:?}"),
    })
}

/// A token bucket.
pub fn one_limit() -> Vec<Limit> {
    vec![limit("burst", LimitKind::TokenBucket(bucket(PLENTY)))]
}

/// A token bucket, any window of ten seconds, the day, and a bucket for some operations of each consumer.
pub fn four_limits() -> Vec<Limit> {
    let ten_seconds = SlidingWindow { amount: PLENTY, period: Span::from_secs(10), resolution: 20 };
    let daily = FixedWindow {
        amount: PLENTY,
        period: Span::from_secs(24 * 3600),
        anchor: Anchor::Epoch,
        max_clock_skew: Span::from_secs(1),
    };
    let of_a_consumer = Limit {
        operations: vec![Label::new("contacts/*").expect("a valid pattern")],
        scope: Scope::Consumer,
        max_scope_values: 1_000,
        ..limit("contacts", LimitKind::TokenBucket(bucket(PLENTY)))
    };
    vec![
        limit("burst", LimitKind::TokenBucket(bucket(PLENTY))),
        limit("ten-seconds", LimitKind::SlidingWindow(ten_seconds)),
        limit("daily", LimitKind::FixedWindow(daily)),
        of_a_consumer,
    ]
}

/// A bucket that one request empties for as long as anything is measured.
pub fn exhausted() -> Vec<Limit> {
    let once = TokenBucket { capacity: 1, refill_amount: 1, refill_period: Span::from_secs(24 * 3600) };
    vec![limit("burst", LimitKind::TokenBucket(once))]
}

/// Slots.
pub fn slots() -> Vec<Limit> {
    let slots = Concurrency {
        slots: 1_000,
        lease_default: Span::from_secs(60),
        lease_max: Span::from_secs(600),
        grace: Span::from_secs(1),
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    };
    vec![limit("concurrent", LimitKind::Concurrency(slots))]
}

fn bucket(capacity: u64) -> TokenBucket {
    TokenBucket { capacity, refill_amount: capacity, refill_period: Span::from_secs(1) }
}

fn limit(name: &str, kind: LimitKind) -> Limit {
    Limit {
        name: LimitName::new(name).expect("a valid name"),
        operations: vec![],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 1,
        shadow: false,
        kind,
    }
}

fn name(number: usize) -> ResourceName {
    ResourceName::new(&format!("vendor/account-{number}")).expect("a valid name")
}

/// As decoded from the log: no text is shared.
fn resource(number: usize, limits: &[Limit], settle_within: Span) -> Resource {
    let limits = minicbor::to_vec(limits).expect("definitions can be encoded");
    Resource {
        name: name(number),
        limits: minicbor::decode(&limits).expect("as they were encoded"),
        keys: vec![],
        dispatch_tolerance: Span::from_millis(500),
        settle_within,
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}
