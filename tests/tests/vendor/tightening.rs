//! A vendor that enforces less than it documents.

use tokio::time::sleep;
use tollgate_demo::Vendor;
use tollgate_mock_vendor::{Answer, Tightening};
use tollgate_tests::machine::fails_if;

use crate::stage::{Stage, judged, one_at_a_time, size};

/// What is left of the documented limit.
const PERCENT: u32 = 70;

/// How few calls are refused after the first one was.
async fn lower_limits_cost_few_refusals(told: bool) -> Result<(), String> {
    let stage = Stage::set(Vendor::Hubspot).await;
    let crews = stage.crews();
    sleep(stage.scene.window() * 2).await;
    stage.vendor.tighten(Tightening { percent: PERCENT, told });
    sleep(size().tightened).await;
    let tally = crews.stop().await;
    let ledger = stage.ledger().await;
    let first = ledger.refused().map(|call| call.at).min();
    // If its headers tell, nobody need be refused at all.
    fails_if(!told && first.is_none(), || "nobody met with the lower limit".to_owned())?;
    let later = ledger.calls.iter().filter(|call| first.is_some_and(|first| call.at > first));
    let calls = later.clone().count();
    let refused = later.filter(|call| matches!(call.answer, Answer::Refused(_))).count();
    let share = refused as f64 / calls.max(1) as f64;
    println!(
        "{PERCENT} % of the limit, {}: of {} calls {} were refused; of {calls} after the first refusal {refused}, {:.2} %",
        if told { "told in headers" } else { "in silence" },
        ledger.calls.len(),
        ledger.refused().count(),
        share * 100.0,
    );
    assert!(tally.problems.is_empty(), "{:?}", tally.problems);
    fails_if(share >= size().refused_share, || format!("{:.2} % were refused", share * 100.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lower_limits_that_no_header_tells_cost_few_refusals() {
    let _turn = one_at_a_time().await;
    judged(async || lower_limits_cost_few_refusals(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lower_limits_that_headers_tell_cost_fewer() {
    let _turn = one_at_a_time().await;
    judged(async || lower_limits_cost_few_refusals(true).await).await;
}
