//! How a vendor is doing: circuits and paces, by key.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{
    Few,
    circuit::Circuit,
    condition::{Condition, Obstruction},
};
use crate::model::{
    CallOutcome, CircuitState, CircuitTurn, ClusterTime, Label, PaceCause, PermitId, Resource, ResourceName,
    Scope, Span, VendorCondition,
};

/// Of a resource and its keys. One that is not here is as well as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Conditions {
    /// The empty key: the resource as a whole.
    #[n(0)]
    by_key: Few<Label, Condition>,
    /// The youngest permits of which trouble was told when they were released or later: what is told again counts no more.
    #[n(1)]
    troubled: BTreeSet<u64>,
}

/// A refusal of which nothing tells when it was permitted counts if the last one that counted was so long ago.
const UNORDERED_REFUSALS_APART: Span = Span::from_secs(1);

/// Permits that are remembered because of trouble; what is told late of one that is older than all of them counts no more.
const TROUBLED_MAX: usize = 256;

impl Conditions {
    /// What keeps the key from being granted now, the circuits and paces that concern it taken together; of several the one that
    /// ends last.
    pub(crate) fn before(&self, resource: &Resource, key: &Label, now: ClusterTime) -> Option<Obstruction> {
        let mut last: Option<Obstruction> = None;
        for (of, condition) in self.concerning(key) {
            for obstruction in condition.before(resource, of, now) {
                if last.as_ref().is_none_or(|last| last.opens_in < obstruction.opens_in) {
                    last = Some(obstruction);
                }
            }
        }
        last
    }

    /// Trouble is told of a permit that is not remembered otherwise. Returns whether it was told before, or that nobody can know.
    pub(crate) fn note_trouble(&mut self, permit: PermitId) -> bool {
        let is_full = self.troubled.len() >= TROUBLED_MAX;
        let is_too_late = is_full && self.troubled.first().is_some_and(|oldest| permit.0 < *oldest);
        if is_too_late || !self.troubled.insert(permit.0) {
            return true;
        }
        if is_full {
            self.troubled.pop_first();
        }
        false
    }

    /// Whether a pace slows the key down, or the resource as a whole. One that is over may count still.
    pub(crate) fn is_paced(&self, key: &Label) -> bool {
        self.concerning(key).any(|(_, condition)| condition.pace.is_some())
    }

    /// Whether something is still to be told of probes of the key, or of the resource as a whole.
    pub(crate) fn awaits_probes(&self, key: &Label) -> bool {
        self.concerning(key).any(|(_, condition)| condition.circuit.awaits_probes())
    }

    /// The lease of a permit was renewed, which was granted at that moment.
    pub(crate) fn renewed(
        &mut self,
        resource: &Resource,
        key: &Label,
        (permit, granted_at): (PermitId, ClusterTime),
        lease_end: ClusterTime,
        now: ClusterTime,
    ) {
        let Some(breaker) = &resource.circuit_breaker else { return };
        for of in ["", key.as_str()] {
            let Some(condition) = self.by_key.get_mut(of) else { continue };
            let end = lease_end.min(granted_at + breaker.probe_timeout);
            condition.circuit.renewed(permit, end, now);
        }
    }

