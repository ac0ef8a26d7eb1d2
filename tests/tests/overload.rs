//! Five times as much as a cluster takes: it goes on granting, refuses the rest sooner than it grants, says when to come
//! back, and is as it was when that is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tollgate_proto::v1::{
    AcquirePermitRequest, AcquirePermitsRequest, acquire_permit_result::Result as Decided,
    permit_service_client::PermitServiceClient,
};
use tollgate_tests::{processes::Processes, samples::plenty};
use tonic::{Code, transport::Endpoint};

const RESOURCE: &str = "vendor/account";

/// Requests in one call.
const BATCH: usize = 300;

/// Calls at a time that keep the cluster busy, and that it takes.
const ENOUGH: usize = 24;

/// Calls at a time in the overload: more requests than the leader's door and the queue behind it hold (24,576).
const TOO_MANY: usize = 5 * ENOUGH;

/// One measurement; they alternate, because the machine is not the same from second to second.
const SLICE: Duration = Duration::from_millis(3_000);

/// So many of each kind, unless `TOLLGATE_OVERLOAD_SLICES` says otherwise.
const SLICES: usize = 3;

/// What is promised is 0.8. The machines that run this do much else, and all is measured with noise.
const GOODPUT_MIN: f64 = 0.6;

/// A machine that does much else may stop a node for longer than leaders may be silent by default. This is about load, though,
/// and not about machines that stop.
const PATIENT: &[&str] = &["--election-timeout", "2s"];

const MEMORY_MAX_KIB: u64 = 600 << 10;

#[derive(Default)]
struct Counts {
    granted: AtomicU64,
    refused: AtomicU64,
    /// Refused, without a word about when to come back.
    mute: AtomicU64,
    /// How long calls took of which everything was granted, and of which everything was refused.
    granted_after: Mutex<Vec<Duration>>,
    refused_after: Mutex<Vec<Duration>>,
    /// Anything else, in words.
    other: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_cluster_goes_on_granting_and_refuses_the_rest() {
    let cluster = Processes::start_with(PATIENT).await;
    cluster.client().resources().create(plenty(RESOURCE)).await.unwrap();
    let slices = std::env::var("TOLLGATE_OVERLOAD_SLICES").map_or(SLICES, |count| {
        count
            .parse()
            .ok()
            .filter(|slices| *slices > 0)
            .expect("TOLLGATE_OVERLOAD_SLICES is a number from 1 on")
    });
    // What comes before an overload, what comes in it, and what comes right after it.
    let (calm, overload) = (Arc::new(Counts::default()), Arc::new(Counts::default()));
    let (mut before, mut within, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let mut most = 0;
    slice(&cluster, &calm, ENOUGH).await;
    for _ in 0..slices {
        before.push(slice(&cluster, &calm, ENOUGH).await);
        within.push(slice(&cluster, &overload, TOO_MANY).await);
        after.push(slice(&cluster, &calm, ENOUGH).await);
        most = most.max((1..=3).map(|id| cluster.resident_kib(id)).max().unwrap_or_default());
    }
    let other = overload.other.lock().iter().chain(&*calm.other.lock()).cloned().collect::<Vec<_>>();
    assert!(other.is_empty(), "{} times, only overload is a reason to refuse: {}", other.len(), other[0]);
    let (peak, goodput, recovered) = (median(&mut before), median(&mut within), median(&mut after));
    let refused = overload.refused.load(Ordering::Relaxed);
    assert!(refused > 0, "nothing was refused: that was no overload");
    let refused_after = median(&mut overload.refused_after.lock());
    let granted_after = median(&mut overload.granted_after.lock());
    println!(
        "{peak:.0} grants/s; overloaded {goodput:.0} ({:.2}), with {refused} refused, calls of which all was refused \
         after {refused_after:?}, and those of which all was granted after {granted_after:?}; right after it \
         {recovered:.0} ({:.2}); at most {} MiB",
        goodput / peak,
        recovered / peak,
        most >> 10,
    );
    assert_eq!(overload.mute.load(Ordering::Relaxed), 0, "RetryInfo is missing");
    assert!(goodput > GOODPUT_MIN * peak, "{goodput} of {peak}");
    assert!(recovered > GOODPUT_MIN * peak, "{recovered} of {peak} when it was over");
    assert!(
        refused_after < granted_after,
        "refused after {refused_after:?}, granted after {granted_after:?}"
    );
    assert!(most < MEMORY_MAX_KIB, "{most} KiB");
}

fn median<T: Copy + PartialOrd>(of: &mut [T]) -> T {
    assert!(!of.is_empty(), "no call of {BATCH} was refused as a whole, or none was granted as a whole");
    of.sort_by(|a, b| a.partial_cmp(b).expect("no measurement is NaN"));
    of[of.len() / 2]
}

/// So many calls at a time for a while, at all nodes, until all that was asked is answered; grants a second.
async fn slice(cluster: &Processes, counts: &Arc<Counts>, callers: usize) -> f64 {
    let (stop, stopped) = watch::channel(false);
    let (before, began) = (counts.granted.load(Ordering::Relaxed), Instant::now());
    let mut calls = JoinSet::new();
    for (caller, node) in (0..callers).zip([1, 2, 3].into_iter().cycle()) {
        let address = format!("http://{}", cluster.client_address(node));
        calls.spawn(call(address, counts.clone(), stopped.clone(), caller));
    }
    sleep(SLICE).await;
    stop.send_replace(true);
    calls.join_all().await;
    (counts.granted.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
}

/// Asks for batches, one after the other; after a refusal it waits as long as it is told to.
async fn call(address: String, counts: Arc<Counts>, stopped: watch::Receiver<bool>, caller: usize) {
    let channel = Endpoint::from_shared(address).expect("an address").connect_lazy();
    let mut client = PermitServiceClient::new(channel).max_decoding_message_size(8 << 20);
    let request = AcquirePermitRequest {
        resource: RESOURCE.to_owned(),
        consumer: format!("caller-{caller}"),
        ..AcquirePermitRequest::default()
    };
    while !*stopped.borrow() {
        let batch = AcquirePermitsRequest { requests: vec![request.clone(); BATCH] };
        let began = Instant::now();
        let answer = match client.acquire_permits(batch).await {
            Ok(answer) => answer,
            Err(status) => return counts.other.lock().push(format!("{status:?}")),
        };
        let took = began.elapsed();
        let (mut refused, mut pause) = (0, Duration::ZERO);
        for result in answer.into_inner().results {
            match result.result {
                Some(Decided::Response(_)) => _ = counts.granted.fetch_add(1, Ordering::Relaxed),
                Some(Decided::Error(error)) if error.code == i32::from(Code::ResourceExhausted) => {
                    refused += 1;
                    match error.retry_after.and_then(|after| Duration::try_from(after).ok()) {
                        Some(after) => pause = pause.max(after),
                        None => _ = counts.mute.fetch_add(1, Ordering::Relaxed),
                    }
                }
                other => return counts.other.lock().push(format!("{other:?}")),
            }
        }
        counts.refused.fetch_add(refused, Ordering::Relaxed);
        match refused as usize {
            0 => counts.granted_after.lock().push(took),
            BATCH => counts.refused_after.lock().push(took),
            _ => {}
        }
        sleep(pause).await;
    }
}
