//! Creating, changing and deleting resources.

use super::{Limiter, coalesce::forget_results, counters::TOO_MANY};
use crate::{
    model::{Answer, DeleteResource, Outcome, Rejection, Resource, UpdateResource, Violation},
    state::{MAX_RESOURCES, ResourceState, Shared},
};

impl Limiter {
    pub(super) fn create_resource(&mut self, resource: &Resource) -> Answer {
        if self.resources.find(&resource.name).is_some() {
            return Err(Rejection::ResourceExists);
        }
        if self.resources.len() >= MAX_RESOURCES {
            return Err(Rejection::TooManyResources { max: MAX_RESOURCES as u64 });
        }
        check(resource.validate())?;
        let mut state = ResourceState::new(resource.clone(), self.definitions_stored + 1, self.now);
        if self.counter_bytes.refuses(0, state.counter_bytes()) {
            return Err(TOO_MANY);
        }
        self.definitions_stored += 1;
        self.counter_bytes.change(0, state.counter_bytes());
        state.spoken_after = self.permits_granted;
        let stored = state.stored(self.now.cluster);
        self.resources.insert(Shared::new(state));
        Ok(Outcome::Stored(stored))
    }

    pub(super) fn update_resource(&mut self, update: &UpdateResource) -> Answer {
        let state = self.resources.get_mut(&update.resource.name).ok_or(Rejection::ResourceNotFound)?;
        if update.generation != state.generation {
            return Err(Rejection::StaleGeneration { current: state.generation });
        }
        if *state.defined() == update.resource {
            return Ok(Outcome::Stored(state.stored(self.now.cluster)));
        }
        check(update.resource.validate())?;
        check(state.defined().check_change(&update.resource))?;
        let before = state.counter_bytes();
        let mut changed = ResourceState::clone(state);
        changed.redefine(update.resource.clone(), self.definitions_stored + 1, &self.permits, self.now);
        let after = changed.counter_bytes();
        if self.counter_bytes.refuses(before, after) {
            return Err(TOO_MANY);
        }
        self.definitions_stored += 1;
        self.counter_bytes.change(before, after);
        *state = changed;
        state.spoken_after = self.permits_granted;
        Ok(Outcome::Stored(state.stored(self.now.cluster)))
    }

    /// Takes time in proportion to the permits of the resource.
    pub(super) fn delete_resource(&mut self, delete: &DeleteResource) -> Answer {
        let state = self.resources.get(&delete.name).ok_or(Rejection::ResourceNotFound)?;
        if delete.generation != 0 && delete.generation != state.generation {
            return Err(Rejection::StaleGeneration { current: state.generation });
        }
        let Some(state) = self.resources.remove(&delete.name) else {
            return Err(Rejection::ResourceNotFound);
        };
        self.counter_bytes.change(state.counter_bytes(), 0);
        forget_results(&mut self.result_ends, &delete.name, &state);
        let leased = state.leased.iter().map(|(id, ())| *id);
        for id in leased.chain(state.settleable.iter().map(|(id, _)| *id)) {
            let permit = self.permits.remove(id);
            if permit.is_some_and(|permit| permit.request_id.is_some()) {
                self.request_ids.end(id);
            }
        }
        Ok(Outcome::Deleted)
    }
}

/// The wire has reported everything that is wrong by itself; what is in the log is checked all the same.
fn check(checked: Result<(), Vec<Violation>>) -> Result<(), Rejection> {
    let violations = checked.err().unwrap_or_default();
    violations.into_iter().next().map_or(Ok(()), |first| Err(Rejection::Invalid(first)))
}
