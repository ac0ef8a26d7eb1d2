//! What goes into the next entry: commands as they came, then the requests whose turn it is.
//!
//! For a resource that nobody waits for, a request is refused by the applied state, or proposed. Where somebody waits, a
//! newcomer takes its place in the queue, even without patience: then it is answered at the next turn.

use std::{collections::BTreeSet, sync::Arc};

use tollgate_limiter::{Acquire, Answer, Command, Outcome, ResourceName, Span, Stamp};
use tollgate_waiting::Moment;

use crate::clock::Reading;

use super::{
    super::{
        call::{CallNumber, Reply},
        entry::{COMMANDS_MAX, EntryBuilder},
    },
    About, Effect, Replica,
    waiters::{Patience, Standing},
};

/// A command that is to be proposed, or answered without the log.
pub(super) struct Queued<C> {
    pub command: Command,
    pub attempt: u32,
    pub number: CallNumber,
    /// None: it is decided at once.
    pub patience: Option<Patience>,
    // Nobody waits for what the leader itself proposes.
    pub caller: Option<C>,
}

impl<C> Queued<C> {
    /// What nobody has asked for.
    pub fn of_the_leader(command: Command) -> Queued<C> {
        Queued { command, attempt: 0, number: CallNumber::MAX, patience: None, caller: None }
    }
}

/// A request for a permit that is to be decided.
pub(super) struct Request<C> {
    pub acquire: Arc<Acquire>,
    pub attempt: u32,
    pub standing: Standing<C>,
}

/// Who waits for the answer to a command.
pub(super) struct Waiting<C> {
    pub about: About,
    /// How long it had waited for its turn when it was proposed.
    pub waited: Span,
    pub standing: Standing<C>,
}

/// An entry in the making.
pub(super) struct Draft<C> {
    pub entry: EntryBuilder,
    /// One for each command.
    pub waiting: Vec<Option<Waiting<C>>>,
    /// The resources of its acquires.
    pub debited: BTreeSet<ResourceName>,
}

impl<C> Draft<C> {
    fn with_room(commands: usize) -> Draft<C> {
        let (entry, waiting) = (EntryBuilder::with_room(commands), Vec::with_capacity(commands));
        Draft { entry, waiting, debited: BTreeSet::new() }
    }

    /// Adds anything but an acquire.
    fn push(&mut self, command: Command, standing: Option<Standing<C>>) {
        let about = About::of(&command);
        self.waiting.push(standing.map(|standing| Waiting { about, waited: Span::ZERO, standing }));
        self.entry.push(command);
    }

    /// Adds a request, for all of its resources or for one of them.
    pub fn push_acquire(
        &mut self,
        acquire: Arc<Acquire>,
        alternative: Option<u32>,
        waited: Span,
        standing: Standing<C>,
    ) {
        for resource in named(&acquire) {
            if !self.debited.contains(resource) {
                self.debited.insert(resource.clone());
            }
        }
        let about = About::Acquire(acquire.clone());
        self.waiting.push(Some(Waiting { about, waited, standing }));
        self.entry.push(match alternative {
            None => Command::Acquire(acquire),
            Some(alternative) => Command::AcquireFrom { acquire, alternative },
        });
    }
}

/// The resources of a request.
pub(super) fn named(acquire: &Acquire) -> impl Iterator<Item = &ResourceName> {
    std::iter::once(&acquire.resource).chain(acquire.alternatives.iter().map(|other| &other.resource))
}

impl<C> Replica<C> {
    /// Takes commands from the queue until the entry is full, then those who wait and whose turn it is.
    pub(super) fn pack(&mut self, now: Reading, stamp: Stamp) -> Draft<C> {
        let moment = Moment { monotonic: now.monotonic, stamp };
        let queued = self.leadership.as_ref().map_or(0, |leadership| leadership.queue.len());
        let mut draft = Draft::with_room(queued.min(COMMANDS_MAX as usize));
        self.decide_retries(moment, &mut draft);
        while !draft.entry.is_full()
            && let Some(queued) = self.leadership.as_mut().and_then(|leadership| leadership.queue.pop_front())
        {
            self.place(queued, moment, &mut draft);
        }
        self.take_turns(moment, &mut draft);
        draft
    }

