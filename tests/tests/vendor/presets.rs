//! Presets of the program, before vendors that count as they document it, by real time.

use std::time::Duration;

use tollgate_demo::Vendor;

use crate::{
    share_used,
    stage::{Stage, is_long, one_at_a_time},
};

const PRESETS: [(Vendor, &str); 4] = [
    (Vendor::Hubspot, "hubspot:professional"),
    (Vendor::Salesforce, "salesforce:enterprise"),
    (Vendor::Salesloft, "salesloft:standard"),
    (Vendor::Apollo, "apollo:paid-enrichment"),
];

/// A preset may waste some of a limit where that is safer, but none may hold a fleet back for no reason.
const SHARE_MIN: f64 = 0.9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_presets_say_is_never_refused() {
    if !is_long() {
        // Presets have no tolerance for a machine that stands still for half a second.
        println!("not tried: windows last a minute here, see `just e2e`");
        return;
    }
    let _turn = one_at_a_time().await;
    for (vendor, preset) in PRESETS {
        let stage = Stage::set_by_preset(vendor, preset).await;
        // Two whole windows, wherever the first begins.
        let work = (stage.scene.window() * 3).max(Duration::from_secs(75));
        let share = share_used(&stage, work).await;
        assert!(share >= SHARE_MIN, "{preset}: {:.2} % of the capacity used", share * 100.0);
    }
}
