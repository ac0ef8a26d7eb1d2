//! The proof that counts: what a *vendor* sees of a fleet of 200 workers in four processes, with three nodes between them.
//!
//! These are short forms, for machines that do much else. `just e2e` runs them for minutes, with a queue of 50,000 and the
//! shares that are promised; `docs/END_TO_END.md` has what came of it. No assertion is about a time on a clock: the vendor's
//! limits, and shares of them, are what counts.

use std::{env, path::PathBuf, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};
use tollgate_client::{
    Priority,
    v1::{GetResourceUsageRequest, HeldSlot, Resource, limit::Kind},
};
use tollgate_demo::{Scene, Tally, Vendor, VendorClient};
use tollgate_mock_vendor::{Ledger, MockVendor, Outage};
use tollgate_tests::{
    cluster::PATIENCE,
    crews::{CREWS, Crews, Terms},
    processes::Processes,
};

const RESOURCE: &str = "vendor/fleet";

/// How long, how many and how strict.
struct Size {
    /// How long a fleet works.
    work: Duration,
    /// How long the vendor is out of order.
    outage: Duration,
    /// How many processes are killed.
    kills: usize,
    /// How many wait while an urgent one comes.
    queue: usize,
    /// By how much windows are shorter than ten seconds.
    faster: u32,
    /// How long permits may be used; none: as the scene says.
    tolerance: Option<Duration>,
    /// The part of the capacity that must be used.
    share: f64,
}

/// On a machine that stands still for half a second now and then.
const SHORT: Size = Size {
    work: Duration::from_secs(9),
    outage: Duration::from_secs(2),
    kills: 3,
    queue: 3_000,
    faster: 2,
    tolerance: Some(Duration::from_millis(400)),
    share: 0.75,
};

/// With windows of ten seconds, on a machine that does nothing else.
const LONG: Size = Size {
    work: Duration::from_secs(75),
    outage: Duration::from_secs(120),
    kills: 20,
    queue: 50_000,
    faster: 1,
    tolerance: None,
    share: 0.97,
};

fn size() -> &'static Size {
    if env::var_os("TOLLGATE_E2E_LONG").is_some() { &LONG } else { &SHORT }
}

/// Two cores are hardly enough for one fleet.
async fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A cluster, a vendor, and what joins them.
struct Stage {
    processes: Processes,
    vendor: MockVendor,
    scene: Scene,
}

impl Stage {
    /// With windows of ten seconds (and calls of two to three), or shorter ones.
    async fn set(vendor: Vendor) -> Stage {
        let to_ten_seconds = match vendor {
            Vendor::Hubspot => 1,
            Vendor::Salesforce => 10,
            Vendor::Salesloft | Vendor::Apollo => 6,
        };
        let scene = Scene { vendor, faster: to_ten_seconds * size().faster };
        let processes = Processes::start().await;
        let mut resource = scene.resource(RESOURCE);
        if let Some(tolerance) = size().tolerance {
            resource.dispatch_tolerance = tolerance.try_into().ok();
        }
        let resource = Resource { max_waiters: 200_000, max_waiters_per_consumer: 200_000, ..resource };
        processes.client().resources().create(resource).await.expect("the resource is new");
        let vendor = MockVendor::start(scene.profile()).await.expect("a free port");
        Stage { processes, vendor, scene }
    }

    fn crews(&self) -> Crews {
        let built_here = || PathBuf::from(env!("CARGO_BIN_EXE_crew"));
        Crews::start(Terms {
            program: env::var_os("TOLLGATE_CREW").map_or_else(built_here, PathBuf::from),
            nodes: [1, 2, 3].map(|id| self.processes.client_address(id)).to_vec(),
            url: self.vendor.url(),
            scene: self.scene,
            resource: RESOURCE.to_owned(),
        })
    }

    /// What the vendor saw, when no call is on its way any more.
    async fn ledger(&self) -> Ledger {
        sleep(Duration::from_millis(500)).await;
        self.vendor.ledger()
    }

    async fn slots_held(&self) -> Vec<HeldSlot> {
        let request = GetResourceUsageRequest { name: RESOURCE.into(), ..Default::default() };
        self.processes.client().resources().usage(request).await.expect("the cluster answers").held
    }

    async fn waiting(&self) -> u64 {
        let request = GetResourceUsageRequest { name: RESOURCE.into(), ..Default::default() };
        self.processes.client().resources().usage(request).await.expect("the cluster answers").waiting
    }
}

/// Nobody was refused, and no worker met with anything that it could not mend.
fn assert_clean(ledger: &Ledger, tally: &Tally) {
    assert_eq!(ledger.refused().count(), 0, "{:?}", ledger.refused_by_limit());
    assert_eq!((tally.throttled, &tally.problems), (0, &vec![]));
}

