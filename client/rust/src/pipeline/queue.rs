//! Which task is next.

use std::{cmp::Reverse, collections::BinaryHeap};

use tollgate_proto::v1::Priority;

use crate::acquire::Acquire;

/// Tasks that have not begun, the most urgent first, and of those the first that came.
pub(super) struct Queue<T> {
    tasks: BinaryHeap<Queued<T>>,
    /// Tasks that were ever put in.
    count: u64,
}

/// A task, and what permit it asks for.
pub(super) struct Queued<T> {
    pub(super) task: T,
    pub(super) request: Acquire,
    order: (Urgency, Reverse<u64>),
}

/// As the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Low,
    Medium,
    High,
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Urgency {
        match priority {
            Priority::High => Urgency::High,
            Priority::Medium | Priority::Unspecified => Urgency::Medium,
            Priority::Low => Urgency::Low,
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { tasks: BinaryHeap::new(), count: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, task: T, request: Acquire) {
        let order = (Urgency::from(request.request.priority()), Reverse(self.count));
        self.count += 1;
        self.tasks.push(Queued { task, request, order });
    }

    /// The next task, if it is at least as urgent.
    pub(super) fn pop(&mut self, at_least: Urgency) -> Option<Queued<T>> {
        let next = self.tasks.peek()?;
        if next.urgency() < at_least { None } else { self.tasks.pop() }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }
}

impl<T> Queued<T> {
    pub(super) fn urgency(&self) -> Urgency {
        self.order.0
    }
}

impl<T> PartialEq for Queued<T> {
    fn eq(&self, other: &Queued<T>) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Queued<T> {}

impl<T> PartialOrd for Queued<T> {
    fn partial_cmp(&self, other: &Queued<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Queued<T> {
    fn cmp(&self, other: &Queued<T>) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}
