//! Requests that wait for their turn. So far nobody does: everything is decided at once.

use tollgate_limiter::Span;

use super::{super::call::CallNumber, Replica};

impl<C> Replica<C> {
    /// Nobody waits any more for this call.
    pub(super) fn cancel(&mut self, _: CallNumber) {}

    /// When somebody's turn may have come, by this node's monotonic clock.
    pub fn next_wake(&self) -> Option<Span> {
        None
    }
}
