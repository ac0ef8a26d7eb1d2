//! Cluster time: the one clock of the whole cluster, made of clocks that may be wrong.
//!
//! The leader stamps each entry; nobody else's clock is ever looked at when it is applied. A stamp is the last one plus
//! what the leader's own *monotonic* clock counted since: no jump of a wall clock changes it.
//!
//! * A follower anchors its clock anew at each entry of a living leader. Should it lead one day, its time lags by what
//!   the last entry took to arrive: the error is on the safe side, buckets refill later and leases live longer.
//! * A leader keeps the anchor that it began with. Were it to anchor at the entries that it applies itself, each would
//!   lose the time between its proposal and its application, and time would stand still under load.
//! * After a restart there is no anchor: the outage was measured by no monotonic clock. Time stands still until a quorum
//!   of wall clocks was read; then it advances by what they say has passed since the last stamp: from the *upper* median
//!   then, which each entry carries, to the *lower* median now. A clock that is wrong alone, ahead or behind, then or now,
//!   creates no time, and so no quota. Until then the leader proposes nothing.
//!
//! Wall time, for windows that are tied to the calendar, is the lower median, and never goes backwards; while there is no
//! quorum of readings it advances as cluster time does.

use std::collections::BTreeMap;

use tollgate_limiter::{Span, Stamp, WallTime};

use crate::clock::Reading;

use super::members::NodeId;

/// A wall clock that was last heard of longer ago is not counted.
pub const WALL_FRESH: Span = Span::from_secs(3);

/// Cluster time as one node can tell it.
#[derive(Clone, Debug)]
pub struct ClusterClock {
    own: NodeId,
    anchor: Option<Anchor>,
    heard: BTreeMap<NodeId, Heard>,
}

/// A moment on both scales: a stamp, and when it was the present by this node's monotonic clock, or later.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    stamp: Stamp,
    monotonic: Span,
}

/// What a peer's wall clock showed, and when that arrived here.
#[derive(Clone, Copy, Debug)]
struct Heard {
    wall: WallTime,
    monotonic: Span,
}

impl ClusterClock {
    /// The clock of node `own`, which has just started.
    pub fn new(own: NodeId) -> ClusterClock {
        ClusterClock { own, anchor: None, heard: BTreeMap::new() }
    }

    /// A peer told its wall clock.
    pub fn hear(&mut self, from: NodeId, wall: WallTime, now: Reading) {
        self.heard.insert(from, Heard { wall, monotonic: now.monotonic });
    }

    /// An entry of the living leader brought the state to `state`: this node, a follower, tells time from here.
    pub fn follow(&mut self, state: Stamp, now: Reading) {
        self.anchor = Some(Anchor { stamp: state, monotonic: now.monotonic });
    }

    /// While it leads, a node whose clock has no anchor takes the outage from the wall clocks of a quorum of `voters`; at
    /// `state`, they showed `wall_at_most`. A new cluster begins at zero, with their wall time. Returns whether time runs.
    pub fn resume(&mut self, state: Stamp, wall_at_most: WallTime, voters: &[NodeId], now: Reading) -> bool {
        if self.anchor.is_none()
            && let Some((lower, _)) = self.median_walls(voters, now)
        {
            let is_newborn = state == Stamp::default();
            let outage = if is_newborn { Span::ZERO } else { wall_between(wall_at_most, lower) };
            let stamp = Stamp { cluster: state.cluster + outage, wall: lower.max(state.wall) };
            self.anchor = Some(Anchor { stamp, monotonic: now.monotonic });
        }
        self.anchor.is_some()
    }

    /// The present, never before `state`.
    pub fn stamp(&self, state: Stamp, voters: &[NodeId], now: Reading) -> Stamp {
        let Some(anchor) = self.anchor else { return state };
        let elapsed = Span(now.monotonic.0.saturating_sub(anchor.monotonic.0));
        let mut stamp = anchor.stamp.after(elapsed);
        if let Some((lower, _)) = self.median_walls(voters, now) {
            stamp.wall = lower;
        }
        stamp.max(state)
    }