    fn place(&mut self, queued: Queued<C>, moment: Moment, draft: &mut Draft<C>) {
        let Queued { command, attempt, number, patience, caller } = queued;
        let Some(caller) = caller else { return draft.push(command, None) };
        let standing = Standing { caller, number, patience };
        match command {
            Command::Acquire(acquire) => self.decide(Request { acquire, attempt, standing }, moment, draft),
            command => draft.push(command, Some(standing)),
        }
    }

    fn decide(&mut self, request: Request<C>, moment: Moment, draft: &mut Draft<C>) {
        let Some(leadership) = &mut self.leadership else { return };
        let waiters = &mut leadership.waiters;
        if !waiters.is_expected(&request.standing) {
            return;
        }
        let others_wait = named(&request.acquire).any(|resource| waiters.has_waiters(resource));
        if request.attempt < 2 {
            self.decide_by_state(request, others_wait, moment, draft);
        } else if others_wait || request.standing.patience.is_some() {
            // An earlier try may have been granted by an entry that is still to be applied.
            let in_this_entry = u64::from(!draft.waiting.is_empty());
            let after = self.node.raft.raft_log.last_index() + in_this_entry;
            waiters.hold_retry(request, after);
            if in_this_entry == 0 {
                self.decide_retries(moment, draft);
            }
        } else {
            propose(request, draft);
        }
    }

    /// Decides retries as the applied state tells, as soon as it has everything that was proposed before they came.
    fn decide_retries(&mut self, moment: Moment, draft: &mut Draft<C>) {
        while !draft.entry.is_full()
            && let Some(leadership) = &mut self.leadership
            && let Some(request) = leadership.take_retry(self.machine.index())
        {
            if !leadership.waiters.is_expected(&request.standing) {
                continue;
            }
            let limiter = self.machine.limiter();
            let prospect = limiter.prospect(moment.stamp, &request.acquire, 0);
            let is_patient = request.standing.is_patient(moment.monotonic);
            match prospect {
                // It was granted before, or passes nobody: it may go at once.
                Ok(Ok(passages)) if passages.is_empty() => propose(request, draft),
                // Another leader may know better: it says no through the log. What one of its alternatives has room for is
                // to be had by those first who wait there.
                _ if !is_patient && limiter.refusal(moment.stamp, &request.acquire).is_some() => {
                    propose(request, draft);
                }
                _ => self.enter(request, moment),
            }
        }
    }

    fn decide_by_state(
        &mut self,
        request: Request<C>,
        others_wait: bool,
        moment: Moment,
        draft: &mut Draft<C>,
    ) {
        match self.machine.limiter().refusal(moment.stamp, &request.acquire) {
            Some(Ok(Outcome::Denied(_))) if request.standing.is_patient(moment.monotonic) => {
                self.enter(request, moment);
            }
            Some(answer) => {
                let waited = request.standing.waited_before();
                let about = About::Acquire(request.acquire);
                self.tell(request.standing, Box::new(answer), waited, about);
            }
            None if others_wait => self.enter(request, moment),
            None => propose(request, draft),
        }
    }

    /// Ends the wait for an answer.
    pub(super) fn tell(&mut self, standing: Standing<C>, answer: Box<Answer>, waited: Span, about: About) {
        if let Some(leadership) = &mut self.leadership {
            leadership.waiters.forget(&standing);
        }
        let result = Ok(Reply::Answer { answer, waited });
        self.effects.push(Effect::Reply { caller: standing.caller, result, about });
    }
}

fn propose<C>(request: Request<C>, draft: &mut Draft<C>) {
    let Request { acquire, standing, .. } = request;
    draft.push_acquire(acquire, None, standing.waited_before(), standing);
}
