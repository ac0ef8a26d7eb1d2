//! What operators do under load.

use rand::RngExt;
use tokio::time::Instant;
use tollgate_client::v1::TokenBucket;

use super::{Scene, Struck};
use crate::torture::{
    cluster::{Node, PATIENCE},
    seat::SEATS,
    workload::{self, CHANGING},
};

pub async fn come_and_go(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let id = scene.cluster.join(SEATS - 1).await?;
    scene.cluster.whole().await?;
    if scene.rng.random_bool(0.5) {
        // Another change may be under way; then it does not lead.
        let _ = scene.cluster.client.cluster().transfer(id).await;
    }
    scene.last(0.5..2.0).await;
    let removed = scene.cluster.remove(id).await?;
    ends_by_itself(id, removed).await
}

pub async fn replace(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let id = scene.cluster.follower().await?;
    let removed = scene.cluster.remove(id).await?;
    let seat = removed.seat;
    ends_by_itself(id, removed).await?;
    scene.cluster.join(seat).await?;
    Ok(Struck::Over)
}

/// A removed node has nothing to do, and says so.
async fn ends_by_itself(id: u64, removed: Node) -> Result<Struck, String> {
    let mut process = removed.process.ok_or("it ran until now")?;
    match process.ends_within(PATIENCE).await {
        Some(_) => Ok(Struck::Over),
        None => Err(format!("node {id} was removed {PATIENCE:?} ago, and still runs")),
    }
}

pub async fn transfer(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let began = Instant::now();
    loop {
        let to = scene.cluster.follower().await?;
        match scene.cluster.client.cluster().transfer(to).await {
            Ok(leader) if leader == to => break,
            // An order is given up when the other has not caught up in time: it may be given again.
            Err(error) if error.is_temporary() && began.elapsed() < PATIENCE => {}
            other => return Err(format!("node {to} was to lead: {other:?}")),
        }
    }
    scene.last(0.1..0.5).await;
    Ok(Struck::Over)
}

pub async fn redefine(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let other = TokenBucket {
        capacity: scene.rng.random_range(20..200),
        refill_amount: scene.rng.random_range(100..500),
        ..workload::plenty()
    };
    for bucket in [other, workload::plenty()] {
        let current =
            scene.cluster.client.resources().get(CHANGING).await.map_err(|error| error.to_string())?;
        // Its outcome may not be known, when the machine is slow; then it is tried again with the next fault.
        scene.operator.update(workload::with_bucket(current, bucket)).await;
        scene.last(0.5..2.0).await;
    }
    Ok(Struck::Over)
}
