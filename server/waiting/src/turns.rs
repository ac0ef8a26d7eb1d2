//! Whose turn it is: candidates are looked at in order, and the limiter says of each whether it can go.
//!
//! What the leader proposes is applied later, so the state does not show yet what has just been given away. Choices are
//! therefore carried out on a rehearsal, a copy of the resource: exactly those are proposed who will be granted.

use tollgate_limiter::{Answer, Denial, DenialReason, Limiter, Line, Outcome, Passage, ResourceName, Span};

use super::{Moment, Turn, WaiterId, WaitingQueue, front::Candidate, queue::Parked};

/// Candidates that are looked at in one go beside those whose turn it is: the loop of the leader goes round in between.
const LOOKS_MAX: usize = 256;

/// Waits that end in one go, because patience does.
const ENDED_MAX: usize = 1_024;

/// What a denial tells to those whom nothing but others stands before, at the least.
const SOONEST_RETRY: Span = Span::from_millis(1);

/// The turns that are taken together.
struct Round<'a, C> {
    limiter: &'a Limiter,
    now: Moment,
    may_still_go: usize,
    looks_left: usize,
    turns: Vec<Turn<C>>,
}

impl<C> WaitingQueue<C> {
    /// Whose turn it is now, and whose wait is over; they have left the queue. At most `most` go, beside others that wait
    /// under the same request id. Of resources that `may_go` says no to nobody goes: what was proposed for them is still to
    /// be applied.
    pub fn take_turns(
        &mut self,
        limiter: &Limiter,
        now: Moment,
        may_go: &dyn Fn(&ResourceName) -> bool,
        most: usize,
    ) -> Vec<Turn<C>> {
        self.now = now;
        self.wake_due();
        let mut round = Round { limiter, now, may_still_go: most, looks_left: LOOKS_MAX, turns: Vec::new() };
        for resource in self.resources_to_serve(may_go) {
            let is_done = self.serve(&resource, &mut round);
            self.file(&resource);
            if !is_done {
                self.last_served = Some(resource);
                break;
            }
        }
        self.end_patience(&mut round);
        // Turns were cut short; or somebody has left who stood before others.
        self.is_stirred = self.ready.iter().any(may_go);
        round.turns
    }

    /// Puts on the agenda what has come to be due.
    fn wake_due(&mut self) {
        while let Some((due, resource)) = self.dues.first()
            && *due <= self.now.stamp.cluster
        {
            let resource = resource.clone();
            if let Some(front) = self.fronts.get_mut(&resource) {
                front.lines().wake_due(self.now);
            }
            self.file(&resource);
        }
    }

    /// Those after the one that was cut short come first.
    fn resources_to_serve(&mut self, may_go: &dyn Fn(&ResourceName) -> bool) -> Vec<ResourceName> {
        let mut resources: Vec<_> = self.ready.iter().filter(|resource| may_go(resource)).cloned().collect();
        if let Some(last) = self.last_served.take() {
            let after = resources.partition_point(|resource| *resource <= last);
            resources.rotate_left(after);
        }
        resources
    }

    /// Looks at candidates until nobody else of the resource can go. Returns whether it came so far.
    fn serve(&mut self, resource: &ResourceName, round: &mut Round<C>) -> bool {
        self.regroup(resource, round.limiter);
        let mut rehearsal = None;
        while let Some(front) = self.fronts.get_mut(resource) {
            if round.is_over() && front.lines().has_tasks() {
                return false;
            }
            let Some(candidate) = front.take_candidate() else { break };
            self.look_at(resource, &candidate, &mut rehearsal, round);
        }
        self.answer_the_impatient(resource, round);
        true
    }

    fn look_at(
        &mut self,
        resource: &ResourceName,
        candidate: &Candidate,
        rehearsal: &mut Option<Limiter>,
        round: &mut Round<C>,
    ) {
        let id = candidate.arrival.id;
        let Some(front) = self.fronts.get_mut(resource) else { return };
        let Some(parked) = self.waiters.get(&id) else { return };
        let Some(alternative) = parked.alternative(candidate.flow) else { return };
        let acquire = &parked.waiter.acquire;
        // Another may have used its id since it came to wait.
        let is_repeated = round.limiter.is_repeated(round.now.stamp, acquire);
        let limiter = rehearsal.as_ref().filter(|_| !is_repeated).unwrap_or(round.limiter);
        match limiter.prospect(round.now.stamp, acquire, alternative) {
            Err(rejection) => self.end(id, Err(rejection), round),
            // It would keep those behind it waiting for an operator.
            Ok(Err(denial)) if denial.never_fits() => {
                let answer = self.farewell(id, round);
                self.end(id, answer, round);
            }
            Ok(Err(denial)) => {
                round.looks_left -= 1;
                front.stop(candidate, limiter.obstacle(round.now.stamp, &denial, acquire));
            }
            Ok(Ok(passages)) => match front.blocked_at(candidate, &passages) {
                Some(line) => {
                    round.looks_left -= 1;
                    front.give_way(candidate, line, &passages);
                }
                None if is_repeated => {
                    self.go_with_twins(resource, candidate, &passages, alternative, round);
                }
                None => {
                    if rehearsal.is_none() {
                        *rehearsal = round.limiter.rehearse(resource);
                    }
                    let rehearsed = rehearsal
                        .as_mut()
                        .map(|rehearsal| rehearsal.rehearse_acquire(round.now.stamp, acquire, alternative));
                    match rehearsed {
                        // Found out only at the grant: a scoped limit counts as many values as it may.
                        Some(Err(rejection)) => self.end(id, Err(rejection), round),
                        // Nothing is granted under its id: what else waits under it has a turn of its own.
                        Some(Ok(Outcome::Shared(_))) => {
                            self.go(resource, candidate, &passages, alternative, round);
                        }
                        _ => self.go_with_twins(resource, candidate, &passages, alternative, round),
                    }
                }
            },
        }
    }

