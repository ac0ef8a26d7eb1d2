//! Fixed windows that begin with the epoch or at midnight, by wall time.
//!
//! **Guarantee:** in each of the vendor's windows at most `amount` arrives, wherever in `[grant, grant + tolerance]` calls
//! arrive, and however the vendor's clock differs from ours by at most `max_clock_skew`.
//!
//! A call granted at wall time w is seen by the vendor's clock somewhere in `[w − skew, w + tolerance + skew]`. It is
//! counted in every window that this touches, so whatever window the vendor counts it in, we counted it there too,
//! and what we count in a window never exceeds the amount. Validation keeps `tolerance + 2 · skew` below the shortest
//! window, so that a call touches at most two: the one of `w − skew`, here called the current window, and the one after
//! it. The current window moves on only when `w − skew` passes its end; that is what "a window opens only when the clock
//! is past the boundary by the skew" means.
//!
//! The bounds of the window are part of the state. A time zone is looked up only when the day changes.

use minicbor::{Decode, Encode};

use super::{
    calendar::window_at,
    debit::Place,
    kind::{Counter, Tolerant},
};
use crate::model::{Anchor, FixedWindow, Span, Stamp, WallTime};

/// The state of a calendar window: the current window and the one after it. Times are nanoseconds of wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CalendarWindowCounter {
    #[n(0)]
    start: i64,
    /// Of the current window; the next begins here.
    #[n(1)]
    end: i64,
    #[n(2)]
    next_end: i64,
    /// Counted in the current window.
    #[n(3)]
    used: u128,
    /// Counted in the next: of what is counted in the current window, the part that may still arrive after its end.
    #[n(4)]
    next_used: u128,
}

/// What a window has counted that was left behind and is open again: nobody knows, so it is more than any amount.
const UNKNOWN: u128 = u64::MAX as u128;

type Rules<'a> = Tolerant<'a, FixedWindow>;

impl Rules<'_> {
    /// The earliest that the vendor's clock may show.
    fn vendor_earliest(&self, wall: WallTime) -> i64 {
        wall.0.saturating_sub_unsigned(self.window.max_clock_skew.as_nanos())
    }

    /// The latest that the vendor's clock may show when a call arrives that is granted now.
    fn vendor_latest(&self, wall: WallTime) -> i64 {
        wall.0.saturating_add_unsigned((self.tolerance + self.window.max_clock_skew).as_nanos())
    }

    /// How long windows are; 0 for days, which differ.
    fn period(&self) -> u64 {
        match self.window.anchor {
            Anchor::Midnight(_) => 0,
            Anchor::Epoch | Anchor::FirstRequest => self.window.period.as_nanos(),
        }
    }

    /// Whether windows begin and end at the same moments.
    fn divides_as(&self, other: &Rules<'_>) -> bool {
        (self.window.period, &self.window.anchor) == (other.window.period, &other.window.anchor)
    }

    /// How long until the vendor's clock is certainly at `boundary`.
    fn certainly_past(&self, boundary: i64, now: WallTime) -> Span {
        let opens = boundary.saturating_add_unsigned(self.window.max_clock_skew.as_nanos());
        Span(u64::try_from(opens.saturating_sub(now.0)).unwrap_or(0))
    }
}

impl CalendarWindowCounter {
    /// The windows of this moment, with `used` in the current one, and all of it in the next as well if any of it may
    /// still arrive there.
    pub(super) fn with_use(used: u128, rules: Rules<'_>, now: Stamp) -> Self {
        let (start, end) = window_at(rules.window, rules.vendor_earliest(now.wall));
        let next_used = if rules.vendor_latest(now.wall) >= end { used } else { 0 };
        CalendarWindowCounter { start, end, next_end: window_at(rules.window, end).1, used, next_used }
    }

    /// The end of the last window that a grant would touch now.
    pub(super) fn counts_until(&self, window: &FixedWindow, tolerance: Span, now: WallTime) -> WallTime {
        let rules = Tolerant { window, tolerance };
        let this = self.at(rules, now);
        WallTime(if this.touches_next(rules, now) { this.next_end } else { this.end })
    }

    /// Whether the vendor's window of now had begun at that moment, whatever its clock shows.
    pub(super) fn began_before(&self, rules: Rules<'_>, then: WallTime, now: WallTime) -> bool {
        rules.vendor_earliest(then) >= self.at(rules, now).start
    }

    /// How long until the vendor's window of now is certainly over.
    pub(super) fn ends_in(&self, rules: Rules<'_>, now: WallTime) -> Span {
        rules.certainly_past(self.at(rules, now).end, now)
    }

    /// The state at this moment: windows that passed are left behind.
    fn at(self, rules: Rules<'_>, now: WallTime) -> Self {
        let vendor_earliest = rules.vendor_earliest(now);
        if vendor_earliest < self.end {
            self
        } else if vendor_earliest < self.next_end {
            self.moved_on(rules)
        } else {
            let (start, end) = window_at(rules.window, vendor_earliest);
            let next_end = window_at(rules.window, end).1;
            CalendarWindowCounter { start, end, next_end, used: 0, next_used: 0 }
        }
    }

