//! What it costs to wake one of many who wait, and what each of them takes of memory.
//!
//! `just bench-queue` runs it; docs/PERFORMANCE.md has figures.

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use tollgate_limiter::{
    Acquire, CallOutcome, Command, Concurrency, Description, Label, Limit, LimitKind, LimitName, Limiter,
    Outcome, PermitId, Priority, Queueing, Release, RequestId, Resource, ResourceName, Scope, Span,
};
use tollgate_waiting::{Moment, Turn, Waiter, WaitingQueue};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const WAITERS: [usize; 4] = [100, 1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

/// One slot is released: the next one is found, granted, and comes to wait again, so that the number stays.
#[divan::bench(args = WAITERS)]
fn wake_one_of_a_single_consumer(bencher: Bencher, waiters: usize) {
    let mut leader = Leader::with(waiters, 1);
    bencher.bench_local(|| leader.wake_one());
}

/// The same with a consumer for each hundred that wait.
#[divan::bench(args = WAITERS)]
fn wake_one_of_many_consumers(bencher: Bencher, waiters: usize) {
    let mut leader = Leader::with(waiters, waiters / 100);
    bencher.bench_local(|| leader.wake_one());
}

/// The same with a consumer for each that waits.
#[divan::bench(args = WAITERS)]
fn wake_one_of_as_many_consumers(bencher: Bencher, waiters: usize) {
    let mut leader = Leader::with(waiters, waiters);
    bencher.bench_local(|| leader.wake_one());
}

/// One gives up.
#[divan::bench(args = WAITERS)]
fn cancel_and_ask_again(bencher: Bencher, waiters: usize) {
    let mut leader = Leader::with(waiters, waiters / 100);
    bencher.bench_local(|| leader.cancel_one());
}

/// `max alloc` divided by the number is what one that waits takes, its request included.
#[divan::bench(args = WAITERS, sample_count = 5, sample_size = 1)]
fn park(bencher: Bencher, waiters: usize) {
    let bencher = bencher.counter(ItemsCount::new(waiters));
    bencher.bench_local(|| Leader::with(waiters, waiters / 100));
}

/// A resource with one slot, which is held, and those who wait for it.
struct Leader {
    limiter: Limiter,
    queue: WaitingQueue<u64>,
    now: Moment,
    consumers: usize,
    asked: usize,
    held: Option<PermitId>,
}

impl Leader {
    fn with(waiters: usize, consumers: usize) -> Leader {
        let mut leader = Leader {
            limiter: Limiter::default(),
            queue: WaitingQueue::default(),
            now: Moment::default(),
            consumers,
            asked: 0,
            held: None,
        };
        leader.apply(Command::from(resource()));
        let first = leader.request();
        leader.held = leader.apply(Command::Acquire(first));
        for _ in 0..waiters {
            leader.ask();
        }
        leader.wake_nobody();
        leader
    }

    fn wake_one(&mut self) {
        self.now.monotonic = self.now.monotonic + Span::from_millis(1);
        self.now.stamp = self.now.stamp.after(Span::from_millis(1));
        let permit = self.held.take().expect("the slot is always held");
        let (outcome, cost) = (CallOutcome::Ok, None);
        let release = Command::Release(Release {
            permit,
            outcome,
            cost,
            amounts: Default::default(),
            answer: None,
            result: None,
        });
        let freed = self.limiter.freed_by(&release).expect("the permit holds the slot");
        self.apply(release);
        self.queue.freed(&freed);
        let turns = self.queue.take_turns(&self.limiter, self.now, &|_| true, 1_000);
        assert_eq!(turns.len(), 1, "one slot, one turn");
        for turn in turns {
            let Turn::Go { waiter, alternative, .. } = turn else { panic!("nobody's patience is over") };
            self.held = self.apply(Command::AcquireFrom { acquire: waiter.acquire, alternative });
        }
        self.ask();
    }

    fn cancel_one(&mut self) {
        let acquire = self.request();
        let waiter = Waiter { acquire, waited_for: Span::ZERO, patience: Span::from_secs(3600), caller: 0 };
        let id = self.queue.enter(waiter, &self.limiter, self.now).expect("there is room");
        self.wake_nobody();
        self.queue.leave(id).expect("it waits");
        self.wake_nobody();
    }

    fn ask(&mut self) {
        let acquire = self.request();
        let patience = Span::from_secs(24 * 3600);
        let waiter = Waiter { acquire, waited_for: Span::ZERO, patience, caller: 0 };
        self.queue.enter(waiter, &self.limiter, self.now).expect("there is room");
    }

    fn wake_nobody(&mut self) {
        while self.queue.next_wake() == Some(self.now.monotonic) {
            let turns = self.queue.take_turns(&self.limiter, self.now, &|_| true, 1_000);
            assert!(turns.is_empty(), "the slot is held");
        }
    }

    /// As decoded from the wire: no text is shared.
    fn request(&mut self) -> Arc<Acquire> {
        self.asked += 1;
        let label = |text: &str| Label::new(text).expect("a valid label");
        Arc::new(Acquire {
            resource: name(),
            operation: label("contacts/read"),
            cost: 1,
            amounts: Default::default(),
            consumer: label(&format!("consumer-{}", self.asked % self.consumers)),
            subject: Label::default(),
            key: Label::default(),
            priority: Priority::Medium,
            lease: None,
            request_id: Some(RequestId::new(&format!("{:036}", self.asked)).expect("a valid id")),
            alternatives: Vec::new(),
            coalesce_key: None,
        })
    }

    fn apply(&mut self, command: Command) -> Option<PermitId> {
        let mut answers = Vec::new();
        self.limiter.apply(self.now.stamp, &[command], &mut answers);
        match answers.pop() {
            Some(Ok(Outcome::Granted(grant))) => Some(grant.permit),
            _ => None,
        }
    }
}

fn name() -> ResourceName {
    ResourceName::new("salesforce/acme").expect("a valid name")
}

fn resource() -> Resource {
    let slots = Concurrency {
        slots: 1,
        lease_default: Span::from_secs(600),
        lease_max: Span::from_secs(600),
        grace: Span::ZERO,
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    };
    Resource {
        name: name(),
        limits: vec![Limit {
            name: LimitName::new("concurrent").expect("a valid name"),
            operations: vec![],
            dimension: None,
            scope: Scope::Resource,
            max_scope_values: 1,
            shadow: false,
            kind: LimitKind::Concurrency(slots),
        }],
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::ZERO,
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing {
            max_waiters: 200_000,
            max_waiters_per_consumer: 200_000,
            ageing: Span::from_secs(3600),
        },
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}
