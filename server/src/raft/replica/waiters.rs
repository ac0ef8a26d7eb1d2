//! Who waits on the leader, and where each is found again.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use tollgate_limiter::{Limiter, ResourceName, Span};
use tollgate_waiting::{Moment, Turn, WaiterId, WaitingQueue};

use super::{
    super::call::{CallNumber, Wait},
    leadership::Leadership,
    packing::Request,
};

/// Between two looks for turns that time brings. What happens is looked at when it happens.
const LOOK_PAUSE: Span = Span::from_millis(1);

/// How long after the election those who waited at the leader before may take to come again.
pub(super) const RETURN_GRACE: Span = Span::from_millis(200);

/// How long a request has waited, and until when it may, by this node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    asked_at: Span,
    // Of earlier tries.
    before: Span,
    ends_at: Span,
}

impl Patience {
    /// Of a request that has just arrived.
    pub fn begin(wait: Wait, now: Span) -> Patience {
        Patience { asked_at: now, before: wait.before(), ends_at: now + wait.left() }
    }
}

/// Who is to be told, and how long it may take.
pub(super) struct Standing<C> {
    pub caller: C,
    pub number: CallNumber,
    /// None: it is answered as soon as possible.
    pub patience: Option<Patience>,
}

impl<C> Standing<C> {
    /// Whether it may wait on.
    pub fn is_patient(&self, now: Span) -> bool {
        self.patience.is_some_and(|patience| patience.ends_at > now)
    }

    /// How long it had waited when it came here.
    pub fn waited_before(&self) -> Span {
        self.patience.map_or(Span::ZERO, |patience| patience.before)
    }

    /// How long it has waited by now.
    pub fn waited(&self, now: Span) -> Span {
        self.patience.map_or(Span::ZERO, |patience| patience.before + now.saturating_sub(patience.asked_at))
    }

    /// How long it may wait on.
    pub fn patience_left(&self, now: Span) -> Span {
        self.patience.map_or(Span::ZERO, |patience| patience.ends_at.saturating_sub(now))
    }
}

/// Those who wait, in one term of this node as the leader.
pub(super) struct Waiters<C> {
    pub queue: WaitingQueue<Standing<C>>,
    /// Requests that may wait and are not answered: with their place in the queue, while they have one.
    pub open: BTreeMap<CallNumber, Option<WaiterId>>,
    /// With the entry that must be applied before they can be decided.
    retries: VecDeque<(u64, Request<C>)>,
    /// Resources to which waiters return from the leader before.
    pub returning: BTreeSet<ResourceName>,
    /// Until then, nobody goes there.
    pub returned_by: Span,
    // When the queue was last asked for turns…
    looked_at: Span,
    // …and some of those who are next could not go then: look again at the next occasion.
    is_blocked: bool,
    // This is such an occasion.
    is_stirred: bool,
}

impl<C> Default for Waiters<C> {
    fn default() -> Self {
        Waiters {
            queue: WaitingQueue::default(),
            open: BTreeMap::new(),
            retries: VecDeque::new(),
            returning: BTreeSet::new(),
            returned_by: Span::ZERO,
            looked_at: Span::ZERO,
            is_blocked: false,
            is_stirred: false,
        }
    }
}

impl<C> Waiters<C> {
    /// The leadership is established.
    pub fn begin(&mut self, now: Span) {
        self.returned_by = now + RETURN_GRACE;
    }

    /// A request that may wait was asked.
    pub fn expect(&mut self, number: CallNumber) {
        self.open.insert(number, None);
    }

    /// Whether somebody still wants the answer, as far as that is told here.
    pub fn is_expected(&self, standing: &Standing<C>) -> bool {
        standing.patience.is_none() || self.open.contains_key(&standing.number)
    }

    /// It is answered.
    pub fn forget(&mut self, standing: &Standing<C>) {
        if standing.patience.is_some() {
            self.open.remove(&standing.number);
        }
    }

    /// Whether anybody waits for this resource.
    pub fn has_waiters(&self, resource: &ResourceName) -> bool {
        self.queue.has_waiters(resource)
    }

    /// Whether there is anything to look at.
    pub fn are_due(&self, now: Span) -> bool {
        self.is_blocked || !self.retries.is_empty() || self.queue.next_wake().is_some_and(|wake| wake <= now)
    }

    /// Whose turn it is, and whose wait is over: at most `most` go, and nobody at resources that are `busy`.
    pub fn take_turns(
        &mut self,
        limiter: &Limiter,
        moment: Moment,
        most: usize,
        busy: impl Fn(&ResourceName) -> bool,
    ) -> Vec<Turn<Standing<C>>> {
        let now = moment.monotonic;
        self.is_stirred = false;
        if !self.is_blocked && self.queue.next_wake().is_none_or(|wake| wake > now) {
            return Vec::new();
        }
        let is_blocked = Cell::new(false);
        let may_go = |resource: &ResourceName| {
            let is_returning = now < self.returned_by && self.returning.contains(resource);
            let may_go = most > 0 && !is_returning && !busy(resource);
            is_blocked.set(is_blocked.get() || !may_go);
            may_go
        };
        let turns = self.queue.take_turns(limiter, moment, &may_go, most);
        (self.looked_at, self.is_blocked) = (now, is_blocked.get());
        turns
    }

    /// An entry of this leader was applied: those who were blocked by it, or waited to see what became of it, can be looked
    /// at.
    pub fn stir(&mut self) {
        self.is_stirred = self.is_blocked || !self.retries.is_empty();
    }

    /// Keeps a retry until the entry `after` is applied.
    pub fn hold_retry(&mut self, request: Request<C>, after: u64) {
        self.retries.push_back((after, request));
    }

    /// Everybody.
    pub fn into_callers(self) -> impl Iterator<Item = C> {
        let retries = self.retries.into_iter().map(|(_, request)| request.standing.caller);
        retries.chain(self.queue.into_waiters().map(|waiter| waiter.caller.caller))
    }

    /// When to look for turns, if nothing happens before.
    pub fn next_wake(&self) -> Option<Span> {
        if self.is_stirred {
            return Some(Span::ZERO);
        }
        let wake = self.queue.next_wake().map(|wake| wake.max(self.looked_at + LOOK_PAUSE));
        // Time alone unblocks only those who return.
        let returned = Some(self.returned_by).filter(|by| self.is_blocked && *by > self.looked_at);
        wake.into_iter().chain(returned).min()
    }
}

impl<C> Leadership<C> {
    /// The next retry that can be decided: everything that was proposed before it came is applied, or came to nothing.
    pub fn take_retry(&mut self, applied: u64) -> Option<Request<C>> {
        let has_settled = |after| after <= applied || self.proposals.is_empty();
        self.waiters.retries.front().filter(|(after, _)| has_settled(*after))?;
        self.waiters.retries.pop_front().map(|(_, request)| request)
    }
}
