//! Callers that hang up before the vendor is done.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};
use tollgate_client::{Limiter, Priority, Retries, Unanswered};
use tollgate_demo::{Vendor, VendorClient};
use tollgate_mock_vendor::Ledger;

use crate::stage::{RESOURCE, Stage, one_at_a_time, size};

/// Twice as many as there are places.
const WORKERS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_keeps_a_place_at_the_vendor() {
    let _turn = one_at_a_time().await;
    let kept = hang_up(Unanswered::KeepsSlot).await;
    assert_eq!(kept.refused().count(), 0, "{:?}", kept.refused_by_limit());
    // The vendor refuses: it does not notice that nobody waits for its answer.
    assert_ne!(hang_up(Unanswered::FreesSlot).await.refused().count(), 0);
}

/// What the vendor saw of workers that wait for half of its calls in vain.
async fn hang_up(unanswered: Unanswered) -> Ledger {
    let stage = Stage::set(Vendor::Salesforce).await;
    // Calls take two thirds of a window to a whole one.
    let patience = stage.scene.window() * 5 / 6;
    let vendor = VendorClient::new(&stage.vendor.url(), stage.scene);
    let limiter = Limiter::new(stage.processes.client())
        .vendor("salesforce")
        .timeout(patience)
        .retries(Retries::none())
        .unanswered(unanswered);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (limiter, vendor) = (limiter.clone(), vendor.clone());
        workers.spawn(async move {
            loop {
                let request = limiter.client().acquire(RESOURCE).priority(Priority::Low);
                let call = |_| {
                    let vendor = vendor.clone();
                    async move { Ok::<_, tollgate_client::Observation>(vendor.call_once("hurried").await) }
                };
                // Those who hang up begin anew.
                let _ = limiter.call(request.wait_up_to(Duration::from_secs(600)), call).await;
            }
        });
    }
    sleep(stage.scene.window() + size().work).await;
    workers.shutdown().await;
    let ledger = stage.ledger().await;
    println!(
        "{unanswered:?}: {} calls, {} refused; at most {} at a time",
        ledger.calls.len(),
        ledger.refused().count(),
        ledger.highest_concurrency,
    );
    ledger
}
