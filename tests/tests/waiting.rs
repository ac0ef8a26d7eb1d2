//! Requests that wait for their turn, before whole nodes: any node takes them, and neither a client that gives up nor a
//! leader that goes away loses a slot or a turn.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};
use tollgate_proto::v1::{
    AcquirePermitRequest, CreateResourceRequest, GetResourceUsageRequest, GrantedPermit,
    ReleasePermitRequest, TransferLeadershipRequest, acquire_permit_response::Decision,
};
use tollgate_server::raft::members::NodeId;
use tollgate_tests::{
    cluster::{Cluster, PATIENCE},
    samples::{acquire, seconds, slots},
};
use tonic::Status;

const RESOURCE: &str = "salesforce/acme";

type Asked = JoinHandle<Result<Option<Decision>, Status>>;

/// Three nodes, a resource with one slot, and who holds it.
async fn with_one_slot_held() -> (Cluster, GrantedPermit) {
    let cluster = Cluster::start(3);
    let node = cluster.follower().await;
    let request = CreateResourceRequest { resource: Some(slots(RESOURCE, 1)) };
    cluster.resources(node).create_resource(request).await.expect("the resource is new");
    let holder = granted(wait(&cluster, node, "holder")).await;
    (cluster, holder)
}

/// Asks, and may wait for a minute.
fn wait(cluster: &Cluster, node: NodeId, request_id: &str) -> Asked {
    let request = AcquirePermitRequest { max_wait: seconds(60), ..acquire(RESOURCE, request_id) };
    let mut permits = cluster.permits(node);
    tokio::spawn(
        async move { permits.acquire_permit(request).await.map(|answer| answer.into_inner().decision) },
    )
}

async fn granted(asked: Asked) -> GrantedPermit {
    match timeout(PATIENCE, asked).await.expect("an answer in time").expect("the task ends") {
        Ok(Some(Decision::Granted(permit))) => permit,
        other => panic!("not granted: {other:?}"),
    }
}

async fn release(cluster: &Cluster, node: NodeId, permit: GrantedPermit) {
    let request = ReleasePermitRequest { permit_id: permit.permit_id, ..Default::default() };
    cluster.permits(node).release_permit(request).await.expect("it is held");
}

/// Until so many wait.
async fn until_waiting(cluster: &Cluster, node: NodeId, count: u64) {
    let waiting = async {
        loop {
            let request = GetResourceUsageRequest { name: RESOURCE.to_owned(), ..Default::default() };
            let usage = cluster.resources(node).get_resource_usage(request).await;
            if usage.is_ok_and(|usage| usage.into_inner().waiting == count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("as many wait at last");
}

#[tokio::test]
async fn requests_wait_at_any_node_and_go_in_the_order_of_their_arrival() {
    let (cluster, mut holder) = with_one_slot_held().await;
    let mut asked = Vec::new();
    for (count, node) in [(1, 1), (2, 2), (3, 3)] {
        asked.push(wait(&cluster, node, &format!("waits-at-{node}")));
        until_waiting(&cluster, node, count).await;
    }
    for (asked, releaser) in asked.into_iter().zip([3, 1, 2]) {
        release(&cluster, releaser, holder).await;
        holder = granted(asked).await;
        assert!(holder.waited.is_some_and(|waited| waited.seconds > 0 || waited.nanos > 0));
    }
}

#[tokio::test]
async fn clients_that_give_up_leave_the_queue_at_any_node() {
    let (cluster, holder) = with_one_slot_held().await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let gone = [wait(&cluster, leader, "gone-1"), wait(&cluster, follower, "gone-2")];
    until_waiting(&cluster, follower, 2).await;
    let stays = wait(&cluster, follower, "stays");
    until_waiting(&cluster, follower, 3).await;
    gone.iter().for_each(JoinHandle::abort);
    until_waiting(&cluster, follower, 1).await;
    release(&cluster, leader, holder).await;
    granted(stays).await;
}

#[tokio::test]
async fn requests_outwait_a_leader_that_hands_over_and_one_that_dies() {
    let (mut cluster, holder) = with_one_slot_held().await;
    // This one stays while the others lead in turn.
    let stays = cluster.follower().await;
    let first = wait(&cluster, stays, "first");
    until_waiting(&cluster, stays, 1).await;
    // The client retries nothing: it gave no id, and the node has one for it.
    let second = wait(&cluster, stays, "");
    until_waiting(&cluster, stays, 2).await;

    let old = cluster.leader().await;
    let to = cluster.running().into_iter().find(|id| *id != old && *id != stays).expect("three nodes run");
    cluster
        .administration(stays)
        .transfer_leadership(TransferLeadershipRequest { to })
        .await
        .expect("it runs");
    until_waiting(&cluster, stays, 2).await;
    cluster.kill(to);
    until_waiting(&cluster, stays, 2).await;

    release(&cluster, stays, holder).await;
    let holder = granted(first).await;
    release(&cluster, stays, holder).await;
    granted(second).await;
}
