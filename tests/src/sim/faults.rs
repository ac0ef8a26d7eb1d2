//! Everything that can go wrong, as a list of things that will: a list can be shortened until only what matters is left.

use serde::{Deserialize, Serialize};
use tollgate_server::raft::members::NodeId;

use super::random::Random;

/// A fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Milliseconds after the beginning.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// Whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Whoever leads then.
    Leader,
    /// One of those that do not, by this number.
    Follower(u64),
}

/// One thing that goes wrong. Durations are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process is killed, and started again later.
    Crash {
        /// Whose.
        whom: Target,
        /// Until it starts again.
        down: u64,
    },
    /// All processes are killed at once: a power cut.
    CrashAll {
        /// Until the last of them starts again.
        down: u64,
    },
    /// The next process that installs a snapshot is killed before that is on its disk, and started again later.
    CrashInstalling {
        /// Until it starts again.
        down: u64,
    },
    /// The process stops for a while, and then goes on as if nothing had happened.
    Freeze {
        /// Whose.
        whom: Target,
        /// How long.
        lasts: u64,
    },
    /// Nothing gets to it or from it.
    Isolate {
        /// Whom.
        whom: Target,
        /// How long.
        lasts: u64,
    },
    /// It hears nobody, but is heard.
    Deafen {
        /// Whom.
        whom: Target,
        /// How long.
        lasts: u64,
    },
    /// It hears all others, but nobody hears it.
    Mute {
        /// Whom.
        whom: Target,
        /// How long.
        lasts: u64,
    },
    /// Much is lost and repeated on all links.
    Storm {
        /// How long.
        lasts: u64,
    },
    /// Each sync takes longer.
    SlowDisk {
        /// Whose.
        whom: Target,
        /// How long.
        lasts: u64,
        /// By so much.
        delay: u64,
    },
    /// The next sync fails; the process ends, and is started again later.
    FailSync {
        /// Whose.
        whom: Target,
    },
    /// There is less room on the disk than its reserve.
    LowDisk {
        /// Whose.
        whom: Target,
        /// How long.
        lasts: u64,
    },
    /// The disk is replaced by an empty one; the node is replaced by one of another id.
    WipeDisk {
        /// Whose.
        whom: Target,
    },
    /// A bit flips in the middle of the log; the process is killed, does not start again, and is replaced.
    RotDisk {
        /// Whose.
        whom: Target,
    },
    /// The one wall clock that may be wrong is wrong by so much from now on.
    JumpWall {
        /// By so much.
        error: i64,
    },
    /// A monotonic clock runs at another rate from now on.
    Drift {
        /// Whose.
        whom: Target,
        /// So many millionths faster than real time.
        ppm: i64,
    },
    /// Somebody asks the leader to hand over.
    Transfer,
    /// The leader is cut off. So is the next one as soon as it leads, before anybody hears of it; its voters are killed, and
    /// when they are back the first can be heard again, which knows of no election: nobody may vote twice in a term.
    Usurp {
        /// Until both links are mended, at the latest.
        lasts: u64,
    },
    /// A member is added.
    Grow,
    /// A voter is removed, unless too few would be left.
    Shrink {
        /// Whom.
        whom: Target,
    },
    /// All processes are asked to end, one by one, and started again: a rolling upgrade.
    RollingRestart {
        /// From one to the next.
        pause: u64,
    },
    /// A resource is defined anew.
    Redefine {
        /// Which.
        resource: usize,
        /// What its new definition follows from.
        seed: u64,
    },
    /// A resource is deleted, and created as it was.
    Recreate {
        /// Which.
        resource: usize,
    },
    /// A resource is paused for a while.
    Pause {
        /// Which.
        resource: usize,
        /// How long.
        lasts: u64,
    },
    /// A key is drained or disabled for a while.
    WithdrawKey {
        /// Of which resource.
        resource: usize,
        /// How long.
        lasts: u64,
    },
}

/// How long after the beginning nothing goes wrong yet.
const GRACE_MS: u64 = 1_500;

/// Draws what goes wrong until `end_ms`: a few kinds, so that runs differ from one another, and how often.
pub fn draw(random: &mut Random, end_ms: u64, resources: usize) -> Vec<PlannedFault> {
    let kinds: Vec<u64> = (0..KINDS).filter(|_| random.chance(350)).collect();
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    let pause_ms = *random.pick(&[400, 1_000, 2_500, 6_000]);
    let mut at_ms = GRACE_MS + random.below(pause_ms);
    while at_ms < end_ms {
        let kind = *random.pick(&kinds);
        faults.push(PlannedFault { at_ms, fault: draw_fault(random, kind, resources) });
        at_ms += random.between(pause_ms / 4, pause_ms * 2);
    }
    faults
}

