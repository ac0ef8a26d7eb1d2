//! What Prometheus reads from the nodes of a cluster in use.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::cluster::{Cluster, eventually};

const ONE_A_DAY: &str = r#"
[[resource]]
name = "test/metrics"
[[resource.limit]]
name = "daily"
kind = "token_bucket"
capacity = 1
refill_amount = 1
refill_period = "24h"
"#;

/// All nodes' metrics, one after the other.
fn scrape(cluster: &Cluster) -> String {
    cluster.http_addresses().iter().map(|address| get(address)).collect()
}

fn get(address: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// The values of one series, of each node that has it.
fn values(text: &str, series: &str) -> Vec<f64> {
    let values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.map(|value| value.parse().unwrap()).collect()
}

#[test]
fn the_essentials_are_measured() {
    let cluster = Cluster::start();
    cluster.define(ONE_A_DAY);
    cluster.tollgate(&["acquire", "test/metrics"]).expect(0, "granted");
    cluster.tollgate(&["acquire", "test/metrics"]).expect(3, "denied");

    // Gauges follow with the next tick.
    eventually("all nodes have applied what they know to be committed", || {
        let text = scrape(&cluster);
        let applied = values(&text, "tollgate_applied_index");
        applied.iter().all(|index| *index == applied[0]) && applied[0] > 0.0
    });
    let text = scrape(&cluster);
    let sum = |series: &str| values(&text, series).iter().sum::<f64>();
    assert_eq!(sum(r#"tollgate_grants_total{resource="test/metrics"}"#), 1.0, "{text}");
    assert_eq!(
        sum(r#"tollgate_denials_total{resource="test/metrics",limit="daily",reason="limit_exhausted"}"#),
        1.0,
        "{text}"
    );
    assert!(sum("tollgate_acquire_seconds_count") >= 2.0, "{text}");
    assert!(sum("tollgate_commit_seconds_count") > 0.0, "{text}");
    assert_eq!(sum("tollgate_is_leader"), 1.0, "{text}");
    assert_eq!(values(&text, "tollgate_ready"), [1.0; 3], "{text}");
    assert_eq!(values(&text, "tollgate_disk_is_low"), [0.0; 3], "{text}");
    for series in
        ["tollgate_term", "tollgate_leader_id", "tollgate_log_bytes", "tollgate_fsync_seconds_count"]
    {
        let values = values(&text, series);
        assert!(values.len() == 3 && values.iter().all(|value| *value > 0.0), "{series}: {values:?}\n{text}");
    }

    cluster.tollgate(&["resource", "delete", "test/metrics"]).expect(0, "");
    let text = scrape(&cluster);
    assert!(!text.contains("test/metrics"), "nothing is left of a resource that is gone: {text}");
}
