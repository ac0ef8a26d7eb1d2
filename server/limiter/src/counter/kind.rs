//! What every kind of rate counter implements.

use super::debit::Place;
use crate::model::{Span, Stamp};

/// What each kind implements, on its own parameters. Callers have checked that `amount` is at most
/// [`most`](super::most).
pub(super) trait Counter: Sized {
    type Rules<'a>: Copy;

    fn fresh(rules: Self::Rules<'_>, now: Stamp) -> Self;
    fn earliest(&self, rules: Self::Rules<'_>, amount: u64, from: Stamp) -> Stamp;
    fn debit(&mut self, rules: Self::Rules<'_>, amount: u64, now: Stamp) -> Place;
    /// Takes `surplus` off what was counted at `place`.
    fn give_back(&mut self, rules: Self::Rules<'_>, place: Place, surplus: u64, now: Stamp);
    /// Counts `extra` on top of what was counted at `place`. Returns where the whole is from now on.
    fn owe(&mut self, rules: Self::Rules<'_>, place: Place, extra: u64, now: Stamp) -> Place;
    fn available(&self, rules: Self::Rules<'_>, now: Stamp) -> i128;
    fn used(&self, rules: Self::Rules<'_>, now: Stamp) -> u128;
    fn fresh_in(&self, rules: Self::Rules<'_>, now: Stamp) -> Span;
    fn carry(&self, old: Self::Rules<'_>, new: Self::Rules<'_>, now: Stamp) -> Self;
}

/// A kind of window with the tolerance that its calls are dispatched within.
#[derive(Debug)]
pub(super) struct Tolerant<'a, Window> {
    pub(super) window: &'a Window,
    pub(super) tolerance: Span,
}

impl<Window> Clone for Tolerant<'_, Window> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Window> Copy for Tolerant<'_, Window> {}
