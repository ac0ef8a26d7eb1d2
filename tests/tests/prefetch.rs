//! Permits that clients take in advance, before whole nodes: limits hold, what is not used comes back, and what a client that
//! crashes had taken is lost, no more.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tollgate_client::{
    Client, Error, Prefetch, PrefetchBounds, Prefetched,
    v1::{Concurrency, GetResourceUsageRequest, LeakyBucket, Limit, Resource, SlidingWindow, limit::Kind},
};
use tollgate_limiter::{
    Acquire, Command, Denial, DenialReason, Grant, Label, LimitName, Outcome, Priority, ResourceName,
    StoredResource,
};
use tollgate_server::grpc::convert::definition::definition;
use tollgate_tests::{
    check::{Verdict, intervals},
    cluster::{Cluster, PATIENCE},
    history::{Call, ClientId, History, Reply},
    samples::seconds,
    torture::{load::permit_id, recorder::Recorder, way::Way},
};

const NAME: &str = "vendor/prefetched";
const LONG: Duration = Duration::from_secs(10);

/// A resource with one limit, whose permits may be used for so long.
fn resource(kind: Kind, dispatch_tolerance: Duration) -> Resource {
    let limit = Limit { name: "only".to_owned(), kind: Some(kind), ..Limit::default() };
    let tolerance = prost_types::Duration::try_from(dispatch_tolerance).expect("a short time");
    Resource {
        name: NAME.to_owned(),
        limits: vec![limit],
        dispatch_tolerance: Some(tolerance),
        ..Resource::default()
    }
}

fn window(amount: u64, period: i64) -> Kind {
    Kind::SlidingWindow(SlidingWindow { amount, period: seconds(period), ..SlidingWindow::default() })
}

async fn with(resource: Resource) -> (Cluster, Client) {
    let cluster = Cluster::start(3);
    cluster.leader().await;
    let client = client_of(&cluster);
    client.resources().create(resource).await.expect("the resource is new");
    (cluster, client)
}

fn client_addresses(cluster: &Cluster) -> Vec<String> {
    [1, 2, 3].map(|id| cluster.client_address(id).to_owned()).to_vec()
}

fn client_of(cluster: &Cluster) -> Client {
    Client::connect(client_addresses(cluster)).expect("addresses of nodes")
}

fn prefetch(client: &Client, share_percent: u32, hold: Duration) -> Prefetch {
    client.acquire(NAME).prefetch(PrefetchBounds { share_percent, hold }).expect("bounds in range")
}

/// What the only limit has in use.
async fn used(client: &Client) -> u64 {
    let request = GetResourceUsageRequest { name: NAME.to_owned(), ..Default::default() };
    let usage = client.resources().usage(request).await.expect("the cluster answers");
    usage.limits[0].counters.first().map_or(0, |counter| counter.used)
}

/// Takes until it is denied.
async fn take_all(permits: Prefetch) -> u64 {
    for taken in 0.. {
        match permits.take().await {
            Ok(_) => {}
            Err(Error::Denied(_)) => return taken,
            Err(error) => panic!("neither a permit nor a denial: {error}"),
        }
    }
    unreachable!("a limit is exhausted at last")
}

