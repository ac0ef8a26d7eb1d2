//! What a vendor told of a limit, by scope value.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::model::{ClusterTime, Label, PermitId, Span};

/// Scope values of which something is remembered at a time: those that are held, or whose use by others counts still.
const VALUES_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Told {
    #[n(0)]
    by_value: BTreeMap<Label, ToldOf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
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
}

impl Told {
    /// How long nothing is granted, because the vendor wants it.
    pub(crate) fn wait(&self, value: &Label, now: ClusterTime) -> Span {
        self.by_value.get(value).map_or(Span::ZERO, |told| told.held_until.since(now))
    }

    /// What others were counted to use in the period that lasts.
    pub(crate) fn by_others(&self, value: &Label, period: Span, now: ClusterTime) -> u64 {
        let told = self.by_value.get(value).filter(|told| now < told.since + period);
        told.map_or(0, |told| told.by_others)
    }

    /// Nothing of this value is granted before then, unless as many values as may be are remembered.
    pub(crate) fn hold(&mut self, value: &Label, until: ClusterTime, now: ClusterTime) {
        let Some(told) = self.of(value, now) else { return };
        told.held_until = told.held_until.max(until);
        told.ends_at = told.ends_at.max(until);
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
            let held_until = ClusterTime::default();
            *told = ToldOf { held_until, heard: newest.0, since: now, by_others: 0, ends_at: now, beyond: 0 };
        }
    }

    fn of(&mut self, value: &Label, now: ClusterTime) -> Option<&mut ToldOf> {
        if !self.by_value.contains_key(value) && self.by_value.len() >= VALUES_MAX {
            self.by_value.retain(|_, told| now < told.ends_at);
        }
        let has_room = self.by_value.contains_key(value) || self.by_value.len() < VALUES_MAX;
        let nothing = ToldOf {
            held_until: ClusterTime(0),
            heard: 0,
            since: now,
            by_others: 0,
            ends_at: now,
            beyond: 0,
        };
        has_room.then(|| self.by_value.entry(value.clone()).or_insert(nothing))
    }
}

impl ToldOf {
    /// Something is counted now, in the period that lasts or in the next.
    fn turn(&mut self, period: Span, now: ClusterTime) {
        if self.since + period <= now {
            (self.since, self.by_others, self.beyond) = (now, 0, 0);
        }
        self.ends_at = self.ends_at.max(now + period);
    }
}
