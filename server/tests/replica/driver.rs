//! One real node: the driver, a real disk, no network.

use std::{path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use raft::eraftpb::Message;
use tollgate_limiter::Command;
use tollgate_server::{
    metrics::Metrics,
    raft::{
        call::{Call, Refusal, Reply},
        door::{Door, door},
        driver::{self, Beginning, NodeConfig, Running},
        fatal::Fatal,
        members::{Members, NodeId},
        peers::Peers,
    },
    storage::data_dir::DataDir,
};

use crate::{cluster::member, words::*};

/// A network with nobody in it.
struct Nobody;

impl Peers for Nobody {
    fn send(&self, _: Message) {}
    fn send_snapshot(&self, _: Message, _: PathBuf) {}
    fn beat(&self, _: u64, _: u64, _: bool) {}
    fn update(&self, _: NodeId, _: Arc<Members>) {}
}

fn start(dir: &tempfile::TempDir, disk_reserve_bytes: u64) -> (Door, Running) {
    try_to_start(dir, disk_reserve_bytes).unwrap()
}

fn try_to_start(dir: &tempfile::TempDir, disk_reserve_bytes: u64) -> Result<(Door, Running), Fatal> {
    let data_dir = DataDir::open(dir.path(), "test", 1).unwrap();
    let members = Members { by_id: [(1, member(1))].into(), ..Members::default() };
    let beginning = Beginning::Found(members);
    let election_timeout = Duration::from_millis(500);
    let config = NodeConfig { beginning, election_timeout, snapshot_log_bytes: 4 << 10, disk_reserve_bytes };
    let (door, inside) = door();
    let metrics = Metrics::new(&mut Registry::default());
    let running = driver::start(config, data_dir, inside, Arc::new(Nobody), metrics)?;
    Ok((door, running))
}

/// Asks until the node leads.
async fn ask(door: &Door, call: Call) -> Reply {
    loop {
        match door.call(call.clone()).await {
            Ok(reply) => return reply,
            Err(Refusal::NotLeader { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_comes_back_with_everything_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (door, running) = start(&dir, 0);
    ask(&door, create(200)).await;
    let mut permits = Vec::new();
    for _ in 0..200 {
        permits.push(granted(&ask(&door, acquire("")).await).permit);
    }
    running.shut_down().await.unwrap().unwrap();

    // The directory is free, the log was cut, nothing is forgotten.
    let (door, running) = start(&dir, 0);
    assert!(is_denied(&ask(&door, acquire("")).await));
    let mut held = holders(&ask(&door, usage()).await);
    held.sort_unstable();
    assert_eq!(held, permits);
    assert!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count() >= 1);
    running.shut_down().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_whose_log_is_gone_does_not_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (door, running) = start(&dir, 0);
    ask(&door, create(1)).await;
    running.shut_down().await.unwrap().unwrap();

    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    std::fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    assert!(matches!(try_to_start(&dir, 0), Err(Fatal::LostLog { .. })));
}

#[tokio::test]
async fn a_grant_whose_caller_is_gone_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (door, running) = start(&dir, 0);
    ask(&door, create(1)).await;
    // Gone before the answer, or with the answer unread: dropped at its first or at a later wait.
    for patience in [0, 1, 5] {
        let abandoned = tokio::time::timeout(Duration::from_millis(patience), door.call(acquire("")));
        // Somebody was patient enough after all, or came before an earlier grant was given back.
        if let Ok(Ok(reply)) = abandoned.await
            && let Some(permit) = reply.permit_to_give_back()
        {
            ask(&door, command(Command::GiveBack(permit))).await;
        }
    }
    while !holders(&ask(&door, usage()).await).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.shut_down().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_disk_without_its_reserve_takes_no_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (door, running) = start(&dir, u64::MAX);
    let refused = loop {
        match door.call(create(1)).await {
            Err(Refusal::NotLeader { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => break other,
        }
    };
    assert_eq!(refused, Err(Refusal::StorageFull));
    running.shut_down().await.unwrap().unwrap();
}