#[tokio::test]
async fn what_is_not_used_comes_back_and_no_more() {
    let (cluster, client) = with(resource(window(400, 3_600), Duration::from_millis(200))).await;
    let mut takers = JoinSet::new();
    for _ in 0..3 {
        let permits = prefetch(&client_of(&cluster), 20, LONG);
        for _ in 0..2 {
            takers.spawn(take_all(permits.clone()));
        }
    }
    let taken: u64 = takers.join_all().await.into_iter().sum();
    assert!(taken <= 400, "{taken} of 400 were handed out");
    let settled = async {
        while used(&client).await != taken {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("in use is what was handed out, at last");
}

/// What callers make of permits that were taken in advance, in the words of a history: each of their calls is a request of its
/// own, which begins when it is asked for and is granted when it may be made.
#[derive(Default)]
struct Notes(Recorder);

impl Notes {
    /// The resource is there, and stays as it is.
    fn defined(&self, wire: Resource) {
        let resource = definition(wire).expect("a test is well-defined");
        let invoked = self.0.invoke(0, Way::default(), Call::new(Command::from(resource.clone())));
        let stored = Outcome::Stored(StoredResource::new(resource, 1));
        self.0.reply(invoked, Reply::Answer(Ok(stored)));
    }

    /// Takes one, and tells when its call was made, if it was not too late for that.
    async fn call(&self, caller: ClientId, permits: &Prefetch) -> Result<Option<Instant>, Error> {
        let invoked = self.0.invoke(caller, Way::default(), Call::new(Command::from(unit())));
        let taken = permits.take().await;
        let dispatched = Instant::now();
        let reply = match &taken {
            Ok(permit) if permit.ensure_usable().is_err() => None,
            Ok(permit) => Some(granted(permit)),
            Err(Error::Denied(_)) => Some(denied()),
            Err(error) => panic!("neither a permit nor a denial: {error}"),
        };
        // A permit that was too late is a call that nobody made.
        let is_granted = matches!(reply, Some(Outcome::Granted(_)));
        self.0.reply(invoked, reply.map_or(Reply::NotDone, |outcome| Reply::Answer(Ok(outcome))));
        taken.map(|_| is_granted.then_some(dispatched))
    }

    fn take(&self) -> History {
        self.0.take().0
    }
}

/// A request for one call.
fn unit() -> Acquire {
    Acquire {
        resource: ResourceName::new(NAME).expect("a name"),
        operation: Label::default(),
        cost: 1,
        amounts: Default::default(),
        consumer: Label::default(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::Medium,
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: None,
    }
}

fn granted(permit: &Prefetched) -> Outcome {
    Outcome::Granted(Grant {
        permit: permit_id(permit.permit_id()),
        key: Label::default(),
        use_within: None,
        lease: None,
        slots: Default::default(),
        usage: Default::default(),
        replayed: false,
        alternative: 0,
    })
}

fn denied() -> Outcome {
    Outcome::Denied(Denial {
        limit: LimitName::new("only").ok(),
        exhausted: vec![],
        retry_after: None,
        reason: DenialReason::LimitExhausted,
        alternative: 0,
    })
}

#[tokio::test]
async fn no_window_sees_more_calls_than_its_limit() {
    const AMOUNT: usize = 50;
    let windowed = resource(window(AMOUNT as u64, 1), Duration::from_millis(200));
    let (cluster, _) = with(windowed.clone()).await;
    let notes = Arc::new(Notes::default());
    notes.defined(windowed);
    let mut callers = JoinSet::new();
    for caller in 1..=2 {
        let permits = prefetch(&client_of(&cluster), 30, LONG);
        let notes = notes.clone();
        callers.spawn(async move {
            let mut calls = Vec::new();
            while calls.len() < 2 * AMOUNT {
                match notes.call(caller, &permits).await {
                    Ok(call) => calls.extend(call),
                    Err(Error::Denied(denial)) => sleep(denial.retry_after.unwrap_or_default()).await,
                    Err(error) => panic!("neither a permit nor a denial: {error}"),
                }
            }
            calls
        });
    }
    let calls = timeout(PATIENCE, callers.join_all()).await.expect("some seconds let them all through");
    let mut calls: Vec<_> = calls.into_iter().flatten().collect();
    calls.sort_unstable();
    for crowded in calls.windows(AMOUNT + 1) {
        let within = crowded[AMOUNT] - crowded[0];
        assert!(within >= Duration::from_secs(1), "{} calls in {within:?}", crowded.len());
    }

    let mut verdict = Verdict::default();
    intervals::check(&notes.take(), &mut verdict);
    assert!(verdict.is_good(), "{verdict}");
    assert_eq!(verdict.seen["S1 grants in real time"], calls.len() as u64);
    assert!(verdict.seen["S1 denials by judged windows"] > 0, "{verdict}");
}

#[tokio::test]
async fn what_a_crashed_client_had_taken_is_lost_and_no_more() {
    // Nothing tells a call's time to dispatch, so that a slow machine does not end a chunk early.
    let (cluster, client) = with(resource(window(100, 3_600), Duration::ZERO)).await;
    let doomed = client_addresses(&cluster);
    let crashed = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let permits = runtime.block_on(async {
            let client = Client::connect(doomed).expect("addresses of nodes");
            let permits = prefetch(&client, 50, LONG);
            for _ in 0..8 {
                let _ = permits.take().await.expect("there is room");
            }
            permits
        });
        runtime.shutdown_background();
        drop(permits);
    });
    tokio::task::spawn_blocking(move || crashed.join()).await.expect("it is waited for").expect("it ends");
    // Chunks of 1, 2, 4 and 8, the last of which had one handed out.
    assert_eq!(used(&client).await, 15);
    let others = take_all(prefetch(&client, 50, LONG)).await;
    assert_eq!(others, 85, "all that is left");
}

#[tokio::test]
async fn what_cannot_be_divided_is_refused_and_given_back() {
    let slots = Kind::Concurrency(Concurrency { slots: 5, ..Concurrency::default() });
    let leaky = Kind::LeakyBucket(LeakyBucket { amount: 5, period: seconds(3_600) });
    for kind in [slots, leaky] {
        let (_cluster, client) = with(resource(kind, Duration::ZERO)).await;
        let refused = prefetch(&client, 50, LONG).take().await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        assert_eq!(used(&client).await, 0);
    }
}

#[tokio::test]
async fn a_permit_that_is_put_back_is_handed_out_again() {
    let (_cluster, client) = with(resource(window(10, 3_600), Duration::ZERO)).await;
    let permits = prefetch(&client, 100, LONG);
    let _ = permits.take().await.expect("there is room");
    let of_two = permits.take().await.expect("there is room");
    permits.put_back(of_two);
    let again: Vec<_> = std::iter::from_fn(|| permits.try_take()).collect();
    assert_eq!(again.len(), 2);
    assert_eq!(used(&client).await, 3);
}

#[tokio::test]
async fn bounds_are_checked() {
    let client = Client::from_env().expect("addresses");
    let (share_percent, hold) = (5, LONG);
    for bounds in [
        PrefetchBounds { share_percent: 0, hold },
        PrefetchBounds { share_percent: 101, hold },
        PrefetchBounds { share_percent, hold: Duration::ZERO },
        PrefetchBounds { share_percent, hold: Duration::from_secs(11) },
    ] {
        assert!(matches!(client.acquire(NAME).prefetch(bounds), Err(Error::Invalid { .. })), "{bounds:?}");
    }
    let named = client.acquire(NAME).request_id("mine").prefetch(PrefetchBounds::default());
    assert!(matches!(named, Err(Error::Invalid { .. })));
    let either = client.acquire(NAME).or("vendor/other").prefetch(PrefetchBounds::default());
    assert!(matches!(either, Err(Error::Invalid { .. })));
}