    /// What the wall shows, or more: `elapsed` after it showed `last` or less.
    ///
    /// What is heard may have been on its way for long, through a link that was cut or to a process that was stopped, and
    /// shows too little then, beside one clock that is wrong. This node's own is read, not heard.
    pub fn wall_at_most(&self, last: WallTime, elapsed: Span, voters: &[NodeId], now: Reading) -> WallTime {
        match self.median_walls(voters, now) {
            // Without an anchor the outage is still to be credited: its beginning must not be forgotten.
            Some((_, upper)) if self.anchor.is_some() => upper.max(now.wall),
            _ => WallTime(last.0.saturating_add_unsigned(elapsed.0)),
        }
    }

    /// The lower and the upper median of the wall clocks of the voters, when a quorum was heard of lately.
    fn median_walls(&self, voters: &[NodeId], now: Reading) -> Option<(WallTime, WallTime)> {
        let mut walls: Vec<_> = voters.iter().filter_map(|&id| self.wall_of(id, now)).collect();
        if walls.len() <= voters.len() / 2 {
            return None;
        }
        walls.sort_unstable();
        Some((*walls.get((walls.len() - 1) / 2)?, *walls.get(walls.len() / 2)?))
    }

    fn wall_of(&self, id: NodeId, now: Reading) -> Option<WallTime> {
        if id == self.own {
            return Some(now.wall);
        }
        let heard = self.heard.get(&id)?;
        let age = now.monotonic.0.saturating_sub(heard.monotonic.0);
        (age <= WALL_FRESH.0).then(|| WallTime(heard.wall.0.saturating_add_unsigned(age)))
    }
}

