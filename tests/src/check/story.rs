//! Histories by hand, for the tests of the checkers: a checker that cannot fail shows nothing.

use tollgate_limiter::*;

use super::{Check, Verdict};
use crate::history::{Call, Ending, Entry, Event, EventKind, History, OpId, Reply};

/// What is asked and answered in stories.
pub const NAME: &str = "crm/acme";

/// A run that is told step by step. Real time and cluster time are the same, in milliseconds.
pub struct Story {
    pub history: History,
    index: u64,
}

impl Story {
    /// A cluster that has just this resource.
    pub fn of(resource: Resource) -> Story {
        let mut story = Story { history: History::new(100), index: 1 };
        let create = Command::from(resource.clone());
        let stored = Ok(Outcome::Stored(StoredResource::new(resource, 1)));
        story.done(0, 1, create, stored);
        story
    }

    /// Asked at one moment and answered at another.
    pub fn seen(&mut self, from_ms: u64, to_ms: u64, command: Command, answer: Answer) -> OpId {
        let op = self.asked(from_ms, Call::new(command));
        self.answered(to_ms, op, Reply::Answer(answer));
        op
    }

    /// Asked and not answered, so far.
    pub fn asked(&mut self, at_ms: u64, call: Call) -> OpId {
        self.history.invoke(ms(at_ms), 1, call)
    }

    pub fn answered(&mut self, at_ms: u64, op: OpId, reply: Reply) {
        self.history.reply(ms(at_ms), op, reply);
    }

    /// In the log and not seen by a client.
    pub fn logged(&mut self, at_ms: u64, command: Command, answer: Answer) {
        self.index += 1;
        let stamp = Stamp { cluster: ClusterTime(ms(at_ms).0), wall: WallTime(ms(at_ms).0.cast_signed()) };
        let entry = Entry {
            index: self.index,
            term: 1,
            stamp: Some(stamp),
            commands: vec![command],
            answers: vec![answer],
            digest: self.index,
        };
        self.history.apply(ms(at_ms), 1, entry);
    }

    /// Asked, applied and answered.
    pub fn done(&mut self, from_ms: u64, to_ms: u64, command: Command, answer: Answer) -> OpId {
        self.logged(from_ms, command.clone(), answer.clone());
        self.seen(from_ms, to_ms, command, answer)
    }

    /// Ends the run, which was whole again from the moment on.
    pub fn ended(&mut self, at_ms: u64, healed_ms: u64, held: &[u64]) {
        let held = held.iter().map(|permit| crate::history::Held {
            resource: ResourceName::new(NAME).unwrap(),
            limit: LimitName::new("slots").unwrap(),
            scope_value: Label::default(),
            index: 0,
            permit: PermitId(*permit),
        });
        let (at, healed_at) = (ms(at_ms), Some(ms(healed_ms)));
        self.history.ending = Some(Ending { at, healed_at, held: Some(held.collect()), nodes: vec![] });
    }

    /// What a checker makes of it. Events are put in the order of their times first.
    pub fn put_to(mut self, check: Check) -> Verdict {
        self.history.events.sort_by_key(|event: &Event| {
            (event.at, event.op, !matches!(event.kind, EventKind::Invoke { .. }))
        });
        let mut verdict = Verdict::default();
        check(&self.history, &mut verdict);
        verdict
    }

    /// Nothing is wrong, and the checker had something to look at.
    pub fn passes(self, check: Check) {
        let verdict = self.put_to(check);
        assert!(verdict.is_good(), "{verdict}");
        assert!(verdict.seen.values().any(|count| *count > 0), "nothing was looked at");
    }

    /// Exactly this property is violated.
    pub fn violates(self, property: &str, check: Check) {
        let verdict = self.put_to(check);
        let accused: Vec<_> = verdict.violations.iter().map(|violation| violation.property).collect();
        assert!(!accused.is_empty() && accused.iter().all(|one| *one == property), "{verdict}");
    }
}

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

/// A resource with one limit for everybody.
pub fn resource(kind: LimitKind) -> Resource {
    let limit = Limit {
        name: LimitName::new("slots").unwrap(),
        operations: vec![],
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 1,
        shadow: false,
        kind,
    };
    Resource {
        name: ResourceName::new(NAME).unwrap(),
        limits: vec![limit],
        keys: vec![],
        dispatch_tolerance: Span::ZERO,
        settle_within: Span::from_secs(60),
        description: Description::default(),
        budgets: vec![],
        queueing: Queueing::default(),
        circuit_breaker: None,
        feedback: Box::default(),
        operation_costs: Vec::new(),
    }
}

