//! S12: cluster time never goes backwards from entry to entry, and never gains on real time, be it by a change of leaders or
//! by an outage, or quota would be created.

use tollgate_limiter::{Span, Stamp};

use super::{Verdict, intervals::millionths};
use crate::history::{Entry, History};

/// By how much cluster time may be ahead over a whole run, beside the drift: after a restart of a majority the outage is
/// read off wall clocks, which differ a little even while they are right.
const WALLS_DIFFER: Span = Span::from_secs(1);

/// By how much it may gain: what was heard of a wall clock a while ago has aged by a clock that drifts.
const READINGS_AGE: Span = Span::from_millis(5);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    never_backwards(history, verdict);
    never_ahead(history, verdict);
    never_faster(history, verdict);
}

fn never_backwards(history: &History, verdict: &mut Verdict) {
    let mut last: Option<(&Entry, Stamp)> = None;
    for (entry, stamp) in history.log().filter_map(|entry| Some((entry, entry.stamp?))) {
        verdict.saw("S12 stamps", 1);
        if let Some((earlier, before)) = last
            && stamp.cluster < before.cluster
        {
            let what = format!("time goes backwards at entry {}", entry.index);
            let places =
                [earlier, entry].map(|e| format!("entry {} of term {}: {:?}", e.index, e.term, e.stamp));
            verdict.accuse("S12", what, places.to_vec());
        }
        last = Some((entry, stamp));
    }
}

/// Cluster time begins at zero when the run does.
fn never_ahead(history: &History, verdict: &mut Verdict) {
    for applied in &history.applied {
        let Some(stamp) = applied.entry.stamp else { continue };
        let most = applied.at.0 + millionths(applied.at.0, history.drift_ppm) + WALLS_DIFFER.0;
        if stamp.cluster.0 > most {
            let what = format!("cluster time is ahead of real time at entry {}", applied.entry.index);
            let evidence = format!("{stamp:?} was applied at {} ns by node {}", applied.at.0, applied.node);
            return verdict.accuse("S12", what, vec![evidence]);
        }
    }
}

/// Between any two entries no more cluster time passes than real time: it may lag, but not make up for it.
fn never_faster(history: &History, verdict: &mut Verdict) {
    let mut least: Option<(i128, &Entry)> = None;
    for entry in history.log() {
        let (Some(stamp), Some(&at)) = (entry.stamp, history.proposed.get(&(entry.index, entry.term))) else {
            continue;
        };
        verdict.saw("S12 proposals", 1);
        let lead = i128::from(stamp.cluster.0) - i128::from(at.0 + millionths(at.0, history.drift_ppm));
        match least {
            Some((before, earlier)) if lead > before + i128::from(READINGS_AGE.0) => {
                let what = format!(
                    "cluster time gains on real time from entry {} to {}",
                    earlier.index, entry.index
                );
                let places =
                    [earlier, entry].map(|e| format!("entry {} of term {}: {:?}", e.index, e.term, e.stamp));
                return verdict.accuse("S12", what, places.to_vec());
            }
            Some((before, _)) if lead >= before => {}
            _ => least = Some((lead, entry)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_limiter::Span;

    use super::{super::story::*, check};

    #[test]
    fn stamps_do_not_go_backwards() {
        for (later_ms, is_good) in [(5, true), (4, false)] {
            let mut story = Story::of(slots(2));
            story.logged(5, acquire("a"), held(1, 0));
            story.logged(later_ms, acquire("b"), held(2, 1));
            if is_good { story.passes(check) } else { story.violates("S12", check) }
        }
    }

    #[test]
    fn cluster_time_does_not_make_up_for_its_lag() {
        for (later_ms, is_good) in [(1_500, true), (1_540, false)] {
            let mut story = Story::of(slots(2));
            story.logged(5, acquire("a"), held(1, 0));
            story.logged(later_ms, acquire("b"), held(2, 1));
            // Stamped 40 ms late both times, or the first time only.
            let places: Vec<_> = story.history.log().map(|entry| (entry.index, entry.term)).collect();
            for ((index, term), at_ms) in places.into_iter().rev().zip([1_540, 45]) {
                story.history.propose(Span::from_millis(at_ms), index, term);
            }
            if is_good { story.passes(check) } else { story.violates("S12", check) }
        }
    }

    #[test]
    fn cluster_time_is_not_ahead_of_real_time() {
        let mut story = Story::of(slots(2));
        story.logged(5_000, acquire("a"), held(1, 0));
        story.history.applied.last_mut().unwrap().at = Span::from_millis(3_900);
        story.violates("S12", check);
    }
}
