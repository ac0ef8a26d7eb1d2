//! Who came before whom.

use tollgate_limiter::Span;

use super::{Moment, WaiterId};

/// Order of arrival; of two that arrived together, the one that entered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    pub at: ArrivedAt,
    pub id: WaiterId,
}

/// When somebody began to wait, in nanoseconds of the leader's clock. Negative for one who waited elsewhere before that
/// clock began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArrivedAt(pub i64);

impl ArrivedAt {
    /// So long ago.
    pub fn before(now: Moment, waited: Span) -> ArrivedAt {
        let nanos = |span: Span| i64::try_from(span.0).unwrap_or(i64::MAX);
        ArrivedAt(nanos(now.monotonic) - nanos(waited))
    }

    /// When one entered that had waited so long before.
    pub fn entered_at(self, waited: Span) -> Span {
        Span(u64::try_from(self.0.saturating_add_unsigned(waited.0)).unwrap_or(0))
    }

    /// How long ago that is.
    pub fn waited(self, now: Moment) -> Span {
        let now = ArrivedAt::before(now, Span::ZERO);
        Span(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }
}
