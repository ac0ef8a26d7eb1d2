//! A resource as JSON. Field names are those of the API; durations are in seconds.

use serde_json::{Value, json};
use tollgate_client::v1::{
    Anchor, Concurrency, FixedWindow, KeyStatus, Limit, OperationCost, Pause, Resource, Scope, limit::Kind,
};

use super::{super::output::wire_seconds, availability::state_name, condition, shares};

pub fn resource(resource: &Resource) -> Value {
    json!({
        "name": resource.name,
        "description": resource.description,
        "generation": resource.generation,
        "keys": resource.keys,
        "pause": resource.pause.as_ref().map(pause),
        "key_statuses": resource.key_statuses.iter().map(key_status).collect::<Vec<_>>(),
        "dispatch_tolerance_seconds": wire_seconds(resource.dispatch_tolerance),
        "settle_within_seconds": wire_seconds(resource.settle_within),
        "limits": resource.limits.iter().map(limit).collect::<Vec<_>>(),
        "budgets": resource.budgets.iter().map(shares::definition).collect::<Vec<_>>(),
        "max_waiters": resource.max_waiters,
        "max_waiters_per_consumer": resource.max_waiters_per_consumer,
        "ageing_seconds": wire_seconds(resource.ageing),
        "operation_costs": resource.operation_costs.iter().map(operation_cost).collect::<Vec<_>>(),
        "circuit_breaker": resource.circuit_breaker.as_ref().map(condition::circuit_breaker),
        "feedback": resource.feedback.as_ref().map(condition::feedback_rules),
        "tightened": resource.tightened.iter().map(condition::tightened).collect::<Vec<_>>(),
        "conditions": resource.conditions.iter().map(condition::json).collect::<Vec<_>>(),
    })
}

fn operation_cost(known: &OperationCost) -> Value {
    json!({ "operation": known.operation, "cost": known.cost })
}

/// A pause that is in force.
pub fn pause(pause: &Pause) -> Value {
    json!({ "left_seconds": wire_seconds(pause.left), "reason": pause.reason })
}

/// What was ordered about a key.
pub fn key_status(status: &KeyStatus) -> Value {
    json!({
        "key": status.key,
        "state": state_name(status.state()),
        "pause": status.pause.as_ref().map(pause),
    })
}

fn limit(limit: &Limit) -> Value {
    let mut value = json!({
        "name": limit.name,
        "operations": limit.operations,
        "dimension": limit.dimension,
        "scope": scope(limit.scope()),
        "max_scope_values": limit.max_scope_values,
        "shadow": limit.shadow,
    });
    if let Some((name, parameters)) = limit.kind.as_ref().map(kind) {
        value["kind"] = Value::from(name);
        value[name] = parameters;
    }
    value
}

fn kind(kind: &Kind) -> (&'static str, Value) {
    match kind {
        Kind::TokenBucket(bucket) => (
            "token_bucket",
            json!({
                "capacity": bucket.capacity,
                "refill_amount": bucket.refill_amount,
                "refill_period_seconds": wire_seconds(bucket.refill_period),
            }),
        ),
        Kind::LeakyBucket(bucket) => (
            "leaky_bucket",
            json!({ "amount": bucket.amount, "period_seconds": wire_seconds(bucket.period) }),
        ),
        Kind::FixedWindow(window) => ("fixed_window", fixed_window(window)),
        Kind::SlidingWindow(window) => (
            "sliding_window",
            json!({
                "amount": window.amount,
                "period_seconds": wire_seconds(window.period),
                "resolution": window.resolution,
            }),
        ),
        Kind::Concurrency(slots) => ("concurrency", concurrency(slots)),
    }
}

fn fixed_window(window: &FixedWindow) -> Value {
    let anchor = match window.anchor() {
        Anchor::Unspecified | Anchor::Epoch => "epoch",
        Anchor::Midnight => "midnight",
        Anchor::FirstRequest => "first_request",
    };
    json!({
        "amount": window.amount,
        "period_seconds": wire_seconds(window.period),
        "anchor": anchor,
        "time_zone": window.time_zone,
        "max_clock_skew_seconds": wire_seconds(window.max_clock_skew),
    })
}

fn concurrency(slots: &Concurrency) -> Value {
    json!({
        "slots": slots.slots,
        "lease_default_seconds": wire_seconds(slots.lease_default),
        "lease_max_seconds": wire_seconds(slots.lease_max),
        "grace_seconds": wire_seconds(slots.grace),
        "counts_after_seconds": wire_seconds(slots.counts_after),
        "quarantine_seconds": wire_seconds(slots.quarantine),
    })
}

pub fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Unspecified | Scope::Resource => "resource",
        Scope::Key => "key",
        Scope::Consumer => "consumer",
        Scope::Subject => "subject",
    }
}
