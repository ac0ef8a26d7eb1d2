//! What a vendor told of a limit, by scope value.
//!
//! A value that it wants nothing of for a while is *held*: nothing is granted of it until then. After that those who wait come back by
//! a ramp ([`Pace`]), each of whose permits counts; the limit itself is what it was, and lets go what it has room for when the ramp is over.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Blank, Pace};
use crate::model::{AmountTold, ClusterTime, Label, PaceStatus, PermitId, Span};

/// Scope values of which something is remembered at a time: those that are held, or whose use by others counts still.
const VALUES_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Told {
    #[n(0)]
    by_value: BTreeMap<Label, ToldOf>,
    /// The limit's amount, as the vendor said last.
    #[n(1)]
    amount: Option<LastAmount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct LastAmount {
    #[n(0)]
    amount: u64,
    /// With whose call it was told.
    #[n(1)]
    permit: u64,
    #[n(2)]
    at: ClusterTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct ToldOf {
    /// Nothing is granted before.
    #[n(0)]
    held_until: ClusterTime,
    /// The youngest permit with whose call something was told of what is left.
    #[n(1)]
    heard: u64,
    /// Since when the use of others and what calls cost beyond their permits are counted, for a period.
    #[n(2)]
    since: ClusterTime,
    #[n(3)]
    by_others: u64,
    /// From then on nothing of this matters any more.
    #[n(4)]
    ends_at: ClusterTime,
    /// What calls cost beyond what was acquired for them, counted as the use of others is.
    #[cbor(n(5), default)]
    beyond: u64,
    /// The last permit that was granted before an operator knew better: what its call is told, and that of older ones, is left
    /// aside.
    #[cbor(n(6), default)]
    forgotten: u64,
    /// How it comes back after it was held. `None`: at once, as what was held before ramps were kept.
    #[n(7)]
    ramp: Option<Pace>,
}

impl Blank for Told {
    fn blank() -> &'static Told {
        static BLANK: Told = Told { by_value: BTreeMap::new(), amount: None };
        &BLANK
    }
}

impl Told {
    /// What the vendor says that the limit's amount is, unless it has said so with the call of a younger permit: whether that is news.
    pub(crate) fn note_amount(&mut self, amount: u64, permit: PermitId, now: ClusterTime) -> bool {
        let is_news = self.amount.is_none_or(|last| last.permit <= permit.0);
        if is_news {
            self.amount = Some(LastAmount { amount, permit: permit.0, at: now });
        }
        is_news
    }

    /// The limit was changed: what the vendor said of it before is known.
    pub(crate) fn forget_amount(&mut self) {
        self.amount = None;
    }

    /// The limit's amount, as the vendor said last.
    pub(crate) fn amount(&self, now: ClusterTime) -> Option<AmountTold> {
        self.amount.map(|last| AmountTold { amount: last.amount, ago: now.since(last.at) })
    }

    /// How long nothing is granted, because the vendor wants it.
    pub(crate) fn held_for(&self, value: &Label, now: ClusterTime) -> Span {
        self.by_value.get(value).map_or(Span::ZERO, |told| told.held_until.since(now))
    }

    /// How long until the next one can go, exactly: while it is held, and as it comes back.
    pub(crate) fn wait(&self, value: &Label, now: ClusterTime) -> Span {
        let Some(told) = self.by_value.get(value) else { return Span::ZERO };
        let ramp = told.ramp.as_ref().map_or(Span::ZERO, |ramp| ramp.wait(now));
        told.held_until.since(now).max(ramp)
    }

    /// How slowly it comes back; `None` while it is held, and when it has come back.
    pub(crate) fn pace(&self, value: &Label, now: ClusterTime) -> Option<PaceStatus> {
        let told = self.by_value.get(value).filter(|told| told.held_until <= now)?;
        told.ramp.as_ref().and_then(|ramp| ramp.status(now))
    }

    /// So much of this value was granted.
    pub(crate) fn granted(&mut self, value: &Label, amount: u64, now: ClusterTime) {
        let Some(told) = self.by_value.get_mut(value) else { return };
        told.ramp.take_if(|ramp| ramp.is_over(now));
        told.ramp.iter_mut().for_each(|ramp| ramp.spend(amount, now));
    }

    /// What others were counted to use in the period that lasts.
    pub(crate) fn by_others(&self, value: &Label, period: Span, now: ClusterTime) -> u64 {
        let told = self.by_value.get(value).filter(|told| now < told.since + period);
        told.map_or(0, |told| told.by_others)
    }

    /// Nothing of this value is granted before then, and from then on it comes back by the ramp. Whether that is remembered: it is not
    /// when as many values are held as may be. What is known of the use of others makes room, and so do ramps, that which would matter for
    /// the shortest time first.
    pub(crate) fn hold(
        &mut self,
        value: &Label,
        until: ClusterTime,
        ramp: Option<Pace>,
        now: ClusterTime,
    ) -> bool {
        if !self.has_room_for(value, now) {
            let unheld = self.by_value.iter().filter(|(_, told)| told.held_until <= now);
            let first = unheld.min_by_key(|(_, told)| told.ends_at).map(|(value, _)| value.clone());
            first.map(|value| self.by_value.remove(&value));
        }
        let Some(told) = self.of(value, now) else { return false };
        told.hold(until, ramp, now);
        true
    }

    /// Whether something was told of what is left with the call of a younger permit, or an operator knew better since.
    pub(crate) fn heard_after(&self, value: &Label, permit: PermitId) -> bool {
        self.by_value.get(value).is_some_and(|told| permit.0 < told.heard || permit.0 <= told.forgotten)
    }

    /// What may yet be counted as used by others of this value within the period, of `most`; nothing if what the call of a
    /// younger permit came to is known already, or if as many values as may be are remembered.
    pub(crate) fn news(
        &mut self,
        value: &Label,
        permit: PermitId,
        (most, period): (u64, Span),
        now: ClusterTime,
    ) -> u64 {
        let Some(told) = self.of(value, now) else { return 0 };
        if permit.0 <= told.heard {
            return 0;
        }
        told.heard = permit.0;
        told.turn(period, now);
        most.saturating_sub(told.by_others)
    }

    /// How much counts of what a call of this value cost beyond what was acquired for it: what is left of `most` in the period. It is
    /// taken from that; nothing is left if as many values as may be are remembered.
    pub(crate) fn beyond(
        &mut self,
        value: &Label,
        cost: u64,
        (most, period): (u64, Span),
        now: ClusterTime,
    ) -> u64 {
        let Some(told) = self.of(value, now) else { return 0 };
        told.turn(period, now);
        let counts = cost.min(most.saturating_sub(told.beyond));
        told.beyond += counts;
        counts
    }

    /// Others have used so much more.
    pub(crate) fn count(&mut self, value: &Label, amount: u64) {
        if let Some(told) = self.by_value.get_mut(value) {
            told.by_others = told.by_others.saturating_add(amount);
        }
    }

    /// An operator knows better than what was said of the calls until now. `newest` is the last permit that was granted.
    pub(crate) fn forget(&mut self, value: &Label, newest: PermitId, now: ClusterTime) {
        if let Some(told) = self.of(value, now) {
            *told = ToldOf { heard: newest.0, forgotten: newest.0, ..ToldOf::nothing(now) };
        }
    }

    fn of(&mut self, value: &Label, now: ClusterTime) -> Option<&mut ToldOf> {
        let has_room = self.has_room_for(value, now);
        has_room.then(|| self.by_value.entry(value.clone()).or_insert(ToldOf::nothing(now)))
    }

    /// Forgets what no longer matters, if that is what it takes.
    fn has_room_for(&mut self, value: &Label, now: ClusterTime) -> bool {
        if self.by_value.contains_key(value) {
            return true;
        }
        if self.by_value.len() >= VALUES_MAX {
            self.by_value.retain(|_, told| now < told.ends_at);
        }
        self.by_value.len() < VALUES_MAX
    }
}

impl ToldOf {
    fn nothing(now: ClusterTime) -> ToldOf {
        let (since, ends_at) = (now, now);
        let held_until = ClusterTime(0);
        ToldOf { held_until, heard: 0, since, by_others: 0, ends_at, beyond: 0, forgotten: 0, ramp: None }
    }

    /// To be held again is never a way to come back sooner: a ramp begins and ends no sooner than the one that it takes the place of.
    fn hold(&mut self, until: ClusterTime, ramp: Option<Pace>, now: ClusterTime) {
        self.held_until = self.held_until.max(until);
        let before = self.ramp.take().filter(|before| !before.is_over(now));
        self.ramp = match (ramp, before) {
            (Some(ramp), Some(before)) => Some(ramp.no_sooner_than(&before, now)),
            (ramp, before) => ramp.or(before),
        };
        let comes_back_by = self.ramp.as_ref().map_or(until, Pace::ends_at);
        self.ends_at = self.ends_at.max(self.held_until).max(comes_back_by);
    }

    /// Something is counted now, in the period that lasts or in the next.
    fn turn(&mut self, period: Span, now: ClusterTime) {
        if self.since + period <= now {
            (self.since, self.by_others, self.beyond) = (now, 0, 0);
        }
        self.ends_at = self.ends_at.max(now + period);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::NANOS_PER_SECOND;

    proptest! {
        /// Requests that ask in a row, while the vendor holds the value now and then: each is granted at the moment that it is told, not
        /// before, and no more together than what each ramp has allowed.
        #[test]
        fn who_waits_for_what_was_held_comes_back_by_a_ramp(
            (from, rise, lasts) in (1u64..2_000_000, 0u64..20_000_000, 1u64..20_000_000_000),
            calls in prop::collection::vec(
                (0u64..2_000_000_000, 1u64..9, prop::option::weighted(0.2, 1u64..5_000_000_000)),
                1..40,
            ),
        ) {
            let value = Label::default();
            let (mut told, mut now, mut held_until) = (Told::default(), ClusterTime(1), None);
            let (mut gone, mut last) = (0u128, 0u128);
            for (after, amount, hold) in calls {
                now = now + Span(after);
                if let Some(wait) = hold {
                    let until = now + Span(wait);
                    let ramp = Pace::rising(until, from, from + rise, Span(lasts));
                    prop_assert!(told.hold(&value, until, Some(ramp), now));
                    held_until = held_until.max(Some(until));
                    (gone, last) = (0, 0);
                }
                let wait = told.wait(&value, now);
                prop_assert!(wait.is_zero() || !told.wait(&value, now + Span(wait.0 - 1)).is_zero(), "too late");
                now = now + wait;
                prop_assert!(told.wait(&value, now).is_zero());
                let Some(since) = held_until.map(|until| { assert!(until <= now); now.since(until) }) else { continue };
                if since.0 >= lasts {
                    prop_assert_eq!(told.pace(&value, now), None);
                    continue;
                }
                // No more than at the rate that it has now, and one of which nothing had gone before.
                let rate = u128::from(told.pace(&value, now).unwrap().rate);
                let allowed = rate * u128::from(since.0) / u128::from(NANOS_PER_SECOND);
                prop_assert!(gone - last <= allowed, "{gone} gone, {allowed} allowed");
                last = u128::from(amount) * 1_000_000;
                gone += last;
                told.granted(&value, amount, now);
                prop_assert_eq!(minicbor::decode::<Told>(&minicbor::to_vec(&told).unwrap()).unwrap(), told.clone());
            }
        }
    }

    #[test]
    fn what_was_held_before_ramps_were_kept_is_read_and_comes_back_at_once() {
        let at = ClusterTime(7);
        let before = minicbor::to_vec((at, 1u64, at, 2u64, at, 3u64, 4u64)).unwrap();
        let told =
            ToldOf { held_until: at, heard: 1, by_others: 2, beyond: 3, forgotten: 4, ..ToldOf::nothing(at) };
        assert_eq!(minicbor::decode::<ToldOf>(&before).unwrap(), told);
    }

    #[test]
    fn to_be_held_for_a_shorter_time_changes_nothing_and_an_operator_ends_it() {
        let (value, now, lasts) = (Label::default(), ClusterTime(1), Span::from_secs(10));
        let ramp = |until| Some(Pace::rising(until, 1, 1_000_000, lasts));
        let mut told = Told::default();
        let (later, soon) = (now + Span::from_secs(60), now + Span::from_secs(1));
        told.hold(&value, later, ramp(later), now);
        let before = told.clone();
        told.hold(&value, soon, ramp(soon), now);
        assert_eq!(told, before);
        told.granted(&value, 1, later);
        assert!(
            told.pace(&value, later).is_some_and(|pace| !pace.next_in.is_zero() && pace.full_in == lasts)
        );
        told.forget(&value, PermitId(1), later);
        assert_eq!((told.wait(&value, later), told.pace(&value, later)), (Span::ZERO, None));
    }

    #[test]
    fn what_is_held_takes_the_room_of_what_is_only_known_and_nothing_takes_its() {
        let value = |number: usize| Label::new(&format!("user-{number}")).expect("a label");
        let (now, period) = (ClusterTime(1), Span::from_secs(3_600));
        let mut told = Told::default();
        for number in 0..VALUES_MAX {
            told.news(&value(number), PermitId(number as u64 + 1), (9, period), now);
        }
        let until = now + Span::from_secs(1_800);
        assert_eq!(told.news(&value(VALUES_MAX), PermitId(5_000), (9, period), now), 0);
        for number in VALUES_MAX..2 * VALUES_MAX {
            assert!(told.hold(&value(number), until, None, now), "{number}");
        }
        assert!(!told.hold(&value(0), until, None, now));
        assert_eq!(told.wait(&value(VALUES_MAX), now), Span::from_secs(1_800));
        // They make room when their time is over.
        assert!(told.hold(&value(0), until + period, None, until));
    }
}
