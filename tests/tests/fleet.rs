//! A fleet that wants more than there is, on real processes: a thousand waiters of three priorities and ten consumers on
//! one resource, some of which give up or crash, and a leader that is killed. [`tollgate_tests::fleet`] says what must hold.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tollgate_client::{
    Client, Error, Permit, Priority,
    v1::{Budget, Concurrency, GetResourceUsageRequest, Limit, Resource, TokenBucket, limit::Kind},
};
use tollgate_tests::{
    cluster::PATIENCE,
    fleet::{End, Granted, Limits, Request, Run, judge},
    processes::Processes,
    samples::seconds,
};

const NAME: &str = "vendor/fleet";
/// The bucket holds what comes in three seconds: a machine that stands still for so long loses nothing.
const LIMITS: Limits = Limits { slots: 60, capacity: 300, per_second: 100 };
const LEASE_SECONDS: i64 = 5;
const WEIGHTS: [u64; 10] = [1, 1, 1, 1, 1, 2, 2, 2, 4, 4];
const WORKERS: u64 = 1_000;

/// How long everybody asks again and again; `TOLLGATE_FLEET_SECONDS` makes it longer.
const BUSY_SECONDS: u64 = 30;

/// Longer than all of them need together.
const MAX_WAIT: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiters_have_their_turns_while_clients_and_the_leader_die() {
    let busy = std::env::var("TOLLGATE_FLEET_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let busy = Duration::from_secs(busy.unwrap_or(BUSY_SECONDS));
    let mut processes = Processes::start().await;
    processes.client().resources().create(resource()).await.unwrap();

    let began = Instant::now();
    let fleet = Arc::new(Fleet { began, until: began + busy });
    let (requests, mut recorded) = unbounded_channel();
    let mut workers = JoinSet::new();
    let clients: Vec<Client> = WEIGHTS.iter().map(|_| processes.client()).collect();
    for number in 0..WORKERS {
        let worker = Worker::new(number, &clients, requests.clone());
        workers.spawn(worker.work(fleet.clone()));
    }
    drop(requests);

    sleep_until(began + busy / 3).await;
    let leader = processes.leader().await;
    processes.kill(leader);
    let killed_at = began.elapsed();
    sleep(Duration::from_secs(3)).await;
    processes.restart(leader);

    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let mut requests = Vec::new();
    while let Some(request) = recorded.recv().await {
        requests.push(request);
    }
    let free_at_the_end = free_slots(&processes.client()).await;
    // The first have come by then, and the last have not left.
    let busy = Duration::from_secs(3)..busy;
    let weights = WEIGHTS.to_vec();
    let run = Run { limits: LIMITS, weights, requests, busy, killed_at: Some(killed_at), free_at_the_end };
    report(&run);
    let problems = judge(&run);
    assert!(problems.is_empty(), "{problems:#?}; the nodes' logs are in {:?}", processes.keep_logs());
}

fn resource() -> Resource {
    let slots = Kind::Concurrency(Concurrency {
        slots: LIMITS.slots as u32,
        lease_default: seconds(LEASE_SECONDS),
        lease_max: seconds(LEASE_SECONDS),
        ..Concurrency::default()
    });
    let rate = Kind::TokenBucket(TokenBucket {
        capacity: LIMITS.capacity,
        refill_amount: LIMITS.per_second,
        refill_period: seconds(1),
    });
    let limit = |name: &str, kind| Limit { name: name.into(), kind: Some(kind), ..Limit::default() };
    let budget = |weight: u64| Budget {
        name: format!("weight-{weight}"),
        consumers: (0..WEIGHTS.len()).filter(|of| WEIGHTS[*of] == weight).map(consumer).collect(),
        weight: weight as u32,
        ..Budget::default()
    };
    Resource {
        name: NAME.into(),
        limits: vec![limit("slots", slots), limit("rate", rate)],
        budgets: [1, 2, 4].map(budget).to_vec(),
        ageing: seconds(5),
        ..Resource::default()
    }
}

fn consumer(number: usize) -> String {
    format!("consumer-{number}")
}

/// What all workers go by.
struct Fleet {
    began: Instant,
    until: Instant,
}

/// One that asks, works and asks again.
struct Worker {
    number: u64,
    consumer: usize,
    priority: Priority,
    client: Client,
    requests: UnboundedSender<Request>,
}

impl Worker {
    fn new(number: u64, clients: &[Client], requests: UnboundedSender<Request>) -> Worker {
        let consumer = (number % 10) as usize;
        let priority = match number / 10 % 10 {
            0..4 => Priority::High,
            4..7 => Priority::Medium,
            _ => Priority::Low,
        };
        Worker { number, consumer, priority, client: clients[consumer].clone(), requests }
    }

    async fn work(self, fleet: Arc<Fleet>) {
        for round in 0.. {
            if Instant::now() >= fleet.until {
                return;
            }
            let luck = mix(self.number << 32 | round);
            let asked_at = fleet.began.elapsed();
            let (ended_at, end) = self.ask(&fleet, luck).await;
            let Worker { consumer, priority, .. } = self;
            let request = Request { consumer, priority, asked_at, ended_at, end };
            self.requests.send(request).expect("somebody records");
        }
    }

    /// One of twenty gives up after a while, one of twenty has little patience.
    async fn ask(&self, fleet: &Fleet, luck: u64) -> (Duration, End) {
        let a_while = Duration::from_millis(luck >> 8 & 2047);
        let patience = if luck % 20 == 1 { a_while } else { MAX_WAIT };
        let gives_up_after = if luck.is_multiple_of(20) { a_while } else { PATIENCE.max(MAX_WAIT) };
        let asking = self
            .client
            .acquire(NAME)
            .consumer(consumer(self.consumer))
            .priority(self.priority)
            .wait_up_to(patience);
        let answer = timeout(gives_up_after, asking).await;
        let ended_at = fleet.began.elapsed();
        let end = match answer {
            Err(_) => End::Cancelled,
            Ok(Ok(permit)) => End::Granted(self.hold(fleet, permit, luck).await),
            Ok(Err(Error::Denied(_))) => End::Denied,
            Ok(Err(error)) => End::Failed(error.to_string()),
        };
        (ended_at, end)
    }

    /// Holds the slot for a while. One of a hundred crashes: it says nothing more.
    async fn hold(&self, fleet: &Fleet, permit: Permit, luck: u64) -> Granted {
        let slot = permit.slots()[0].clone();
        sleep(Duration::from_millis(20 + (luck >> 20) % 60)).await;
        let held_until = fleet.began.elapsed();
        if luck % 100 == 50 {
            permit.detach();
        } else {
            // After a lease has run out, as on a machine that stood still, there is nothing left to release.
            let _ = permit.release().await;
        }
        Granted { slot: slot.index, generation: slot.generation, held_until }
    }
}

/// How many slots are free once all leases have ended.
async fn free_slots(client: &Client) -> u64 {
    let ended = async {
        loop {
            let request = GetResourceUsageRequest { name: NAME.into(), ..Default::default() };
            let usage = client.resources().usage(request).await.expect("the cluster answers");
            let slots =
                usage.limits.iter().find(|limit| limit.limit == "slots").expect("the resource has slots");
            let used = slots.counters.first().map_or(0, |counter| counter.used);
            if used == 0 && usage.waiting == 0 {
                return LIMITS.slots - used;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap_or_default()
}

fn report(run: &Run) {
    let ended = |which: fn(&End) -> bool| run.requests.iter().filter(|request| which(&request.end)).count();
    let outage = run.outage();
    println!(
        "{} requests: {} granted, {} denied, {} cancelled; outage {:.1?}; {:.2} % used; shares {:?}",
        run.requests.len(),
        run.grants().len(),
        ended(|end| *end == End::Denied),
        ended(|end| *end == End::Cancelled),
        outage.end - outage.start,
        run.used() * 100.0,
        run.shares(),
    );
    println!("killed at {:.1?}; granted in each second: {:?}", run.killed_at, run.by_second());
}

/// SplitMix64's finalizer: the same luck in each run.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
