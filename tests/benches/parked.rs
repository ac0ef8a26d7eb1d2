//! What it costs to have many requests wait, on real processes. `docs/PERFORMANCE.md` has the command and what came of it.

use std::{ops::Range, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tollgate_client::v1::{
    AcquirePermitRequest, GetResourceUsageRequest, GrantedPermit, ReleasePermitRequest, Resource, StreamCall,
    StreamPermitsRequest, acquire_permit_response::Decision, permit_service_client::PermitServiceClient,
    stream_answer::Answer, stream_call::Call,
};
use tollgate_tests::{
    processes::Processes,
    samples::{seconds, slots},
};
use tonic::transport::{Channel, Endpoint};

const NAME: &str = "vendor/parked";
/// As one stream may have waiting.
const PER_STREAM: usize = 10_000;
const PER_MESSAGE: usize = 1_000;
const CONSUMERS: usize = 100;
const WAKE_UPS: usize = 200;
const LONG: i64 = 3_000;

/// A wake-up among few, and among many.
#[tokio::main(worker_threads = 2)]
async fn main() {
    let many = std::env::var("TOLLGATE_PARKED").ok().and_then(|many| many.parse().ok());
    for waiting in [100, many.unwrap_or(100_000)] {
        measure(waiting).await;
    }
}

async fn measure(waiting: usize) {
    let processes = Processes::start().await;
    let bound = 200_000;
    let resource = Resource { max_waiters: bound, max_waiters_per_consumer: bound, ..slots(NAME, 1) };
    processes.client().resources().create(resource).await.expect("the resource is new");
    let leader = processes.leader().await;
    let mut permits = PermitServiceClient::new(channel(&processes, leader).await);
    let first = AcquirePermitRequest { resource: NAME.into(), ..Default::default() };
    let first = permits.acquire_permit(first).await.expect("a node answers").into_inner();
    let Some(Decision::Granted(mut held)) = first.decision else {
        panic!("the only slot is taken: {first:?}")
    };

    let before = resident(&processes);
    let (grants, mut granted) = unbounded_channel();
    // The streams stay open, as those who wait do.
    let mut open = Vec::new();
    let mut streams = Vec::new();
    for (number, first) in (0..waiting).step_by(PER_STREAM).enumerate() {
        let node = number as u64 % 3 + 1;
        let (calls, asked) = channel_of_calls();
        streams.push(tokio::spawn(pass_on(channel(&processes, node).await, asked, grants.clone())));
        park(&processes, first..waiting.min(first + PER_STREAM), &calls).await;
        open.push(calls);
    }
    let after = resident(&processes);

    let mut latencies = Vec::new();
    for _ in 0..WAKE_UPS.min(waiting) {
        let since = Instant::now();
        let release = ReleasePermitRequest { permit_id: held.permit_id, ..Default::default() };
        permits.release_permit(release).await.expect("the permit is held");
        held = next(&mut granted).await;
        latencies.push(since.elapsed());
    }
    latencies.sort_unstable();
    let grown = |id: usize| (after[id] - before[id]) / 1024;
    println!(
        "{waiting} wait: leader {leader}; nodes grew by {}, {}, {} MiB; release to grant p50 {:.1?}, p99 {:.1?}",
        grown(0),
        grown(1),
        grown(2),
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
    );
    assert!(granted.try_recv().is_err(), "more were granted than slots were released");
    streams.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn channel(processes: &Processes, node: u64) -> Channel {
    let address = format!("http://{}", processes.client_address(node));
    Endpoint::from_shared(address).expect("an address of a node").connect().await.expect("the node listens")
}

/// Asks for permits that have to be waited for, no faster than the leader takes them in.
async fn park(processes: &Processes, numbers: Range<usize>, calls: &UnboundedSender<StreamPermitsRequest>) {
    let call = |number: usize| {
        let acquire = AcquirePermitRequest {
            resource: NAME.into(),
            consumer: format!("consumer-{}", number % CONSUMERS),
            max_wait: seconds(LONG),
            ..Default::default()
        };
        StreamCall { id: number as u64, call: Some(Call::Acquire(acquire)), timeout: seconds(LONG) }
    };
    for first in numbers.clone().step_by(PER_MESSAGE) {
        let end = numbers.end.min(first + PER_MESSAGE);
        let message = StreamPermitsRequest { calls: (first..end).map(call).collect(), cancelled: vec![] };
        calls.send(message).expect("the stream is open");
        until_all_wait(processes, end).await;
    }
}

/// Passes on what is granted on a stream.
async fn pass_on(
    channel: Channel,
    calls: UnboundedReceiverStream<StreamPermitsRequest>,
    grants: UnboundedSender<GrantedPermit>,
) {
    let answers =
        PermitServiceClient::new(channel).stream_permits(calls).await.expect("the node takes a stream");
    let mut answers = answers.into_inner();
    // It breaks when the nodes end, after the measurement.
    while let Ok(Some(message)) = answers.message().await {
        for answer in message.answers {
            let Some(Answer::Acquired(response)) = &answer.answer else { panic!("{answer:?}") };
            let Some(Decision::Granted(granted)) = &response.decision else { panic!("{answer:?}") };
            grants.send(granted.clone()).expect("somebody counts");
        }
    }
}

fn channel_of_calls() -> (UnboundedSender<StreamPermitsRequest>, UnboundedReceiverStream<StreamPermitsRequest>)
{
    let (calls, asked) = unbounded_channel();
    (calls, UnboundedReceiverStream::new(asked))
}

async fn until_all_wait(processes: &Processes, count: usize) {
    let client = processes.client();
    let all_wait = async {
        loop {
            let request = GetResourceUsageRequest { name: NAME.into(), ..Default::default() };
            let waiting = client.resources().usage(request).await.expect("the cluster answers").waiting;
            if waiting == count as u64 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(600), all_wait).await.expect("all wait in time");
}

async fn next(granted: &mut UnboundedReceiver<GrantedPermit>) -> GrantedPermit {
    let grant = timeout(Duration::from_secs(60), granted.recv()).await;
    grant.expect("the next one is woken").expect("the streams are open")
}

fn resident(processes: &Processes) -> [u64; 3] {
    [1, 2, 3].map(|id| processes.resident_kib(id))
}