    /// The keys at which permits of this one are rationed: paced, or probes.
    pub(crate) fn rationed<'a>(
        &'a self,
        resource: &Resource,
        key: &'a Label,
        now: ClusterTime,
    ) -> impl Iterator<Item = &'a Label> {
        let breaks = resource.circuit_breaker.is_some();
        let is_rationed = move |condition: &Condition| {
            condition.pace.as_ref().is_some_and(|pace| !pace.is_over(now))
                || breaks && condition.circuit.is_rationed(now)
        };
        self.concerning(key).filter(move |(_, condition)| is_rationed(condition)).map(|(of, _)| of)
    }

    /// A permit was granted. Returns the circuit that has closed before because no probe has failed, if one has: it comes back by the
    /// ramp from this permit on.
    pub(crate) fn granted(
        &mut self,
        resource: &Resource,
        key: &Label,
        cost: u64,
        (permit, lease_end): (PermitId, Option<ClusterTime>),
        now: ClusterTime,
    ) -> Option<CircuitTurn> {
        let whole = Label::default();
        let mut turn = None;
        for of in [&whole, key].into_iter().take(if key.is_empty() { 1 } else { 2 }) {
            let condition = self.of(of);
            condition.throughput.count(cost, now);
            let breaker = resource.circuit_breaker.as_ref();
            let closed =
                breaker.and_then(|breaker| condition.circuit.granted(permit, lease_end, breaker, now));
            condition.pace.take_if(|pace| pace.is_over(now));
            if let Some(circuit) = closed {
                if condition.pace.is_none() {
                    condition.ramp(resource, of, PaceCause::Outage, (now, now));
                }
                turn = Some(CircuitTurn { resource: resource.name.clone(), key: of.clone(), circuit });
            }
            condition.pace.iter_mut().for_each(|pace| pace.spend(cost, now));
        }
        // A circuit is of the resource or of a key, so there is one at most.
        turn
    }

    /// A call ended. A circuit that closes comes back by the ramp. Returns the circuit that it turned, if it did.
    pub(crate) fn ended(
        &mut self,
        resource: &Resource,
        key: &Label,
        permit: Option<PermitId>,
        outcome: CallOutcome,
        (newest, now): (PermitId, ClusterTime),
    ) -> Option<CircuitTurn> {
        let breaker = resource.circuit_breaker.as_ref()?;
        let whole = Label::default();
        let of = if breaker.scope == Scope::Key { key } else { &whole };
        if breaker.scope == Scope::Key && key.is_empty() {
            return None;
        }
        let circuit = self.of(of).circuit.ended(permit, outcome, breaker, newest, now)?;
        let condition = self.of(of);
        let is_closed = circuit.state == CircuitState::Closed;
        if is_closed && condition.pace.as_ref().is_none_or(|pace| pace.is_over(now)) {
            condition.ramp(resource, of, PaceCause::Outage, (now, now));
        }
        Some(CircuitTurn { resource: resource.name.clone(), key: of.clone(), circuit })
    }

    /// Nothing is granted before `until`, because the vendor wants it: from then on the key comes back by the ramp; where a pace
    /// is in force, by that.
    pub(crate) fn held_back(
        &mut self,
        resource: &Resource,
        key: &Label,
        until: ClusterTime,
        now: ClusterTime,
    ) {
        let condition = self.of(key);
        match condition.pace.as_mut().filter(|pace| !pace.is_over(now)) {
            Some(pace) => pace.postpone(until, now),
            None => condition.ramp(resource, key, PaceCause::Pause, (until, now)),
        }
    }

    /// The vendor refused a call because of a limit. The first time that it says when to come back leads to nothing else; without,
    /// or again before long, the pace is halved.
    pub(crate) fn refused(
        &mut self,
        resource: &Resource,
        key: &Label,
        permit: Option<PermitId>,
        says_when: bool,
        (newest, now): (PermitId, ClusterTime),
    ) {
        let condition = self.of(key);
        let last = condition.refused.map(|last| now.since(last));
        let is_news = match permit {
            Some(permit) => permit.0 > condition.lowered_after,
            None => last.is_none_or(|ago| ago >= UNORDERED_REFUSALS_APART),
        };
        if !is_news {
            return;
        }
        (condition.refused, condition.lowered_after) = (Some(now), newest.0);
        let is_repeated = last.is_some_and(|ago| ago < resource.feedback.pace_recovery);
        if is_repeated || !says_when {
            condition.lower(resource, key, now);
        }
    }

    /// An operator knows better about these keys: neither does what is told of the calls until now count. `newest` is the last
    /// permit that was granted. Returns the circuits that close.
    pub(crate) fn forget(
        &mut self,
        resource: &ResourceName,
        is_meant: impl Fn(&Label) -> bool,
        (newest, now): (PermitId, ClusterTime),
    ) -> Vec<CircuitTurn> {
        let mut closed = Vec::new();
        for (key, condition) in self.by_key.iter_mut().filter(|(key, _)| is_meant(key)) {
            let circuit = condition.circuit.closing(now);
            let turn = |circuit| CircuitTurn { resource: resource.clone(), key: key.clone(), circuit };
            closed.extend(circuit.map(turn));
            *condition = Condition {
                circuit: Circuit::closed_after(newest),
                throughput: condition.throughput,
                lowered_after: newest.0,
                ..Condition::default()
            };
        }
        closed
    }

    /// What is known of keys that are gone goes with them; and what was counted by another breaker.
    pub(crate) fn redefine(&mut self, old: &Resource, new: &Resource) {
        self.by_key.retain(|key| key.is_empty() || new.keys.contains(key));
        if old.circuit_breaker != new.circuit_breaker {
            self.by_key.iter_mut().for_each(|(_, condition)| condition.circuit = Circuit::default());
        }
    }

    /// What is to be told, by key.
    pub(crate) fn describe(&self, resource: &Resource, now: ClusterTime) -> Vec<VendorCondition> {
        let told = self.by_key.iter().map(|(key, condition)| VendorCondition {
            key: key.clone(),
            circuit: resource
                .circuit_breaker
                .as_ref()
                .and_then(|breaker| condition.circuit.status(breaker, now)),
            pace: condition.pace.as_ref().and_then(|pace| pace.status(now)),
        });
        told.filter(|told| told.circuit.is_some() || told.pace.is_some()).collect()
    }

    fn concerning<'a>(&'a self, key: &'a Label) -> impl Iterator<Item = (&'a Label, &'a Condition)> {
        let whole = (!key.is_empty()).then(|| self.by_key.get("")).flatten();
        whole.into_iter().chain(self.by_key.get(key)).map(|(of, condition)| (of, condition))
    }

    fn of(&mut self, key: &Label) -> &mut Condition {
        self.by_key.or_default(key)
    }
}
