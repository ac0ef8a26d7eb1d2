//! What a cluster costs that has nothing to do: its processors' time, 10,000 connections that say nothing, and how long a node
//! takes to come back. On real processes; prints rows of the standard table, each beside its target (`docs/PERFORMANCE.md`).

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tollgate_client::{
    BATCH_MAX,
    v1::{
        AcquirePermitRequest, AcquirePermitResult, AcquirePermitsRequest, GetClusterRequest,
        acquire_permit_response::Decision, acquire_permit_result,
        cluster_service_client::ClusterServiceClient, permit_service_client::PermitServiceClient,
    },
};
use tollgate_tests::{cluster::PATIENCE, processes::Processes, samples::plenty};
use tonic::transport::{Channel, Endpoint};

const NAME: &str = "vendor/idle";
const NODES: [u64; 3] = [1, 2, 3];

/// Longer than a node waits before it asks a silent connection whether it is there, so that this is part of the costs.
const IDLE: Duration = Duration::from_secs(25);
/// What a start leaves to do is done by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Of a core, a node.
const PERCENT_MAX: f64 = 1.0;

const CONNECTIONS: usize = 10_000;
const CONNECTING: usize = 100;
/// What a node may have resident with all of them.
const RESIDENT_MAX_KIB: u64 = 300 * 1024;

/// Permits that were granted before a restart, in thousands.
const GRANTED: [usize; 4] = [0, 50, 100, 200];
/// Of so many restarts the median counts.
const RESTARTS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[tokio::main(worker_threads = 2)]
async fn main() {
    println!("| case | measured | target | |\n|---|---|---|---|");
    let processes = Processes::start().await;
    idle_processors(&processes).await;
    idle_connections(&processes, "").await;
    drop(processes);
    let sparing = Processes::start_with(&["--huge-pages=false"]).await;
    idle_connections(&sparing, ", without huge pages").await;
    drop(sparing);
    // All that was ever written is still in the log of the first, and hardly anything in that of the second.
    restarts("64 MiB", &["--snapshot-log", "64MiB"]).await;
    restarts("1 MiB", &["--snapshot-log", "1MiB"]).await;
}

/// The time of a processor that each node takes while nobody asks anything.
async fn idle_processors(processes: &Processes) {
    sleep(SETTLE).await;
    let before = NODES.map(|id| processes.processor_time(id));
    let began = Instant::now();
    sleep(IDLE).await;
    let length = began.elapsed();
    let percent = |id: u64| {
        let spent = processes.processor_time(id) - before[id as usize - 1];
        100.0 * spent.as_secs_f64() / length.as_secs_f64()
    };
    let [first, second, third] = NODES.map(percent);
    row(
        "idle cluster, processors",
        &format!("{first:.2}, {second:.2} and {third:.2} % of a core"),
        "≤ 1 % of a core a node",
        verdict([first, second, third].iter().all(|percent| *percent <= PERCENT_MAX)),
    );
}

/// The memory that a node takes for connections over each of which one call was made: the most, right after the calls or after
/// all have been silent for a while.
async fn idle_connections(processes: &Processes, how: &str) {
    let leader = processes.leader().await;
    let before = processes.resident_kib(leader);
    let open = connect(&processes.client_address(leader)).await;
    let at_first = processes.resident_kib(leader);
    sleep(IDLE).await;
    let resident = processes.resident_kib(leader).max(at_first);
    let grown = resident.saturating_sub(before);
    row(
        &format!("{} idle connections to one node, memory{how}", open.len()),
        &format!(
            "{} MiB resident, {} MiB of it for them: {:.1} KiB each",
            resident / 1024,
            grown / 1024,
            grown as f64 / open.len() as f64
        ),
        "≤ 300 MiB",
        verdict(resident <= RESIDENT_MAX_KIB),
    );
}

async fn connect(address: &str) -> Vec<ClusterServiceClient<Channel>> {
    let endpoint = endpoint(address);
    let (mut connecting, mut open) = (JoinSet::new(), Vec::new());
    for number in 0..CONNECTIONS {
        let endpoint = endpoint.clone();
        connecting.spawn(async move {
            let channel = endpoint.connect().await.expect("the node takes connections");
            let mut cluster = ClusterServiceClient::new(channel);
            cluster.get_cluster(GetClusterRequest {}).await.expect("the node answers");
            cluster
        });
        if number >= CONNECTING {
            open.push(connecting.join_next().await.expect("some are connecting").expect("it connects"));
        }
    }
    open.extend(connecting.join_all().await);
    open
}

