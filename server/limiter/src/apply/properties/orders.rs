//! An independent model of what operators ordered, only from what they said; and of what makes a key the best.

use std::collections::BTreeMap;

use super::super::{Limiter, operations};
use crate::model::*;

/// By resource and key; empty: the resource as a whole.
type Of = (ResourceName, Label);

#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Until when; none: until it is resumed.
    pauses: BTreeMap<Of, Option<ClusterTime>>,
    states: BTreeMap<Of, KeyState>,
    /// Until when vendors want nothing.
    held: BTreeMap<Of, ClusterTime>,
}

impl Orders {
    pub(super) fn given(&mut self, command: &Command, now: ClusterTime) {
        match command.clone() {
            Command::PauseResource(PauseResource { resource, key, pause }) => {
                self.pauses.insert((resource, key), pause.left.map(|left| now + left));
            }
            Command::ResumeResource(ResumeResource { resource, key, all_keys }) => {
                self.pauses.remove(&(resource.clone(), key.clone()));
                let every_key = all_keys && key.is_empty();
                self.held.retain(|(of, held), _| *of != resource || !every_key && *held != key);
            }
            Command::SetKeyState(SetKeyState { resource, key, state }) => {
                self.states.insert((resource, key), state);
            }
            Command::HoldBack(HoldBack { called: Called::Of { resource, key }, wait, .. }) => {
                let until = self.held.entry((resource, key)).or_insert(now + wait);
                *until = (*until).max(now + wait);
            }
            _ => {}
        }
    }

    pub(super) fn allow(&self, resource: &ResourceName, key: &Label, now: ClusterTime) -> bool {
        let paused = |key: &Label| {
            let of = (resource.clone(), key.clone());
            let until = self.pauses.get(&of);
            self.held.get(&of).is_some_and(|until| now < *until)
                || until.is_some_and(|until| until.is_none_or(|until| now < until))
        };
        let state = self.states.get(&(resource.clone(), key.clone())).copied().unwrap_or_default();
        !paused(&Label::default()) && !paused(key) && state == KeyState::Active
    }
}

/// The smallest share that is left of any enforced limit that counts by key and applies: available, of how much.
pub(super) fn headroom(
    limiter: &Limiter,
    stamp: Stamp,
    resource: &Resource,
    acquire: &Acquire,
    key: &Label,
) -> (u128, u128) {
    let usage = limiter.usage(stamp, &resource.name, None, 1000, 0).unwrap();
    let mut least = (1, 1);
    for (limit, figures) in resource.limits.iter().zip(usage.limits) {
        let applies = operations::applies(&limit.operations, &acquire.operation)
            && limit.weight(acquire.cost, &acquire.amounts) > 0;
        if limit.scope != Scope::Key || limit.shadow || !applies {
            continue;
        }
        let counter = figures.counters.iter().find(|counter| counter.scope_value == *key);
        // Without a counter nothing is used, whatever is in force.
        let share = counter.map_or((1, 1), |counter| {
            (u128::from(counter.available.max(0).cast_unsigned()), u128::from(counter.amount))
        });
        if share.0 * least.1 < least.0 * share.1 {
            least = share;
        }
    }
    least
}
