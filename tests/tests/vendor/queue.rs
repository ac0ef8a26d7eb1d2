//! One that cannot wait, behind all that do.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tollgate_client::Priority;
use tollgate_demo::{Vendor, VendorClient};
use tollgate_tests::{cluster::PATIENCE, machine::fails_if};

use crate::stage::{RESOURCE, Stage, judged, one_at_a_time, size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_call_overtakes_all_that_wait() {
    let _turn = one_at_a_time().await;
    judged(overtake).await;
}

async fn overtake() -> Result<(), String> {
    let stage = Stage::set(Vendor::Salesforce).await;
    let queue = size().queue;
    // The first have their turns while the last arrive.
    let all = queue + queue / 5;
    for first in (0..all).step_by(PER_STREAM) {
        park(&stage, PER_STREAM.min(all - first));
    }
    let enough_wait = async {
        while (stage.waiting().await as usize) < queue {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE * 4, enough_wait).await.expect("the queue takes them in");

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
        "an urgent call overtook {overtaken} of {all}; {before} calls went between its request and itself"
    );
    assert_eq!(ledger.refused().count(), 0, "{:?}", ledger.refused_by_limit());
    // Those that had their permits already, and were on their way; and those whose turn came with its own.
    fails_if(before > 2 * SLOTS, || format!("{before} calls were let in before it"))?;
    fails_if(overtaken + 10 * SLOTS < queue, || format!("only {overtaken} still waited"))
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
