//! Pausing and resuming, what becomes of keys, and what vendors want. None of it touches a permit, a counter or the definition.

use super::{Limiter, request};
use crate::{
    model::{
        Answer, Called, HoldBack, Label, Outcome, Pause, PauseResource, Rejection, ResourceName,
        ResumeResource, SetKeyState, Span, Violation,
    },
    state::Availability,
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
        self.order(&order.resource, &order.key, |availability| availability.resume(&order.key))
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
        let state = self.resources.get(name).ok_or(Rejection::ResourceNotFound)?;
        request::check_key(&state.definition, key).map_err(Rejection::Invalid)?;
        let state = self.resources.get_mut(name).ok_or(Rejection::ResourceNotFound)?;
        change(&mut state.availability);
        Ok(Outcome::Stored(state.stored(self.now.cluster)))
    }
}

fn check_length(length: Option<Span>) -> Result<(), Violation> {
    let (least, most) = (Pause::SHORTEST, Pause::LONGEST);
    match length.filter(|length| !(least..=most).contains(length)) {
        Some(length) => Err(Violation::new("duration", format!("must be {least} to {most}, not {length}"))),
        None => Ok(()),
    }
}
