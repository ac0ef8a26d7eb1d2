//! Who asks: calls, one after the other or at a rate, and what came of them.

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
use tollgate_tests::processes::Processes;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// What all permits are asked for.
pub const RESOURCE: &str = "vendor/account";

/// Requests in one call.
const BATCH: usize = 300;

/// One measurement; they alternate, because the machine is not the same from second to second.
const SLICE: Duration = Duration::from_secs(3);

/// What came of the calls of one kind of load.
#[derive(Default)]
pub struct Counts {
    pub granted: AtomicU64,
    pub refused: AtomicU64,
    /// Refused, without a word about when to come back.
    pub mute: AtomicU64,
    /// Calls that ended without an answer: no node or no leader was there, or time was over.
    pub unanswered: AtomicU64,
    /// How long calls took of which everything was granted, and of which everything was refused.
    pub granted_after: Mutex<Vec<Duration>>,
    pub refused_after: Mutex<Vec<Duration>>,
    /// Anything else, in words.
    pub other: Mutex<Vec<String>>,
}

impl Counts {
    /// What was neither granted nor refused.
    fn note(&self, code: Code, what: impl FnOnce() -> String) {
        match code {
            Code::Unavailable | Code::DeadlineExceeded => _ = self.unanswered.fetch_add(1, Ordering::Relaxed),
            _ => self.other.lock().push(what()),
        }
    }

    pub fn share_granted(&self) -> f64 {
        let [granted, refused] =
            [&self.granted, &self.refused].map(|count| count.load(Ordering::Relaxed) as f64);
        granted / (granted + refused)
    }
}

/// So many calls at a time for a while, at all nodes, until all that was asked is answered; grants a second.
pub async fn crowd(cluster: &Processes, counts: &Arc<Counts>, callers: usize) -> f64 {
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

/// Over which a flood comes.
const CONNECTIONS: usize = 24;

/// So many requests a second for a while, at all nodes, whatever is answered and however long it takes; grants a second, until
/// all is answered.
pub async fn flood(cluster: &Processes, counts: &Arc<Counts>, per_second: f64) -> f64 {
    let (before, began) = (counts.granted.load(Ordering::Relaxed), Instant::now());
    let mut calls = JoinSet::new();
    // What is late is made up for.
    let mut times = interval(Duration::from_secs_f64(BATCH as f64 / per_second));
    for caller in Caller::of(cluster, CONNECTIONS).iter().cycle() {
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
                counts.note(status.code(), || format!("{status:?}"));
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
                Some(Decided::Error(error)) => {
                    counts.note(Code::from_i32(error.code), || format!("{error:?}"));
                    return None;
                }
                None => unreachable!("each request has a result"),
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
