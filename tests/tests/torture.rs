//! The short form of `just torture`: faults of every family on real processes, in network namespaces where the machine allows
//! them, and no promise broken. What was struck, skipped or not reached is written beside the other output of the tests
//! (`target/tmp/torture.md`).

use std::{fs, time::Duration};

use tollgate_tests::torture::{
    fault::Fault,
    run::{self, Bounds},
};

/// Hardly an election takes a second; the rest is patience with machines that do much else.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// So many kinds of the list need nothing but processes and sockets: every machine can strike as many, however slow it is.
const KINDS_MIN: usize = 10;

/// Beyond these kinds, the length decides how far the list is gone through; starting and judging come on top.
const BOUNDS: Bounds =
    Bounds { length: Duration::from_secs(75), kinds_min: KINDS_MIN, longest: Duration::from_secs(900) };

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
        Fault::RollingRestart,
        Fault::JumpClockInOutage,
        Fault::TerminateLeader,
        Fault::KillLeader,
        Fault::JumpClock,
    ];
    let report = run::listed(&faults, 1, BOUNDS).await.unwrap();
    let reached = |fault: &&Fault| report.struck.contains_key(fault) || report.skipped.contains_key(fault);
    let missed = faults.iter().filter(|fault| !reached(fault)).map(|fault| fault.name());
    let missed = missed.collect::<Vec<_>>().join(", ");
    let mut words = report.to_string();
    if !missed.is_empty() {
        words.push_str(&format!("\nNot reached in time: {missed}.\n"));
    }
    fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/torture.md"), &words).unwrap();
    println!("{words}");
    assert!(report.violations.is_empty(), "{}", report.violations.join("\n"));
    assert!(report.recovery(100).unwrap() < RECOVERY_MAX, "{:?}", report.recoveries);
    assert!(report.shortfalls().is_empty(), "{}", report.shortfalls().join("\n"));
    assert!(report.struck.len() >= KINDS_MIN && report.tally.grants >= 100, "{report}");
}