/// How long a follower of a new cluster takes to come back after more and more has been granted. Whether the time grows with
/// what is since the last snapshot, and with nothing else, is for whoever compares the rows.
async fn restarts(snapshot_log: &str, flags: &'static [&'static str]) {
    let mut processes = Processes::start_with(flags).await;
    processes.client().resources().create(plenty(NAME)).await.expect("the resource is new");
    let mut granted = 0;
    for thousands in GRANTED {
        while granted < thousands {
            timeout(PATIENCE, grant_a_thousand(&processes)).await.expect("a leader decides in time");
            granted += 1;
        }
        let mut times = Vec::new();
        let mut since_snapshot = 0;
        for _ in 0..RESTARTS {
            let (time, entries) = restart(&mut processes).await;
            times.push(time);
            since_snapshot = since_snapshot.max(entries);
        }
        times.sort_unstable();
        let permits = if thousands == 0 { "no".to_owned() } else { format!("{thousands},000") };
        row(
            &format!("restart after {permits} permits, a snapshot for each {snapshot_log} of log"),
            &format!(
                "{} ms ({} to {}), with {since_snapshot} entries since the last snapshot at most",
                times[RESTARTS / 2].as_millis(),
                times[0].as_millis(),
                times[RESTARTS - 1].as_millis(),
            ),
            "grows with the log since the last snapshot alone",
            "compare",
        );
    }
}

/// Permits without ids, which leave nothing to be remembered: the log grows, and the state stays as it is.
async fn grant_a_thousand(processes: &Processes) {
    loop {
        let leader = endpoint(&processes.client_address(processes.leader().await)).connect().await;
        let mut leader = PermitServiceClient::new(leader.expect("the node takes connections"));
        let request = AcquirePermitRequest { resource: NAME.into(), ..AcquirePermitRequest::default() };
        let batch = AcquirePermitsRequest { requests: vec![request; BATCH_MAX] };
        // One that fails, as when the leader has lost its place, is repeated: what was granted of it is in the log.
        if let Ok(answers) = leader.acquire_permits(batch).await
            && answers.get_ref().results.iter().all(is_granted)
        {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_granted(result: &AcquirePermitResult) -> bool {
    let Some(acquire_permit_result::Result::Response(response)) = &result.result else { return false };
    matches!(response.decision, Some(Decision::Granted(_)))
}

/// From the start of a process that was killed until it has applied what was committed; and how many entries there are since
/// its last snapshot.
async fn restart(processes: &mut Processes) -> (Duration, u64) {
    let leader = processes.leader().await;
    let committed = processes.client().cluster().get().await.expect("the cluster answers").commit_index;
    let node = NODES.into_iter().find(|id| *id != leader).expect("there are three");
    let endpoint = endpoint(&processes.client_address(node));
    processes.kill(node);
    let began = Instant::now();
    processes.restart(node);
    timeout(PATIENCE, until_applied(&endpoint, committed)).await.expect("it comes back");
    let time = began.elapsed();
    (time, committed.saturating_sub(snapshot_index(&processes.http_address(node)).await))
}

async fn until_applied(node: &Endpoint, committed: u64) {
    loop {
        if let Ok(channel) = node.connect().await
            && let Ok(cluster) = ClusterServiceClient::new(channel).get_cluster(GetClusterRequest {}).await
            && cluster.get_ref().leader_id != 0
            && cluster.get_ref().applied_index >= committed
        {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The entry up to which the node's last snapshot reaches, as its metrics say; 0: it has none.
async fn snapshot_index(http_address: &str) -> u64 {
    let mut connection = TcpStream::connect(http_address).await.expect("the node listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n\r\n";
    connection.write_all(request).await.expect("the node reads");
    let mut metrics = String::new();
    connection.read_to_string(&mut metrics).await.expect("the node answers");
    let index = metrics.lines().find_map(|line| line.strip_prefix("tollgate_snapshot_index "));
    index.and_then(|index| index.trim().parse().ok()).expect("a number of an entry")
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address of a node")
}

fn row(case: &str, measured: &str, target: &str, verdict: &str) {
    println!("| {case} | {measured} | {target} | {verdict} |");
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
