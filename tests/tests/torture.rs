//! The short form of `just torture`: a few faults of each kind on real processes, and no promise broken.

use std::time::Duration;

use tollgate_tests::torture::{fault::Fault, network::Kind, run};

/// Hardly an election takes a second; the rest is patience with machines that do much else.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// No more than so long, whatever is left of the list; starting and judging come on top.
const LENGTH: Duration = Duration::from_secs(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_processes_keeps_its_promises_whatever_fails() {
    let faults = [
        Fault::KillLeader,
        Fault::IsolateLeader,
        Fault::FailFsync,
        Fault::KillAll,
        Fault::StopLeader,
        Fault::DamageLog,
        Fault::Wipe,
        Fault::MuteLeader,
        Fault::FillDisk,
        Fault::Reset,
        Fault::Redefine,
        Fault::KillLeader,
    ];
    let report = run::listed(&faults, Kind::Proxies, 1, LENGTH).await.unwrap();
    println!("{report}");
    assert!(report.violations.is_empty(), "{}", report.violations.join("\n"));
    assert!(report.recovery(100).unwrap() < RECOVERY_MAX, "{:?}", report.recoveries);
    assert!(report.struck.len() >= 3 && report.tally.grants >= 100, "{report}");
}
