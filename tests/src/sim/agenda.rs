//! What will happen, in order: the scheduler's only list. Things of the same moment happen as they were planned.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use tollgate_limiter::Span;

/// Things to come.
#[derive(Debug)]
pub struct Agenda<T> {
    heap: BinaryHeap<Reverse<Item<T>>>,
    planned: u64,
}

#[derive(Debug)]
struct Item<T> {
    at: Span,
    number: u64,
    what: T,
}

impl<T> Agenda<T> {
    /// Nothing to come.
    pub fn new() -> Agenda<T> {
        Agenda { heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans something.
    pub fn plan(&mut self, at: Span, what: T) {
        self.planned += 1;
        self.heap.push(Reverse(Item { at, number: self.planned, what }));
    }

    /// The next thing, if it happens until `end`, and when.
    pub fn next_until(&mut self, end: Span) -> Option<(Span, T)> {
        self.heap.peek().filter(|Reverse(item)| item.at <= end)?;
        self.heap.pop().map(|Reverse(item)| (item.at, item.what))
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda::new()
    }
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Item<T> {}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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
    }
}
