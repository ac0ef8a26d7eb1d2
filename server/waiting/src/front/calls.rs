//! Flows whose call others may make. When that call ends they are looked at wherever they stand: nobody waits for a limit
//! who could have a result.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_limiter::{CoalesceKey, Freed, Line};

use super::Front;
use crate::flow::{FlowId, FlowKey};

/// Flows by the key of their call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Calls(BTreeMap<CoalesceKey, BTreeSet<FlowId>>);

impl Calls {
    pub fn add(&mut self, key: &FlowKey, flow: FlowId) {
        if let Some(call) = key.signature.coalesce_key() {
            self.0.entry(call.clone()).or_default().insert(flow);
        }
    }

    pub fn remove(&mut self, key: &FlowKey, flow: FlowId) {
        let Some(call) = key.signature.coalesce_key() else { return };
        if let Some(flows) = self.0.get_mut(call) {
            flows.remove(&flow);
            if flows.is_empty() {
                self.0.remove(call);
            }
        }
    }

    fn of(&self, call: &CoalesceKey) -> impl Iterator<Item = FlowId> {
        self.0.get(call).into_iter().flatten().copied()
    }
}

impl Front {
    /// Something was given back, or a call has ended.
    pub fn wake(&mut self, freed: &Freed) {
        for line in &freed.lines {
            self.lines.wake(line);
            if let Line::Call { key } = line {
                self.wake_elsewhere(key, line);
            }
        }
    }

    /// Those who came to a limit when no call was under way stand there still. Who is at the door is looked at in any case.
    fn wake_elsewhere(&mut self, call: &CoalesceKey, line: &Line) {
        for id in self.calls.of(call) {
            let Some(flow) = self.flows.get(&id) else { continue };
            if let (Some(stands), Some(head)) = (&flow.stands, flow.head())
                && stands != line
            {
                self.lines.call_on(id, &flow.key, head);
            }
        }
    }
}
