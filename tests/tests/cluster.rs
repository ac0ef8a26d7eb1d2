//! Three whole nodes over real sockets and real files: any node answers, nothing acknowledged is lost.

use std::{collections::BTreeSet, fs, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tollgate_proto::v1::{
    AcquirePermitRequest, AcquirePermitsRequest, AddMemberRequest, CreateResourceRequest, GetClusterRequest,
    GetResourceUsageRequest, GrantedPermit, MemberRole, ReleasePermitRequest, RemoveMemberRequest,
    RenewPermitRequest, TransferLeadershipRequest, acquire_permit_response::Decision,
};
use tollgate_server::{
    raft::{
        call::{Call, ClusterView, Query, Reply},
        members::NodeId,
        transport::handshake::Expelled,
    },
    server::ServerError,
};
use tollgate_tests::{
    cluster::{Cluster, PATIENCE},
    samples::{acquire, plenty, slots},
};
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_types::StatusExt;

const RESOURCE: &str = "salesforce/acme";

/// Three nodes, and a resource with so many slots.
async fn with_slots(count: u32) -> Cluster {
    let cluster = Cluster::start(3);
    let node = cluster.follower().await;
    let request = CreateResourceRequest { resource: Some(slots(RESOURCE, count)) };
    cluster.resources(node).create_resource(request).await.expect("the resource is new");
    cluster
}

async fn ask(cluster: &Cluster, node: NodeId, request: AcquirePermitRequest) -> Result<Decision, Status> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(30));
    let response = cluster.permits(node).acquire_permit(request).await?;
    Ok(response.into_inner().decision.expect("a decision"))
}

async fn granted(cluster: &Cluster, node: NodeId, request_id: &str) -> GrantedPermit {
    match ask(cluster, node, acquire(RESOURCE, request_id)).await {
        Ok(Decision::Granted(permit)) => permit,
        other => panic!("{request_id} is not granted: {other:?}"),
    }
}

