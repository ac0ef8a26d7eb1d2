//! Cluster time: the one clock of the whole cluster, made of clocks that may be wrong.
//!
//! The leader stamps each entry; nobody else's clock is ever looked at when it is applied. A stamp is the last one plus
//! what the leader's own *monotonic* clock counted since: no jump of a wall clock changes it.
//!
//! * A follower anchors its clock anew at each entry of a living leader. Should it lead one day, its time lags by what
//!   the last entry took to arrive: the error is on the safe side, buckets refill later and leases live longer.
//! * Leaders lag differently, and time must not make up for it: a lease that one that lags has granted would end early
//!   under one that does not. So whoever leads next goes on from the last entry of the one before it, even if it has an
//!   anchor that lags less.
//! * A leader keeps the anchor that it began with. Were it to anchor at the entries that it applies itself, each would
//!   lose the time between its proposal and its application, and time would stand still under load.
//! * After a restart there is no anchor: the outage was measured by no monotonic clock. Time stands still until a quorum
//!   of wall clocks was read; then it advances by what they say has passed since the last stamp: from the *upper* median
//!   then, which each entry carries, to the *lower* median now. A clock that is wrong alone, ahead or behind, then or now,
//!   creates no time, and so no quota. Nor does one that was heard of late: what it shows by now is at least what it said
//!   when it was heard, and at most that and all the time since the moment that it repeated ([`super::echoes`]). Until
//!   then the leader proposes nothing; nor while it does not know what the clocks show at most, or the next outage would be
//!   taken to begin too early.
//!
//! Wall time, for windows that are tied to the calendar, is the lower median, and never goes backwards; while there is no
//! quorum of readings it advances as cluster time does.

use std::collections::BTreeMap;

use tollgate_limiter::{Span, Stamp, WallTime};

use crate::clock::Reading;

use super::members::NodeId;

/// By how much a monotonic clock runs fast or slow at most, in millionths: what NTP corrects a healthy oscillator by.
const DRIFT_PPM_MAX: u64 = 500;

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
    /// Whose time it is: that of the leader in this term; `None` if that is not known.
    term: Option<u64>,
}

impl Anchor {
    /// What the clock of the leader whose time this is shows at least, when this node's shows so much.
    fn at_least(self, monotonic: Span) -> Stamp {
        let elapsed = monotonic.saturating_sub(self.monotonic);
        let drifted = elapsed.0.div_ceil(1_000_000) * 2 * DRIFT_PPM_MAX;
        self.stamp.after(elapsed.saturating_sub(Span(drifted)))
    }
}

/// What is known of a peer's wall clock.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// What arrived last, and when it did: by now the clock shows more.
    at_least: Told,
    /// What was told after the latest of the moments that were repeated: by now the clock shows less. Messages overtake each other,
    /// so what comes later, and repeats an earlier moment or none, takes nothing away from it.
    at_most: Option<Told>,
}

/// What a wall clock showed, and a moment of this node's monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Told {
    wall: WallTime,
    at: Span,
}

/// An entry with a stamp, as it comes to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Stamped {
    /// The state's time with it.
    pub state: Stamp,
    /// Under which leader it was stamped; `None` for a snapshot, which does not say.
    pub term: Option<u64>,
    /// By this node's monotonic clock it was stamped before.
    pub before: Span,
    /// The leader that has stamped it is the present one: it lives, and its clock runs.
    pub is_present: bool,
}

impl ClusterClock {
    /// The clock of node `own`, which has just started.
    pub fn new(own: NodeId) -> ClusterClock {
        ClusterClock { own, anchor: None, heard: BTreeMap::new() }
    }

    /// A peer told its wall clock, after this node's monotonic clock showed `since`, as far as that is known.
    pub fn hear(&mut self, from: NodeId, wall: WallTime, since: Option<Span>, now: Reading) {
        let before = self.heard.get(&from).and_then(|heard| heard.at_most);
        let told = since.map(|at| Told { wall, at });
        let at_most = before.into_iter().chain(told).max_by_key(|told| told.at);
        self.heard.insert(from, Heard { at_least: Told { wall, at: now.monotonic }, at_most });
    }

