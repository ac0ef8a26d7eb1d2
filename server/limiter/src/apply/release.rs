//! Ending a permit: slots are free at once, and debits become what the call truly weighed.

use std::collections::BTreeMap;

use super::{
    Limiter,
    request::{self, Caller},
};
use crate::{
    counter::{RateCounter, Terms},
    model::{
        Answer, CallOutcome, Label, MAX_AMOUNT, Outcome, PermitId, Rejection, Release, Stamp, Violation,
    },
    state::{Counters, Permit, ResourceState, terms_of},
};

impl Limiter {
    /// Nobody was left to receive the grant: as if the call was never sent. But if a retry of the request was answered
    /// with the same permit before this command came, somebody has it after all, and it stays: the try that was abandoned
    /// and the retry race each other, on two connections or through two nodes, and the log alone knows who came first.
    pub(super) fn give_back(&mut self, permit: PermitId) -> Answer {
        let request_id = self.live_permit(permit)?.request_id.as_ref();
        if request_id.is_some_and(|id| self.request_ids.was_replayed(id, permit)) {
            return Ok(Outcome::Kept);
        }
        let outcome = CallOutcome::NotSent;
        self.release(&Release { permit, outcome, cost: None, amounts: BTreeMap::new() })
    }

    pub(super) fn release(&mut self, release: &Release) -> Answer {
        let now = self.now;
        let permit = self.live_permit(release.permit)?;
        let state = self.resources.get(&permit.resource).ok_or(Rejection::PermitEnded)?;
        check(state, permit, release).map_err(Rejection::Invalid)?;

        let mut permit = self.permits.remove(release.permit).ok_or(Rejection::PermitEnded)?;
        let state = self.resources.get_mut(&permit.resource).ok_or(Rejection::PermitEnded)?;
        state.leased.remove(&release.permit);
        state.settleable.remove(&release.permit);
        for hold in &permit.holds {
            if let Some(slots) = state.slots_mut(hold.limit, &hold.scope_value) {
                slots.free(hold.index, release.permit);
            }
        }
        settle(state, &mut permit, release, now);
        match (&permit.request_id, release.outcome) {
            (None, _) => {}
            // The retry of a call that was never sent is decided anew.
            (Some(_), CallOutcome::NotSent) => self.request_ids.forget(release.permit),
            (Some(request_id), _) => self.request_ids.end(request_id, release.permit),
        }
        Ok(Outcome::Released(now.cluster.since(permit.granted_at)))
    }
}

fn check(state: &ResourceState, permit: &Permit, release: &Release) -> Result<(), Violation> {
    if let Some(cost) = release.cost.filter(|cost| *cost > MAX_AMOUNT) {
        return Err(Violation::new("cost", format!("must be 0 to {MAX_AMOUNT}, not {cost}")));
    }
    request::check_amounts(&state.definition, &release.amounts, &permit.amounts)
}

fn settle(state: &mut ResourceState, permit: &mut Permit, release: &Release, now: Stamp) {
    for debited in &mut permit.debits {
        let Some(at) = state.position(debited.limit) else { continue };
        let debit = &mut debited.debit;
        let true_amount = match &state.definition.limits[at].dimension {
            None => release.cost,
            Some(dimension) => release.amounts.get(dimension).copied(),
        };
        state.adjust(at, &debited.scope_value, now, |counter, terms| match true_amount {
            _ if release.outcome == CallOutcome::NotSent => counter.refund(terms, debit, now),
            Some(amount) => counter.correct(terms, debit, amount, now),
            None => {}
        });
    }
    if release.outcome != CallOutcome::NotSent {
        debit_what_was_not_foreseen(state, permit, release, now);
    }
}

/// Dimensions that were not named when the permit was acquired, such as the tokens of an answer, are debited now: the
/// call has arrived by then, and has not arrived before its grant.
fn debit_what_was_not_foreseen(state: &mut ResourceState, permit: &Permit, release: &Release, now: Stamp) {
    let mut amounts = release.amounts.clone();
    amounts.retain(|dimension, _| permit.amounts.get(dimension).is_none_or(|acquired| *acquired == 0));
    if amounts.is_empty() {
        return;
    }
    let caller = Caller {
        operation: &permit.operation,
        key: &permit.key,
        consumer: &permit.consumer,
        subject: &permit.subject,
    };
    for demand in request::demands(&state.definition, &caller, 0, &amounts) {
        state.adjust(demand.limit, &demand.scope_value, now, |counter, terms| {
            counter.debit(terms, demand.amount, now);
        });
    }
}

impl ResourceState {
    /// Changes a rate counter. A value that has none, because it was idle, gets one if the change makes it differ from a
    /// fresh one: a debt is not lost, even if the limit counts more values than it admits for as long as it lasts.
    fn adjust(
        &mut self,
        limit: usize,
        scope_value: &Label,
        now: Stamp,
        change: impl FnOnce(&mut RateCounter, Terms),
    ) {
        let ResourceState { definition, limits, .. } = self;
        let terms = terms_of(definition, &definition.limits[limit]);
        let Counters::Rate(counters) = &mut limits[limit].counters else { return };
        if let Some(counter) = counters.get_mut(scope_value) {
            return change(counter, terms);
        }
        let mut counter = RateCounter::fresh(terms, now);
        change(&mut counter, terms);
        if !counter.fresh_in(terms, now).is_zero() {
            counters.insert(scope_value.clone(), counter);
        }
    }
}