/// Retries what says that it can be retried, as clients do.
async fn granted_at_last(cluster: &Cluster, node: NodeId, request_id: &str) -> GrantedPermit {
    let trying = async {
        for attempt in 1.. {
            let request = AcquirePermitRequest { attempt, ..acquire(RESOURCE, request_id) };
            match ask(cluster, node, request).await {
                Ok(Decision::Granted(permit)) => return permit,
                Ok(other) => panic!("{request_id} is not granted: {other:?}"),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        unreachable!("there is always another attempt")
    };
    timeout(PATIENCE, trying).await.expect("a grant at last")
}

async fn is_denied(cluster: &Cluster, node: NodeId, request_id: &str) -> bool {
    matches!(ask(cluster, node, acquire(RESOURCE, request_id)).await, Ok(Decision::Denied(_)))
}

async fn held(cluster: &Cluster, node: NodeId) -> BTreeSet<String> {
    let request = GetResourceUsageRequest { name: RESOURCE.to_owned(), ..Default::default() };
    let usage = cluster.resources(node).get_resource_usage(request).await.expect("live figures");
    usage.into_inner().held.into_iter().map(|slot| slot.permit_id).collect()
}

/// Where an answer says that the leader is.
fn named_leader(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("tollgate-leader")?.to_str().ok()
}

async fn others(cluster: &Cluster, than: NodeId) -> Vec<NodeId> {
    cluster.running().into_iter().filter(|id| *id != than).collect()
}

#[tokio::test]
async fn any_node_answers_and_names_the_leader() {
    let cluster = with_slots(4).await;
    let leader = cluster.leader().await;
    let mut permits = BTreeSet::new();
    for node in 1..=3 {
        let response =
            cluster.permits(node).acquire_permit(acquire(RESOURCE, &format!("by-{node}"))).await.unwrap();
        assert_eq!(named_leader(response.metadata()), Some(cluster.client_address(leader)));
        let Some(Decision::Granted(permit)) = response.into_inner().decision else { panic!("denied") };
        permits.insert(permit.permit_id);
    }
    assert_eq!(permits.len(), 3);
    // A retry by another node gets the same permit.
    let again = granted(&cluster, 3, "by-1").await;
    assert!(again.replayed && permits.contains(&again.permit_id));
    granted(&cluster, 2, "last").await;
    for node in 1..=3 {
        assert!(is_denied(&cluster, node, "too-many").await);
        assert_eq!(held(&cluster, node).await.len(), 4);
    }
    let release = ReleasePermitRequest { permit_id: again.permit_id, ..Default::default() };
    cluster.permits(2).release_permit(release.clone()).await.unwrap();
    granted(&cluster, 1, "next").await;
    for node in 1..=3 {
        let twice = cluster.permits(node).release_permit(release.clone()).await.unwrap_err();
        assert_eq!(twice.code(), Code::FailedPrecondition);
        assert_eq!(named_leader(twice.metadata()), Some(cluster.client_address(leader)));
    }
}

#[tokio::test]
async fn a_killed_leader_takes_nothing_with_it() {
    let mut cluster = with_slots(10).await;
    let mut permits = BTreeSet::new();
    for round in 0..3 {
        let node = cluster.follower().await;
        permits.insert(granted_at_last(&cluster, node, &format!("before-{round}")).await.permit_id);
        let leader = cluster.leader().await;
        cluster.kill(leader);
        let survivor = cluster.running()[0];
        permits.insert(granted_at_last(&cluster, survivor, &format!("after-{round}")).await.permit_id);
        cluster.restart(leader);
    }
    assert_eq!(permits.len(), 6);
    let node = cluster.follower().await;
    assert_eq!(held(&cluster, node).await, permits);
    for permit_id in permits {
        let renew = RenewPermitRequest { permit_id, lease: None };
        cluster.permits(node).renew_permit(renew).await.unwrap();
    }
}

#[tokio::test]
async fn calls_under_way_survive_the_leader() {
    let mut cluster = with_slots(1_000).await;
    let leader = cluster.leader().await;
    let survivor = others(&cluster, leader).await[0];
    let mut calls = Vec::new();
    let client = cluster.permits(survivor);
    for call in 0..200 {
        let mut client = client.clone();
        calls.push(tokio::spawn(async move {
            for attempt in 1.. {
                let request = AcquirePermitRequest { attempt, ..acquire(RESOURCE, &format!("call-{call}")) };
                match client.acquire_permit(request).await {
                    Ok(response) => return response.into_inner().decision,
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
                sleep(Duration::from_millis(20)).await;
            }
            None
        }));
        if call == 100 {
            cluster.kill(leader);
        }
    }
    let mut permits = BTreeSet::new();
    for call in calls {
        match timeout(PATIENCE, call).await.expect("an answer at last").unwrap() {
            Some(Decision::Granted(permit)) => permits.insert(permit.permit_id),
            other => panic!("not granted: {other:?}"),
        };
    }
    assert_eq!(permits.len(), 200, "each call has a permit of its own");
    assert_eq!(held(&cluster, survivor).await, permits, "nobody else holds a slot");
}

#[tokio::test]
async fn without_a_quorum_the_answer_is_unavailable_and_soon() {
    let mut cluster = with_slots(4).await;
    for node in others(&cluster, cluster.leader().await).await {
        cluster.kill(node);
    }
    let alone = cluster.running()[0];
    let began = Instant::now();
    let status = ask(&cluster, alone, acquire(RESOURCE, "hopeless")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let reason = status.get_details_error_info().expect("a reason").reason;
    assert!(["NO_LEADER", "OUTCOME_UNKNOWN"].contains(&reason.as_str()), "{reason}");
    // Two seconds are promised; the machine may be busy.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_all() {
    let mut cluster = with_slots(5).await;
    let node = cluster.follower().await;
    let mut permits = BTreeSet::new();
    for request in 0..5 {
        permits.insert(granted(&cluster, node, &format!("r{request}")).await.permit_id);
    }
    for node in 1..=3 {
        cluster.kill(node);
    }
    for node in 1..=3 {
        cluster.restart(node);
    }
    let node = cluster.follower().await;
    assert_eq!(held(&cluster, node).await, permits);
    assert!(is_denied(&cluster, node, "sixth").await);
    assert!(granted_at_last(&cluster, node, "r0").await.replayed);
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = with_slots(4).await;
    let leader = cluster.leader().await;
    granted(&cluster, leader, "before").await;
    cluster.stop(leader).unwrap();
    let survivor = cluster.running()[0];
    granted_at_last(&cluster, survivor, "after").await;
    cluster.restart(leader);
    assert_ne!(cluster.leader().await, leader);
    assert_eq!(held(&cluster, leader).await.len(), 2);
}

#[tokio::test]
async fn leadership_goes_where_it_is_sent() {
    let mut cluster = Cluster::start(3);
    let to = cluster.follower().await;
    let request = TransferLeadershipRequest { to };
    let moved = cluster.administration(1).transfer_leadership(request).await.unwrap().into_inner();
    assert_eq!(moved.leader_id, to);
    assert_eq!(cluster.leader().await, to);

    // Where nobody can take over, the one who leads goes on; who is told so, by whatever node, is told where that one is.
    let asked = cluster.follower().await;
    let gone = others(&cluster, to).await.into_iter().find(|id| *id != asked).expect("a third node");
    cluster.kill(gone);
    for node in [to, asked] {
        let request = TransferLeadershipRequest { to: gone };
        let status = cluster.administration(node).transfer_leadership(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(status.get_details_error_info().expect("a reason").reason, "TRANSFER_TIMED_OUT");
        assert_eq!(named_leader(status.metadata()), Some(cluster.client_address(to)), "{status:?}");
    }
}

#[tokio::test]
async fn a_member_joins_learns_votes_and_leaves() {
    let mut cluster = with_slots(4).await;
    granted(&cluster, 1, "before").await;
    let member = cluster.join(4);
    let request = AddMemberRequest {
        id: 4,
        peer_address: member.peer_address,
        client_address: member.client_address,
        http_address: member.http_address,
    };
    cluster.administration(1).add_member(request).await.unwrap();
    let voting = async {
        loop {
            let view =
                cluster.administration(1).get_cluster(GetClusterRequest {}).await.unwrap().into_inner();
            if view.members.iter().any(|member| member.id == 4 && member.role() == MemberRole::Voter) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, voting).await.expect("the learner becomes a voter");
    cluster.leader().await;
    granted_at_last(&cluster, 4, "by-the-new-one").await;
    assert_eq!(held(&cluster, 4).await.len(), 2);

    // Asked of the node itself, the answer might go down with it.
    cluster.administration(1).remove_member(RemoveMemberRequest { id: 4 }).await.unwrap();
    let why = cluster.ended(4).unwrap_err();
    assert!(why.to_string().contains("removed from the cluster"), "{why}");
    granted_at_last(&cluster, 2, "afterwards").await;
}

#[tokio::test]
async fn a_node_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let resource = Some(plenty(RESOURCE));
    cluster.resources(leader).create_resource(CreateResourceRequest { resource }).await.unwrap();
    let away = cluster.follower().await;
    cluster.kill(away);

    // Until the log is cut twice: then what the node lacks is gone from it.
    let filling = async {
        let mut client = cluster.permits(leader);
        let snapshot_index = &cluster.node(leader).metrics.snapshot_index;
        let (mut cuts, mut last, mut batch) = (0, snapshot_index.get(), 0);
        while cuts < 2 {
            let requests =
                (0..1_000).map(|id| acquire(RESOURCE, &format!("{batch}-{id}-{:100}", "x"))).collect();
            client.acquire_permits(AcquirePermitsRequest { requests }).await.unwrap();
            cuts += u32::from(snapshot_index.get() > last);
            last = snapshot_index.get();
            batch += 1;
        }
    };
    timeout(PATIENCE, filling).await.expect("the log is cut");
    cluster.restart(away);

    let same = async {
        loop {
            let (ours, theirs) = (view(&cluster, leader).await, view(&cluster, away).await);
            if (ours.applied_index, ours.digest) == (theirs.applied_index, theirs.digest) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, same).await.expect("the node catches up");
    assert!(cluster.node(away).metrics.snapshot_index.get() > 0, "it has a snapshot, which it was sent");
}

/// The cluster as one node sees it.
async fn view(cluster: &Cluster, node: NodeId) -> ClusterView {
    let call = Call::Query(Query::ClusterHere);
    match cluster.node(node).router.call_here(call, PATIENCE).await {
        Ok(Reply::Cluster(view)) => *view,
        other => panic!("no view of the cluster: {other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_lost_its_disk_is_refused() {
    let mut cluster = with_slots(4).await;
    let node = cluster.follower().await;
    let recorded = async {
        loop {
            let members = cluster.node(node).status.borrow().members.clone();
            if members.by_id.values().all(|member| member.incarnation.is_some()) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, recorded).await.expect("all incarnations are recorded");
    cluster.kill(node);
    fs::remove_dir_all(cluster.data_dir(node)).unwrap();
    cluster.restart(node);
    let why = cluster.ended(node).unwrap_err();
    assert!(matches!(why, ServerError::Expelled(Expelled::Wiped(id)) if id == node), "{why}");
    let survivor = cluster.running()[0];
    granted_at_last(&cluster, survivor, "afterwards").await;
}
