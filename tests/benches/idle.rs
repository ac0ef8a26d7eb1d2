//! What a cluster costs that has nothing to do: its processors' time, 10,000 connections that say nothing, and how long a node
//! takes to come back. On real processes; `docs/PERFORMANCE.md` has the command and what came of it.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tollgate_client::{
    BATCH_MAX, Client,
    v1::{GetClusterRequest, cluster_service_client::ClusterServiceClient},
};
use tollgate_tests::{cluster::PATIENCE, processes::Processes, samples::plenty};
use tonic::transport::Endpoint;

const NAME: &str = "vendor/idle";
const NODES: [u64; 3] = [1, 2, 3];
const CONNECTIONS: usize = 10_000;
const CONNECTING: usize = 100;
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut processes = Processes::start().await;
    idle_processors(&processes).await;
    idle_connections(&processes).await;
    let client = processes.client();
    client.resources().create(plenty(NAME)).await.expect("the resource is new");
    let mut written = 0;
    for thousands in [0, 50, 100, 200] {
        while written < thousands {
            write_a_thousand(&client).await;
            written += 1;
        }
        restart(&mut processes, thousands).await;
    }
}

/// The time of a processor that each node takes while nobody asks anything.
async fn idle_processors(processes: &Processes) {
    let before = NODES.map(|id| processes.processor_time(id));
    sleep(IDLE).await;
    let percent = |id: u64| {
        let spent = processes.processor_time(id) - before[id as usize - 1];
        100.0 * spent.as_secs_f64() / IDLE.as_secs_f64()
    };
    println!("idle: {:.2}, {:.2} and {:.2} % of a core", percent(1), percent(2), percent(3));
}

/// The memory that a node takes for connections over each of which one call was made.
async fn idle_connections(processes: &Processes) {
    let leader = processes.leader().await;
    let before = processes.resident_kib(leader);
    let address = format!("http://{}", processes.client_address(leader));
    let (mut connecting, mut open) = (JoinSet::new(), Vec::new());
    for number in 0..CONNECTIONS {
        let endpoint = Endpoint::from_shared(address.clone()).expect("an address of a node");
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
    let grown = processes.resident_kib(leader) - before;
    println!(
        "{} connections: {} MiB, {:.1} KiB each",
        open.len(),
        grown / 1024,
        grown as f64 / open.len() as f64
    );
}

/// Grows the log by a thousand permits with ids.
async fn write_a_thousand(client: &Client) {
    let requests = (0..BATCH_MAX).map(|_| client.acquire(NAME));
    let answers = client.acquire_each(requests).await.expect("a leader decides");
    assert!(answers.iter().all(Result::is_ok), "there is plenty");
}

/// From the start of a process that was killed until it has applied what was committed.
async fn restart(processes: &mut Processes, thousands: usize) {
    let leader = processes.leader().await;
    let committed = processes.client().cluster().get().await.expect("the cluster answers").commit_index;
    let node = NODES.into_iter().find(|id| *id != leader).expect("there are three");
    processes.kill(node);
    let began = Instant::now();
    processes.restart(node);
    let client = Client::connect([processes.client_address(node)]).expect("an address of a node");
    let caught_up = async {
        loop {
            match client.cluster().get().await {
                Ok(cluster) if cluster.leader_id != 0 && cluster.applied_index >= committed => return,
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, caught_up).await.expect("it comes back");
    println!("restart with a log of {thousands},000 permits: {:.0?}", began.elapsed());
}