    /// Others that wait under the same request id go, too: a replay answers them.
    fn go_with_twins(
        &mut self,
        resource: &ResourceName,
        candidate: &Candidate,
        passages: &[Passage],
        alternative: u32,
        round: &mut Round<C>,
    ) {
        let twins = self.twins(candidate.arrival.id);
        self.go(resource, candidate, passages, alternative, round);
        let twins = twins.into_iter().filter_map(|twin| self.remove(twin));
        round.turns.extend(twins.map(|twin| twin.go(alternative, round.now)));
    }

    fn go(
        &mut self,
        resource: &ResourceName,
        candidate: &Candidate,
        passages: &[Passage],
        alternative: u32,
        round: &mut Round<C>,
    ) {
        if let Some(front) = self.fronts.get_mut(resource) {
            let weight = round.limiter.weight(resource, &candidate.key.consumer);
            front.pass(candidate, passages, weight);
        }
        round.may_still_go = round.may_still_go.saturating_sub(1);
        let Some(parked) = self.remove(candidate.arrival.id) else { return };
        round.turns.push(parked.go(alternative, round.now));
    }

    /// All that wait under the request id of this one.
    fn twins(&self, id: WaiterId) -> Vec<WaiterId> {
        let request_id = self.waiters.get(&id).and_then(|parked| parked.waiter.acquire.request_id.as_ref());
        let Some(request_id) = request_id else { return Vec::new() };
        let twins = self.by_request_id.range((request_id.clone(), WaiterId(0))..);
        twins.take_while(|(other, _)| other == request_id).map(|(_, id)| *id).collect()
    }

    /// Those without patience have had their turn.
    fn answer_the_impatient(&mut self, resource: &ResourceName, round: &mut Round<C>) {
        let Some(front) = self.fronts.get_mut(resource) else { return };
        for id in std::mem::take(&mut front.impatient) {
            let others = |front: &super::front::Front| front.impatient.contains(&id);
            let Some(parked) = self.waiters.get(&id) else { continue };
            let acquire = &parked.waiter.acquire;
            let mut choices = acquire.choices().filter_map(|alternative| acquire.choice(alternative));
            let is_awaited = choices.any(|choice| self.fronts.get(&choice.resource).is_some_and(others));
            if !is_awaited {
                let answer = self.farewell(id, round);
                self.end(id, answer, round);
            }
        }
    }

    fn end_patience(&mut self, round: &mut Round<C>) {
        for _ in 0..ENDED_MAX {
            let Some(&(end, id)) = self.patience.first() else { return };
            if end > round.now.monotonic {
                return;
            }
            let answer = self.farewell(id, round);
            self.end(id, answer, round);
        }
    }

    /// What one is told whose wait is over: what the limiter says, or that others go first.
    fn farewell(&self, id: WaiterId, round: &Round<C>) -> Answer {
        let Some(parked) = self.waiters.get(&id) else { return Ok(Outcome::Denied(others_wait(None, None))) };
        let acquire = &parked.waiter.acquire;
        round.limiter.refusal(round.now.stamp, acquire).unwrap_or_else(|| {
            let choices = acquire.choices().zip(&parked.flows);
            let held = choices.filter_map(|(alternative, flow)| {
                let choice = acquire.choice(alternative)?;
                let (line, due_in) = self.fronts.get(&choice.resource)?.standing(*flow);
                Some(Denial { alternative, ..others_wait(line, due_in) })
            });
            let soonest = held.min_by_key(|denial| (denial.retry_after, denial.alternative));
            Ok(Outcome::Denied(soonest.unwrap_or_else(|| others_wait(None, None))))
        })
    }

    fn end(&mut self, id: WaiterId, answer: Answer, round: &mut Round<C>) {
        round.looks_left = round.looks_left.saturating_sub(1);
        if let Some(parked) = self.remove(id) {
            let waited = parked.arrived_at.waited(round.now);
            round.turns.push(Turn::Done { waiter: parked.waiter, answer, waited });
        }
    }
}

impl<C> Round<'_, C> {
    fn is_over(&self) -> bool {
        self.may_still_go == 0 || self.looks_left == 0
    }
}

impl<C> Parked<C> {
    fn go(self, alternative: u32, now: Moment) -> Turn<C> {
        let waited = self.arrived_at.waited(now);
        Turn::Go { waiter: self.waiter, alternative, waited }
    }
}

fn others_wait(line: Option<&Line>, due_in: Option<Span>) -> Denial {
    let limit = line.and_then(|line| match line {
        Line::Limit { limit, .. } => Some(limit.clone()),
        Line::Gate { .. } | Line::Ration { .. } | Line::Call { .. } => None,
    });
    Denial {
        limit,
        exhausted: Vec::new(),
        retry_after: Some(due_in.unwrap_or_default().max(SOONEST_RETRY)),
        reason: DenialReason::OthersWait,
        alternative: 0,
    }
}
