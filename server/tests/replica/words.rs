//! What the tests say to a cluster, and what they hope to hear.

use std::{collections::BTreeMap, sync::Arc};

use tollgate_limiter::*;
use tollgate_server::raft::call::{Call, Query, Reply, Wait};

pub const LEASE: Span = Span::from_secs(60);

/// A resource with so many slots, and nothing else.
pub fn create(slots: u32) -> Call {
    command(Command::from(with_slots(slots)))
}

pub fn with_slots(slots: u32) -> Resource {
    with_limit(
        "slots",
        LimitKind::Concurrency(Concurrency {
            slots,
            lease_default: LEASE,
            lease_max: LEASE,
            grace: Span::ZERO,
            counts_after: Span::ZERO,
            quarantine: Span::ZERO,
        }),
    )
}

/// A resource with one limit.
pub fn with_limit(name: &str, kind: LimitKind) -> Resource {
    let limit = Limit {
        name: LimitName::new(name).unwrap(),
        operations: Vec::new(),
        dimension: None,
        scope: Scope::Resource,
        max_scope_values: 1,
        shadow: false,
        kind,
    };
    Resource {
        name: resource(),
        limits: vec![limit],
        keys: Vec::new(),
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

/// The first try of a request; without an id if it is empty.
pub fn acquire(request_id: &str) -> Call {
    acquire_attempt(request_id, 1)
}

pub fn acquire_attempt(request_id: &str, attempt: u32) -> Call {
    Call::Command { command: Command::from(request(request_id)), attempt, wait: None }
}

/// A request that may wait for so long.
pub fn waiting(request_id: &str, max_wait_ms: u64) -> Call {
    waiting_again(request_id, 1, max_wait_ms, 0)
}

/// A later try of a request that has waited.
pub fn waiting_again(request_id: &str, attempt: u32, max_wait_ms: u64, waited_for_ms: u64) -> Call {
    let (max_wait, waited_for) = (Span::from_millis(max_wait_ms), Span::from_millis(waited_for_ms));
    let command = Command::from(request(request_id));
    Call::Command { command, attempt, wait: Some(Wait { max_wait, waited_for }) }
}

fn request(request_id: &str) -> Acquire {
    Acquire {
        resource: resource(),
        operation: Label::default(),
        cost: 1,
        amounts: BTreeMap::new(),
        consumer: Label::default(),
        subject: Label::default(),
        key: Label::default(),
        priority: Priority::default(),
        lease: None,
        request_id: RequestId::new(request_id).ok(),
        alternatives: vec![],
        coalesce_key: None,
    }
}

/// The same call for another priority, consumer or cost.
pub fn with(mut call: Call, change: impl FnOnce(&mut Acquire)) -> Call {
    if let Call::Command { command: Command::Acquire(acquire), .. } = &mut call {
        change(Arc::make_mut(acquire));
    }
    call
}

pub fn release(permit: PermitId) -> Call {
    command(Command::Release(Release {
        permit,
        outcome: Default::default(),
        cost: None,
        amounts: Default::default(),
        answer: None,
        result: None,
    }))
}

pub fn command(command: Command) -> Call {
    command.into()
}

pub fn resource() -> ResourceName {
    ResourceName::new("salesforce/acme").unwrap()
}

pub fn usage() -> Call {
    Call::Query(Query::Usage { name: resource(), scope_value: None, max_scope_values: 10 })
}

pub fn granted(reply: &Reply) -> &Grant {
    match reply.answer() {
        Some(Ok(Outcome::Granted(grant))) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

pub fn is_denied(reply: &Reply) -> bool {
    matches!(reply.answer(), Some(Ok(Outcome::Denied(_))))
}

/// The permits that hold slots.
pub fn holders(reply: &Reply) -> Vec<PermitId> {
    match reply {
        Reply::Usage(Some(usage)) => usage.held.iter().map(|slot| slot.permit).collect(),
        other => panic!("no usage: {other:?}"),
    }
}
