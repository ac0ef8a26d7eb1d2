//! Workers that are killed in the middle of their calls.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tollgate_client::v1::{HeldSlot, Resource, limit::Kind};
use tollgate_demo::Vendor;
use tollgate_tests::crews::{CREWS, Crews};

use crate::stage::{RESOURCE, Stage, assert_clean, one_at_a_time, size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_keep_no_slot_beyond_lease_and_grace() {
    let _turn = one_at_a_time().await;
    let stage = Stage::set(Vendor::Salesforce).await;
    let longest = lease_and_grace(&stage.scene.resource(RESOURCE));
    let mut crews = stage.crews();
    sleep(stage.scene.window() * 2).await;
    let mut orphaned = 0;
    for kill in 0..size().kills {
        // Those in one place are the first, then the fifth, the ninth… of all; in the next the second, the sixth…
        let killed = Crews::consumer(kill as u32);
        crews.replace(kill % CREWS).await;
        let is_of_killed = |slot: &HeldSlot| slot.consumer == killed;
        let held = stage.slots_held().await;
        let left =
            held.iter().filter(|slot| is_of_killed(slot)).map(|slot| slot.lease_left.unwrap_or_default());
        let left: Vec<_> = left.filter_map(|left| Duration::try_from(left).ok()).collect();
        assert!(left.iter().all(|left| *left <= longest), "{left:?}");
        orphaned += left.len();
        // Twice the time, for a machine that is slow; a slot that is renewed or forgotten is held for ever.
        let all_are_free = async {
            while stage.slots_held().await.iter().any(is_of_killed) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(longest * 2, all_are_free).await.expect("slots of the killed come back");
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
    assert_clean(&ledger, &tally);
}

fn lease_and_grace(resource: &Resource) -> Duration {
    let Some(Kind::Concurrency(slots)) = &resource.limits[0].kind else { panic!("a resource with slots") };
    let both = [slots.lease_max, slots.grace].map(|part| Duration::try_from(part.expect("both are stated")));
    both.into_iter().map(|part| part.expect("positive")).sum()
}
