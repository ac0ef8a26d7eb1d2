//! Workers that are killed in the middle of their calls.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{sleep, timeout};
use tollgate_client::v1::{HeldSlot, Resource, limit::Kind};
use tollgate_demo::Vendor;
use tollgate_tests::crews::CREWS;

use crate::stage::{RESOURCE, Stage, assert_clean, one_at_a_time, size};

/// Until an entry says that a lease and its grace are over: one is proposed when a leader looks next, and takes an fsync.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_keep_no_slot_beyond_lease_and_grace() {
    let _turn = one_at_a_time().await;
    let stage = Stage::set(Vendor::Salesforce).await;
    let (lease, grace) = lease_and_grace(&stage.scene.resource(RESOURCE));
    let longest = lease + grace;
    let mut crews = stage.crews();
    sleep(stage.scene.window() * 2).await;
    let mut orphaned = 0;
    let seed = fastrand::u64(..);
    println!("killed at random, with the seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..size().kills {
        sleep(stage.scene.window().mul_f64(random.f64())).await;
        let killed = crews.replace(random.usize(..CREWS)).await;
        // When each is to be free, from its grant on: by the cluster's clock, which stands still when this machine does.
        let mut ends: BTreeMap<String, Duration> = BTreeMap::new();
        let all_are_free = async {
            loop {
                let held = stage.slots_held().await;
                let of_killed: Vec<_> = held.into_iter().filter(|slot| slot.consumer == killed).collect();
                if of_killed.is_empty() {
                    return;
                }
                for HeldSlot { permit_id, held_for, lease_left, .. } in of_killed {
                    let (held_for, left) = (from_wire(held_for), from_wire(lease_left));
                    assert!(left <= lease, "{permit_id} is left {left:?} of its lease");
                    let end = *ends.entry(permit_id).or_insert(held_for + left + grace);
                    assert!(
                        held_for <= end + NOTICED_WITHIN,
                        "held for {held_for:?}, and was to end at {end:?}"
                    );
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        // Twice the time, for a machine that is slow.
        if timeout(longest * 2, all_are_free).await.is_err() {
            panic!("slots of {killed} do not come back: {:?}; {ends:?}", stage.slots_held().await);
        }
        orphaned += ends.len();
    }
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    println!(
        "{} processes of 50 workers killed, which held {orphaned} slots: {} calls, at most {} at a time, {} refused",
        size().kills,
        ledger.calls.len(),
        ledger.highest_concurrency,
        ledger.refused().count(),
    );
    assert!(orphaned > 0, "none of the killed held a slot");
    assert_clean(&stage, &ledger, &tally);
}

fn lease_and_grace(resource: &Resource) -> (Duration, Duration) {
    let Some(Kind::Concurrency(slots)) = &resource.limits[0].kind else { panic!("a resource with slots") };
    (from_wire(slots.lease_max), from_wire(slots.grace))
}

fn from_wire(duration: Option<prost_types::Duration>) -> Duration {
    duration.and_then(|duration| duration.try_into().ok()).unwrap_or_default()
}
