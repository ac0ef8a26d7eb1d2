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
    time::{Instant, interval, sleep},
};
use tollgate_proto::v1::{
    AcquirePermitRequest, AcquirePermitsRequest, acquire_permit_result::Result as Decided,
    permit_service_client::PermitServiceClient,
};
use tollgate_tests::{
    machine::{fails_if, judged_while_working},
    processes::Processes,
    samples::plenty,
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

const RESOURCE: &str = "vendor/account";

/// Requests in one call.
const BATCH: usize = 300;

/// Calls at a time that keep the cluster busy, and that it takes.
const ENOUGH: usize = 24;

/// Calls at a time in an overload by callers who come back when they are told to: more requests than the leader's door and the queue
/// behind it hold (24,576).
const TOO_MANY: usize = 5 * ENOUGH;

/// Requests a second in an overload by callers who never wait, by what is granted a second to enough of them.
const TOO_MUCH: f64 = 5.0;

/// One measurement; they alternate, because the machine is not the same from second to second.
const SLICE: Duration = Duration::from_millis(3_000);

/// So many of each kind, unless `TOLLGATE_OVERLOAD_SLICES` says otherwise.
const SLICES: usize = 3;

/// Of what is granted without an overload.
const GOODPUT_MIN: f64 = 0.8;

/// The same where nobody waits. It would be nothing if the cluster collapsed; whoever makes five times as many requests on the same
/// processors takes them from the nodes.
const FLOODED_GOODPUT_MIN: f64 = 0.25;

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
    judged_while_working(overload).await;
}

async fn overload() -> Result<(), String> {
    let cluster = Processes::start_with(PATIENT).await;
    cluster.client().resources().create(plenty(RESOURCE)).await.expect("the resource is new");
    let slices = std::env::var("TOLLGATE_OVERLOAD_SLICES").map_or(SLICES, |count| {
        count
            .parse()
            .ok()
            .filter(|slices| *slices > 0)
            .expect("TOLLGATE_OVERLOAD_SLICES is a number from 1 on")
    });
    // What comes before an overload, what comes in the two kinds of it, and what comes right after it.
    let [calm, overload, flood] = [(); 3].map(|()| Arc::new(Counts::default()));
    let (mut before, mut within, mut flooded, mut after) = (vec![], vec![], vec![], vec![]);
    let mut most = 0;
    crowd(&cluster, &calm, ENOUGH).await;
    for _ in 0..slices {
        let peak = crowd(&cluster, &calm, ENOUGH).await;
        before.push(peak);
        within.push(crowd(&cluster, &overload, TOO_MANY).await);
        flooded.push(deluge(&cluster, &flood, TOO_MUCH * peak).await);
        after.push(crowd(&cluster, &calm, ENOUGH).await);
        most = most.max((1..=3).map(|id| cluster.resident_kib(id)).max().unwrap_or_default());
    }
    for counts in [&calm, &overload, &flood] {
        let other = counts.other.lock();
        assert!(other.is_empty(), "{} times, only overload is a reason to refuse: {}", other.len(), other[0]);
        assert_eq!(counts.mute.load(Ordering::Relaxed), 0, "RetryInfo is missing");
    }
    for counts in [&overload, &flood] {
        assert!(counts.refused.load(Ordering::Relaxed) > 0, "nothing was refused: that was no overload");
    }
    let [peak, goodput, flooded, recovered] =
        [before, within, flooded, after].map(|mut rates| median(&mut rates));
    let refused_after = median(&mut overload.refused_after.lock());
    let granted_after = median(&mut overload.granted_after.lock());
    println!(
        "{peak:.0} grants/s. With five times as many callers {goodput:.0} ({:.2}), calls of which all was refused after \
         {refused_after:?}, and those of which all was granted after {granted_after:?}. With five times as many requests a \
         second {flooded:.0} ({:.2}), {} granted, {} refused. Right after it {recovered:.0} ({:.2}). At most {} MiB",
        goodput / peak,
        flooded / peak,
        flood.granted.load(Ordering::Relaxed),
        flood.refused.load(Ordering::Relaxed),
        recovered / peak,
        most >> 10,
    );
    assert!(most < MEMORY_MAX_KIB, "{most} KiB");
    for (rate, least, when) in [
        (goodput, GOODPUT_MIN, "with too many callers"),
        (flooded, FLOODED_GOODPUT_MIN, "with callers who do not wait"),
        (recovered, GOODPUT_MIN, "when it was over"),
    ] {
        fails_if(rate <= least * peak, || format!("{rate:.0} of {peak:.0} grants/s {when}"))?;
    }
    fails_if(refused_after >= granted_after, || {
        format!("refused after {refused_after:?}, granted after {granted_after:?}")
    })
}

