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
        let measured = bench(&cluster, mode, &["--duration", "400ms", "--warm-up", "0s"]);
        let [side] = &measured["sides"].as_array().unwrap()[..] else { panic!("{mode:?}: {measured}") };
        assert!(side["operations"].as_u64().unwrap() > 0, "{mode:?}: {measured}");
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
        assert_eq!(side["errors"], Value::Object(Default::default()), "{measured}");
    }
    let ratio = &sides[1]["of_floor"];
    let [least, median, greatest] = ["least", "median", "greatest"].map(|part| ratio[part].as_f64().unwrap());
    assert!(0.0 < least && least <= median && median <= greatest, "{measured}");
    assert!(sides[1]["of_first"].is_object() && sides[0]["of_first"].is_null(), "{measured}");
    assert!(sides[2]["of_floor"].is_null(), "{measured}");
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
    let mut command = cluster.command(&["bench", "--resources", "20"]);
    let mut bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("resources are made", || resources(&cluster) != before);
    kill(Pid::from_raw(bench.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(1));
    assert_eq!(resources(&cluster), before);
}

fn bench(cluster: &Cluster, mode: &[&str], options: &[&str]) -> Value {
    let args = [&["bench"], mode, options, &["--output", "json"]].concat();
    cluster.tollgate(&args).expect(0, "sides").json()
}

fn resources(cluster: &Cluster) -> Value {
    cluster.tollgate(&["resource", "list", "--output", "json"]).json()
}
