//! One call for many that want the same.
//!
//! Of requests with the same coalesce key at the same resource one gets the permit; the others are denied while it holds it,
//! and wait as others do. When it is released with a result, they have that instead of a permit. When it is released without
//! one, or its lease and grace are over, the next one gets a permit.
//!
//! **Invariant:** of one key, one call at most is under way. Invalidation does not change that: a call whose result it makes
//! void goes on, and leaves none.

use super::{Limiter, acquire::Decision};
use crate::{
    model::{
        Acquire, Answer, CallOutcome, CallResult, CoalesceKey, Denial, DenialReason, InvalidateResults,
        Outcome, PermitId, Rejection, Release, ResourceName, SharedResult, Span, Stamp, Violation,
    },
    state::{Kept, MAX_CALLS, Permit, ResourceState, ResultEnds},
};

/// Results cleared away at most for each entry, so that many that end together stop nobody.
const CLEARED_PER_ENTRY: usize = 512;

impl Limiter {
    /// What becomes of a request because of others with its key; nothing if it is the one that makes the call.
    pub(super) fn coalesce(
        &self,
        acquire: &Acquire,
        key: &CoalesceKey,
        now: Stamp,
    ) -> Result<Option<Decision>, Rejection> {
        if !acquire.alternatives.is_empty() {
            let problem = "cannot be combined with alternatives: a key belongs to one resource";
            return Err(Rejection::Invalid(Violation::new("coalesce_key", problem)));
        }
        let coalesced = &self.resources.at(self.check_choice(acquire, 0)?).coalesced;
        if let Some(kept) = coalesced.result(key, now.cluster) {
            let age = now.cluster.since(kept.since);
            return Ok(Some(Decision::Share(SharedResult { bytes: kept.bytes.clone(), age })));
        }
        match coalesced.call(key, now.cluster) {
            Some(call) => Ok(Some(Decision::Deny(call_under_way(call.free_at.since(now.cluster))))),
            None if coalesced.is_full() => Err(Rejection::TooManyCoalescedCalls { max: MAX_CALLS as u64 }),
            None => Ok(None),
        }
    }

    /// The holder of the call has released its permit: what it found out is for the others.
    pub(super) fn end_call(&mut self, id: PermitId, permit: &Permit, result: Option<&CallResult>) {
        let Some(key) = &permit.coalesce_key else { return };
        let Some(state) = self.resources.get_mut(&permit.resource) else { return };
        let ended = state.coalesced.end(key, id);
        if let (Some(call), Some(result)) = (ended, result)
            && !call.is_outdated
        {
            self.keep_result(&permit.resource, key, result);
        }
    }

    pub(super) fn invalidate_results(&mut self, order: &InvalidateResults) -> Answer {
        let state = self.resources.get_mut(&order.resource).ok_or(Rejection::ResourceNotFound)?;
        let results = state.coalesced.results().filter(|(key, _)| order.keys.contain(key));
        let results: Vec<_> = results.map(|(key, kept)| (key.clone(), kept.until)).collect();
        if !state.coalesced.is_empty() {
            state.coalesced.outdate(&order.keys);
        }
        let mut invalidated = 0;
        for (key, until) in results {
            invalidated += u64::from(self.now.cluster < until);
            self.drop_result(&order.resource, &key);
        }
        Ok(Outcome::Invalidated(invalidated))
    }

    /// Clears away results whose time is over.
    pub(super) fn clear_results(&mut self) {
        for _ in 0..CLEARED_PER_ENTRY {
            let Some((resource, key)) = self.result_ends.ended(self.now.cluster) else { return };
            self.drop_result(&resource, &key);
        }
    }

    fn keep_result(&mut self, resource: &ResourceName, key: &CoalesceKey, result: &CallResult) {
        // One that has ended may still be there.
        self.drop_result(resource, key);
        let since = self.now.cluster;
        let kept = Kept { bytes: result.bytes.clone(), since, until: since + result.ttl };
        let Some(state) = self.resources.get_mut(resource) else { return };
        self.result_ends.insert(kept.until, resource.clone(), key.clone(), kept.weight(key));
        state.coalesced.keep(key.clone(), kept);
        while let Some(first) = self.resources.get(resource).and_then(|state| state.coalesced.surplus()) {
            self.drop_result(resource, &first);
        }
        while let Some((resource, first)) = self.result_ends.surplus() {
            self.drop_result(&resource, &first);
        }
    }

    fn drop_result(&mut self, resource: &ResourceName, key: &CoalesceKey) {
        let state = self.resources.get_mut(resource);
        if let Some(kept) = state.and_then(|state| state.coalesced.drop_result(key)) {
            self.result_ends.remove(kept.until, resource.clone(), key.clone());
        }
    }

    /// The ends of all results, which the encoded state leaves out.
    pub(super) fn collect_result_ends(&self) -> ResultEnds {
        let mut ends = ResultEnds::default();
        for state in self.resources.iter() {
            let resource = &state.definition.name;
            for (key, kept) in state.coalesced.results() {
                ends.insert(kept.until, resource.clone(), key.clone(), kept.weight(key));
            }
        }
        ends
    }
}

/// Forgets the results of a resource that is deleted.
pub(super) fn forget_results(ends: &mut ResultEnds, resource: &ResourceName, state: &ResourceState) {
    for (key, kept) in state.coalesced.results() {
        ends.remove(kept.until, resource.clone(), key.clone());
    }
}

/// A result is for permits that others may wait for, and for calls that came to an answer.
pub(super) fn check_result(permit: &Permit, release: &Release) -> Result<(), Violation> {
    let Some(result) = &release.result else { return Ok(()) };
    let (least, most) = (CallResult::TTL_MIN, CallResult::TTL_MAX);
    if permit.coalesce_key.is_none() {
        return Err(Violation::new("result", "is for permits whose request named a coalesce_key"));
    }
    if !matches!(release.outcome, CallOutcome::Ok | CallOutcome::ClientError) {
        return Err(Violation::new("result", "goes with OUTCOME_OK or OUTCOME_CLIENT_ERROR only"));
    }
    if !(least..=most).contains(&result.ttl) {
        let problem = format!("must be {least} to {most}, not {}", result.ttl);
        return Err(Violation::new("result_ttl", problem));
    }
    Ok(())
}

fn call_under_way(free_in: Span) -> Denial {
    Denial {
        limit: None,
        exhausted: Vec::new(),
        retry_after: Some(free_in),
        reason: DenialReason::CallUnderWay,
        alternative: 0,
    }
}
