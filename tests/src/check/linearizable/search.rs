//! The search for an order: Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of
//! configurations that led nowhere ("Testing for linearizability", 2017). The state of the model follows from the set of
//! operations that are done, so the set alone is remembered.

use std::collections::{BTreeSet, HashSet};

use crate::history::OpId;

/// Configurations that are tried at most.
const CONFIGURATIONS_MAX: usize = 20_000;

/// What an operation does to the slots, or saw of them. Permits by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Takes a free slot.
    Take(u64),
    /// Frees the permit's slot, which is held.
    Free(u64),
    /// The permit was granted before.
    Known(u64),
    /// It holds its slot.
    IsHeld(u64),
    /// It was granted before, and holds its slot no more.
    IsFree(u64),
}

/// An operation between its invocation and its reply. Without a reply it may be done at any time, or never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub op: OpId,
    pub from: u64,
    pub to: Option<u64>,
    pub effect: Effect,
}

/// What became of the search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none. The operations of which none can be next where most could be put in order.
    Nothing { furthest: Vec<OpId> },
    /// There are too many configurations.
    GaveUp,
}

pub(super) struct Search {
    slots: usize,
    // By invocation.
    intervals: Vec<Interval>,
    done: Vec<bool>,
    held: BTreeSet<u64>,
    granted: BTreeSet<u64>,
    dead_ends: HashSet<Vec<u64>>,
    furthest: (usize, Vec<OpId>),
}

impl Search {
    pub(super) fn new(slots: u32, mut intervals: Vec<Interval>) -> Search {
        intervals.sort_by_key(|interval| interval.from);
        Search {
            slots: slots as usize,
            done: vec![false; intervals.len()],
            intervals,
            held: BTreeSet::new(),
            granted: BTreeSet::new(),
            dead_ends: HashSet::new(),
            furthest: (0, vec![]),
        }
    }

    pub(super) fn run(mut self) -> Found {
        // Whoever was chosen, and what is left to try in its place.
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut choices = self.choices();
        loop {
            if self.is_explained() {
                return Found::Order;
            }
            if let Some(next) = choices.pop() {
                self.perform(next);
                let is_new = self.dead_ends.insert(self.configuration());
                if self.dead_ends.len() > CONFIGURATIONS_MAX {
                    return Found::GaveUp;
                }
                if is_new {
                    path.push((next, std::mem::replace(&mut choices, self.choices())));
                } else {
                    self.undo(next);
                }
                continue;
            }
            let Some((last, rest)) = path.pop() else {
                return Found::Nothing { furthest: self.furthest.1 };
            };
            self.undo(last);
            choices = rest;
        }
    }

    fn is_explained(&self) -> bool {
        self.intervals.iter().zip(&self.done).all(|(interval, done)| *done || interval.to.is_none())
    }

    /// What can be next: nothing that is answered before it was asked for is left. The most urgent last.
    fn choices(&mut self) -> Vec<usize> {
        let open = || (0..self.intervals.len()).filter(|at| !self.done[*at]);
        let deadline = open().filter_map(|at| self.intervals[at].to).min().unwrap_or(u64::MAX);
        let timely: Vec<_> = open().take_while(|at| self.intervals[*at].from <= deadline).collect();
        let mut choices: Vec<_> = timely.iter().copied().filter(|at| self.is_possible(*at)).collect();
        choices.sort_by_key(|at| std::cmp::Reverse(self.intervals[*at].to.unwrap_or(u64::MAX)));
        let done = self.done.iter().filter(|done| **done).count();
        if done >= self.furthest.0 && choices.is_empty() {
            self.furthest = (done, timely.iter().map(|at| self.intervals[*at].op).collect());
        }
        choices
    }

    fn is_possible(&self, at: usize) -> bool {
        match self.intervals[at].effect {
            Effect::Take(permit) => self.held.len() < self.slots && !self.granted.contains(&permit),
            Effect::Free(permit) | Effect::IsHeld(permit) => self.held.contains(&permit),
            Effect::Known(permit) => self.granted.contains(&permit),
            Effect::IsFree(permit) => self.granted.contains(&permit) && !self.held.contains(&permit),
        }
    }

    fn perform(&mut self, at: usize) {
        self.done[at] = true;
        match self.intervals[at].effect {
            Effect::Take(permit) => {
                self.held.insert(permit);
                self.granted.insert(permit);
            }
            Effect::Free(permit) => drop(self.held.remove(&permit)),
            Effect::Known(_) | Effect::IsHeld(_) | Effect::IsFree(_) => {}
        }
    }

    fn undo(&mut self, at: usize) {
        self.done[at] = false;
        match self.intervals[at].effect {
            Effect::Take(permit) => {
                self.held.remove(&permit);
                self.granted.remove(&permit);
            }
            Effect::Free(permit) => drop(self.held.insert(permit)),
            Effect::Known(_) | Effect::IsHeld(_) | Effect::IsFree(_) => {}
        }
    }

    fn configuration(&self) -> Vec<u64> {
        let word = |bits: &[bool]| bits.iter().fold(0, |word, bit| word << 1 | u64::from(*bit));
        self.done.chunks(64).map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(slots: u32, intervals: &[(u64, Option<u64>, Effect)]) -> Found {
        let interval = |(op, (from, to, effect)): (usize, &(u64, Option<u64>, Effect))| Interval {
            op: op as OpId,
            from: *from,
            to: *to,
            effect: *effect,
        };
        Search::new(slots, intervals.iter().enumerate().map(interval).collect()).run()
    }

    #[test]
    fn concurrent_operations_are_put_in_an_order_that_explains_them() {
        let held_in_turn =
            [(0, Some(9), Effect::Take(2)), (1, Some(8), Effect::Free(1)), (0, Some(8), Effect::Take(1))];
        assert_eq!(search(1, &held_in_turn), Found::Order);
    }

    #[test]
    fn two_holders_of_one_slot_cannot_be_explained() {
        let twice = [(0, Some(1), Effect::Take(1)), (2, Some(3), Effect::Take(2))];
        assert_eq!(search(1, &twice), Found::Nothing { furthest: vec![1] });
        assert_eq!(search(2, &twice), Found::Order);
    }

    #[test]
    fn what_was_answered_comes_first() {
        let stale =
            [(0, Some(1), Effect::Take(1)), (2, Some(3), Effect::Free(1)), (4, Some(5), Effect::IsHeld(1))];
        assert!(matches!(search(1, &stale), Found::Nothing { .. }));
        let concurrent =
            [(0, Some(1), Effect::Take(1)), (2, Some(5), Effect::Free(1)), (4, Some(5), Effect::IsHeld(1))];
        assert_eq!(search(1, &concurrent), Found::Order);
    }

    #[test]
    fn a_lost_release_may_have_been_done_or_not() {
        for later in [Effect::Take(2), Effect::IsHeld(1)] {
            let lost = [(0, Some(1), Effect::Take(1)), (2, None, Effect::Free(1)), (4, Some(5), later)];
            assert_eq!(search(1, &lost), Found::Order, "{later:?}");
        }
        let both = [
            (0, Some(1), Effect::Take(1)),
            (2, None, Effect::Free(1)),
            (4, Some(5), Effect::IsFree(1)),
            (6, Some(7), Effect::IsHeld(1)),
        ];
        assert!(matches!(search(1, &both), Found::Nothing { .. }));
    }
}
