//! What lies between the nodes.

use std::time::Duration;

use rand::RngExt;

use super::{Scene, Struck};
use crate::torture::{cluster::Cluster, seat::SEATS};

/// Long enough for elections, and for leases to end.
const SECONDS: std::ops::Range<f64> = 1.0..6.0;

pub async fn isolate_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = leader_seat(scene.cluster).await?;
    scene.cluster.network.isolate(leader);
    heal_later(scene).await
}

pub async fn isolate_follower(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let follower = follower_seat(scene.cluster).await?;
    scene.cluster.network.isolate(follower);
    heal_later(scene).await
}

pub async fn isolate_all(scene: &mut Scene<'_>) -> Result<Struck, String> {
    (0..SEATS).for_each(|seat| scene.cluster.network.isolate(seat));
    heal_later(scene).await
}

pub async fn deaf_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = leader_seat(scene.cluster).await?;
    (0..SEATS).filter(|other| *other != leader).for_each(|other| scene.cluster.network.cut(other, leader));
    heal_later(scene).await
}

pub async fn mute_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = leader_seat(scene.cluster).await?;
    (0..SEATS).filter(|other| *other != leader).for_each(|other| scene.cluster.network.cut(leader, other));
    heal_later(scene).await
}

pub async fn cut_link(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let (leader, follower) = (leader_seat(scene.cluster).await?, follower_seat(scene.cluster).await?);
    scene.cluster.network.cut(leader, follower);
    scene.cluster.network.cut(follower, leader);
    heal_later(scene).await
}

pub async fn cut_one_way(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let (leader, follower) = (leader_seat(scene.cluster).await?, follower_seat(scene.cluster).await?);
    let (from, to) = if scene.rng.random_bool(0.5) { (leader, follower) } else { (follower, leader) };
    scene.cluster.network.cut(from, to);
    heal_later(scene).await
}

pub async fn delay_all(scene: &mut Scene<'_>) -> Result<Struck, String> {
    for seat in 0..SEATS {
        let delay = Duration::from_millis(scene.rng.random_range(20..200));
        if let Err(cannot) = scene.cluster.network.delay(seat, delay) {
            return Ok(Struck::Skipped(cannot));
        }
    }
    heal_later(scene).await
}

pub async fn delay_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = leader_seat(scene.cluster).await?;
    let delay = Duration::from_millis(scene.rng.random_range(300..2_000));
    if let Err(cannot) = scene.cluster.network.delay(leader, delay) {
        return Ok(Struck::Skipped(cannot));
    }
    heal_later(scene).await
}

pub async fn reset(scene: &mut Scene<'_>) -> Result<Struck, String> {
    for _ in 0..scene.rng.random_range(1..4) {
        if let Err(cannot) = scene.cluster.network.reset() {
            return Ok(Struck::Skipped(cannot));
        }
        scene.last(0.1..1.0).await;
    }
    Ok(Struck::Over)
}

async fn heal_later(scene: &mut Scene<'_>) -> Result<Struck, String> {
    scene.last(SECONDS).await;
    scene.cluster.network.heal();
    Ok(Struck::Over)
}

async fn leader_seat(cluster: &Cluster) -> Result<usize, String> {
    let leader = cluster.leader().await?;
    Ok(cluster.seat_of(leader).number)
}

async fn follower_seat(cluster: &Cluster) -> Result<usize, String> {
    let follower = cluster.follower().await?;
    Ok(cluster.seat_of(follower).number)
}
