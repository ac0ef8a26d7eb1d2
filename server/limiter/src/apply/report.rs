//! What comes of how calls ended and of what vendors said: circuits, paces and pauses.

use super::{
    Limiter, figures,
    holds::{self, AsTold},
    request::{self, Caller},
};
use crate::{
    model::{
        Answer, CallOutcome, Called, CircuitTurn, FeedbackRules, HoldBack, Label, Outcome, Pause, PermitId,
        Rejection, Report, Resource, Span, Stamp, VendorAnswer, Violation,
    },
    state::{Gate, Permit, ResourceState},
};

/// A call of which something is told.
pub(super) struct Call<'a> {
    /// Empty: the resource as a whole is meant.
    pub key: &'a Label,
    pub permit: Option<PermitId>,
    pub outcome: CallOutcome,
    /// The outcome was told before, and counts once.
    pub is_known: bool,
    /// While it is remembered.
    pub granted: Option<&'a Permit>,
    /// Who called for what: of a permit that is not remembered only what is told of it, and what is not may be anything.
    pub caller: Caller<'a>,
}

impl Limiter {
    /// How the answers to calls of a resource are heeded, or of a permit that is remembered.
    pub fn feedback_rules(&self, called: &Called) -> Option<&FeedbackRules> {
        let resource = match called {
            Called::With(permit) => &self.permits.get(*permit)?.resource,
            Called::Of { resource, .. } => resource,
        };
        self.resources.get(resource).map(|state| &*state.definition.feedback)
    }

    pub(super) fn report(&mut self, report: &Report) -> Answer {
        check(&report.answer).map_err(Rejection::Invalid)?;
        let state = self.resources.get(&report.resource).ok_or(Rejection::ResourceNotFound)?;
        request::check_key(&state.definition, &report.key).map_err(Rejection::Invalid)?;
        if report.permit.is_some_and(|permit| !self.was_granted(permit)) {
            return Err(Rejection::PermitNotFound);
        }
        let permit = report.permit.and_then(|id| self.permits.get(id));
        if permit.is_some_and(|permit| permit.resource != report.resource) {
            let problem = "is the id of a permit of another resource";
            return Err(Rejection::Invalid(Violation::new("permit_id", problem)));
        }
        if report.permit.is_some()
            && permit.is_none()
            && report.key.is_empty()
            && !state.definition.keys.is_empty()
        {
            let problem = "is required: the permit is not remembered";
            return Err(Rejection::Invalid(Violation::new("key", problem)));
        }
        let Report { operation, consumer, subject, .. } = report;
        let key = permit.map_or(&report.key, |permit| &permit.key).clone();
        let is_trouble = is_trouble(report.outcome);
        let was_told = report.permit.is_some_and(|id| self.permits.note_report(id, is_trouble));
        let granted = report.permit.and_then(|id| self.permits.get(id));
        let (now, newest) = (self.now, PermitId(self.permits_granted));
        let state = self.resources.get_mut(&report.resource).ok_or(Rejection::ResourceNotFound)?;
        let troubled = report.permit.filter(|_| is_trouble);
        let is_repeated = troubled.is_some_and(|id| state.conditions.note_trouble(id));
        let is_known = was_told || is_repeated && granted.is_none();
        let told = Caller { operation, key: &key, consumer, subject };
        let caller = granted.map_or(told, Caller::with);
        let call =
            Call { key: &key, permit: report.permit, outcome: report.outcome, is_known, granted, caller };
        let turn = heed(state, &call, Some(&report.answer), newest, now);
        let shut_for = match state.gate(&key, now.cluster) {
            Gate::Shut { opens_in: Some(opens_in), .. } => opens_in,
            Gate::Shut { opens_in: None, .. } | Gate::Open => Span::ZERO,
        };
        self.note_turns(turn);
        Ok(Outcome::Reported(shut_for))
    }
}

/// Draws the consequences for all that call the resource. Returns the circuit that was turned by it, if one was.
pub(super) fn heed(
    state: &mut ResourceState,
    call: &Call,
    answer: Option<&VendorAnswer>,
    newest: PermitId,
    now: Stamp,
) -> Option<CircuitTurn> {
    if !call.key.is_empty() && !state.definition.keys.contains(call.key) {
        // The key is gone, and what was said about it with it.
        return None;
    }
    let at = (newest, now.cluster);
    let longest = state.definition.feedback.longest_wait;
    // An operator knows better than what was said of the calls until then.
    let is_of_now = call.permit.is_none_or(|permit| permit.0 > state.spoken_after);
    let wait = answer.and_then(|answer| answer.wait).map(|wait| wait.min(longest));
    let waits = answer.zip(wait).filter(|_| is_of_now);
    let as_told = waits.map(|(answer, wait)| holds::as_told(state, call, answer, wait, now));
    let wordless = answer.filter(|_| wait.is_none());
    let held =
        wordless.map(|answer| holds::until_there_is_room(state, call, answer, now)).unwrap_or_default();
    let ResourceState { definition, availability, conditions, .. } = &mut *state;
    let mut turned = None;
    if !call.is_known {
        turned = conditions.ended(definition, call.key, call.permit, call.outcome, at);
        // Releases without an answer are in logs from before refusals were heeded.
        if call.outcome == CallOutcome::Throttled && answer.is_some() && as_told != Some(AsTold::Held) {
            // When narrow limits have room again is known as well as if the vendor had said it.
            let says_when = wait.is_some() && as_told != Some(AsTold::NoRoom) || held.is_narrow;
            conditions.refused(definition, call.key, call.permit, says_when, at);
        }
    }
    for (key, until) in &held.shut {
        conditions.held_back(definition, key, *until, now.cluster);
    }
    if let Some((answer, wait)) = waits.filter(|_| as_told == Some(AsTold::All)) {
        let until = now.cluster + wait;
        availability.hold_back(call.key, until, &answer.reason);
        conditions.held_back(definition, call.key, until, now.cluster);
    }
    let Some(permit) = call.permit.filter(|_| is_of_now) else {
        return turned;
    };
    for told in answer.into_iter().flat_map(|answer| &answer.limits) {
        figures::tighten(state, permit, told, now);
        if let Some(granted) = call.granted.filter(|_| !call.is_known) {
            figures::debit_others(state, (permit, granted), told, now);
        }
    }
    turned
}

/// Whether an outcome says that something is wrong. It counts once of a call; that all is well is worth telling twice.
pub(super) fn is_trouble(outcome: CallOutcome) -> bool {
    matches!(outcome, CallOutcome::Throttled | CallOutcome::ServerError | CallOutcome::Timeout)
}

/// What the wire has checked; what is in the log is checked all the same.
pub(super) fn check(answer: &VendorAnswer) -> Result<(), Violation> {
    let (least, most) = (Pause::SHORTEST, HoldBack::LONGEST);
    if let Some(wait) = answer.wait.filter(|wait| !(least..=most).contains(wait)) {
        return Err(Violation::new("wait", format!("must be {least} to {most}, not {wait}")));
    }
    let told = answer.limits.len().max(answer.exhausted.len());
    if told > Resource::MAX_LIMITS {
        let problem = format!("must be {} at most, not {told}", Resource::MAX_LIMITS);
        return Err(Violation::new("limits", problem));
    }
    Ok(())
}
