//! A wall clock that is wrong on one node, a minority. Nothing that is granted may depend on it.

use rand::RngExt;
use tollgate_server::raft::members::NodeId;

use super::{
    Scene, Struck,
    processes::{end, launch},
};
use crate::torture::cluster::{CLOCK_SEAT, WallClock};

/// By how many seconds it is off.
const HOUR: i64 = 3_600;

/// Jumps while monotonic clocks go on, and back: no more than the stamps' wall time may notice.
pub async fn jump(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let (wrong, clock) = match wrong_one(scene)? {
        Ok(found) => found,
        Err(cannot) => return Ok(Struck::Skipped(cannot)),
    };
    set(&clock, an_hour(scene))?;
    scene.last(1.0..2.0).await;
    let_lead(scene, wrong).await;
    set(&clock, 0)?;
    Ok(Struck::Over)
}

/// Jumps while all nodes are down, and back while they are down again. An outage of all is measured by wall clocks alone: the
/// first one ends by the wrong clock, the second one begins by it, and it is the other two that must count.
pub async fn jump_in_outage(scene: &mut Scene<'_>) -> Result<Struck, String> {
    let (wrong, clock) = match wrong_one(scene)? {
        Ok(found) => found,
        Err(cannot) => return Ok(Struck::Skipped(cannot)),
    };
    for offset_s in [an_hour(scene), 0] {
        let all = scene.cluster.ids();
        end(scene, &all);
        set(&clock, offset_s)?;
        scene.last(0.0..3.0).await;
        launch(scene, &all)?;
        scene.cluster.whole().await?;
        let_lead(scene, wrong).await;
    }
    Ok(Struck::Over)
}

/// The node whose clock can be set, and that clock; or why there is none.
fn wrong_one(scene: &mut Scene<'_>) -> Result<Result<(NodeId, WallClock), String>, String> {
    let wrong = scene.cluster.nodes.iter().find(|(_, node)| node.seat == CLOCK_SEAT).map(|(id, _)| *id);
    let wrong = wrong.ok_or("nobody sits where the clock can be set")?;
    let process = scene.cluster.process(wrong).pid();
    Ok(match &scene.cluster.wall_clock {
        Ok(clock) if clock.is_seen_by(process) => Ok((wrong, clock.clone())),
        Ok(_) => Err("nodes do not load libfaketime".to_owned()),
        Err(why) => Err(why.clone()),
    })
}

/// Asks the node with the wrong clock to lead, so that its clock counts. It may lead already, or lag; then others do.
async fn let_lead(scene: &mut Scene<'_>, wrong: NodeId) {
    let _ = scene.cluster.client.cluster().transfer(wrong).await;
    scene.last(1.0..3.0).await;
}

fn an_hour(scene: &mut Scene<'_>) -> i64 {
    if scene.rng.random_bool(0.5) { HOUR } else { -HOUR }
}

fn set(clock: &WallClock, offset_s: i64) -> Result<(), String> {
    clock.set(offset_s).map_err(|error| error.to_string())
}
