//! `tollgate bench` against a real cluster. What it measures here means nothing; that it measures, and cleans up, does.

use std::process::Stdio;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::cluster::{Cluster, eventually};

const MODES: [&[&str]; 10] = [
    &["acquire", "--target", "all", "--request-ids"],
    &["acquire", "--rate", "200", "--resources", "10", "--zipf", "1"],
    &["batch", "--limits", "4"],
    &["batch", "--per-message", "10", "--rate", "500"],
    &["stream", "--target", "follower"],
    &["deny", "--resources", "3", "--limits", "2"],
    &["wait", "--slots", "2", "--in-flight", "8"],
    &["lease", "--renewals", "2"],
    &["lease", "--per-message", "10"],
    &["prefetch", "--resources", "2"],
];

#[test]
fn every_mode_does_what_it_measures_and_leaves_no_resources() {
    let cluster = Cluster::start();
    let before = resources(&cluster);
    for mode in MODES {
        let measured = bench_until_something_is_done(&cluster, mode);
        let [side] = &measured["sides"].as_array().unwrap()[..] else { panic!("{mode:?}: {measured}") };
        assert_eq!(side["errors"], Value::Object(Default::default()), "{mode:?}: {measured}");
        let [p50, p99] = ["p50", "p99"].map(|part| side["latency_seconds"][part].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{mode:?}: {measured}");
    }
    assert_eq!(resources(&cluster), before);
}

#[test]
fn a_comparison_has_a_ratio_for_each_pair_of_slices() {
    let cluster = Cluster::start();
    let options = ["--target", "leader,follower", "--floor", "--duration", "6s", "--warm-up", "0s"];
    let measured = bench(&cluster, &["stream", "--in-flight", "4"], &options);
    let sides = measured["sides"].as_array().unwrap();
    let names: Vec<_> = sides.iter().map(|side| side["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["leader", "follower", "floor"]);
    for side in sides {
        assert_eq!(side["slices"].as_array().unwrap().len(), 6, "{measured}");
        assert!(side["operations"].as_u64().unwrap() > 0, "{measured}");
        assert_eq!(side["errors"], Value::Object(Default::default()), "{measured}");
    }
    let [leader, follower, floor] = [&sides[0], &sides[1], &sides[2]];
    assert_is_ratio(&leader["of_floor"], leader, floor);
    assert_is_ratio(&follower["of_floor"], follower, floor);
    assert_is_ratio(&follower["of_first"], follower, leader);
    assert!(leader["of_first"].is_null() && floor["of_floor"].is_null(), "{measured}");
    if cfg!(target_os = "linux") {
        let processes = sides[0]["cpu_micros_per_operation"].as_object().unwrap();
        assert_eq!(processes.len(), 4, "three nodes and the generator: {measured}");
        assert!(processes.keys().any(|name| name.ends_with("(leader)")), "{measured}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_made() {
    let cluster = Cluster::start();
    let before = resources(&cluster);
    let refused = |args: &[&str], named: &str| {
        let args = [&["bench"], args].concat();
        cluster.tollgate(&args).expect(2, named);
    };
    refused(&["wait", "--floor"], "nothing to wait for");
    refused(&["--connections", "2", "--target", "all"], "at least 3");
    assert_eq!(resources(&cluster), before);
}

#[test]
fn a_measurement_that_is_interrupted_leaves_no_resources() {
    let cluster = Cluster::start();
    let before = resources(&cluster);
    // By Ctrl-C, and by `timeout` or whoever else stops programs.
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = cluster.command(&["bench", "--resources", "20"]);
        let mut bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("resources are made", || resources(&cluster) != before);
        kill(Pid::from_raw(bench.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(bench.wait().unwrap().code(), Some(1), "{signal}");
        assert_eq!(resources(&cluster), before, "{signal}");
    }
}

/// A machine that stands still for a while takes longer to do anything at all.
fn bench_until_something_is_done(cluster: &Cluster, mode: &[&str]) -> Value {
    let durations = ["400ms", "4s", "40s"];
    let measured =
        durations.map(|duration| move || bench(cluster, mode, &["--duration", duration, "--warm-up", "0s"]));
    let has_operations = |measured: &Value| measured["sides"][0]["operations"].as_u64().unwrap() > 0;
    measured
        .iter()
        .map(|measure| measure())
        .find(has_operations)
        .unwrap_or_else(|| panic!("{mode:?} does nothing"))
}

/// Whatever the machine did meanwhile: the quotients are those of the slices beside each other. None if one is of nothing.
fn assert_is_ratio(ratio: &Value, side: &Value, other: &Value) {
    let slices = |side: &Value| -> Vec<f64> {
        side["slices"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect()
    };
    let mut quotients: Vec<f64> =
        slices(side).iter().zip(slices(other)).map(|(rate, other)| rate / other).collect();
    if !quotients.iter().all(|quotient| quotient.is_finite()) {
        assert!(ratio.is_null(), "{ratio} of {side} and {other}");
        return;
    }
    quotients.sort_by(f64::total_cmp);
    let [.., greatest] = quotients[..] else { panic!("no slices in {side}") };
    let median = (quotients[2] + quotients[3]) / 2.0;
    for (part, expected) in [("least", quotients[0]), ("median", median), ("greatest", greatest)] {
        let told = ratio[part].as_f64().unwrap_or(f64::NAN);
        assert!(
            (told - expected).abs() <= 1e-9 * expected,
            "{part} of {ratio} is not {expected}: {side} and {other}"
        );
    }
}

fn bench(cluster: &Cluster, mode: &[&str], options: &[&str]) -> Value {
    let args = [&["bench"], mode, options, &["--output", "json"]].concat();
    cluster.tollgate(&args).expect(0, "sides").json()
}

fn resources(cluster: &Cluster) -> Value {
    cluster.tollgate(&["resource", "list", "--output", "json"]).json()
}
