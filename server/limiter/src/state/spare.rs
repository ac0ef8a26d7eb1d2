//! Memory that is free and will soon be needed again.

use super::Shared;

/// Values kept at most: what a busy entry of the log ends and grants.
const KEPT_MAX: usize = 1_024;

/// Values that are no more, to be filled anew: where as many come as go, none is allocated. They are no part of the state:
/// copies have none, all are equal, and nothing is encoded.
#[derive(Debug)]
pub(crate) struct Spare<T>(Vec<Shared<T>>);

impl<T: Clone> Spare<T> {
    /// Keeps what nobody else shares.
    pub(crate) fn keep(&mut self, value: Shared<T>) {
        if self.0.len() < KEPT_MAX && value.is_unique() {
            self.0.push(value);
        }
    }

    pub(crate) fn fill(&mut self, value: T) -> Shared<T> {
        match self.0.pop() {
            Some(mut spare) => {
                *spare = value;
                spare
            }
            None => Shared::new(value),
        }
    }
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(Vec::new())
    }
}

impl<T> Clone for Spare<T> {
    fn clone(&self) -> Self {
        Spare::default()
    }
}

impl<T> PartialEq for Spare<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Spare<T> {}
