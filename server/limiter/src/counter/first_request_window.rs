//! Fixed windows that begin with the first call after the last window closed, by cluster time.
//!
//! **Guarantee:** in each of the vendor's windows at most `amount` arrives, wherever in `[grant, grant + tolerance]` calls
//! arrive. This relies on granted calls being made, or given back as not sent: a vendor's window opens with a call.
//!
//! A grant at t with no window open opens one. The vendor's window opens with the first arrival, at some a in
//! `[t, t + tolerance]`, and closes at `a + period`, that is in `[t + period, t + period + tolerance]`. So a further grant
//! at g is certain to arrive inside while `g + tolerance < t + period`; then nothing is granted; and a grant at
//! `t + period + tolerance` or later is certain to arrive after the vendor's window closed, and opens the next.
//! What is granted in one of our windows thus arrives in one of the vendor's, and it is at most `amount`.
//!
//! If the call that opened the window was not sent, the vendor's window opens with one of the others, at the latest with
//! the youngest: the moment before which the window cannot have closed moves there. If none was sent, no window is open.
//!
//! Over a change of the definition an open window *floats*. The vendor's may have opened with any call that was counted
//! before, or with any that is granted from now on, so ours stays open until a period after its youngest. A window of the
//! vendor's that contains one of its calls has closed by then: none contains calls of two of ours.

use minicbor::{Decode, Encode};

use super::{
    debit::Place,
    kind::{Counter, Tolerant},
};
use crate::model::{ClusterTime, FixedWindow, Span, Stamp};

/// The state of a window that opens with the first request. Without calls in it no window is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct FirstRequestWindowCounter {
    /// When it was opened; names the window for its debits.
    #[n(0)]
    name: ClusterTime,
    /// The vendor's window opens no earlier…
    #[n(1)]
    opens_from: ClusterTime,
    /// …and a call that is sent was granted no later than this.
    #[n(2)]
    opens_by: ClusterTime,
    /// The youngest grant.
    #[n(3)]
    youngest: ClusterTime,
    #[n(4)]
    used: u128,
    /// Granted in the window and not known to be unsent.
    #[n(5)]
    calls: u64,
    /// The definition changed while it was open.
    #[cbor(n(6), default, skip_if = "std::ops::Not::not")]
    floats: bool,
}

type Rules<'a> = Tolerant<'a, FixedWindow>;

impl FirstRequestWindowCounter {
    /// A window that opens now with `used` in it; none if that is nothing.
    pub(super) fn opened(used: u128, now: Stamp) -> Self {
        let at = now.cluster;
        let calls = u64::from(used > 0);
        let floats = false;
        FirstRequestWindowCounter {
            name: at,
            opens_from: at,
            opens_by: at,
            youngest: at,
            used,
            calls,
            floats,
        }
    }

    /// The window that is open from now on where windows began otherwise until now, with what was used by then. Calls that were
    /// granted under the old tolerance may still arrive.
    pub(super) fn afloat(used: u128, old_tolerance: Span, new: Rules<'_>, now: Stamp) -> Self {
        let opens_by = now.cluster + old_tolerance.saturating_sub(new.tolerance);
        FirstRequestWindowCounter { opens_by, floats: true, ..Self::opened(used, now) }
    }

    /// This window, with what another counter, of a share, has counted in it.
    pub(super) fn with_use_of(self, share: &Self) -> Self {
        Self { used: if share.name == self.name { share.used } else { 0 }, ..self }
    }

    /// A call of the window was not sent, and its amount was given back.
    pub(super) fn withdraw(&mut self, place: Place) {
        let Place::FirstRequest { window, at } = place else { return };
        if window != self.name || self.calls == 0 {
            return;
        }
        self.calls -= 1;
        if at <= self.opens_by {
            self.opens_by = self.opens_by.max(self.youngest);
        }
    }

