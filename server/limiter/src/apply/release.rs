//! Ending a permit: slots are free at once, and debits become what the call truly weighed.

use std::collections::BTreeMap;

use super::{
    Limiter,
    budget::Standing,
    budget_debit::{Settlement, Whole},
    coalesce::check_result,
    figures,
    report::{self, Call},
    request::{self, Caller, Demands},
};
use crate::{
    model::{Answer, CallOutcome, MAX_AMOUNT, Outcome, PermitId, Rejection, Release, Stamp, Violation},
    state::{Counters, LimitState, Permit, ResourceState, terms_of},
};

impl Limiter {
    /// Nobody was left to receive the grant: as if the call was never sent. But if a retry of the request was answered
    /// with the same permit before this command came, somebody has it after all, and it stays: the try that was abandoned
    /// and the retry race each other, on two connections or through two nodes, and the log alone knows who came first.
    pub(super) fn give_back(&mut self, permit: PermitId) -> Answer {
        self.live_permit(permit)?;
        if self.request_ids.was_replayed(permit) {
            return Ok(Outcome::Kept);
        }
        let outcome = CallOutcome::NotSent;
        self.release(&Release {
            permit,
            outcome,
            cost: None,
            amounts: BTreeMap::new(),
            answer: None,
            result: None,
        })
    }

    pub(super) fn release(&mut self, release: &Release) -> Answer {
        let now = self.now;
        let permit = self.live_permit(release.permit)?;
        let place = self.resources.find(&permit.resource).ok_or(Rejection::PermitEnded)?;
        check(self.resources.at(place), permit, release).map_err(Rejection::Invalid)?;

        let mut permit = self.permits.remove(release.permit).ok_or(Rejection::PermitEnded)?;
        let state = self.resources.at_mut(place);
        if permit.leased {
            state.leased.remove(&release.permit);
        } else {
            state.settleable.remove(&release.permit);
        }
        for hold in &permit.holds {
            state.change_slots(hold, |slots, index| {
                slots.free(index, release.permit);
            });
        }
        let counted = state.counter_bytes();
        settle(state, &mut permit, release, now);
        self.counter_bytes.change(counted, state.counter_bytes());
        let Release { outcome, answer, .. } = release;
        let call = Call {
            key: &permit.key,
            permit: Some(release.permit),
            outcome: *outcome,
            is_known: permit.reported,
            granted: Some(&*permit),
            caller: Caller::with(&permit),
        };
        let newest = PermitId(self.permits_granted);
        if report::is_trouble(*outcome) {
            state.conditions.note_trouble(release.permit);
        }
        let turn = report::heed(state, &call, answer.as_deref(), newest, now);
        self.note_turns(turn);
        match (&permit.request_id, release.outcome) {
            (None, _) => {}
            // The retry of a call that was never sent is decided anew.
            (Some(_), CallOutcome::NotSent) => self.request_ids.forget(release.permit),
            (Some(_), _) => self.request_ids.end(release.permit),
        }
        self.end_call(release.permit, &permit, release.result.as_ref());
        let held_for = now.cluster.since(permit.granted_at);
        self.permits.reuse(permit);
        Ok(Outcome::Released(held_for))
    }
}

fn check(state: &ResourceState, permit: &Permit, release: &Release) -> Result<(), Violation> {
    if let Some(cost) = release.cost.filter(|cost| *cost > MAX_AMOUNT) {
        return Err(Violation::new("cost", format!("must be 0 to {MAX_AMOUNT}, not {cost}")));
    }
    release.answer.as_deref().map_or(Ok(()), report::check)?;
    request::check_amounts(&state.definition, &release.amounts, &permit.amounts)?;
    check_result(permit, release)
}

fn settle(state: &mut ResourceState, permit: &mut Permit, release: &Release, now: Stamp) {
    let charged = release.answer.as_deref().and_then(|answer| answer.cost);
    let charged = charged.filter(|_| release.cost.is_none() && release.outcome == CallOutcome::Ok);
    for debited in &mut permit.debits {
        let Some(at) = state.position(debited.limit) else { continue };
        let true_amount = match &state.definition.limits[at].dimension {
            None => release.cost.or_else(|| figures::charged(state, at, debited, charged?, now)),
            Some(dimension) => release.amounts.get(dimension).copied(),
        };
        let settlement = match true_amount {
            _ if release.outcome == CallOutcome::NotSent => Settlement::NotSent,
            Some(amount) => Settlement::Weighs(amount),
            None => continue,
        };
        let ResourceState { definition, limits, .. } = &mut *state;
        limits[at].settle(terms_of(definition, &definition.limits[at]), debited, settlement, now);
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
    let caller = Caller::with(permit);
    let ResourceState { definition, limits, .. } = state;
    let standing = Standing::of(definition, &permit.consumer);
    let mut demands = Demands::new();
    request::demand(definition, &caller, 0, &amounts, &mut demands);
    for demand in demands {
        let terms = terms_of(definition, &definition.limits[demand.limit]);
        let LimitState { counters, shares, by_consumer, .. } = &mut limits[demand.limit];
        let Counters::Rate(counters) = counters else { continue };
        let value = &demand.scope_value;
        Whole { terms, counter: None }.change(counters, value, terms, now, |counter, terms| {
            counter.debit(terms, demand.amount, now);
        });
        if let Some(standing) = standing {
            let whole = Whole { terms, counter: counters.get(value) };
            standing.debit(whole, shares, by_consumer, &demand, now);
        }
    }
}
