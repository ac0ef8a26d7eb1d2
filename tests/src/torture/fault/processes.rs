//! Processes that end, or do not run for a while.

use nix::sys::signal::Signal;
use tokio::time::timeout;
use tollgate_server::raft::members::NodeId;

use super::{Scene, Struck};
use crate::torture::cluster::PATIENCE;

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

async fn kill(scene: &mut Scene<'_>, ids: &[NodeId]) -> Result<Struck, String> {
    end(scene, ids);
    scene.last(0.0..3.0).await;
    launch(scene, ids)?;
    Ok(Struck::Over)
}

/// All before any of them is waited for, so that none sees the others die.
pub fn end(scene: &mut Scene<'_>, ids: &[NodeId]) {
    ids.iter().for_each(|id| scene.cluster.process(*id).signal(Signal::SIGKILL));
    ids.iter().for_each(|id| scene.cluster.process(*id).kill());
}

pub async fn terminate_leader(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let leader = scene.cluster.leader().await?;
    scene.recorder.begin_drought();
    terminate(scene, leader).await?;
    // What is asked from now on is granted by another leader.
    let ended_at = scene.recorder.now();
    let granted = timeout(PATIENCE, scene.recorder.recovery_since(ended_at)).await;
    granted.map_err(|_| format!("no permit within {PATIENCE:?} after the leader was told to end"))?;
    let drought = scene.recorder.longest_drought();
    scene.last(0.0..2.0).await;
    launch(scene, &[leader])?;
    Ok(Struck::LeaderTerminated(drought))
}

pub async fn rolling_restart(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let from = scene.recorder.now();
    for id in scene.cluster.ids() {
        terminate(scene, id).await?;
        launch(scene, &[id])?;
        scene.cluster.whole().await?;
    }
    // Nothing else may befall what was asked meanwhile: it would be blamed for what is given up.
    let to = scene.recorder.now();
    let answered = timeout(PATIENCE, scene.recorder.answered(to)).await;
    answered.map_err(|_| format!("calls have no answer {PATIENCE:?} after a rolling restart"))?;
    Ok(Struck::Rolled(scene.recorder.given_up(from, to)))
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

pub fn launch(scene: &mut Scene<'_>, ids: &[NodeId]) -> Result<(), String> {
    ids.iter().try_for_each(|id| scene.cluster.launch(*id)).map_err(|error| error.to_string())
}
