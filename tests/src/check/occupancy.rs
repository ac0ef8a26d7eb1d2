//! How full a concurrency limit is in real time, as far as the log and the moments at which its entries were applied tell:
//! an upper bound, for the properties that say what must be free.

use std::collections::BTreeMap;

use tollgate_limiter::{
    ClusterTime, Command, Concurrency, LimitName, Outcome, PermitId, Resource, Scope, Span,
};

use super::{intervals::millionths, replay::steps};
use crate::history::History;

/// Within which a slot can be had again once its grace is over, or once the first node has applied its release: the leader
/// may be a little behind.
const RECLAIM_SLACK: Span = Span::from_millis(250);

/// From when to when each slot of a limit is taken, at most.
pub(super) struct Occupancy {
    pub slots: u32,
    pub taken: Vec<(Span, Span)>,
}

/// The limit of a resource that has no other, if it is about slots for everybody that count at once.
pub(super) fn sole_slots(resource: &Resource) -> Option<(&LimitName, &Concurrency)> {
    let [limit] = &resource.limits[..] else { return None };
    let is_plain = limit.scope == Scope::Resource && limit.operations.is_empty() && !limit.shadow;
    let terms = limit.kind.concurrency().filter(|terms| is_plain && terms.counts_after.is_zero())?;
    Some((&limit.name, terms))
}

struct Hold {
    from: Span,
    kept_until: ClusterTime,
    ended_at: Option<Span>,
}

impl Occupancy {
    /// Of a resource that has [`sole_slots`] and never changed.
    pub fn of(history: &History, resource: &Resource, terms: &Concurrency) -> Occupancy {
        let clock = RealTime::of(history);
        let kept_for = terms.grace + terms.quarantine;
        let mut holds = BTreeMap::<PermitId, Hold>::new();
        for step in steps(history) {
            let Some(at) = clock.applied(step.place.0) else { continue };
            let now = step.now.cluster;
            if let Some((target, grant)) = step.fresh_grant() {
                if *target.resource == resource.name {
                    let kept_until = now + grant.lease.unwrap_or_default() + kept_for;
                    holds.insert(grant.permit, Hold { from: at, kept_until, ended_at: None });
                }
            } else if let Some(hold) = step.ended().and_then(|permit| holds.get_mut(&permit)) {
                hold.ended_at = Some(at);
            } else if let (Command::Renew(renew), Ok(Outcome::Renewed(lease))) = (step.command, step.answer)
                && let Some(hold) = holds.get_mut(&renew.permit)
            {
                hold.kept_until = hold.kept_until.max(now + *lease + kept_for);
            }
        }
        let until = |hold: &Hold| hold.ended_at.unwrap_or_else(|| clock.by(hold.kept_until)) + RECLAIM_SLACK;
        let taken = holds.values().map(|hold| (hold.from, until(hold))).collect();
        Occupancy { slots: terms.slots, taken }
    }

    /// Whether at some moment from `from` to `to` all slots may be taken.
    pub fn may_be_full(&self, from: Span, to: Span) -> bool {
        self.taken.iter().filter(|(begin, end)| *begin <= to && from <= *end).count() >= self.slots as usize
    }

    /// The first stretch from `from` to `to` that is longer than `length` and in which a slot is certainly free.
    pub fn free_stretch(&self, from: Span, to: Span, length: Span) -> Option<(Span, Span)> {
        let mut moments: Vec<_> = self.taken.iter().flat_map(|(begin, end)| [*begin, *end]).collect();
        moments.retain(|moment| from < *moment && *moment < to);
        moments.extend([from, to]);
        moments.sort_unstable();
        let mut begin = None;
        for pair in moments.windows(2) {
            let taken = self.taken.iter().filter(|(b, e)| *b < pair[1] && pair[0] < *e).count();
            if taken >= self.slots as usize {
                begin = None;
                continue;
            }
            let since = *begin.get_or_insert(pair[0]);
            if pair[1].0 - since.0 > length.0 {
                return Some((since, pair[1]));
            }
        }
        None
    }
}

/// When entries were first applied, and by when a moment of cluster time had come.
struct RealTime {
    applied: BTreeMap<u64, Span>,
    // By cluster time; each came at this moment or before.
    came: BTreeMap<ClusterTime, Span>,
    drift_ppm: u64,
}

impl RealTime {
    fn of(history: &History) -> RealTime {
        let (mut applied, mut came) = (BTreeMap::new(), BTreeMap::new());
        for application in &history.applied {
            applied.entry(application.entry.index).or_insert(application.at);
            if let Some(stamp) = application.entry.stamp {
                came.entry(stamp.cluster).or_insert(application.at);
            }
        }
        RealTime { applied, came, drift_ppm: history.drift_ppm }
    }

    fn applied(&self, index: u64) -> Option<Span> {
        self.applied.get(&index).copied()
    }

    /// While a leader lives, cluster time goes on as its clock does.
    fn by(&self, moment: ClusterTime) -> Span {
        let after = self.came.range(moment..).next().map(|(_, at)| *at);
        let before = self.came.range(..=moment).next_back().map(|(stamp, at)| {
            let left = moment.since(*stamp);
            *at + left + Span(millionths(left.0, 2 * self.drift_ppm))
        });
        before.into_iter().chain(after).min().unwrap_or_default()
    }
}
