//! Requests that wait for their turn, on the leader.
//!
//! Whose turn it is, the queue says (crate `tollgate-waiting`); here it is told what happens, and what it chooses is
//! proposed.
//!
//! * The queue tries out its choices on the applied state, which does not know what is on its way. So nobody's turn comes
//!   at a resource while acquires of it are proposed and not applied; those that the queue chooses then are granted, and no
//!   others are proposed.
//! * It is not replicated, and ends with the leadership: who waits is told that nothing was done, and comes again at the
//!   next leader with the time that it has waited. For [`super::waiters::RETURN_GRACE`] from its beginning, a leader lets
//!   nobody go at a resource to which waiters return, so that they can find their old order.
//! * A request that waits is open in one of three places: the queue of commands, the waiting queue, or a proposal. Whoever
//!   gives up is forgotten in all of them at once.

use std::{collections::BTreeSet, sync::Arc};

use tollgate_limiter::{Acquire, Answer, Called, Command, Freed, HoldBack, Outcome, ResourceName, Span};
use tollgate_waiting::{Bound, Full, MAX_WAITERS, Moment, Turn, Waiter};

use crate::clock::Reading;

use super::{
    super::{
        call::{CallNumber, FullQueue, Refusal},
        entry::Entry,
    },
    About, Effect, Replica,
    leadership::Leadership,
    packing::{Draft, Request, Waiting, named},
    waiters::Standing,
};

/// Whose turn comes in one entry, at most; the others' comes in the next one.
const TURNS_MAX: usize = 256;

/// When to try again, at the earliest, where as many wait as may.
const QUEUE_FULL_RETRY_AFTER: Span = Span::from_secs(1);

impl<C> Replica<C> {
    /// When somebody's turn may come, or somebody's patience ends, by this node's monotonic clock: [`Replica::flush`] is to
    /// be called then, if not before.
    pub fn next_wake(&self) -> Option<Span> {
        self.leadership.as_ref().and_then(|leadership| leadership.waiters.next_wake())
    }

    /// How many requests wait for each resource that anybody waits for, by name; nobody waits but on a leader.
    pub fn queue_lengths(&self) -> impl Iterator<Item = (&ResourceName, u64)> {
        self.leadership.iter().flat_map(|leadership| leadership.waiters.queue.lengths())
    }

    /// Nobody waits for this call any more. If it is on its way, what it is granted finds nobody, and goes back.
    pub(super) fn cancel(&mut self, number: CallNumber, now: Reading) {
        let Some(leadership) = &mut self.leadership else { return };
        let waiters = &mut leadership.waiters;
        if let Some(Some(place)) = waiters.open.remove(&number)
            && let Some(waiter) = waiters.queue.leave(place)
        {
            let after = waiter.caller.waited(now.monotonic);
            self.effects.push(Effect::GaveUp { after });
        }
    }

    /// Takes a request into the queue.
    pub(super) fn enter(&mut self, request: Request<C>, moment: Moment) {
        let Some(leadership) = &mut self.leadership else { return };
        let Leadership { waiters, .. } = leadership;
        let Request { acquire, standing, .. } = request;
        let waited_for = standing.waited(moment.monotonic);
        if moment.monotonic < waiters.returned_by && !standing.waited_before().is_zero() {
            waiters.returning.extend(named(&acquire).cloned());
        }
        let number = standing.patience.map(|_| standing.number);
        let patience = standing.patience_left(moment.monotonic);
        let waiter = Waiter { acquire, waited_for, patience, caller: standing };
        match waiters.queue.enter(waiter, self.machine.limiter(), moment) {
            Ok(place) => {
                if let Some(number) = number {
                    waiters.open.insert(number, Some(place));
                }
            }
            Err(Full { waiter, bound }) => {
                let Waiter { acquire, caller: standing, .. } = waiter;
                waiters.forget(&standing);
                let about = About::Acquire(acquire);
                let result = Err(queue_full(bound));
                self.effects.push(Effect::Reply { caller: standing.caller, result, about });
            }
        }
    }

    /// Adds those to the entry whose turn it is, and answers those whose wait is over.
    pub(super) fn take_turns(&mut self, moment: Moment, draft: &mut Draft<C>) {
        let most = if draft.entry.is_full() || self.disk_is_low { 0 } else { TURNS_MAX };
        for turn in self.turns(moment, most, &draft.debited) {
            match turn {
                Turn::Go { waiter, alternative, .. } => self.go(waiter, alternative, moment, draft),
                Turn::Done { waiter, answer, .. } => self.end_wait(waiter, answer, moment),
            }
        }
    }

    /// Answers those whose wait is over while nothing can be proposed.
    pub(super) fn end_waits(&mut self, now: Reading) {
        let moment = Moment { monotonic: now.monotonic, stamp: self.stamp(now) };
        for turn in self.turns(moment, 0, &BTreeSet::new()) {
            if let Turn::Done { waiter, answer, .. } = turn {
                self.end_wait(waiter, answer, moment);
            }
        }
    }

