//! A client's hands: asks, and notes the answer in the words of the core.

use std::{iter, sync::Arc, time::Duration};

use tollgate_client::{
    Alternative, CLOCK_RATE_TOLERANCE, Client, Denial, DenialReason, Error, Permit, PermitStream, v1,
};
use tollgate_limiter::{
    Acquire, CallOutcome, Command, Grant, Label, LimitName, Outcome, PermitId, Priority, Rejection, Release,
    Renew, Slot, Span, StoredResource, UpdateResource, Violation,
};
use tollgate_server::grpc::convert::definition::definition;

use crate::{
    history::{Call, ClientId, Reply},
    torture::{
        recorder::{Invoked, Recorder},
        way::Way,
    },
};

/// One client.
pub struct Asker {
    client: Client,
    /// Over which it asks for permits, if it does so over one.
    stream: Option<PermitStream>,
    way: Way,
    recorder: Arc<Recorder>,
    id: ClientId,
}

impl Asker {
    /// One that goes this way, and notes what it sees.
    pub fn new(client: Client, way: Way, recorder: Arc<Recorder>, id: ClientId) -> Asker {
        let stream = way.streams.then(|| client.stream());
        Asker { client, stream, way, recorder, id }
    }

    /// Its number.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Asks for a permit that was not asked for before, and that nobody renews or releases by itself. When it was granted
    /// before after all, then to an earlier try of this very call, whose answer was lost: to who calls, it is new.
    pub async fn acquire(&self, request: &Acquire) -> Option<Grant> {
        self.ask(request, Span::ZERO, |grant| Grant { replayed: false, ..grant }).await
    }

    /// As [`Asker::acquire`], and waits for its turn for so long.
    pub async fn acquire_within(&self, request: &Acquire, max_wait: Span) -> Option<Grant> {
        self.ask(request, max_wait, |grant| Grant { replayed: false, ..grant }).await
    }

    /// Asks again for a permit, under the request id of before.
    pub async fn acquire_again(&self, request: &Acquire) -> Option<Grant> {
        self.ask(request, Span::ZERO, |grant| grant).await
    }

    async fn ask(&self, request: &Acquire, max_wait: Span, seen: fn(Grant) -> Grant) -> Option<Grant> {
        let call = Call { max_wait, ..Call::new(Command::from(request.clone())) };
        let invoked = self.recorder.invoke(self.id, self.way, call);
        let mut asked = self
            .client
            .acquire(request.resource.as_str())
            .operation(request.operation.as_str())
            .cost(request.cost)
            .consumer(request.consumer.as_str())
            .priority(wire_priority(request.priority))
            .wait_up_to(duration(max_wait))
            .without_renewal();
        for other in &request.alternatives {
            asked = asked.or(Alternative::new(other.resource.as_str()).cost(other.cost));
        }
        if let Some(lease) = request.lease {
            asked = asked.lease(duration(lease));
        }
        if let Some(id) = &request.request_id {
            asked = asked.request_id(id.as_str());
        }
        let answer = match &self.stream {
            Some(stream) => stream.acquire(asked).await,
            None => asked.await,
        };
        let answer = answer.map(|permit| seen(self.grant(permit, request, invoked)));
        let reply = match &answer {
            Ok(grant) => Reply::Answer(Ok(Outcome::Granted(grant.clone()))),
            Err(error) => self.reply_of(invoked, error),
        };
        self.recorder.reply(invoked, reply);
        answer.ok()
    }

    /// Extends a lease; whether it was.
    pub async fn renew(&self, permit: PermitId, lease: Span) -> bool {
        let invoked = self.invoke(Command::Renew(Renew { permit, lease: Some(lease) }));
        let renewal = self.client.renew(wire_id(permit)).lease(duration(lease));
        let reply = match renewal.await {
            Ok(lease) => Reply::Answer(Ok(Outcome::Renewed(span(lease)))),
            Err(error) => self.reply_of(invoked, &error),
        };
        let is_renewed = matches!(reply, Reply::Answer(Ok(_)));
        self.recorder.reply(invoked, reply);
        is_renewed
    }

    /// Ends a permit.
    pub async fn release(&self, permit: PermitId, outcome: CallOutcome) {
        let release =
            Release { permit, outcome, cost: None, amounts: Default::default(), answer: None, result: None };
        let invoked = self.invoke(Command::Release(release));
        let outcome = match outcome {
            CallOutcome::NotSent => v1::Outcome::NotSent,
            _ => v1::Outcome::Ok,
        };
        let reply = match self.client.release(wire_id(permit)).outcome(outcome).await {
            // The client says so when an earlier try may have ended the permit: it was this release, or another one.
            Ok(Duration::ZERO) => Reply::Unknown,
            Ok(held_for) => Reply::Answer(Ok(Outcome::Released(span(held_for)))),
            Err(error) => self.reply_of(invoked, &error),
        };
        self.recorder.reply(invoked, reply);
    }

    /// Adds a resource.
    pub async fn create(&self, wire: v1::Resource) -> Option<v1::Resource> {
        let resource = definition(wire.clone()).expect("a workload is well-defined");
        let invoked = self.invoke(Command::from(resource));
        let answer = self.client.resources().create(wire).await;
        self.stored(invoked, answer)
    }

    /// Replaces a resource's definition.
    pub async fn update(&self, wire: v1::Resource) -> Option<v1::Resource> {
        let resource = definition(wire.clone()).expect("a workload is well-defined");
        let update = UpdateResource { resource, generation: wire.generation };
        let invoked = self.invoke(Command::from(update));
        let answer = self.client.resources().update(wire).await;
        self.stored(invoked, answer)
    }