/// Draws crashes that come just when a snapshot is installed, since few others will. They have a stream of chance of their own:
/// what else is drawn from a seed is the same with them and without.
pub fn draw_crashes_installing(seed: u64, end_ms: u64) -> Vec<PlannedFault> {
    let mut random = Random::new(seed, "installations");
    let count = if random.chance(150) { random.between(1, 4) } else { 0 };
    let mut draw_one = || {
        let fault = Fault::CrashInstalling { down: *random.pick(&[50, 500, 3_000]) + random.below(500) };
        PlannedFault { at_ms: random.between(GRACE_MS, end_ms - 1), fault }
    };
    (0..count).map(|_| draw_one()).collect()
}

/// Kinds that are drawn by their number.
const KINDS: u64 = 23;

fn draw_fault(random: &mut Random, kind: u64, resources: usize) -> Fault {
    let whom = match random.chance(500) {
        true => Target::Leader,
        false => Target::Follower(random.below(16)),
    };
    let lasts = *random.pick(&[200, 800, 1_500, 4_000]) + random.below(500);
    let down = *random.pick(&[50, 500, 3_000]) + random.below(500);
    let resource = random.below(resources as u64) as usize;
    let ppm_max = super::clock::DRIFT_PPM_MAX as i64;
    match kind {
        0 => Fault::Crash { whom, down },
        1 => Fault::CrashAll { down },
        2 => Fault::Freeze { whom, lasts },
        3 => Fault::Isolate { whom, lasts },
        4 => Fault::Deafen { whom, lasts },
        5 => Fault::Mute { whom, lasts },
        6 => Fault::Storm { lasts },
        7 => Fault::SlowDisk { whom, lasts, delay: random.between(20, 400) },
        8 => Fault::FailSync { whom },
        9 => Fault::LowDisk { whom, lasts },
        10 => Fault::WipeDisk { whom },
        11 => Fault::RotDisk { whom },
        12 => Fault::JumpWall { error: random.below(7_200_000) as i64 - 3_600_000 },
        13 => Fault::Drift { whom, ppm: *random.pick(&[-ppm_max, -ppm_max / 2, 0, ppm_max]) },
        14 => Fault::Transfer,
        15 => Fault::Grow,
        16 => Fault::Shrink { whom },
        17 => Fault::RollingRestart { pause: random.between(300, 2_000) },
        18 => Fault::Redefine { resource, seed: random.seed() },
        19 => Fault::Recreate { resource },
        20 => Fault::Pause { resource, lasts },
        // An election takes some time.
        21 => Fault::Usurp { lasts: lasts + 2_000 },
        _ => Fault::WithdrawKey { resource, lasts },
    }
}

/// A node's own number, for those that are started by a fault.
pub fn next_id(known: impl Iterator<Item = NodeId>) -> NodeId {
    known.max().unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, mem::discriminant};

    use super::*;

    #[test]
    fn every_kind_is_drawn() {
        let mut random = Random::new(1, "faults");
        let drawn: BTreeSet<_> =
            (0..KINDS).map(|kind| format!("{:?}", discriminant(&draw_fault(&mut random, kind, 2)))).collect();
        assert_eq!(drawn.len() as u64, KINDS);
    }

    #[test]
    fn some_runs_have_crashes_of_those_that_install() {
        let drawn: Vec<_> = (0..200).map(|seed| draw_crashes_installing(seed, 40_000)).collect();
        assert!(drawn.iter().any(Vec::is_empty) && drawn.iter().any(|faults| faults.len() > 1));
        assert!(drawn.iter().flatten().all(|planned| (GRACE_MS..40_000).contains(&planned.at_ms)));
    }

    #[test]
    fn faults_come_in_order_and_end_in_time() {
        for seed in 0..50 {
            let faults = draw(&mut Random::new(seed, "faults"), 40_000, 2);
            assert!(faults.is_sorted_by_key(|planned| planned.at_ms));
            assert!(faults.iter().all(|planned| (GRACE_MS..40_000).contains(&planned.at_ms)));
        }
    }
}