    /// The same windows under new rules: `counted` is this state by now, by the old ones. Where the vendor's clock may be further
    /// behind than was believed, the window before may not be over yet, and counts again. Nothing is counted in a third window
    /// then: validation keeps skews below a quarter of a window, and the tolerance below half of one.
    fn reopened(self, counted: Self, new: Rules<'_>, now: WallTime) -> Self {
        let earliest = new.vendor_earliest(now);
        if earliest >= counted.start {
            return counted;
        }
        // It ends where the counted one begins, because skews are shorter than half a window.
        let (start, end) = window_at(new.window, earliest);
        let used = if self.start == start {
            self.used
        } else if self.end == start {
            self.next_used
        } else if self.next_end <= start {
            0
        } else {
            UNKNOWN
        };
        CalendarWindowCounter { start, end, next_end: counted.end, used, next_used: counted.used }
    }

    /// What is counted in the fuller window, as far as it is known.
    fn known_use(&self) -> u128 {
        if self.used < UNKNOWN { self.used.max(self.next_used) } else { self.next_used }
    }

    fn moved_on(self, rules: Rules<'_>) -> Self {
        CalendarWindowCounter {
            start: self.end,
            end: self.next_end,
            next_end: window_at(rules.window, self.next_end).1,
            used: self.next_used,
            next_used: 0,
        }
    }

    /// Whether what is granted now may arrive in the next window.
    fn touches_next(&self, rules: Rules<'_>, now: WallTime) -> bool {
        rules.vendor_latest(now) >= self.end
    }

    /// Whether a debit is counted in the next window: as the second of two, or, when the one before was reopened, as the only one.
    fn is_next(&self, first: i64, second: Option<i64>) -> bool {
        first == self.end || second == Some(self.end)
    }

    /// What is counted in the fuller of the windows that a grant would touch now.
    fn binding(&self, rules: Rules<'_>, now: WallTime) -> u128 {
        if self.touches_next(rules, now) { self.used.max(self.next_used) } else { self.used }
    }
}

impl Counter for CalendarWindowCounter {
    type Rules<'a> = Rules<'a>;

    fn fresh(rules: Rules<'_>, now: Stamp) -> Self {
        Self::with_use(0, rules, now)
    }

    fn earliest(&self, rules: Rules<'_>, amount: u64, from: Stamp) -> Stamp {
        let this = self.at(rules, from.wall);
        let fits = |used: u128| used + u128::from(amount) <= u128::from(rules.window.amount);
        if fits(this.binding(rules, from.wall)) {
            return from;
        }
        // Later in the current window nothing is gained. Once the next is the current one, the one after that is out
        // of reach for a while; and two windows on nothing is counted at all.
        let boundary = if fits(this.next_used) { this.end } else { this.next_end };
        from.after(rules.certainly_past(boundary, from.wall))
    }

    fn debit(&mut self, rules: Rules<'_>, amount: u64, now: Stamp) -> Place {
        *self = self.at(rules, now.wall);
        self.used += u128::from(amount);
        let second = self.touches_next(rules, now.wall).then_some(self.end);
        if second.is_some() {
            self.next_used += u128::from(amount);
        }
        Place::Calendar { first: self.start, second, period: Some(rules.period()) }
    }

    fn give_back(&mut self, rules: Rules<'_>, place: Place, surplus: u64, now: Stamp) {
        let Place::Calendar { first, second, period } = place else { return };
        *self = self.at(rules, now.wall);
        // After the windows were divided anew, one may begin with a window of before that had passed: what was counted there is
        // not counted here, and giving it back would be a refill.
        if period.is_some_and(|period| period != rules.period()) {
            return;
        }
        if (first == self.start || second == Some(self.start)) && self.used < UNKNOWN {
            self.used = self.used.saturating_sub(u128::from(surplus));
        }
        if self.is_next(first, second) {
            self.next_used = self.next_used.saturating_sub(u128::from(surplus));
        }
    }

    fn owe(&mut self, rules: Rules<'_>, place: Place, extra: u64, now: Stamp) -> Place {
        *self = self.at(rules, now.wall);
        let Place::Calendar { first, second, .. } = place else { return self.debit(rules, extra, now) };
        // After the windows were divided anew a debit may begin inside the current one.
        if first.max(second.unwrap_or(first)) >= self.start {
            self.used += u128::from(extra);
        }
        if self.is_next(first, second) {
            self.next_used += u128::from(extra);
        }
        place
    }

    fn available(&self, rules: Rules<'_>, now: Stamp) -> i128 {
        i128::from(rules.window.amount) - self.used(rules, now).cast_signed()
    }

    fn used(&self, rules: Rules<'_>, now: Stamp) -> u128 {
        let used = self.at(rules, now.wall).binding(rules, now.wall);
        if used < UNKNOWN { used } else { u128::from(rules.window.amount) }
    }

    fn fresh_in(&self, rules: Rules<'_>, now: Stamp) -> Span {
        let this = self.at(rules, now.wall);
        match (this.used, this.next_used) {
            (0, 0) => Span::ZERO,
            (_, 0) => rules.certainly_past(this.end, now.wall),
            _ => rules.certainly_past(this.next_end, now.wall),
        }
    }

    /// The same windows keep what is counted in them. If time is divided anew, all that is counted moves to the window
    /// of this moment.
    fn carry(&self, old: Rules<'_>, new: Rules<'_>, now: Stamp) -> Self {
        let counted = self.at(old, now.wall);
        if old.divides_as(&new) {
            return self.reopened(counted, new, now.wall);
        }
        let cautious = Tolerant { tolerance: old.tolerance.max(new.tolerance), ..new };
        let carried = Self::with_use(counted.known_use(), cautious, now);
        let same_windows = (carried.start, carried.end) == (counted.start, counted.end)
            && carried.next_end == counted.next_end;
        if same_windows { counted } else { carried }
    }
}
