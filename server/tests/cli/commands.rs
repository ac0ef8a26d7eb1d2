//! `tollgate acquire … -- COMMAND`.

use std::process::Stdio;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::cluster::{Cluster, eventually};

const SLOT: &str = r#"
[[resource]]
name = "test/slot"
[[resource.limit]]
name = "concurrent"
kind = "concurrency"
slots = 1
lease_default = "1s"
grace = "0s"
"#;

impl Cluster {
    fn with_slot(&self, script: &str) -> crate::cluster::Answer {
        self.tollgate(&["acquire", "test/slot", "--timeout", "30s", "--", "sh", "-c", script])
    }

    fn held(&self) -> usize {
        let usage = self.tollgate(&["resource", "usage", "test/slot", "--output", "json"]).json();
        usage["held"].as_array().unwrap().len()
    }
}

#[test]
fn a_command_runs_with_a_permit_and_gives_it_back() {
    let cluster = Cluster::start();
    cluster.define(SLOT);

    let answer =
        cluster.with_slot("echo $TOLLGATE_PERMIT_ID $TOLLGATE_SLOT_INDEX/$TOLLGATE_SLOT_GENERATION; exit 7");
    let answer = answer.expect(7, "p0-");
    assert!(answer.stdout.contains(" 0/"), "{answer:?}");
    assert_eq!(cluster.held(), 0);

    cluster.tollgate(&["acquire", "test/slot", "--", "/no/such/command"]).expect(127, "/no/such/command");
    cluster.tollgate(&["acquire", "test/slot", "--", "/"]).expect(126, "cannot run");
    assert_eq!(cluster.held(), 0);
}

#[test]
fn only_a_command_that_says_so_tells_of_a_vendor_that_fails() {
    let cluster = Cluster::start();
    let breaker = "name = \"test/slot\"\ncircuit_breaker = { consecutive_failures = 2 }";
    cluster.define(&SLOT.replacen("name = \"test/slot\"", breaker, 1));
    for _ in 0..3 {
        cluster.with_slot("exit 1").expect(1, "");
    }
    for _ in 0..2 {
        cluster.with_slot("exit 69").expect(69, "");
    }
    cluster.with_slot("echo must not run").expect(3, "circuit");
}

#[test]
fn the_slot_is_held_for_as_long_as_the_command_runs() {
    let cluster = Cluster::start();
    cluster.define(SLOT);
    let marker = cluster.directory().join("denied");
    let go_on = marker.display();
    // Runs for several leases: until the test has seen that nobody else is granted the slot after the first one.
    let script = format!("while [ ! -e {go_on} ]; do sleep 0.1; done");
    let mut holder = cluster
        .command(&["acquire", "test/slot", "--timeout", "30s", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the slot is held", || cluster.held() == 1);
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    cluster.with_slot("echo must not run").expect(3, "denied by limit \"concurrent\"");
    std::fs::write(&marker, "").unwrap();
    assert_eq!(holder.wait().unwrap().code(), Some(0));
    assert_eq!(cluster.held(), 0);
}

#[test]
fn signals_reach_the_command() {
    let cluster = Cluster::start();
    cluster.define(SLOT);
    let ready = cluster.directory().join("ready");
    let script = format!("trap 'exit 9' TERM; touch {}; while :; do sleep 0.1; done", ready.display());
    let mut holder = cluster
        .command(&["acquire", "test/slot", "--timeout", "30s", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the command runs", || ready.exists());
    kill(Pid::from_raw(holder.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(holder.wait().unwrap().code(), Some(9));
    assert_eq!(cluster.held(), 0);
}

#[test]
fn a_command_whose_permit_is_lost_is_stopped() {
    let cluster = Cluster::start();
    cluster.define(SLOT);
    let mut holder = cluster
        .command(&["acquire", "test/slot", "--timeout", "30s", "--", "sleep", "600"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the slot is held", || cluster.held() == 1);
    cluster.tollgate(&["resource", "delete", "test/slot"]).expect(0, "deleted");
    assert_eq!(holder.wait().unwrap().code(), Some(143), "ended by SIGTERM");
}
