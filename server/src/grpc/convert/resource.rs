//! A resource's definition, for the wire; and the small requests around it.

use tollgate_limiter::{
    Anchor, Concurrency, FixedWindow, Limit, LimitKind, OperationCost, ResourceName, Scope, StoredResource,
};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    availability::{key_status, pause},
    budget::budget_to_wire,
    circuit::{circuit_breaker_to_wire, condition, feedback_rules_to_wire, tightened as tightened_limit},
    duration,
};
use crate::raft::call::Query;

const PAGE_SIZE: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;

/// Reads the name of a resource.
pub fn name(text: &str) -> Result<ResourceName, Invalid> {
    ResourceName::new(text).map_err(|problem| Invalid::field("name", problem))
}

/// Reads the request for a page. The token is the last name of the page before.
pub fn page(request: &v1::ListResourcesRequest) -> Result<Query, Invalid> {
    let mut fields = Fields::default();
    let page_size = fields.within("page_size", request.page_size.into(), 0..=PAGE_SIZE_MAX.into());
    let after = match request.page_token.as_str() {
        "" => None,
        token => {
            let name = ResourceName::new(token);
            if name.is_err() {
                fields.reject("page_token", "must be the next_page_token of an earlier answer");
            }
            name.ok()
        }
    };
    if request.prefix.len() > ResourceName::MAX_BYTES {
        let problem = format_args!("must be at most {} bytes, as names are", ResourceName::MAX_BYTES);
        fields.reject("prefix", problem);
    }
    let max = if page_size == 0 { PAGE_SIZE } else { request.page_size };
    fields.finish(Some(Query::Resources { after, prefix: request.prefix.clone(), max }))
}

/// The definition with all its defaults spelt out, and what operators ordered.
pub fn resource(stored: StoredResource) -> v1::Resource {
    let StoredResource { resource, generation, pause: paused, keys, vendor } = stored;
    v1::Resource {
        name: resource.name.to_string(),
        limits: resource.limits.into_iter().map(limit).collect(),
        keys: resource.keys.iter().map(ToString::to_string).collect(),
        dispatch_tolerance: Some(duration(resource.dispatch_tolerance)),
        settle_within: Some(duration(resource.settle_within)),
        description: resource.description.to_string(),
        generation,
        pause: paused.map(pause),
        key_statuses: keys.into_iter().map(key_status).collect(),
        budgets: resource.budgets.into_iter().map(budget_to_wire).collect(),
        max_waiters: resource.queueing.max_waiters,
        max_waiters_per_consumer: resource.queueing.max_waiters_per_consumer,
        ageing: Some(duration(resource.queueing.ageing)),
        circuit_breaker: resource.circuit_breaker.as_deref().map(circuit_breaker_to_wire),
        feedback: Some(feedback_rules_to_wire(&resource.feedback)),
        operation_costs: resource.operation_costs.into_iter().map(operation_cost).collect(),
        conditions: vendor.conditions.into_iter().map(condition).collect(),
        tightened: vendor.tightened.into_iter().map(tightened_limit).collect(),
    }
}

fn operation_cost(known: OperationCost) -> v1::OperationCost {
    v1::OperationCost { operation: known.operation.to_string(), cost: known.cost }
}

fn limit(limit: Limit) -> v1::Limit {
    v1::Limit {
        name: limit.name.to_string(),
        operations: limit.operations.iter().map(ToString::to_string).collect(),
        dimension: limit.dimension.map(|dimension| dimension.to_string()).unwrap_or_default(),
        scope: scope_to_wire(limit.scope).into(),
        max_scope_values: limit.max_scope_values,
        shadow: limit.shadow,
        kind: Some(kind(limit.kind)),
    }
}

pub(super) fn scope_to_wire(scope: Scope) -> v1::Scope {
    match scope {
        Scope::Resource => v1::Scope::Resource,
        Scope::Key => v1::Scope::Key,
        Scope::Consumer => v1::Scope::Consumer,
        Scope::Subject => v1::Scope::Subject,
    }
}

fn kind(kind: LimitKind) -> v1::limit::Kind {
    use v1::limit::Kind;
    match kind {
        LimitKind::TokenBucket(bucket) => Kind::TokenBucket(v1::TokenBucket {
            capacity: bucket.capacity,
            refill_amount: bucket.refill_amount,
            refill_period: Some(duration(bucket.refill_period)),
        }),
        LimitKind::LeakyBucket(bucket) => Kind::LeakyBucket(v1::LeakyBucket {
            amount: bucket.amount,
            period: Some(duration(bucket.period)),
        }),
        LimitKind::FixedWindow(window) => Kind::FixedWindow(fixed_window(window)),
        LimitKind::SlidingWindow(window) => Kind::SlidingWindow(v1::SlidingWindow {
            amount: window.amount,
            period: Some(duration(window.period)),
            resolution: window.resolution,
        }),
        LimitKind::Concurrency(slots) => Kind::Concurrency(concurrency(slots)),
    }
}

fn fixed_window(window: FixedWindow) -> v1::FixedWindow {
    let (anchor, time_zone) = match &window.anchor {
        Anchor::Epoch => (v1::Anchor::Epoch, String::new()),
        Anchor::Midnight(zone) => (v1::Anchor::Midnight, zone.to_string()),
        Anchor::FirstRequest => (v1::Anchor::FirstRequest, String::new()),
    };
    let skewed = window.anchor != Anchor::FirstRequest;
    v1::FixedWindow {
        amount: window.amount,
        period: Some(duration(window.period)),
        anchor: anchor.into(),
        time_zone,
        max_clock_skew: skewed.then(|| duration(window.max_clock_skew)),
    }
}

fn concurrency(slots: Concurrency) -> v1::Concurrency {
    v1::Concurrency {
        slots: slots.slots,
        lease_default: Some(duration(slots.lease_default)),
        lease_max: Some(duration(slots.lease_max)),
        grace: Some(duration(slots.grace)),
        counts_after: Some(duration(slots.counts_after)),
        quarantine: Some(duration(slots.quarantine)),
    }
}
