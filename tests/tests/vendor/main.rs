//! The proof that counts: what a *vendor* sees of a fleet of 200 workers in four processes, with three nodes between them.
//!
//! These are short forms, for machines that do much else. `just e2e` runs them for minutes, with a queue of 50,000 and the
//! shares that are promised; `docs/END_TO_END.md` has what came of it. No assertion is about a time on a clock: the vendor's
//! limits, and shares of them, are what counts.

mod crashes;
mod long_calls;
mod presets;
mod queue;
mod stage;
mod tightening;
mod unanswered;

use std::time::Duration;

use tokio::time::sleep;
use tollgate_client::v1::{CircuitBreaker, Resource};
use tollgate_demo::{Tally, Vendor};
use tollgate_mock_vendor::{Ledger, Outage};
use tollgate_tests::machine::fails_if;

use crate::stage::{Stage, assert_clean, judged, one_at_a_time, size};

/// A fleet at work on one vendor.
async fn no_call_is_refused_and_the_capacity_is_used(vendor: Vendor) {
    let _turn = one_at_a_time().await;
    judged(async || {
        let stage = Stage::set(vendor).await;
        let share = share_used(&stage, size().work).await;
        fails_if(share < size().share, || format!("{:.2} % of the capacity used", share * 100.0))
    })
    .await;
}

/// Lets a fleet work, of which no call is refused; the part of the vendor's capacity that it used.
async fn share_used(stage: &Stage, work: Duration) -> f64 {
    let (ledger, tally, share) = work_through(stage, work).await;
    assert_all_served(stage, &ledger, &tally);
    share
}

fn assert_all_served(stage: &Stage, ledger: &Ledger, tally: &Tally) {
    assert_clean(stage, ledger, tally);
    // What was refused is tried again, unless the fleet is told to stop before.
    assert!(tally.retries <= ledger.refused().count() as u64 && tally.given_up == 0, "{tally:?}");
}

/// Lets a fleet work: what the vendor saw, what the fleet did, and the part of the capacity that it used.
async fn work_through(stage: &Stage, work: Duration) -> (Ledger, Tally, f64) {
    let up_at = stage.vendor.now() + stage.scene.window();
    let crews = stage.crews();
    sleep(stage.scene.window() + work).await;
    let until = stage.vendor.now();
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    let share = stage.vendor.share_used(&(up_at..until)).expect("a whole window");
    println!(
        "{:?}: {} calls, {} refused, {} arrived late, {} permits came too late; {:.2} % of the capacity used; interactive work p95 \
         {:.2?}",
        stage.scene.vendor,
        ledger.calls.len(),
        ledger.refused().count(),
        ledger.late().count(),
        tally.given_back,
        share * 100.0,
        tally.interactive_quantile(0.95).unwrap_or_default(),
    );
    (ledger, tally, share)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_rolls_is_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Hubspot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_for_long_calls_are_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Salesforce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_cost_is_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Salesloft).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_open_with_a_call_are_used_and_never_exceeded() {
    no_call_is_refused_and_the_capacity_is_used(Vendor::Apollo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_comes_back_is_not_stormed() {
    let _turn = one_at_a_time().await;
    for outage in [Outage::Failing, Outage::Hanging, Outage::Refusing] {
        judged(async || comes_back_without_a_storm(outage).await).await;
    }
}

async fn comes_back_without_a_storm(outage: Outage) -> Result<(), String> {
    let wire = |time: Duration| time.try_into().ok();
    let breaker = CircuitBreaker {
        open_for: wire(size().open_for),
        max_open_for: wire(size().open_for * 4),
        ..CircuitBreaker::default()
    };
    let broken = |resource| Resource { circuit_breaker: Some(breaker), ..resource };
    let stage = Stage::set_with(Vendor::Hubspot, broken).await;
    let crews = stage.crews();
    sleep(stage.scene.window() * 3 / 2).await;
    stage.vendor.fail_for(outage, size().outage);
    sleep(size().outage / 2).await;
    let is_shut = stage.circuit_is_shut().await;
    sleep(size().outage / 2 + stage.scene.window() * 3 / 2).await;
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    let first_second = ledger.after_outages(Duration::from_secs(1))[0];
    let most = ledger.most_in_any(stage.scene.window());
    let halfway = ledger.outages[0].start + size().outage / 2;
    let late = ledger.down().filter(|call| call.at > halfway).count();
    println!(
        "{outage:?} for {:?}: {} calls met with it, {late} of them in its second half, as far as the vendor knows, and {} of the fleet \
             failed; the circuit was {} halfway; {first_second} came in the second after; never more than {most} in {:?}",
        size().outage,
        ledger.down().count(),
        tally.failed,
        if is_shut { "open" } else { "closed" },
        stage.scene.window(),
    );
    assert_clean(&stage, &ledger, &tally);
    // The vendor does not see whom the system refuses in its place.
    let met = if outage == Outage::Refusing { tally.failed } else { ledger.down().count() as u64 };
    fails_if(met == 0, || "nobody noticed the outage".to_owned())?;
    // What hangs is known to fail only when its time is over.
    fails_if(outage != Outage::Hanging && !is_shut, || "the circuit was closed halfway".to_owned())?;
    fails_if(outage == Outage::Refusing && tally.failed > size().refused_connections, || {
        format!("{} calls found nobody", tally.failed)
    })?;
    // Probes, one at a time; without a circuit 38 a second would try.
    fails_if(outage == Outage::Failing && late > 16, || format!("{late} calls while the circuit was open"))?;
    // The vendor did not count those of the outage, but it saw them.
    fails_if(most > 190, || format!("{most} calls within {:?}", stage.scene.window()))
}
