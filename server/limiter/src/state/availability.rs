//! What operators have ordered about a resource and its keys, and for how long vendors want to be left alone.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::Blank;
use crate::model::{
    ClusterTime, DenialReason, KeyState, KeyStatus, Label, Pause, Resource, Span, StoredResource,
};

/// Pauses, and keys that are not active. A pause that is over stays until the next order, and counts for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Availability {
    #[n(0)]
    pause: Option<PausedUntil>,
    /// Keys of the definition, and disabled ones that are gone while permits have them. One that is not here is active
    /// and not paused.
    #[n(1)]
    keys: BTreeMap<Label, KeyAvailability>,
    /// What a vendor wants, beside the pause that an operator ordered. Always has an end.
    #[n(2)]
    held: Option<PausedUntil>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct KeyAvailability {
    #[n(0)]
    state: KeyState,
    #[n(1)]
    pause: Option<PausedUntil>,
    #[n(2)]
    held: Option<PausedUntil>,
}

/// A pause in force before a moment; without one until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct PausedUntil {
    #[n(0)]
    until: Option<ClusterTime>,
    #[n(1)]
    reason: Label,
}

/// Whether a key can be had, whatever the limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Now.
    Open,
    /// Not before that time, or not before somebody orders otherwise.
    Shut { reason: DenialReason, opens_in: Option<Span> },
}

impl Blank for Availability {
    fn blank() -> &'static Availability {
        static BLANK: Availability = Availability { pause: None, keys: BTreeMap::new(), held: None };
        &BLANK
    }
}

impl Availability {
    /// What was ordered about the key (empty: of a resource without keys). Of several pauses the one that ends last.
    pub(crate) fn gate(&self, key: &Label, now: ClusterTime) -> Gate {
        if self.state(key) != KeyState::Active {
            return Gate::Shut { reason: DenialReason::KeyUnavailable, opens_in: None };
        }
        let whole = in_force(&self.pause, &self.held, now).map(|pause| (Label::default(), pause));
        let own = self.keys.get(key).and_then(|own| in_force(&own.pause, &own.held, now));
        let own = own.map(|pause| (key.clone(), pause));
        let last = match (whole, own) {
            (Some(whole), Some(own)) if lasts_longer(&own.1, &whole.1) => Some(own),
            (whole, own) => whole.or(own),
        };
        last.map_or(Gate::Open, |(key, pause)| {
            let opens_in = pause.left;
            Gate::Shut { reason: DenialReason::Paused { key, pause }, opens_in }
        })
    }

    /// What becomes of the key.
    pub(crate) fn state(&self, key: &Label) -> KeyState {
        self.keys.get(key).map_or(KeyState::Active, |own| own.state)
    }

    /// Pauses the key, or with an empty one the whole, from now on.
    pub(crate) fn pause(&mut self, key: &Label, pause: &Pause, now: ClusterTime) {
        let until = pause.left.map(|left| now + left);
        self.set_pause(key, Some(PausedUntil { until, reason: pause.reason.clone() }));
    }

    /// Ends the pause of the key, or with an empty one of the whole, if there is one; and what a vendor wants, since an
    /// operator may know better.
    pub(crate) fn resume(&mut self, key: &Label) {
        self.set_pause(key, None);
        match key.is_empty() {
            true => self.held = None,
            false => self.keys.entry(key.clone()).or_default().held = None,
        }
        self.drop_plain();
    }

    /// Ends what a vendor wants of any key. What operators ordered stays.
    pub(crate) fn end_waits_of_keys(&mut self) {
        self.keys.values_mut().for_each(|own| own.held = None);
        self.drop_plain();
    }

    /// A vendor wants nothing of the key, or with an empty one of the whole, until then. One that wants it for longer counts.
    pub(crate) fn hold_back(&mut self, key: &Label, until: ClusterTime, reason: &Label) {
        let held = match key.is_empty() {
            true => &mut self.held,
            false => &mut self.keys.entry(key.clone()).or_default().held,
        };
        if held.as_ref().is_none_or(|earlier| earlier.until < Some(until)) {
            *held = Some(PausedUntil { until: Some(until), reason: reason.clone() });
        }
    }

    pub(crate) fn set_state(&mut self, key: &Label, state: KeyState) {
        self.keys.entry(key.clone()).or_default().state = state;
        self.drop_plain();
    }

    /// What was ordered about keys that are gone goes with them. Only that a key is disabled stays while permits have it
    /// (`held`, asked if need be), even if it is added again meanwhile: else they could be renewed after all.
    pub(crate) fn redefine(
        &mut self,
        old: &Resource,
        new: &Resource,
        held: impl FnOnce() -> BTreeSet<Label>,
    ) {
        let (stay, gone) = std::mem::take(&mut self.keys)
            .into_iter()
            .partition(|(key, _)| old.keys.contains(key) && new.keys.contains(key));
        self.keys = stay;
        let mut disabled: BTreeMap<Label, KeyAvailability> = gone;
        disabled.retain(|_, own| own.state == KeyState::Disabled);
        if !disabled.is_empty() {
            let held = held();
            let still = disabled.into_keys().filter(|key| held.contains(key));
            self.keys.extend(
                still.map(|key| (key, KeyAvailability { state: KeyState::Disabled, ..Default::default() })),
            );
        }
    }

    /// The definition together with the orders that are in force, keys in its order.
    pub(crate) fn describe(&self, resource: Resource, generation: u64, now: ClusterTime) -> StoredResource {
        let status = |key: &Label| {
            let own = self.keys.get(key)?;
            let (state, pause) = (own.state, in_force(&own.pause, &own.held, now));
            let plain = state == KeyState::Active && pause.is_none();
            (!plain).then(|| KeyStatus { key: key.clone(), state, pause })
        };
        let keys = resource.keys.iter().filter_map(status).collect();
        let pause = in_force(&self.pause, &self.held, now);
        StoredResource { pause, keys, ..StoredResource::new(resource, generation) }
    }

    fn set_pause(&mut self, key: &Label, pause: Option<PausedUntil>) {
        match key.is_empty() {
            true => self.pause = pause,
            false => self.keys.entry(key.clone()).or_default().pause = pause,
        }
        self.drop_plain();
    }

    fn drop_plain(&mut self) {
        self.keys.retain(|_, own| *own != KeyAvailability::default());
    }
}

/// Of what an operator ordered and what a vendor wants, what ends last.
fn in_force(ordered: &Option<PausedUntil>, held: &Option<PausedUntil>, now: ClusterTime) -> Option<Pause> {
    match (left(ordered, now), left(held, now)) {
        (Some(ordered), Some(held)) if lasts_longer(&held, &ordered) => Some(held),
        (ordered, held) => ordered.or(held),
    }
}

fn lasts_longer(one: &Pause, other: &Pause) -> bool {
    match (one.left, other.left) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

/// The pause, if it is in force, with what is left of it.
fn left(pause: &Option<PausedUntil>, now: ClusterTime) -> Option<Pause> {
    let PausedUntil { until, reason } = pause.as_ref()?;
    let left = until.map(|until| until.since(now));
    left.is_none_or(|left| !left.is_zero()).then(|| Pause { left, reason: reason.clone() })
}
