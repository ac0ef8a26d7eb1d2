//! S8: nodes that applied the same entry gave the same answers and have the same state, also when they came to it by a
//! snapshot or apply it again after a restart; and what that rests on, no term has two leaders. L5: after healing, all have one state.

use std::{collections::BTreeMap, sync::Arc};

use tollgate_limiter::Span;

use super::Verdict;
use crate::history::{Applied, History, Standing};

/// Within which, after healing, all nodes agree.
const CONVERGENCE: Span = Span::from_secs(10);

/// See the module.
pub fn check(history: &History, verdict: &mut Verdict) {
    let mut first = BTreeMap::<u64, &Applied>::new();
    for applied in &history.applied {
        let known = *first.entry(applied.entry.index).or_insert(applied);
        verdict.saw("S8 applications", 1);
        if !Arc::ptr_eq(&known.entry, &applied.entry) && known.entry != applied.entry {
            let what = format!("nodes differ at entry {}", applied.entry.index);
            verdict.accuse("S8", what, vec![format!("{known:?}"), format!("{applied:?}")]);
        }
    }
    let ending = history.ending.iter().flat_map(|ending| &ending.nodes);
    for standing in history.restored.iter().chain(ending) {
        let Some(known) = first.get(&standing.index) else { continue };
        verdict.saw("S8 states from snapshots and at the end", 1);
        if known.entry.digest != standing.digest {
            let what = format!("node {} has another state at entry {}", standing.node, standing.index);
            verdict.accuse("S8", what, vec![format!("{known:?}"), format!("{standing:?}")]);
        }
    }
    one_leader_a_term(history, verdict);
    converged(history, verdict);
}

/// Election safety (Ongaro, Ousterhout 2014, figure 3).
fn one_leader_a_term(history: &History, verdict: &mut Verdict) {
    let led: Vec<_> = history.led.iter().collect();
    verdict.saw("S8 leaders", led.len() as u64);
    for pair in led.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let what = format!("nodes {} and {} both lead in term {}", pair[0].1, pair[1].1, pair[0].0);
        verdict.accuse("S8", what, vec![]);
    }
}

fn converged(history: &History, verdict: &mut Verdict) {
    let Some(ending) = &history.ending else { return };
    let Some(healed_at) = ending.healed_at else { return };
    if ending.at < healed_at + CONVERGENCE {
        return;
    }
    let state = |standing: &Standing| (standing.index, standing.digest);
    verdict.saw("L5 nodes after healing", ending.nodes.len() as u64);
    if ending.nodes.windows(2).any(|pair| state(&pair[0]) != state(&pair[1])) {
        let evidence = ending.nodes.iter().map(|standing| format!("{standing:?}")).collect();
        verdict.accuse("L5", format!("nodes differ {CONVERGENCE} after healing"), evidence);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::story::*, *};
    use crate::history::Entry;

    #[test]
    fn a_term_has_one_leader() {
        for (term, is_good) in [(8, true), (7, false)] {
            let mut story = Story::of(slots(2));
            assert!(story.history.lead(1, 7) && !story.history.lead(1, 7));
            story.history.lead(2, term);
            if is_good { story.passes(check) } else { story.violates("S8", check) }
        }
    }

    fn run(digest: u64) -> Story {
        let mut story = Story::of(slots(2));
        let entry = Entry { digest, ..story.history.log().next().unwrap().clone() };
        story.history.apply(Span(9), 2, entry);
        story
    }

    #[test]
    fn nodes_agree_on_an_entry() {
        run(2).passes(check);
        run(3).violates("S8", check);
    }

    #[test]
    fn a_snapshot_is_the_state_at_its_entry() {
        for (digest, is_good) in [(2, true), (3, false)] {
            let mut story = run(2);
            story.history.restore(Standing { at: Span(9), node: 3, index: 2, digest });
            if is_good { story.passes(check) } else { story.violates("S8", check) }
        }
    }

    #[test]
    fn after_healing_all_have_one_state() {
        for (second, ended_ms, is_good) in [(70, 20_000, true), (71, 20_000, false), (71, 10_099, true)] {
            let mut story = run(2);
            story.ended(ended_ms, 100, &[]);
            let standing = |node, digest| Standing { at: Span(9), node, index: 99, digest };
            let nodes = vec![standing(1, 70), standing(2, second)];
            story.history.ending.as_mut().unwrap().nodes = nodes;
            if is_good { story.passes(check) } else { story.violates("L5", check) }
        }
    }
}
