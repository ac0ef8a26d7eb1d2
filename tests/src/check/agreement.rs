//! S8: nodes that applied the same entry gave the same answers and have the same state, also when they came to it by a
//! snapshot or apply it again after a restart; and what that rests on, no term has two leaders. L5: within 10 s after healing, all
//! have one state. At the end, when nobody asks for anything any more, it is the same one; before, what one had applied a little
//! earlier is applied everywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tollgate_limiter::Span;

use super::Verdict;
use crate::history::{Applied, Comparison, History, Standing};

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
    let compared = history.comparison.iter().flat_map(|comparison| &comparison.nodes);
    for standing in history.restored.iter().chain(compared).chain(ending) {
        let Some(known) = first.get(&standing.index) else { continue };
        verdict.saw("S8 states from snapshots and at the end", 1);
        if known.entry.digest != standing.digest {
            let what = format!("node {} has another state at entry {}", standing.node, standing.index);
            verdict.accuse("S8", what, vec![format!("{known:?}"), format!("{standing:?}")]);
        }
    }
    one_leader_a_term(history, verdict);
    if let Some(comparison) = &history.comparison {
        caught_up(comparison, verdict);
        came_to_one_state(comparison, history, verdict);
    }
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

/// What one had applied is applied everywhere.
fn caught_up(comparison: &Comparison, verdict: &mut Verdict) {
    let Comparison { noted_at, index, at, nodes } = comparison;
    verdict.saw("L5 nodes 10 s after healing", nodes.len() as u64);
    let behind = nodes.iter().filter(|standing| standing.index < *index).count();
    if behind > 0 {
        let count = nodes.len();
        let what = format!(
            "{behind} of {count} nodes have not applied entry {index} at {at}, though one had at {noted_at}"
        );
        verdict.accuse("L5", what, told(nodes));
    }
}

/// Those that have applied the same entry have one state there: at the one that all were to reach, as each of them told when it
/// applied it, and where they stand.
fn came_to_one_state(comparison: &Comparison, history: &History, verdict: &mut Verdict) {
    let Comparison { index, at, nodes, .. } = comparison;
    let is_compared = |applied: &Applied| {
        applied.entry.index == *index
            && applied.at <= *at
            && nodes.iter().any(|standing| standing.node == applied.node)
    };
    let reached = history.applied.iter().filter(|applied| is_compared(applied));
    let mut states: BTreeSet<_> = reached.map(|applied| (*index, applied.entry.digest)).collect();
    states.extend(nodes.iter().map(|standing| (standing.index, standing.digest)));
    let states: Vec<_> = states.into_iter().collect();
    for pair in states.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let [(index, digest), (_, other)] = [pair[0], pair[1]];
        let what =
            format!("at {at} nodes have the digests {digest:016x} and {other:016x} after entry {index}");
        verdict.accuse("L5", what, told(nodes));
    }
}

fn told(nodes: &[Standing]) -> Vec<String> {
    nodes.iter().map(|standing| format!("{standing:?}")).collect()
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
        let what = format!("nodes differ at the end, more than {CONVERGENCE} after healing");
        verdict.accuse("L5", what, told(&ending.nodes));
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

    /// Compared at 10 s, when node 1 is at entry 9, with what had been applied at 6 s: entry 2.
    fn compared(mut story: Story, index: u64, digest: u64) -> Story {
        let at = Span::from_secs(10);
        let standing = |node, index, digest| Standing { at, node, index, digest };
        let nodes = vec![standing(1, 9, 90), standing(2, index, digest)];
        story.history.comparison = Some(Comparison { noted_at: Span::from_secs(6), index: 2, at, nodes });
        story
    }

    #[test]
    fn ten_seconds_after_healing_all_have_applied_what_one_had() {
        for (index, is_good) in [(1, false), (2, true), (8, true)] {
            let story = compared(run(2), index, 2);
            if is_good { story.passes(check) } else { story.violates("L5", check) }
        }
    }

    #[test]
    fn who_is_behind_is_told_with_how_far_it_is() {
        let verdict = compared(run(2), 1, 2).put_to(check);
        let [violation] = &verdict.violations[..] else { panic!("{verdict}") };
        let what = "1 of 2 nodes have not applied entry 2 at 10 s, though one had at 6 s";
        assert_eq!(violation.what, what);
        assert!(violation.evidence.iter().any(|line| line.contains("node: 2, index: 1,")), "{verdict}");
    }

    #[test]
    fn ten_seconds_after_healing_those_at_one_entry_have_one_state() {
        for (digest, is_good) in [(90, true), (91, false)] {
            let story = compared(run(2), 9, digest);
            if is_good { story.passes(check) } else { story.violates("L5", check) }
        }
    }

    #[test]
    fn what_nodes_told_of_the_entry_that_all_were_to_reach_is_compared() {
        for (digest, is_good) in [(2, true), (3, false)] {
            let verdict = compared(run(digest), 8, 80).put_to(check);
            assert_eq!(!verdict.violations.iter().any(|violation| violation.property == "L5"), is_good);
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