/// From `earlier` to `later`; zero if it is the other way round.
fn wall_between(earlier: WallTime, later: WallTime) -> Span {
    Span(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_limiter::ClusterTime;

    use super::*;

    const VOTERS: &[NodeId] = &[1, 2, 3];
    const DAY_MS: i64 = 86_400_000;

    fn at(monotonic_ms: u64, wall_ms: i64) -> Reading {
        Reading { monotonic: Span::from_millis(monotonic_ms), wall: WallTime(wall_ms * 1_000_000) }
    }

    fn state(cluster_ms: u64, wall_ms: i64) -> Stamp {
        Stamp { cluster: ClusterTime(cluster_ms * 1_000_000), wall: WallTime(wall_ms * 1_000_000) }
    }

    #[test]
    fn a_jump_of_the_own_wall_clock_changes_nothing() {
        let mut clock = ClusterClock::new(1);
        clock.follow(state(500, 10_000), at(100, 10_000));
        clock.hear(2, WallTime(10_000 * 1_000_000), at(100, 10_000));
        clock.hear(3, WallTime(10_000 * 1_000_000), at(100, 10_000));
        for jump_ms in [0, DAY_MS, -DAY_MS] {
            let stamp = clock.stamp(state(500, 10_000), VOTERS, at(350, 10_250 + jump_ms));
            assert_eq!(stamp, state(750, 10_250), "jump of {jump_ms} ms");
        }
    }

    #[test]
    fn after_a_restart_time_stands_still_until_a_quorum_was_read() {
        let mut clock = ClusterClock::new(1);
        let last = state(500, 10_000);
        assert!(!clock.resume(last, last.wall, VOTERS, at(50, 70_000)));
        assert_eq!(clock.stamp(last, VOTERS, at(60, 70_010)), last);
        clock.hear(2, WallTime(70_005 * 1_000_000), at(60, 70_010));
        assert!(clock.resume(last, last.wall, VOTERS, at(60, 70_010)));
        assert_eq!(clock.stamp(last, VOTERS, at(60, 70_010)), state(60_505, 70_005));
    }

    #[test]
    fn one_clock_in_the_future_creates_no_time() {
        for wrong in VOTERS {
            let wall = |id: NodeId| 10_000 + if id == *wrong { DAY_MS } else { 0 };
            let mut clock = ClusterClock::new(1);
            clock.hear(2, WallTime(wall(2) * 1_000_000), at(50, wall(1)));
            assert!(clock.resume(state(500, 10_000), state(0, 10_000).wall, VOTERS, at(50, wall(1))));
            assert_eq!(clock.stamp(state(500, 10_000), VOTERS, at(50, wall(1))), state(500, 10_000));
        }
    }

    #[test]
    fn one_clock_in_the_past_creates_no_time_either() {
        // Only the wrong clock and another one were heard of at the last stamp; the wrong one is away after the outage.
        let mut before = ClusterClock::new(1);
        before.follow(state(400, 9_900), at(0, 9_900));
        before.hear(2, WallTime((10_000 - DAY_MS) * 1_000_000), at(100, 10_000));
        let last = before.stamp(state(400, 9_900), VOTERS, at(100, 10_000));
        let wall_at_most = before.wall_at_most(WallTime(0), Span::ZERO, VOTERS, at(100, 10_000));
        assert_eq!((last.cluster, wall_at_most), (state(500, 0).cluster, state(0, 10_000).wall));

        let mut after = ClusterClock::new(1);
        after.hear(3, WallTime(12_000 * 1_000_000), at(5, 12_000));
        assert!(after.resume(last, wall_at_most, VOTERS, at(5, 12_000)));
        assert_eq!(after.stamp(last, VOTERS, at(5, 12_000)).cluster, state(2_500, 0).cluster);
    }

    #[test]
    fn a_clock_that_was_heard_of_late_creates_no_time_beside_a_wrong_one() {
        let mut clock = ClusterClock::new(1);
        clock.follow(state(400, 9_900), at(0, 9_900));
        clock.hear(2, WallTime((10_000 - DAY_MS) * 1_000_000), at(100, 10_000));
        // It was right when it was told, four seconds ago.
        clock.hear(3, WallTime(6_000 * 1_000_000), at(100, 10_000));
        let wall_at_most = clock.wall_at_most(WallTime(0), Span::ZERO, VOTERS, at(100, 10_000));
        assert_eq!(wall_at_most, state(0, 10_000).wall);
    }

    #[test]
    fn a_new_cluster_begins_at_zero_with_the_wall_time_of_its_quorum() {
        let mut clock = ClusterClock::new(1);
        assert!(clock.resume(Stamp::default(), WallTime(0), &[1], at(5, 10_000)));
        assert_eq!(clock.stamp(Stamp::default(), &[1], at(5, 10_000)), state(0, 10_000));
    }

    #[test]
    fn a_stale_reading_does_not_count() {
        let mut clock = ClusterClock::new(1);
        clock.hear(2, WallTime(10_000 * 1_000_000), at(0, 10_000));
        assert!(!clock.resume(state(1, 1), WallTime(1), VOTERS, at(3_001, 13_001)));
    }

    proptest! {
        /// Whatever the wall clocks do: a leader's time never goes backwards, and while its clock has an anchor it
        /// advances exactly as its monotonic clock does.
        #[test]
        fn an_anchored_clock_is_its_monotonic_clock(
            steps in prop::collection::vec((0_u64..5_000, -DAY_MS..DAY_MS, -DAY_MS..DAY_MS), 1..40),
        ) {
            let mut clock = ClusterClock::new(1);
            clock.follow(state(1_000, 1_000), at(0, 1_000));
            let (mut monotonic_ms, mut last) = (0, state(1_000, 1_000));
            for (step_ms, own_ms, peer_ms) in steps {
                monotonic_ms += step_ms;
                let now = at(monotonic_ms, own_ms);
                clock.hear(2, WallTime(peer_ms * 1_000_000), now);
                let stamp = clock.stamp(last, VOTERS, now);
                prop_assert_eq!(stamp.cluster, state(1_000 + monotonic_ms, 0).cluster);
                prop_assert!(stamp.wall >= last.wall);
                last = stamp;
            }
        }

        /// After a restart, time advances by no more than the second largest of three clocks says, whichever were heard.
        #[test]
        fn a_restart_credits_no_more_than_a_quorum_agrees_on(
            walls in prop::array::uniform3(0_i64..DAY_MS), heard in prop::array::uniform2(any::<bool>()),
        ) {
            let mut clock = ClusterClock::new(1);
            let now = at(10, walls[0]);
            for (id, wall) in [(2, walls[1]), (3, walls[2])] {
                if heard[id as usize - 2] {
                    clock.hear(id, WallTime(wall * 1_000_000), now);
                }
            }
            let last = state(500, 1_000);
            let ran = clock.resume(last, last.wall, VOTERS, now);
            prop_assert_eq!(ran, heard[0] || heard[1]);
            let mut sorted = walls;
            sorted.sort_unstable();
            let credited = clock.stamp(last, VOTERS, now).cluster.since(last.cluster);
            prop_assert!(credited <= wall_between(last.wall, WallTime(sorted[1] * 1_000_000)));
        }
    }
}