fn median<T: Copy + PartialOrd>(of: &mut [T]) -> T {
    assert!(!of.is_empty(), "no call of {BATCH} was refused as a whole, or none was granted as a whole");
    of.sort_by(|a, b| a.partial_cmp(b).expect("no measurement is NaN"));
    of[of.len() / 2]
}

/// So many calls at a time for a while, at all nodes, until all that was asked is answered; grants a second.
async fn crowd(cluster: &Processes, counts: &Arc<Counts>, callers: usize) -> f64 {
    let (stop, stopped) = watch::channel(false);
    let (before, began) = (counts.granted.load(Ordering::Relaxed), Instant::now());
    let mut calls = JoinSet::new();
    for mut caller in Caller::of(cluster, callers) {
        let (counts, stopped) = (counts.clone(), stopped.clone());
        calls.spawn(async move {
            while !*stopped.borrow()
                && let Some(pause) = caller.ask(&counts).await
            {
                sleep(pause).await;
            }
        });
    }
    sleep(SLICE).await;
    stop.send_replace(true);
    calls.join_all().await;
    (counts.granted.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
}

/// So many requests a second for a while, at all nodes, whatever is answered and however long it takes; grants a second, until
/// all is answered.
async fn deluge(cluster: &Processes, counts: &Arc<Counts>, per_second: f64) -> f64 {
    let (before, began) = (counts.granted.load(Ordering::Relaxed), Instant::now());
    let mut calls = JoinSet::new();
    // What is late is made up for.
    let mut times = interval(Duration::from_secs_f64(BATCH as f64 / per_second));
    for caller in Caller::of(cluster, ENOUGH).iter().cycle() {
        if began.elapsed() >= SLICE {
            break;
        }
        times.tick().await;
        let (mut caller, counts) = (caller.clone(), counts.clone());
        calls.spawn(async move { caller.ask(&counts).await });
    }
    calls.join_all().await;
    (counts.granted.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
}

/// Somebody who asks for batches.
#[derive(Clone)]
struct Caller {
    client: PermitServiceClient<Channel>,
    batch: AcquirePermitsRequest,
}

impl Caller {
    fn of(cluster: &Processes, count: usize) -> Vec<Caller> {
        let to = |(number, node): (usize, u64)| {
            let address = format!("http://{}", cluster.client_address(node));
            let channel = Endpoint::from_shared(address).expect("an address").connect_lazy();
            let request = AcquirePermitRequest {
                resource: RESOURCE.to_owned(),
                consumer: format!("caller-{number}"),
                ..AcquirePermitRequest::default()
            };
            let batch = AcquirePermitsRequest { requests: vec![request; BATCH] };
            Caller { client: PermitServiceClient::new(channel).max_decoding_message_size(8 << 20), batch }
        };
        (0..count).zip([1, 2, 3].into_iter().cycle()).map(to).collect()
    }

    /// Asks for one batch; how long to wait before the next, or nothing when it was not answered as it should be.
    async fn ask(&mut self, counts: &Counts) -> Option<Duration> {
        let began = Instant::now();
        let answer = match self.client.acquire_permits(self.batch.clone()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                counts.other.lock().push(format!("{status:?}"));
                return None;
            }
        };
        let took = began.elapsed();
        let (mut refused, mut pause) = (0, Duration::ZERO);
        for result in answer.results {
            match result.result {
                Some(Decided::Response(_)) => _ = counts.granted.fetch_add(1, Ordering::Relaxed),
                Some(Decided::Error(error)) if error.code == i32::from(Code::ResourceExhausted) => {
                    refused += 1;
                    match error.retry_after.and_then(|after| Duration::try_from(after).ok()) {
                        Some(after) => pause = pause.max(after),
                        None => _ = counts.mute.fetch_add(1, Ordering::Relaxed),
                    }
                }
                other => {
                    counts.other.lock().push(format!("{other:?}"));
                    return None;
                }
            }
        }
        counts.refused.fetch_add(refused, Ordering::Relaxed);
        match refused as usize {
            0 => counts.granted_after.lock().push(took),
            BATCH => counts.refused_after.lock().push(took),
            _ => {}
        }
        Some(pause)
    }
}
