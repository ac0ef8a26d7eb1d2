//! `tollgate dev` and `tollgate cluster` while leaders come and go.

use std::{collections::BTreeSet, fs, net::TcpListener, time::Duration};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tollgate_client::{Client, Error, Permit};

use crate::cluster::{Cluster, answer, eventually, free_base_port, tollgate};

impl Cluster {
    fn status(&self) -> Value {
        self.tollgate(&["cluster", "status", "--output", "json"]).expect(0, "").json()
    }

    fn leader(&self) -> u64 {
        self.status()["leader_id"].as_u64().unwrap()
    }
}

#[test]
fn a_killed_leader_takes_no_permit_with_it() {
    let cluster = Cluster::start();
    let acquire = ["acquire", "salesforce/acme", "--output", "json"];
    let permit = cluster.tollgate(&acquire).expect(0, "").json();
    let id = permit["permit_id"].as_str().unwrap();

    let leader = cluster.leader();
    kill(cluster.process(leader), Signal::SIGKILL).unwrap();
    cluster.wait_for(&format!("node {leader} has ended"));
    cluster.wait_for(" leads (");
    cluster.tollgate(&acquire).expect(0, "granted");
    cluster.tollgate(&["renew", id]).expect(0, "renewed");
    assert_ne!(cluster.leader(), leader);
    eventually("the dead node is seen as such", || {
        let members = cluster.status()["members"].clone();
        let dead = members.as_array().unwrap().iter().find(|member| member["id"] == leader).cloned();
        dead.unwrap()["reachable"] == false
    });
}

#[test]
fn clients_do_not_notice_that_a_leader_is_killed() {
    let cluster = Cluster::start();
    let slots = 25;
    let leader = cluster.process(cluster.leader());
    let nodes = cluster.nodes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let held = runtime.block_on(async {
        let client = Client::connect(nodes.split(',')).unwrap().with_deadline(Duration::from_secs(60));
        let workers: Vec<_> = (0..slots).map(|_| tokio::spawn(work(client.clone()))).collect();
        sleep(Duration::from_millis(500)).await;
        kill(leader, Signal::SIGKILL).unwrap();
        let mut held = Vec::new();
        for worker in workers {
            held.push(worker.await.unwrap());
        }
        // All slots are taken now, by permits that were granted before, during and after the election.
        let another = client.acquire("salesforce/acme").await;
        assert!(matches!(another, Err(Error::Denied(_))), "{another:?}");
        held.iter().map(|permit| permit.id().to_owned()).collect::<BTreeSet<_>>()
    });
    assert_eq!(held.len(), slots);
}

/// Takes and returns a slot again and again for a while, then keeps one.
async fn work(client: Client) -> Permit {
    let since = Instant::now();
    loop {
        let permit = client.acquire("salesforce/acme").wait_up_to(Duration::from_secs(60)).await.unwrap();
        if since.elapsed() > Duration::from_secs(3) {
            return permit;
        }
        permit.release().await.unwrap();
    }
}

#[test]
fn the_logs_tell_who_leads_and_who_took_over() {
    let cluster = Cluster::start();
    let log =
        |node: u64| fs::read_to_string(cluster.directory().join(format!("data/node-{node}.log"))).unwrap();
    let leader = cluster.leader();
    assert!(log(leader).contains(&format!("this node ({leader}) leads since term")), "{}", log(leader));

    kill(cluster.process(leader), Signal::SIGTERM).unwrap();
    cluster.wait_for(&format!("node {leader} has ended"));
    assert!(log(leader).contains("leadership handed over"), "{}", log(leader));
    let next = cluster.leader();
    eventually("all that remain know who leads", || {
        (1..=3).filter(|node| *node != leader).all(|node| {
            log(node).contains(&match node == next {
                true => format!("this node ({next}) leads since term"),
                false => format!("node {next} leads since term"),
            })
        })
    });
}

#[test]
fn leadership_is_handed_over_and_members_are_checked() {
    let cluster = Cluster::start();
    let leader = cluster.leader();
    let other = leader % 3 + 1;
    cluster.tollgate(&["cluster", "transfer", &other.to_string()]).expect(0, &format!("node {other} leads"));
    assert_eq!(cluster.leader(), other);
    cluster.tollgate(&["cluster", "status"]).expect(0, "leader").expect(0, "voter");

    cluster.tollgate(&["cluster", "transfer", "9"]).expect(5, "cluster status");
    cluster.tollgate(&["cluster", "remove", "9"]).expect(5, "cluster status");
    let add = ["cluster", "add", "1", "--peer", "127.0.0.1:1", "--client", "127.0.0.1:2"];
    cluster.tollgate(&add).expect(6, "error");
    cluster
        .tollgate(&["cluster", "add", "4", "--peer", "nowhere", "--client", "127.0.0.1:2"])
        .expect(2, "peer_address");
}

#[test]
fn a_cluster_that_was_stopped_goes_on_where_it_was() {
    let mut cluster = Cluster::start();
    let permit = cluster.tollgate(&["acquire", "salesforce/acme", "--output", "json"]).expect(0, "").json();
    cluster.restart();
    cluster.tollgate(&["renew", permit["permit_id"].as_str().unwrap()]).expect(0, "renewed");

    cluster.stop();
    let other_port = free_base_port().to_string();
    let mut dev = tollgate();
    dev.args(["dev", "--base-port", &other_port, "--data-dir"]).arg(cluster.directory().join("data"));
    answer(dev).expect(1, "other settings").expect(1, "--fresh");
}

#[test]
fn the_data_of_a_cluster_that_runs_is_left_alone() {
    let cluster = Cluster::start();
    let files = || {
        let node = cluster.directory().join("data/node-1");
        let mut files: Vec<_> = fs::read_dir(node).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let before = files();
    for base_port in [free_base_port(), cluster.base_port()] {
        let mut dev = tollgate();
        dev.args(["dev", "--fresh", "--base-port", &base_port.to_string(), "--data-dir"])
            .arg(cluster.directory().join("data"));
        answer(dev).expect(1, "a cluster runs on").expect(1, "--data-dir");
    }
    assert_eq!(files(), before);
}

#[test]
fn a_cluster_that_cannot_start_says_why() {
    let directory = tempfile::TempDir::new().unwrap();
    let base_port = free_base_port();
    let _taken = TcpListener::bind(("127.0.0.1", base_port)).unwrap();
    let mut dev = tollgate();
    dev.args(["dev", "--base-port", &base_port.to_string(), "--data-dir"]).arg(directory.path());
    answer(dev).expect(1, "node 1 has ended").expect(1, &base_port.to_string());
}
