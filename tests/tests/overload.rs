//! Five times as much as the cluster takes: it goes on granting, refuses the rest at once, and forgets it soon after.

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
use tollgate_tests::{samples::plenty, single::Single};
use tonic::{Code, transport::Endpoint};

const RESOURCE: &str = "vendor/account";

/// Requests in one call.
const BATCH: usize = 300;

/// Calls at a time that keep the server busy, and that it takes.
const ENOUGH: usize = 24;

/// Calls at a time in the overload: more requests than the server's door and the queue behind it hold (24,576).
const TOO_MANY: usize = 5 * ENOUGH;

/// One measurement; they alternate, because the machine is not the same from second to second.
const SLICE: Duration = Duration::from_millis(3_000);
const SLICES: usize = 2;

/// What is promised is 0.8. The machines that run this do much else, and both are measured with noise.
const GOODPUT_MIN: f64 = 0.5;

const MEMORY_MAX_MIB: u64 = 600;

#[derive(Default)]
struct Counts {
    granted: AtomicU64,
    refused: AtomicU64,
    /// Refused, without a word about when to come back.
    mute: AtomicU64,
    /// Anything else, in words.
    other: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_server_goes_on_granting_and_refuses_the_rest() {
    let mut server = Single::start().await;
    server.define(plenty(RESOURCE)).await;
    let counts = Arc::new(Counts::default());
    let (mut enough, mut too_many) = (Vec::new(), Vec::new());
    let mut most = 0;
    slice(&server, &counts, ENOUGH).await;
    for _ in 0..SLICES {
        enough.push(slice(&server, &counts, ENOUGH).await);
        too_many.push(slice(&server, &counts, TOO_MANY).await);
        most = most.max(server.resident_mib());
    }
    let began = Instant::now();
    server.serves(RESOURCE).await.unwrap();
    let (peak, goodput) = (median(&mut enough), median(&mut too_many));
    let other = counts.other.lock().clone();
    assert!(other.is_empty(), "{} times, only overload is a reason to refuse: {}", other.len(), other[0]);
    let refused = counts.refused.load(Ordering::Relaxed);
    println!(
        "{peak:.0} grants/s, overloaded {goodput:.0} ({:.2}); {refused} refused; {most} MiB; served {:?} later",
        goodput / peak,
        began.elapsed(),
    );
    assert!(goodput > GOODPUT_MIN * peak, "{goodput} of {peak}");
    assert!(refused > 0, "nothing was refused: that was no overload");
    assert_eq!(counts.mute.load(Ordering::Relaxed), 0, "RetryInfo is missing");
    assert!(most < MEMORY_MAX_MIB && server.runs(), "{most} MiB");
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// So many calls at a time for a while, until all that was asked is answered; grants a second.
async fn slice(server: &Single, counts: &Arc<Counts>, callers: usize) -> f64 {
    let (stop, stopped) = watch::channel(false);
    let (before, began) = (counts.granted.load(Ordering::Relaxed), Instant::now());
    let mut calls = JoinSet::new();
    for caller in 0..callers {
        let address = format!("http://{}", server.client_address);
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
        let answer = match client.acquire_permits(batch).await {
            Ok(answer) => answer,
            Err(status) => return counts.other.lock().push(format!("{status:?}")),
        };
        let mut pause = Duration::ZERO;
        for result in answer.into_inner().results {
            let counter = match result.result {
                Some(Decided::Response(_)) => &counts.granted,
                Some(Decided::Error(error)) if error.code == i32::from(Code::ResourceExhausted) => {
                    match error.retry_after.and_then(|after| Duration::try_from(after).ok()) {
                        Some(after) => pause = pause.max(after),
                        None => _ = counts.mute.fetch_add(1, Ordering::Relaxed),
                    }
                    &counts.refused
                }
                other => return counts.other.lock().push(format!("{other:?}")),
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        sleep(pause).await;
    }
}