/// Slots with a lease of 10 s and a grace of 1 s.
pub fn slots(slots: u32) -> Resource {
    resource(LimitKind::Concurrency(Concurrency {
        slots,
        lease_default: Span::from_secs(10),
        lease_max: Span::from_secs(3600),
        grace: Span::from_secs(1),
        counts_after: Span::ZERO,
        quarantine: Span::ZERO,
    }))
}

/// A request, under an id of its own.
pub fn acquire(id: &str) -> Command {
    acquire_cost(id, 1)
}

/// A request that costs so much.
pub fn acquire_cost(id: &str, cost: u64) -> Command {
    Command::from(Acquire {
        resource: ResourceName::new(NAME).unwrap(),
        operation: Label::default(),
        cost,
        amounts: Default::default(),
        consumer: Label::default(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::Medium,
        lease: None,
        request_id: Some(RequestId::new(id).unwrap()),
        alternatives: vec![],
        coalesce_key: None,
    })
}

/// A grant without slots.
pub fn granted(permit: u64) -> Answer {
    Ok(Outcome::Granted(grant(permit)))
}

/// A grant of a place for 10 s.
pub fn held(permit: u64, index: u32) -> Answer {
    let slot = Slot { limit: LimitName::new("slots").unwrap(), index, generation: permit };
    Ok(Outcome::Granted(Grant { lease: Some(Span::from_secs(10)), slots: [slot].into(), ..grant(permit) }))
}

/// The same grant once more.
pub fn replayed(answer: Answer) -> Answer {
    match answer {
        Ok(Outcome::Granted(grant)) => Ok(Outcome::Granted(Grant { replayed: true, ..grant })),
        other => other,
    }
}

fn grant(permit: u64) -> Grant {
    Grant {
        permit: PermitId(permit),
        key: Label::default(),
        use_within: None,
        lease: None,
        slots: Default::default(),
        usage: Default::default(),
        replayed: false,
        alternative: 0,
    }
}

pub fn denied() -> Answer {
    Ok(Outcome::Denied(Denial {
        limit: Some(LimitName::new("slots").unwrap()),
        exhausted: vec![],
        retry_after: Some(Span::from_secs(1)),
        reason: DenialReason::LimitExhausted,
        alternative: 0,
    }))
}

pub fn release(permit: u64) -> Command {
    release_as(permit, CallOutcome::Ok, None)
}

pub fn release_as(permit: u64, outcome: CallOutcome, cost: Option<u64>) -> Command {
    let (permit, amounts) = (PermitId(permit), Default::default());
    Command::Release(Release { permit, outcome, cost, amounts, answer: None, result: None })
}

pub fn released() -> Answer {
    Ok(Outcome::Released(Span::from_secs(1)))
}

pub fn renew(permit: u64) -> Command {
    Command::Renew(Renew { permit: PermitId(permit), lease: None })
}

pub fn renewed() -> Answer {
    Ok(Outcome::Renewed(Span::from_secs(10)))
}

pub fn delete() -> Command {
    Command::DeleteResource(DeleteResource { name: ResourceName::new(NAME).unwrap(), generation: 0 })
}

/// Another definition in the place of the one that has this generation.
pub fn update(resource: Resource, generation: u64) -> Command {
    Command::from(UpdateResource { resource, generation })
}

/// Grant nothing for so long.
pub fn pause(ms: u64) -> Command {
    let pause = Pause { left: Some(Span::from_millis(ms)), reason: Label::default() };
    let (resource, key) = (ResourceName::new(NAME).unwrap(), Label::default());
    Command::PauseResource(PauseResource { resource, key, pause })
}

pub fn resume() -> Command {
    let (resource, key) = (ResourceName::new(NAME).unwrap(), Label::default());
    Command::ResumeResource(ResumeResource { resource, key, all_keys: true })
}

/// What shall become of a key.
pub fn key(state: KeyState) -> Command {
    let (resource, key) = (ResourceName::new(NAME).unwrap(), Label::new("blue").unwrap());
    Command::SetKeyState(SetKeyState { resource, key, state })
}

/// The answer to an order: the resource has this generation.
pub fn stored(generation: u64) -> Answer {
    Ok(Outcome::Stored(StoredResource::new(slots(2), generation)))
}
