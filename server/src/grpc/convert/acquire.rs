//! A request for a permit, from the wire.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tollgate_limiter::{
    Acquire, Command, Dimension, LEASE_MAX, LEASE_MIN, Label, MAX_AMOUNT, Priority, RequestId, ResourceName,
    Span,
};
use tollgate_proto::v1;

use super::{Fields, Invalid, alternatives::alternatives, coalesce::coalesce_key, decision::Asked};
use crate::raft::call::{Call, Wait};

/// Entries of `amounts`.
const AMOUNTS_MAX: usize = 16;
/// The longest wait that can be asked for.
const MAX_WAIT: Span = Span::from_secs(3600);

pub(super) const PRIORITIES: &str = "PRIORITY_HIGH, PRIORITY_MEDIUM or PRIORITY_LOW";

/// Reads and checks a request, as the call that decides it, and keeps what its answer needs. It waits for `patience` at most, whatever it asks for.
pub fn call(request: v1::AcquirePermitRequest, patience: Duration) -> Result<(Asked, Call), Invalid> {
    let mut fields = Fields::default();
    let attempt = request.attempt;
    let wait = wait(&mut fields, &request, patience);
    let acquire = read(&mut fields, request);
    let acquire = Arc::new(fields.finish(acquire)?);
    let asked = Asked::of(&acquire);
    Ok((asked, Call::Command { command: Command::Acquire(acquire), attempt, wait }))
}

/// How long a request asks to wait, before it is checked; zero where that cannot be told.
pub fn max_wait(request: &v1::AcquirePermitRequest) -> Duration {
    let asked = request.max_wait.and_then(|max_wait| Duration::try_from(max_wait).ok()).unwrap_or_default();
    asked.min(Duration::from_nanos(MAX_WAIT.as_nanos()))
}

/// How long it may wait, if it may. What is claimed to have been waited before is never an error: a client that counts
/// generously only ends its own wait sooner.
fn wait(fields: &mut Fields, request: &v1::AcquirePermitRequest, patience: Duration) -> Option<Wait> {
    let max_wait = fields.span_within("max_wait", request.max_wait, Span::ZERO..=MAX_WAIT)?;
    let waited_for = fields.span_or("waited_for", request.waited_for, Span::ZERO).min(max_wait);
    let patience = Span(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
    (!max_wait.is_zero()).then(|| Wait { max_wait: max_wait.min(waited_for + patience), waited_for })
}

fn read(fields: &mut Fields, request: v1::AcquirePermitRequest) -> Option<Acquire> {
    let resource = fields.name("resource", ResourceName::new(&request.resource));
    let operation = fields.name("operation", Label::new(&request.operation));
    let cost = cost(fields, request.cost);
    let coalesce_key = coalesce_key(fields, &request);
    let amounts = amounts(fields, request.amounts);
    let consumer = fields.name("consumer", Label::new(&request.consumer));
    let subject = fields.name("subject", Label::new(&request.subject));
    let key = fields.name("key", Label::new(&request.key));
    let priority = fields.variant("priority", request.priority, PRIORITIES).map(priority);
    let lease = lease(fields, request.lease);
    let request_id = match request.request_id.as_str() {
        "" => None,
        id => Some(fields.name("request_id", RequestId::new(id))?),
    };
    let alternatives = alternatives(fields, &request.resource, request.alternatives);
    Some(Acquire {
        resource: resource?,
        operation: operation?,
        cost,
        amounts,
        consumer: consumer?,
        subject: subject?,
        key: key?,
        priority: priority?,
        lease,
        request_id,
        alternatives: alternatives?,
        coalesce_key,
    })
}

/// What is stated; 0 where the resource is to say it, which nobody can state.
pub(super) fn cost(fields: &mut Fields, stated: Option<u64>) -> u64 {
    stated.map_or(0, |cost| fields.within("cost", cost, 1..=MAX_AMOUNT))
}

pub(super) fn priority(priority: v1::Priority) -> Priority {
    match priority {
        v1::Priority::High => Priority::High,
        v1::Priority::Unspecified | v1::Priority::Medium => Priority::Medium,
        v1::Priority::Low => Priority::Low,
    }
}

/// A lease that a client asks for.
pub(super) fn lease(fields: &mut Fields, lease: Option<prost_types::Duration>) -> Option<Span> {
    fields.span_within("lease", lease, LEASE_MIN..=LEASE_MAX)
}

/// Amounts by dimension.
pub(super) fn amounts(fields: &mut Fields, amounts: BTreeMap<String, u64>) -> BTreeMap<Dimension, u64> {
    if amounts.len() > AMOUNTS_MAX {
        fields.reject(
            "amounts",
            format_args!("has {} entries, at most {AMOUNTS_MAX} are allowed", amounts.len()),
        );
        return BTreeMap::new();
    }
    let mut read = BTreeMap::new();
    for (name, amount) in amounts {
        match Dimension::new(&name) {
            Ok(dimension) if amount <= MAX_AMOUNT => {
                read.insert(dimension, amount);
            }
            Ok(_) => fields.reject(
                format!("amounts[\"{name}\"]"),
                format_args!("must be 0 to {MAX_AMOUNT}, not {amount}"),
            ),
            Err(problem) => fields.reject("amounts", format_args!("the name {name:?} {problem}")),
        }
    }
    read
}