    fn turns(
        &mut self,
        moment: Moment,
        most: usize,
        debited: &BTreeSet<ResourceName>,
    ) -> Vec<Turn<Standing<C>>> {
        let Some(Leadership { waiters, proposals, .. }) = &mut self.leadership else { return Vec::new() };
        let is_busy = |resource: &ResourceName| {
            debited.contains(resource) || proposals.iter().any(|proposal| proposal.debited.contains(resource))
        };
        waiters.take_turns(self.machine.limiter(), moment, most, is_busy)
    }

    fn go(&mut self, waiter: Waiter<Standing<C>>, alternative: u32, moment: Moment, draft: &mut Draft<C>) {
        let Waiter { acquire, caller: standing, .. } = waiter;
        if let Some(leadership) = &mut self.leadership
            && standing.patience.is_some()
        {
            leadership.waiters.expect(standing.number);
        }
        let waited = standing.waited(moment.monotonic);
        let alternative = Some(alternative).filter(|_| !acquire.alternatives.is_empty());
        draft.push_acquire(acquire, alternative, waited, standing);
    }

    fn end_wait(&mut self, waiter: Waiter<Standing<C>>, answer: Answer, moment: Moment) {
        let Waiter { acquire, caller: standing, .. } = waiter;
        let waited = standing.waited(moment.monotonic);
        self.tell(standing, Box::new(answer), waited, About::Acquire(acquire));
    }

    /// Tells what was decided on a command of this leader. Something else in the log may have come before a request that the
    /// state had room for: if it may wait, it stands in the queue again, at its place.
    pub(super) fn decided(&mut self, answer: Box<Answer>, waiting: Waiting<C>, now: Reading) {
        let Waiting { about, waited, standing } = waiting;
        match (&*answer, about) {
            (Ok(Outcome::Denied(_)), About::Acquire(acquire)) if standing.is_patient(now.monotonic) => {
                self.enter_again(acquire, standing, now);
            }
            (_, about) => self.tell(standing, answer, waited, about),
        }
    }

    /// Nothing came of proposing a request.
    pub(super) fn enter_again(&mut self, acquire: Arc<Acquire>, standing: Standing<C>, now: Reading) {
        if self.leadership.as_ref().is_some_and(|leadership| leadership.waiters.is_expected(&standing)) {
            let moment = Moment { monotonic: now.monotonic, stamp: self.stamp(now) };
            self.enter(Request { acquire, attempt: 0, standing }, moment);
        }
    }

    /// What an entry is about to free. It can be told only before the entry is applied.
    pub(super) fn freed_by(&self, entry: &Entry) -> Vec<Freed> {
        let limiter = self.machine.limiter();
        match &self.leadership {
            Some(leadership) if !leadership.waiters.queue.is_empty() => {
                entry.commands.iter().filter_map(|command| limiter.freed_by(command)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An entry was applied, and freed this.
    pub(super) fn wake(&mut self, entry: &Entry, freed: &[Freed]) {
        let Some(leadership) = &mut self.leadership else { return };
        let queue = &mut leadership.waiters.queue;
        if !queue.is_empty() {
            freed.iter().for_each(|freed| queue.freed(freed));
            entry.commands.iter().filter_map(changed_by).for_each(|resource| queue.touched(resource));
        }
    }
}

/// The resource that the command defines anew, or gives orders about.
fn changed_by(command: &Command) -> Option<&ResourceName> {
    match command {
        Command::CreateResource(resource) => Some(&resource.name),
        Command::UpdateResource(update) => Some(&update.resource.name),
        Command::DeleteResource(delete) => Some(&delete.name),
        Command::PauseResource(order) => Some(&order.resource),
        Command::ResumeResource(order) => Some(&order.resource),
        Command::SetKeyState(order) => Some(&order.resource),
        Command::HoldBack(HoldBack { called: Called::Of { resource, .. }, .. }) => Some(resource),
        // Those who wait find out when it is their turn: it can only have become later, but for what is told to be freed.
        Command::HoldBack(HoldBack { called: Called::With(_), .. }) => None,
        // Nobody waits who could have had what is dropped.
        Command::InvalidateResults(_)
        | Command::Acquire(_)
        | Command::AcquireFrom { .. }
        | Command::Renew(_)
        | Command::Release(_)
        | Command::GiveBack(_)
        | Command::Report(_) => None,
    }
}

fn queue_full(bound: Bound) -> Refusal {
    let (queue, max) = match bound {
        Bound::Resource { resource, max } => (FullQueue::Resource(resource), u64::from(max)),
        Bound::Consumer { consumer, max, .. } => (FullQueue::Consumer(consumer), u64::from(max)),
        Bound::Leader => (FullQueue::Cluster, MAX_WAITERS as u64),
    };
    Refusal::QueueFull { queue, max, retry_after: QUEUE_FULL_RETRY_AFTER }
}
