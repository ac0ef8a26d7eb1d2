//! How a world stands when it ends, for the checkers that compare.

use tollgate_limiter::Span;

use crate::history::{Ending, Held, Standing};

use super::{workload, world::World};

impl World {
    /// Where the members stand that run.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let members = self.members();
        let running = self.nodes.iter().filter(|(id, _)| members.by_id.contains_key(id));
        let standings = running.filter_map(|(id, node)| {
            let machine = node.running.as_ref()?.replica.machine();
            Some(Standing { at: self.now, node: *id, index: machine.index(), digest: machine.digest() })
        });
        standings.collect()
    }

    /// What is left when the run ends.
    pub(super) fn ending(&self) -> Ending {
        let healed_at =
            self.is_healed.then(|| Span::from_millis(self.scenario.healed_at_ms.unwrap_or_default()));
        Ending { at: self.now, healed_at, held: self.held(), nodes: self.standings() }
    }

    fn held(&self) -> Option<Vec<Held>> {
        let running = self.leader().and_then(|id| self.nodes.get(&id)?.running.as_ref())?;
        // One that leads in a term that is over, and has not heard of it, does not know what is held.
        let replicas = self.nodes.values().filter_map(|node| Some(&node.running.as_ref()?.replica));
        let term = running.replica.status().term;
        if replicas.into_iter().any(|other| other.status().term > term) {
            return None;
        }
        let limiter = running.replica.machine().limiter();
        let usages = (0..self.scenario.resource_count()).filter_map(|number| {
            limiter.usage(limiter.now(), &workload::resource_name(number), None, 0, 10_000)
        });
        let held = usages.flat_map(|usage| {
            let resource = usage.stored.resource.name.clone();
            usage.held.into_iter().map(move |slot| Held {
                resource: resource.clone(),
                limit: slot.limit,
                scope_value: slot.scope_value,
                index: slot.index,
                permit: slot.permit,
            })
        });
        Some(held.collect())
    }

    /// Whether somebody leads, and all members have applied the same.
    pub(super) fn has_converged(&self) -> bool {
        let standings = self.standings();
        let are_alike =
            standings.windows(2).all(|two| (two[0].index, two[0].digest) == (two[1].index, two[1].digest));
        are_alike && standings.len() == self.members().by_id.len() && self.leader().is_some()
    }
}
