//! How long work would take, found out by doing it: the calls are carried out on a copy of their resource, with the
//! limiter's own rules, and time jumps to the next moment at which something can go. So limits of all kinds, scopes,
//! keys, calendars, current use, pauses, budgets and schedules count exactly as they do for real, and nothing about them is
//! said twice.
//!
//! What makes it cheap, whatever the number of records, is that calls go in chunks (`course.rs`), and that limits whose
//! windows would pass by the thousand are replaced by ones that are as many times longer and larger (`terms.rs`). The
//! result is exact for work of up to [`CHUNKS`] calls and windows; beyond it is off by one chunk and one window at most, which
//! are less than 1 % of the work; and by several percent where several limits hold the calls up by turns (`terms.rs`).
//!
//! Assumed is that nobody else acquires; that those who wait already ask for the same as the first step on their resource;
//! that others keep their slots until their leases end; and that the calls are spread over so many subjects that no limit
//! by subject holds them up.

mod course;
mod lane;
mod slots;
mod terms;
mod wait;

#[cfg(test)]
mod tests;

use self::{
    course::Course,
    lane::{Impossible, Lane},
};
use crate::{
    Limiter,
    apply::operations,
    model::{
        Acquire, Ahead, Command, Label, Rejection, ResourceName, Span, Stamp, StepEstimate, Violation, Work,
        WorkEstimate, WorkRejection, WorkStep,
    },
};

/// Parts that the work on one resource is divided into.
const CHUNKS: u64 = 2000;

/// What takes longer is not planned: quotas and calendars will have changed by then. As the longest period of a limit.
pub const HORIZON: Span = Span::from_secs(400 * 24 * 3600);

impl Limiter {
    /// How long the work would take if it began at `stamp`, and after what waits `ahead`. Changes nothing.
    ///
    /// # Errors
    ///
    /// A resource that does not exist, a request that makes no sense to it: an unknown key or dimension, a consumer that is
    /// missing. That a single call is more than a limit ever grants is no error, but an answer.
    pub fn estimate(
        &self,
        stamp: Stamp,
        work: &Work,
        ahead: &[Ahead],
    ) -> Result<WorkEstimate, WorkRejection> {
        let now = self.now().max(stamp);
        let mut steps = vec![StepEstimate::default(); work.steps.len()];
        for name in resources(work) {
            let on_it: Vec<usize> =
                (0..work.steps.len()).filter(|index| work.steps[*index].resource == *name).collect();
            let waiting: Vec<&Ahead> = ahead.iter().filter(|ahead| ahead.resource == *name).collect();
            self.estimate_resource(work, &on_it, &waiting, now, &mut steps)?;
        }
        Ok(summary(steps, now))
    }

    fn estimate_resource(
        &self,
        work: &Work,
        on_it: &[usize],
        ahead: &[&Ahead],
        now: Stamp,
        estimates: &mut [StepEstimate],
    ) -> Result<(), WorkRejection> {
        let Some(first) = on_it.first().map(|index| &work.steps[*index]) else { return Ok(()) };
        let mut lanes = Vec::new();
        for index in on_it {
            let lane = self.lane(work, &work.steps[*index], now);
            let step = u32::try_from(*index).unwrap_or(u32::MAX);
            lanes.push(lane.map_err(|rejection| WorkRejection { step, rejection })?);
        }
        let alike = |ahead: &&Ahead| {
            let call = Acquire { consumer: ahead.consumer.clone(), ..lanes[0].call.clone() };
            Lane::new(call, ahead.requests, first.call_duration)
        };
        let mut waiting: Vec<Lane> = ahead.iter().map(alike).collect();
        let Some(mut course) = Course::on(self, &first.resource, &work.consumer, now) else { return Ok(()) };
        course.run(&mut waiting);
        let first_calls = course.first_calls(&mut lanes);
        course.run(&mut lanes);
        let waiting_ahead = ahead.iter().map(|ahead| ahead.requests).sum();
        for ((index, lane), first_call_after) in on_it.iter().zip(lanes).zip(first_calls) {
            estimates[*index] = lane.into_estimate(now, first_call_after, waiting_ahead);
        }
        Ok(())
    }

    fn lane(&self, work: &Work, step: &WorkStep, now: Stamp) -> Result<Lane, Rejection> {
        let state = self.resources.get(&step.resource).ok_or(Rejection::ResourceNotFound)?;
        let problem = self.check(work, step, now)?;
        let mut call = acquire(step, &work.consumer, Label::default());
        // So many calls together are one that states what they cost.
        call.cost = operations::cost(&state.definition, &call);
        let limit = terms::too_small(&state.definition, &call).cloned();
        terms::strip(&state.definition, &mut call);
        let impossible = problem.map(|problem| Impossible { limit, problem });
        Ok(Lane { impossible, ..Lane::new(call, step.calls, step.call_duration) })
    }

    /// Why a single call could never be granted, if so. The least call that is like it tells what is wrong from what is too
    /// much.
    fn check(&self, work: &Work, step: &WorkStep, now: Stamp) -> Result<Option<String>, Rejection> {
        // Limits by subject need one; which does not matter.
        let subject = || Label::new("any").unwrap_or_default();
        let call = acquire(step, &work.consumer, subject());
        let amounts = call.amounts.iter().map(|(dimension, amount)| (dimension.clone(), (*amount).min(1)));
        let least = Acquire { cost: 1, amounts: amounts.collect(), ..call.clone() };
        let rejected = |call: Acquire| self.refuse(now, &Command::from(call)).and_then(Result::err);
        match (rejected(least), rejected(call)) {
            (_, None) => Ok(None),
            (Some(Rejection::Invalid(violation)), _) if !is_about_budgets(&violation, work) => {
                Err(Rejection::Invalid(violation))
            }
            (_, Some(Rejection::Invalid(violation))) => {
                Ok(Some(format!("a single call can never be granted: {violation}")))
            }
            (_, Some(rejection)) => Err(rejection),
        }
    }
}

/// What others have reserved leaves nothing: even a cost of 1 is too much for this consumer.
fn is_about_budgets(violation: &Violation, work: &Work) -> bool {
    violation.field == "consumer" && !work.consumer.is_empty()
}

fn acquire(step: &WorkStep, consumer: &Label, subject: Label) -> Acquire {
    Acquire {
        resource: step.resource.clone(),
        operation: step.operation.clone(),
        cost: step.cost,
        amounts: step.amounts.clone(),
        consumer: consumer.clone(),
        subject,
        key: step.key.clone(),
        priority: Default::default(),
        lease: None,
        request_id: None,
        alternatives: vec![],
        coalesce_key: None,
    }
}

/// Each once, in the order of the steps.
fn resources(work: &Work) -> Vec<&ResourceName> {
    let mut names: Vec<&ResourceName> = Vec::new();
    for step in &work.steps {
        if !names.contains(&&step.resource) {
            names.push(&step.resource);
        }
    }
    names
}

fn summary(steps: Vec<StepEstimate>, now: Stamp) -> WorkEstimate {
    let impossible = steps.iter().position(|step| step.impossible.is_some());
    let longest = (0..steps.len()).rev().max_by_key(|index| steps[*index].duration);
    let binding = impossible.or(longest).unwrap_or_default();
    let duration = steps.get(binding).and_then(|step| step.duration);
    WorkEstimate {
        duration,
        done_at: duration.map(|duration| now.after(duration).wall),
        binding_step: u32::try_from(binding).unwrap_or(u32::MAX),
        steps,
    }
}