    /// Whether what was granted at that moment is a call of the window that is open now.
    pub(super) fn holds(&self, rules: Rules<'_>, then: ClusterTime, now: ClusterTime) -> bool {
        self.is_open(rules, now) && self.opens_from <= then
    }

    /// When the vendor's window has certainly closed.
    fn closed_at(&self, rules: Rules<'_>) -> ClusterTime {
        self.opens_by + rules.window.period + rules.tolerance
    }

    fn is_open(&self, rules: Rules<'_>, now: ClusterTime) -> bool {
        self.calls > 0 && now < self.closed_at(rules)
    }

    /// Whether what is granted now arrives before the vendor's window closes.
    fn takes_calls(&self, rules: Rules<'_>, now: ClusterTime) -> bool {
        now + rules.tolerance < self.opens_from + rules.window.period
    }
}

impl Counter for FirstRequestWindowCounter {
    type Rules<'a> = Rules<'a>;

    fn fresh(_: Rules<'_>, _: Stamp) -> Self {
        FirstRequestWindowCounter::default()
    }

    fn earliest(&self, rules: Rules<'_>, amount: u64, from: Stamp) -> Stamp {
        if !self.is_open(rules, from.cluster) {
            return from;
        }
        let fits = self.used + u128::from(amount) <= u128::from(rules.window.amount);
        if fits && self.takes_calls(rules, from.cluster) {
            return from;
        }
        from.after(self.closed_at(rules).since(from.cluster))
    }

    fn debit(&mut self, rules: Rules<'_>, amount: u64, now: Stamp) -> Place {
        let at = now.cluster;
        if self.is_open(rules, at) {
            self.used += u128::from(amount);
            self.calls += 1;
            self.youngest = at;
            if self.floats {
                self.opens_by = self.opens_by.max(at);
            }
        } else {
            *self = FirstRequestWindowCounter { calls: 1, ..Self::opened(u128::from(amount), now) };
        }
        Place::FirstRequest { window: self.name, at }
    }

    fn give_back(&mut self, _: Rules<'_>, place: Place, surplus: u64, _: Stamp) {
        if matches!(place, Place::FirstRequest { window, .. } if window == self.name) {
            self.used = self.used.saturating_sub(u128::from(surplus));
        }
    }

    fn owe(&mut self, rules: Rules<'_>, place: Place, extra: u64, now: Stamp) -> Place {
        let Place::FirstRequest { window, .. } = place else { return self.debit(rules, extra, now) };
        if window == self.name {
            self.used += u128::from(extra);
        }
        place
    }

    fn available(&self, rules: Rules<'_>, now: Stamp) -> i128 {
        let left = i128::from(rules.window.amount) - self.used(rules, now).cast_signed();
        let waiting = self.is_open(rules, now.cluster) && !self.takes_calls(rules, now.cluster);
        if waiting { left.min(0) } else { left }
    }

    fn used(&self, rules: Rules<'_>, now: Stamp) -> u128 {
        if self.is_open(rules, now.cluster) { self.used } else { 0 }
    }

    fn fresh_in(&self, rules: Rules<'_>, now: Stamp) -> Span {
        if self.calls == 0 { Span::ZERO } else { self.closed_at(rules).since(now.cluster) }
    }

    /// The open window stays open, and floats if another period may have begun for the vendor than for this counter.
    fn carry(&self, old: Rules<'_>, new: Rules<'_>, now: Stamp) -> Self {
        if !self.is_open(old, now.cluster) {
            return FirstRequestWindowCounter::default();
        }
        if new.window.period == old.window.period && new.tolerance >= old.tolerance {
            return *self;
        }
        let is_shorter = new.window.period < old.window.period;
        let opens_from = if is_shorter { self.youngest } else { self.opens_from };
        let opens_by = self.youngest + old.tolerance.saturating_sub(new.tolerance);
        FirstRequestWindowCounter { opens_from, opens_by: self.opens_by.max(opens_by), floats: true, ..*self }
    }
}
