//! Presets of the program, before vendors that count as they document it, by real time.

use std::time::Duration;

use tollgate_demo::Vendor;

use crate::{
    assert_all_served,
    stage::{Stage, is_long, one_at_a_time},
    work_through,
};

/// A preset may waste some of a limit where that is safer, but none may hold a fleet back for no reason.
const SHARE_MIN: f64 = 0.9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_preset_of_hubspot_says_is_never_refused() {
    nothing_is_refused(Vendor::Hubspot, "hubspot:professional").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_preset_of_salesforce_says_is_never_refused() {
    nothing_is_refused(Vendor::Salesforce, "salesforce:enterprise").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_preset_of_salesloft_says_is_never_refused() {
    nothing_is_refused(Vendor::Salesloft, "salesloft:standard").await;
}

/// A bulk import would use up each minute in a burst; then what is urgent would wait for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_preset_of_apollo_says_is_never_refused_and_lets_urgent_work_in() {
    let Some((window, urgent)) = nothing_is_refused(Vendor::Apollo, "apollo:paid-enrichment").await else {
        return;
    };
    assert!(urgent < window / 4, "of urgent work 5 % took {urgent:?} and more");
}

/// Also the vendor's window, and the 95 % quantile of how long urgent work took, if there is time for it.
async fn nothing_is_refused(vendor: Vendor, preset: &str) -> Option<(Duration, Duration)> {
    if !is_long() {
        // Presets have no tolerance for a machine that stands still for half a second.
        println!("not tried: windows last a minute here, see `just e2e`");
        return None;
    }
    let _turn = one_at_a_time().await;
    let stage = Stage::set_by_preset(vendor, preset).await;
    // Two whole windows, wherever the first begins.
    let work = (stage.scene.window() * 3).max(Duration::from_secs(75));
    let (ledger, tally, share) = work_through(&stage, work).await;
    assert_all_served(&stage, &ledger, &tally);
    assert!(share >= SHARE_MIN, "{preset}: {:.2} % of the capacity used", share * 100.0);
    Some((stage.scene.window(), tally.interactive_quantile(0.95)?))
}
