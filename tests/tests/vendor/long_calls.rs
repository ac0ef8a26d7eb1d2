//! A vendor that counts long calls only, as Salesforce documents it: those of 20 s and more.

use std::time::Duration;

use tollgate_client::v1::{Limit, Resource, SlidingWindow, limit::Kind};
use tollgate_demo::{Scene, Vendor};
use tollgate_mock_vendor::{Profile, Salesforce};
use tollgate_tests::machine::fails_if;

use crate::{
    stage::{RESOURCE, Stage, by_preset, is_long, judged, one_at_a_time, size},
    work_through,
};

/// From when on the vendor counts a call, by its own clock.
const LONG_AFTER: Duration = Duration::from_secs(20);

/// How long its calls take: half of them are short.
const SHORTEST: Duration = Duration::from_secs(9);
const LONGEST: Duration = Duration::from_secs(30);

/// The vendor's places, of which each call would take one from its start by the plain rule.
const PLACES: usize = 25;

/// The time of calls that went through, beside what the plain rule has at most: so many times as much. On a machine that may stand still
/// the tolerance is so long that calls count after 12 s.
const MORE_THAN_PLAIN: f64 = 1.5;
const MORE_THAN_PLAIN_LONG: f64 = 3.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_calls_take_no_places_and_none_is_refused() {
    let _turn = one_at_a_time().await;
    judged(more_at_a_time_than_places).await;
}

async fn more_at_a_time_than_places() -> Result<(), String> {
    let stage = if is_long() { by_its_own_clock().await } else { with_a_faster_clock(20).await };
    let work = if is_long() { LONGEST * 4 } else { size().work };
    let (ledger, tally, share) = work_through(&stage, work).await;
    println!("at most {} at a time, {share:.1} times what the plain rule allows", ledger.highest_concurrency);
    // Only a call that itself comes late meets with others that have become long meanwhile.
    let unexplained = ledger.refused_in_time(Duration::ZERO, 1).count();
    assert_eq!(unexplained, 0, "{} calls were refused", ledger.refused().count());
    assert!(tally.problems.is_empty(), "{tally:?}");
    fails_if(is_long() && ledger.refused().count() > 0, || "a call that came late was refused".to_owned())?;
    let least = if is_long() { MORE_THAN_PLAIN_LONG } else { MORE_THAN_PLAIN };
    fails_if(ledger.highest_concurrency <= PLACES, || format!("{} at a time", ledger.highest_concurrency))?;
    fails_if(share < least, || format!("{share:.1} times what the plain rule allows"))
}

/// The preset, with its documented choice.
async fn by_its_own_clock() -> Stage {
    let scene = Scene { vendor: Vendor::Salesforce, faster: 1 };
    let tolerance = Duration::from_millis(500);
    let resource = counting_long_ones(by_preset("salesforce:enterprise"), LONG_AFTER, tolerance);
    Stage::open(scene, profile(), resource).await
}

async fn with_a_faster_clock(faster: u32) -> Stage {
    let scene = Scene { vendor: Vendor::Salesforce, faster };
    let tolerance = size().tolerance.unwrap_or(Duration::from_millis(75));
    let mut resource = counting_long_ones(scene.resource(RESOURCE), LONG_AFTER / faster, tolerance);
    resource.limits.push(daily());
    Stage::open(scene, profile().faster(faster), resource).await
}

fn profile() -> Profile {
    Profile::from(Salesforce::ENTERPRISE).with_latency(SHORTEST..=LONGEST)
}

/// A call that is short when another is let in may be long when that one arrives. So calls count by as much earlier as permits may take
/// to be used.
fn counting_long_ones(mut resource: Resource, long_after: Duration, tolerance: Duration) -> Resource {
    resource.dispatch_tolerance = tolerance.try_into().ok();
    for limit in &mut resource.limits {
        if let Some(Kind::Concurrency(slots)) = &mut limit.kind {
            slots.counts_after = (long_after - tolerance).try_into().ok();
        }
    }
    resource
}

/// Without a window, permits may be used whenever their leases allow it.
fn daily() -> Limit {
    let period = Duration::from_secs(86_400).try_into().ok();
    let kind = Kind::SlidingWindow(SlidingWindow { amount: 120_000, period, resolution: 0 });
    Limit { name: "daily".to_owned(), kind: Some(kind), ..Limit::default() }
}