    fn stored(&self, invoked: Invoked, answer: Result<v1::Resource, Error>) -> Option<v1::Resource> {
        let reply = match &answer {
            Ok(wire) => {
                let resource = definition(wire.clone()).expect("what a node answers can be sent to it again");
                Reply::Answer(Ok(Outcome::Stored(StoredResource::new(resource, wire.generation))))
            }
            Err(error) => self.reply_of(invoked, error),
        };
        self.recorder.reply(invoked, reply);
        answer.ok()
    }

    fn invoke(&self, command: Command) -> Invoked {
        self.recorder.invoke(self.id, self.way, Call::new(command))
    }

    /// The grant behind a permit. The client keeps its durations as moments on its own clock, on the safe side.
    fn grant(&self, permit: Permit, asked: &Acquire, invoked: Invoked) -> Grant {
        let passed = Span(self.recorder.now().0 - invoked.at.0);
        let on_the_wire = |left: Duration| {
            let tolerance = u64::from(CLOCK_RATE_TOLERANCE);
            Span((span(left).0 + passed.0) / (tolerance - 1) * tolerance)
        };
        let lease = permit.held_for_another().map(on_the_wire);
        let slots = permit.slots().iter().map(|slot| Slot {
            limit: name(&slot.limit),
            index: slot.index,
            generation: slot.generation,
        });
        Grant {
            slots: slots.collect(),
            key: Label::new(permit.key()).expect("nodes say names"),
            use_within: permit.dispatch_within().map(on_the_wire),
            // A new lease is the one that was asked for, to the nanosecond; one that was waited for begins later.
            lease: match permit.replayed() || !permit.waited().is_zero() {
                true => lease,
                false => lease.and(asked.lease),
            },
            usage: Default::default(),
            replayed: permit.replayed(),
            alternative: alternative(asked, permit.resource()),
            // Detached: nothing is renewed or released behind the back of the history.
            permit: permit_id(&permit.detach()),
        }
    }

    /// What an error means. One that no node may give in this workload is noted as such.
    fn reply_of(&self, invoked: Invoked, error: &Error) -> Reply {
        let rejection = match error {
            Error::Denied(denial) => return Reply::Answer(Ok(Outcome::Denied(denied(denial)))),
            Error::Overloaded { .. } | Error::QueueFull { .. } | Error::Unavailable { .. } => {
                self.recorder.give_up(invoked);
                return Reply::NotDone;
            }
            Error::OutcomeUnknown { .. } => {
                self.recorder.give_up(invoked);
                return Reply::Unknown;
            }
            Error::PermitEnded { .. } => Rejection::PermitEnded,
            Error::NotFound { reason, .. } if reason == "PERMIT_NOT_FOUND" => Rejection::PermitNotFound,
            Error::NotFound { reason, .. } if reason == "RESOURCE_NOT_FOUND" => Rejection::ResourceNotFound,
            Error::Conflict { reason, .. } if reason == "REQUEST_ID_REUSED" => Rejection::RequestIdReused,
            Error::Conflict { reason, .. } if reason == "STALE_GENERATION" => {
                Rejection::StaleGeneration { current: 0 }
            }
            Error::Conflict { reason, .. } if reason == "RESOURCE_EXISTS" => Rejection::ResourceExists,
            other => {
                self.recorder.surprise(format!("client {} is told: {other}", self.id));
                Rejection::Invalid(Violation { field: String::new(), problem: other.to_string() })
            }
        };
        Reply::Answer(Err(rejection))
    }
}

fn denied(denial: &Denial) -> tollgate_limiter::Denial {
    use tollgate_limiter::DenialReason as Reason;
    tollgate_limiter::Denial {
        limit: LimitName::new(&denial.limit).ok(),
        exhausted: Vec::new(),
        retry_after: denial.retry_after.map(span),
        reason: match denial.reason {
            DenialReason::OthersWait => Reason::OthersWait,
            DenialReason::KeyUnavailable => Reason::KeyUnavailable,
            DenialReason::BudgetExhausted { .. } => Reason::BudgetExhausted { budget: None },
            _ => Reason::LimitExhausted,
        },
        alternative: 0,
    }
}

/// Which of the resources of a request this is.
fn alternative(asked: &Acquire, resource: &str) -> u32 {
    let others = asked.alternatives.iter().map(|other| &other.resource);
    let position = iter::once(&asked.resource).chain(others).position(|name| name.as_str() == resource);
    let position = position.unwrap_or_else(|| panic!("{resource} was not asked for"));
    u32::try_from(position).expect("few alternatives")
}

fn wire_priority(priority: Priority) -> v1::Priority {
    match priority {
        Priority::High => v1::Priority::High,
        Priority::Medium => v1::Priority::Medium,
        Priority::Low => v1::Priority::Low,
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.0)
}

fn name(text: &str) -> LimitName {
    LimitName::new(text).expect("nodes say names")
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).expect("nodes say spans"))
}

/// The number behind the text that names a permit on the wire.
pub fn permit_id(text: &str) -> PermitId {
    let count = text.strip_prefix("p0-").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    PermitId(count.unwrap_or_else(|| panic!("{text} is not the id of a permit")))
}

fn wire_id(permit: PermitId) -> String {
    format!("p0-{:x}", permit.0)
}