/// A fleet at work on one vendor; the part of the capacity that it used.
async fn no_call_is_refused_and_the_capacity_is_used(vendor: Vendor) {
    let _turn = one_at_a_time().await;
    let stage = Stage::set(vendor).await;
    let up_at = stage.vendor.now() + stage.scene.window();
    let crews = stage.crews();
    sleep(stage.scene.window() + size().work).await;
    let until = stage.vendor.now();
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    let share = stage.vendor.share_used(&(up_at..until)).expect("a whole window");
    println!(
        "{vendor:?}: {} calls, {} refused, {} permits came too late; {:.2} % of the capacity used; interactive work p95 {:.2?}",
        ledger.calls.len(),
        ledger.refused().count(),
        tally.given_back,
        share * 100.0,
        tally.interactive_quantile(0.95).unwrap_or_default(),
    );
    assert_clean(&ledger, &tally);
    assert_eq!((tally.retries, tally.given_up), (0, 0));
    assert!(share >= size().share, "{:.2} % of the capacity used", share * 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_rolls_is_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Hubspot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_for_long_calls_are_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Salesforce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_cost_is_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Salesloft).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_open_with_a_call_are_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Apollo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_comes_back_is_not_stormed() {
    let _turn = one_at_a_time().await;
    for outage in [Outage::Failing, Outage::Hanging] {
        let stage = Stage::set(Vendor::Hubspot).await;
        let crews = stage.crews();
        sleep(stage.scene.window() * 3 / 2).await;
        stage.vendor.fail_for(outage, size().outage);
        sleep(size().outage + stage.scene.window() * 3 / 2).await;
        let tally = crews.stop().await;
        let ledger = stage.ledger().await;
        let first_second = ledger.after_outages(Duration::from_secs(1))[0];
        let most = ledger.most_in_any(stage.scene.window());
        println!(
            "{outage:?} for {:?}: {} calls met with it, {first_second} came in the second after; never more than {most} \
             in {:?}",
            size().outage,
            ledger.down().count(),
            stage.scene.window(),
        );
        assert_clean(&ledger, &tally);
        assert!(ledger.down().count() > 0, "nobody noticed the outage");
        // The vendor did not count those of the outage, but it saw them.
        assert!(most <= 190, "{most} calls within {:?}", stage.scene.window());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_keep_no_slot_beyond_lease_and_grace() {
    let _turn = one_at_a_time().await;
    let stage = Stage::set(Vendor::Salesforce).await;
    let longest = lease_and_grace(&stage.scene.resource(RESOURCE));
    let mut crews = stage.crews();
    sleep(stage.scene.window() * 2).await;
    let mut orphaned = 0;
    for kill in 0..size().kills {
        // Those in one place are the first, then the fifth, the ninth… of all; in the next the second, the sixth…
        let killed = Crews::consumer(kill as u32);
        crews.replace(kill % CREWS).await;
        let is_of_killed = |slot: &HeldSlot| slot.consumer == killed;
        let held = stage.slots_held().await;
        let left =
            held.iter().filter(|slot| is_of_killed(slot)).map(|slot| slot.lease_left.unwrap_or_default());
        let left: Vec<_> = left.filter_map(|left| Duration::try_from(left).ok()).collect();
        assert!(left.iter().all(|left| *left <= longest), "{left:?}");
        orphaned += left.len();
        // Twice the time, for a machine that is slow; a slot that is renewed or forgotten is held for ever.
        let all_are_free = async {
            while stage.slots_held().await.iter().any(is_of_killed) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(longest * 2, all_are_free).await.expect("slots of the killed come back");
    }
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    println!(
        "{} processes of 50 workers killed, which held {orphaned} slots: {} calls, at most {} at a time, {} refused",
        size().kills,
        ledger.calls.len(),
        ledger.highest_concurrency,
        ledger.refused().count(),
    );
    assert!(orphaned > 0, "none of the killed held a slot");
    assert_clean(&ledger, &tally);
}

fn lease_and_grace(resource: &Resource) -> Duration {
    let Some(Kind::Concurrency(slots)) = &resource.limits[0].kind else { panic!("a resource with slots") };
    let both = [slots.lease_max, slots.grace].map(|part| Duration::try_from(part.expect("both are stated")));
    both.into_iter().map(|part| part.expect("positive")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_call_overtakes_all_that_wait() {
    let _turn = one_at_a_time().await;
    let stage = Stage::set(Vendor::Salesforce).await;
    let queue = size().queue;
    for first in (0..queue).step_by(PER_STREAM) {
        park(&stage, PER_STREAM.min(queue - first));
    }
    let all_wait = async {
        while (stage.waiting().await as usize) < queue - SLOTS {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE * 4, all_wait).await.expect("the queue takes them in");

    let client = stage.processes.client();
    let asked_at = stage.vendor.now();
    let urgent = client.acquire(RESOURCE).consumer("urgent").priority(Priority::High).wait_up_to(PATIENCE);
    let permit = urgent.await.expect("a permit");
    let overtaken = stage.waiting().await as usize;
    VendorClient::new(&stage.vendor.url(), stage.scene).call_once("urgent").await;
    permit.release().await.expect("the permit is held");

    let ledger = stage.ledger().await;
    let urgent = ledger.calls.iter().position(|call| call.label == "urgent").expect("it called");
    let before = ledger.calls[..urgent].iter().filter(|call| call.at >= asked_at).count();
    println!(
        "an urgent call overtook {overtaken} of {queue}; {before} calls went between its request and itself"
    );
    assert_eq!(ledger.refused().count(), 0, "{:?}", ledger.refused_by_limit());
    // Those that had their permits already, and were on their way; and those whose turn came with its own.
    assert!(before <= 2 * SLOTS, "{before} calls were let in before it");
    assert!(overtaken + 10 * SLOTS >= queue, "only {overtaken} still waited");
}

/// Of the vendor like Salesforce.
const SLOTS: usize = 25;

/// Half of what one stream may have waiting.
const PER_STREAM: usize = 5_000;

/// Lets so many bulk calls wait, on a stream of their own, until the test ends.
fn park(stage: &Stage, count: usize) {
    let client = stage.processes.client();
    let stream = client.stream();
    let vendor = VendorClient::new(&stage.vendor.url(), stage.scene);
    for _ in 0..count {
        let (client, stream, vendor) = (client.clone(), stream.clone(), vendor.clone());
        tokio::spawn(async move {
            let bulk = client.acquire(RESOURCE).consumer("bulk").priority(Priority::Low);
            // Those that still wait at the end are told so.
            if let Ok(permit) = stream.acquire(bulk.wait_up_to(Duration::from_secs(3_000))).await {
                vendor.call_once("queued").await;
                let _ = permit.release().await;
            }
        });
    }
}
