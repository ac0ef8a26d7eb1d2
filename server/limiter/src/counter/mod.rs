//! The counters behind the limits: one file a kind, integers only, time as an argument.
//!
//! Every kind answers the same questions ([`Counter`]): when does this amount fit, debit it, correct a debit, how much
//! is left, and how does the state carry over to other terms. `earliest` serves both the decision ("does it fit now?"
//! is `earliest(from) == from`) and `retry_after`, so the two can never disagree.

use crate::model::{LimitKind, Span};

/// What a counter counts against: the limit's parameters and the resource's dispatch tolerance.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The parameters.
    pub kind: &'a LimitKind,
    /// How long after its grant a call may arrive; windows count it wherever it may arrive.
    pub dispatch_tolerance: Span,
}
