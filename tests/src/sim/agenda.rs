//! What will happen, in order: the scheduler's only list. Things of the same moment happen as they were planned.

use std::{cmp::Reverse, collections::BinaryHeap};

use tollgate_limiter::Span;

/// Things to come.
#[derive(Debug)]
pub struct Agenda<T> {
    heap: BinaryHeap<Reverse<Item>>,
    // The things themselves stay where they are while the heap is reordered: they are large, and it is the busiest place of
    // a simulation.
    things: Vec<Option<T>>,
    vacant: Vec<usize>,
    planned: u64,
}

/// By time, and then by number. Numbers are unique, so the place decides nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    at: Span,
    number: u64,
    place: usize,
}

impl<T> Agenda<T> {
    /// Nothing to come.
    pub fn new() -> Agenda<T> {
        Agenda { heap: BinaryHeap::new(), things: Vec::new(), vacant: Vec::new(), planned: 0 }
    }

    /// Plans something.
    pub fn plan(&mut self, at: Span, what: T) {
        self.planned += 1;
        let place = match self.vacant.pop() {
            Some(place) => {
                self.things[place] = Some(what);
                place
            }
            None => {
                self.things.push(Some(what));
                self.things.len() - 1
            }
        };
        self.heap.push(Reverse(Item { at, number: self.planned, place }));
    }

    /// The next thing, if it happens until `end`, and when.
    pub fn next_until(&mut self, end: Span) -> Option<(Span, T)> {
        self.heap.peek().filter(|Reverse(item)| item.at <= end)?;
        let Reverse(Item { at, place, .. }) = self.heap.pop()?;
        self.vacant.push(place);
        self.things[place].take().map(|what| (at, what))
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_by_time_and_then_as_they_were_planned() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, "c"), (3, "a"), (5, "d"), (3, "b"), (9, "late")] {
            agenda.plan(Span(at), what);
        }
        let happened: Vec<_> = std::iter::from_fn(|| agenda.next_until(Span(5))).collect();
        assert_eq!(happened, [(Span(3), "a"), (Span(3), "b"), (Span(5), "c"), (Span(5), "d")]);
        // In a place that has become vacant.
        agenda.plan(Span(7), "next");
        assert_eq!(agenda.next_until(Span(9)), Some((Span(7), "next")));
        assert_eq!(agenda.next_until(Span(9)), Some((Span(9), "late")));
    }
}