    /// An entry of another leader, or of an earlier term of this node, is applied.
    ///
    /// Time goes on from there. If the clock has this leader's time already, an entry that comes late does not set it back:
    /// what has passed since the anchor counts, less what the two clocks may have drifted apart. For a clock without an
    /// anchor, entries of the past are no beginning: how long ago they were is still to be found out.
    pub fn follow(&mut self, Stamped { state, term, before, is_present }: Stamped) {
        let stamp = match self.anchor {
            None if !is_present => return,
            Some(anchor) if term.is_some() && anchor.term == term => state.max(anchor.at_least(before)),
            _ => state,
        };
        self.anchor = Some(Anchor { stamp, monotonic: before, term });
    }

    /// While it leads, a node whose clock has no anchor takes the outage from the wall clocks of a quorum of `voters`; at
    /// `state`, they showed `wall_at_most`. A new cluster begins at zero, with their wall time. Returns what the clocks show at
    /// most now, if time runs: it does not while that is not known, or the beginning of the next outage would not be.
    pub fn resume(
        &mut self,
        state: Stamp,
        wall_at_most: WallTime,
        voters: &[NodeId],
        now: Reading,
    ) -> Option<WallTime> {
        let upper = self.upper_median(voters, now)?;
        if self.anchor.is_none() {
            let lower = self.lower_median(voters, now)?;
            let is_newborn = state == Stamp::default();
            let outage = if is_newborn { Span::ZERO } else { wall_between(wall_at_most, lower) };
            let stamp = Stamp { cluster: state.cluster + outage, wall: lower.max(state.wall) };
            self.anchor = Some(Anchor { stamp, monotonic: now.monotonic, term: None });
        }
        Some(upper)
    }

    /// The present, never before `state`.
    pub fn stamp(&self, state: Stamp, voters: &[NodeId], now: Reading) -> Stamp {
        let Some(anchor) = self.anchor else { return state };
        let elapsed = Span(now.monotonic.0.saturating_sub(anchor.monotonic.0));
        let mut stamp = anchor.stamp.after(elapsed);
        if let Some(lower) = self.lower_median(voters, now) {
            stamp.wall = lower;
        }
        stamp.max(state)
    }

    /// What the median of the voters' wall clocks shows at least, whatever those show that were not heard of; if a quorum
    /// was, lately.
    fn lower_median(&self, voters: &[NodeId], now: Reading) -> Option<WallTime> {
        let walls = self.walls(voters, now, |heard| Some(heard.at_least))?;
        walls.iter().rev().nth(voters.len() / 2).copied()
    }

    /// What it shows at most.
    fn upper_median(&self, voters: &[NodeId], now: Reading) -> Option<WallTime> {
        let walls = self.walls(voters, now, |heard| heard.at_most)?;
        walls.get(voters.len() / 2).copied()
    }

    /// What the wall clocks of a quorum show by now, ascending, going by this of what is known of each.
    fn walls(
        &self,
        voters: &[NodeId],
        now: Reading,
        told: impl Fn(&Heard) -> Option<Told>,
    ) -> Option<Vec<WallTime>> {
        let wall_of = |id: &NodeId| {
            if *id == self.own {
                return Some(now.wall);
            }
            let Told { wall, at } = told(self.heard.get(id)?)?;
            let age = now.monotonic.saturating_sub(at);
            (age <= WALL_FRESH).then(|| WallTime(wall.0.saturating_add_unsigned(age.0)))
        };
        let mut walls: Vec<_> = voters.iter().filter_map(wall_of).collect();
        walls.sort_unstable();
        (walls.len() > voters.len() / 2).then_some(walls)
    }
}

/// From `earlier` to `later`; zero if it is the other way round.
fn wall_between(earlier: WallTime, later: WallTime) -> Span {
    Span(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
