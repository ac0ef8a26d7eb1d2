//! `tollgate cluster add` and `remove` with a node of its own.

use std::{
    fs,
    process::{Child, Stdio},
};

use crate::cluster::{Cluster, eventually, free_base_port, tollgate};

/// A process that ends with this value.
struct Running(Child);

#[cfg(target_os = "linux")]
impl Running {
    /// What the kernel says of it.
    fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == key).unwrap().1.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: a removed node has nothing to do.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Cluster {
    /// The role of a member; none if it is not one.
    fn role(&self, id: u64) -> Option<String> {
        let status = self.tollgate(&["cluster", "status", "--output", "json"]).expect(0, "").json();
        let members = status["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["id"] == id)?;
        member["role"].as_str().map(str::to_owned)
    }
}

#[test]
fn a_node_joins_catches_up_and_leaves() {
    let cluster = Cluster::start();
    let permit = cluster.tollgate(&["acquire", "salesforce/acme", "--output", "json"]).expect(0, "").json();
    let base_port = free_base_port();
    let [client, peer, http] = [0, 1, 2].map(|offset| format!("127.0.0.1:{}", base_port + offset));

    let mut node = tollgate();
    node.args(["server", "--node-id", "4", "--cluster", "dev", "--join", "--data-dir"]);
    node.arg(cluster.directory().join("node-4"));
    node.args(["--listen-client", &client, "--listen-peer", &peer, "--listen-http", &http]);
    node.arg("--huge-pages=false");
    let node = Running(node.stderr(Stdio::null()).spawn().unwrap());

    let add = ["cluster", "add", "4", "--peer", &peer, "--client", &client, "--http", &http];
    cluster.tollgate(&add).expect(0, "added node 4");
    cluster.tollgate(&add).expect(6, "error");
    eventually("the new node votes", || cluster.role(4).as_deref() == Some("voter"));
    let log =
        |node: u64| fs::read_to_string(cluster.directory().join(format!("data/node-{node}.log"))).unwrap();
    eventually("the leader's log tells it", || {
        (1..=3).any(|node| log(node).contains("node 4 has caught up: it votes from now on"))
    });

    // It answers, and knows what was granted before it came.
    let mut renew = tollgate();
    renew.args(["renew", permit["permit_id"].as_str().unwrap(), "--nodes", &client, "--timeout", "30s"]);
    crate::cluster::answer(renew).expect(0, "renewed");

    #[cfg(target_os = "linux")]
    assert_eq!(node.status("THP_enabled"), "0", "it was told to do without huge pages");

    cluster.tollgate(&["cluster", "remove", "4"]).expect(0, "removed node 4");
    assert_eq!(cluster.role(4), None);
    // A removed id is never used again.
    cluster.tollgate(&add).expect(6, "removed");
}
