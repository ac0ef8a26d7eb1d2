//! How fast permits are handed out that were taken in advance: by one thread, of a cluster whose nodes run beside it in this
//! process. `docs/PERFORMANCE.md` has the command and what came of it.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_client::{Client, PrefetchBounds};
use tollgate_tests::{cluster::Cluster, samples::plenty};

const NAME: &str = "vendor/prefetched";
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(1);
/// Between two looks at the clock.
const STRIDE: u64 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cluster = Cluster::start(3);
    cluster.leader().await;
    let nodes = [1, 2, 3].map(|id| cluster.client_address(id));
    let client = Client::connect(nodes).expect("addresses of nodes");
    client.resources().create(plenty(NAME)).await.expect("the resource is new");
    let permits = client.acquire(NAME).prefetch(PrefetchBounds::default()).expect("bounds in range");
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (began, mut taken) = (Instant::now(), 0);
        while began.elapsed() < ROUND {
            for _ in 0..STRIDE {
                let permit = permits.take().await.expect("there is plenty");
                permit.ensure_usable().expect("it is used at once");
            }
            taken += STRIDE;
        }
        rates.push(taken as f64 / began.elapsed().as_secs_f64() / 1e6);
    }
    rates.sort_by(f64::total_cmp);
    println!("{rates:.2?} million permits a second");
}
