//! Processes that end, or do not run for a while; and clocks.

use nix::sys::signal::Signal;
use rand::RngExt;
use tokio::time::timeout;
use tollgate_server::raft::members::NodeId;

use super::{Scene, Struck};
use crate::torture::cluster::{CLOCK_SEAT, PATIENCE};

pub async fn kill_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = scene.cluster.leader().await?;
    scene.cluster.process(leader).kill();
    let killed_at = scene.recorder.now();
    let recovery = timeout(PATIENCE, scene.recorder.recovery_since(killed_at)).await;
    let recovery =
        recovery.map_err(|_| format!("no permit within {PATIENCE:?} after the leader was killed"))?;
    scene.last(0.0..1.0).await;
    launch(scene, &[leader])?;
    Ok(Struck::LeaderKilled(recovery))
}

pub async fn kill_follower(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let follower = scene.cluster.follower().await?;
    kill(scene, &[follower]).await
}

pub async fn kill_majority(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let spared = scene.cluster.follower().await?;
    let others: Vec<_> = scene.cluster.ids().into_iter().filter(|id| *id != spared).collect();
    kill(scene, &others).await
}

pub async fn kill_all(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let all = scene.cluster.ids();
    kill(scene, &all).await
}

/// All before any of them is waited for, so that none sees the others die.
async fn kill(scene: &mut Scene<'_>, ids: &[NodeId]) -> Result<Struck, String> {
    ids.iter().for_each(|id| scene.cluster.process(*id).signal(Signal::SIGKILL));
    ids.iter().for_each(|id| scene.cluster.process(*id).kill());
    scene.last(0.0..3.0).await;
    launch(scene, ids)?;
    Ok(Struck::Over)
}

pub async fn terminate_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = scene.cluster.leader().await?;
    terminate(scene, leader).await?;
    scene.last(0.0..2.0).await;
    launch(scene, &[leader])?;
    Ok(Struck::Over)
}

pub async fn rolling_restart(scene: &mut Scene<'_>) -> Result<Struck, String> {
    for id in scene.cluster.ids() {
        terminate(scene, id).await?;
        launch(scene, &[id])?;
        scene.cluster.whole().await?;
    }
    Ok(Struck::Over)
}

async fn terminate(scene: &mut Scene<'_>, id: NodeId) -> Result<(), String> {
    let process = scene.cluster.process(id);
    process.signal(Signal::SIGTERM);
    match process.ends_within(PATIENCE).await {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("node {id} was told to end, and ended with {status}")),
        None => Err(format!("node {id} was told to end {PATIENCE:?} ago")),
    }
}

pub async fn stop_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = scene.cluster.leader().await?;
    stop(scene, &[leader]).await
}

pub async fn stop_follower(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let follower = scene.cluster.follower().await?;
    stop(scene, &[follower]).await
}

pub async fn stop_all(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let all = scene.cluster.ids();
    stop(scene, &all).await
}

async fn stop(scene: &mut Scene<'_>, ids: &[NodeId]) -> Result<Struck, String> {
    ids.iter().for_each(|id| scene.cluster.process(*id).signal(Signal::SIGSTOP));
    scene.last(0.5..5.0).await;
    ids.iter().for_each(|id| scene.cluster.process(*id).signal(Signal::SIGCONT));
    Ok(Struck::Over)
}

pub async fn jump_clock(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let wrong = scene.cluster.nodes.iter().find(|(_, node)| node.seat == CLOCK_SEAT).map(|(id, _)| *id);
    let wrong = wrong.ok_or("nobody sits where the clock can be set")?;
    let process = scene.cluster.process(wrong).pid();
    let clock = match &scene.cluster.wall_clock {
        Ok(clock) if clock.is_seen_by(process) => clock.clone(),
        Ok(_) => return Ok(Struck::Skipped("nodes do not load libfaketime".to_owned())),
        Err(why) => return Ok(Struck::Skipped(why.clone())),
    };
    let hour = if scene.rng.random_bool(0.5) { 3_600 } else { -3_600 };
    clock.set(hour).map_err(|error| error.to_string())?;
    scene.last(1.0..2.0).await;
    // The node with the wrong clock is asked to lead, so that its clock counts. It may lead already, or lag; then others do.
    let _ = scene.cluster.client.cluster().transfer(wrong).await;
    scene.last(1.0..3.0).await;
    clock.set(0).map_err(|error| error.to_string())?;
    Ok(Struck::Over)
}

fn launch(scene: &mut Scene<'_>, ids: &[NodeId]) -> Result<(), String> {
    ids.iter().try_for_each(|id| scene.cluster.launch(*id)).map_err(|error| error.to_string())
}
