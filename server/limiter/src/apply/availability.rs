//! Pausing and resuming, what becomes of keys, and what vendors want. None of it touches a permit, a counter or the definition.

use super::{Limiter, request};
use crate::{
    model::{
        Answer, Called, HoldBack, Label, Outcome, Pause, PauseResource, PermitId, Rejection, ResourceName,
        ResumeResource, SetKeyState, Span, Violation,
    },
    state::{Availability, ResourceState},
};

impl Limiter {
    pub(super) fn pause(&mut self, order: &PauseResource) -> Answer {
        check_length(order.pause.left).map_err(Rejection::Invalid)?;
        let now = self.now.cluster;
        self.order(&order.resource, &order.key, |availability| {
            availability.pause(&order.key, &order.pause, now);
        })
    }

    pub(super) fn resume(&mut self, order: &ResumeResource) -> Answer {
        let (name, key) = (&order.resource, &order.key);
        let (newest, now) = (PermitId(self.permits_granted), self.now);
        let all_keys = order.all_keys && key.is_empty();
        let state = self.ordered(name, key)?;
        let closed = state.conditions.forget(name, |of| all_keys || of == key, (newest, now.cluster));
        match key.is_empty() {
            true => state.loosen(newest, now),
            false => state.forget_told(key, newest, now.cluster),
        }
        state.availability.resume(key);
        if all_keys {
            state.availability.end_waits_of_keys();
        }
        let stored = state.stored(now.cluster);
        self.note_turns(closed);
        Ok(Outcome::Stored(stored))
    }

    pub(super) fn set_key_state(&mut self, order: &SetKeyState) -> Answer {
        if order.key.is_empty() {
            return Err(Rejection::Invalid(Violation::new("key", "is required")));
        }
        self.order(&order.resource, &order.key, |availability| {
            availability.set_state(&order.key, order.state);
        })
    }

    pub(super) fn hold_back(&mut self, report: &HoldBack) -> Answer {
        let (least, most) = (Pause::SHORTEST, HoldBack::LONGEST);
        if !(least..=most).contains(&report.wait) {
            let problem = format!("must be {least} to {most}, not {}", report.wait);
            return Err(Rejection::Invalid(Violation::new("wait", problem)));
        }
        let (resource, key) = match &report.called {
            Called::Of { resource, key } => (resource.clone(), key.clone()),
            Called::With(permit) => {
                let permit = self.live_permit(*permit)?;
                (permit.resource.clone(), permit.key.clone())
            }
        };
        let now = self.now.cluster;
        self.order(&resource, &key, |availability| {
            availability.hold_back(&key, now + report.wait, &report.reason);
        })
    }

    fn order(&mut self, name: &ResourceName, key: &Label, change: impl FnOnce(&mut Availability)) -> Answer {
        let now = self.now.cluster;
        let state = self.ordered(name, key)?;
        change(&mut state.availability);
        Ok(Outcome::Stored(state.stored(now)))
    }

    /// What an order is about, to be changed.
    fn ordered(&mut self, name: &ResourceName, key: &Label) -> Result<&mut ResourceState, Rejection> {
        let place = self.resources.find(name).ok_or(Rejection::ResourceNotFound)?;
        request::check_key(&self.resources.at(place).definition, key).map_err(Rejection::Invalid)?;
        Ok(self.resources.at_mut(place))
    }
}

fn check_length(length: Option<Span>) -> Result<(), Violation> {
    let (least, most) = (Pause::SHORTEST, Pause::LONGEST);
    match length.filter(|length| !(least..=most).contains(length)) {
        Some(length) => Err(Violation::new("duration", format!("must be {least} to {most}, not {length}"))),
        None => Ok(()),
    }
}
