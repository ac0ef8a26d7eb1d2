//! One call for many, before whole nodes: workers at all of them, a holder that is gone, and a leader that is killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tollgate_client::{Answer, CallError, Client, Coalesce, Coalesced, Limiter, Retries};
use tollgate_proto::v1::{
    AcquirePermitRequest, CreateResourceRequest, GetResourceUsageRequest, acquire_permit_response::Decision,
};
use tollgate_server::raft::members::NodeId;
use tollgate_tests::{
    cluster::{Cluster, PATIENCE},
    samples::{acquire, seconds, slots},
};

const RESOURCE: &str = "hubspot/acme";
const KEY: &str = "contact/42";
const FOUND: &[u8] = b"Jane";

/// Workers that want the same at the same time.
const WORKERS: u32 = 30;

async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(3);
    let node = cluster.follower().await;
    let request = CreateResourceRequest { resource: Some(slots(RESOURCE, 10)) };
    cluster.resources(node).create_resource(request).await.expect("the resource is new");
    let addresses = (1..=3).map(|id| cluster.client_address(id).to_owned());
    let client = Client::connect(addresses).expect("addresses");
    (cluster, client)
}

/// Wants the contact, and makes the call if nobody else does.
fn worker(client: &Client, calls: &Arc<AtomicU32>) -> JoinHandle<Vec<u8>> {
    let (client, calls) = (client.clone(), calls.clone());
    tokio::spawn(async move {
        let asked = client.acquire(RESOURCE).wait_up_to(PATIENCE).coalesce(KEY);
        match asked.await.expect("a permit or a result") {
            Coalesced::Result(shared) => shared.bytes,
            Coalesced::Permit(permit) => {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                let release = permit.release().result(FOUND).keep_result_for(Duration::from_secs(3600));
                release.await.expect("the lease is held");
                FOUND.to_vec()
            }
        }
    })
}

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

/// A worker that is killed says nothing any more: it neither renews nor releases. The next one has the permit when its slot is
/// free, after lease and grace, whoever leads then.
#[tokio::test]
async fn a_killed_holder_is_replaced_and_one_call_is_made_across_a_failover() {
    let (mut cluster, client) = cluster().await;
    let leader = cluster.leader().await;
    let request = AcquirePermitRequest {
        coalesce_key: KEY.to_owned(),
        lease: seconds(8),
        ..acquire(RESOURCE, "killed")
    };
    let holder = cluster.permits(leader).acquire_permit(request).await.expect("an answer").into_inner();
    assert!(matches!(holder.decision, Some(Decision::Granted(_))), "{holder:?}");

    let calls = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..WORKERS).map(|_| worker(&client, &calls)).collect();
    until_waiting(&cluster, leader, u64::from(WORKERS)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 0, "another makes the call");
    cluster.kill(leader);
    for worker in workers {
        assert_eq!(timeout(PATIENCE, worker).await.expect("in time").expect("no panic"), FOUND);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    // The result is there for who comes later, on every node, until it is invalidated.
    cluster.restart(leader);
    assert_eq!(timeout(PATIENCE, worker(&client, &calls)).await.expect("in time").expect("no panic"), FOUND);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(client.invalidate_results(RESOURCE, "contact/").await.expect("an answer"), 1);
    assert!(!client.invalidate_result(RESOURCE, KEY).await.expect("an answer"));
    assert_eq!(timeout(PATIENCE, worker(&client, &calls)).await.expect("in time").expect("no panic"), FOUND);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// Vendors deliver an event at least once, and again where nobody answered in time. It is handled once, though the first that tried
/// failed, two have it at the same time, and the leader that knew of it is gone.
#[tokio::test]
async fn a_webhook_that_is_delivered_again_is_handled_once() {
    let (mut cluster, client) = cluster().await;
    let limiter = Limiter::new(client.clone()).retries(Retries::none());
    let handled = Arc::new(AtomicU32::new(0));
    let deliver = |fails: bool| {
        let request = client.acquire(RESOURCE).wait_up_to(PATIENCE).coalesce("event/9f3c");
        let (limiter, handled) = (limiter.clone(), handled.clone());
        tokio::spawn(async move { handle(&limiter, request, &handled, fails).await })
    };
    deliver(true).await.expect("no panic").expect_err("the database is down");
    assert_eq!(handled.load(Ordering::Relaxed), 0);
    for delivery in [deliver(false), deliver(false)] {
        let result = timeout(PATIENCE, delivery).await.expect("in time").expect("no panic");
        assert_eq!(result.expect("handled"), b"");
    }
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let again = timeout(PATIENCE, deliver(false)).await.expect("in time").expect("no panic");
    assert_eq!(again.expect("handled before"), b"");
    assert_eq!(handled.load(Ordering::Relaxed), 1);
}

async fn handle(
    limiter: &Limiter,
    request: Coalesce,
    handled: &AtomicU32,
    fails: bool,
) -> Result<Vec<u8>, CallError<Answer>> {
    let week = Duration::from_secs(7 * 24 * 3_600);
    let handled_once = limiter.share(request, week, |_permit| async move {
        if fails {
            return Err(Answer::new(503));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        handled.fetch_add(1, Ordering::Relaxed);
        Ok((Answer::new(200), Vec::new()))
    });
    handled_once.await
}
