//! A resource's definition, from the wire: types, enums and defaults. The rules that span fields, and the ranges, are the
//! core's ([`Resource::validate`]).

use tollgate_limiter::{
    Anchor, Concurrency, Description, Dimension, FixedWindow, Label, LeakyBucket, Limit, LimitKind,
    LimitName, OperationCost, Resource, ResourceName, Scope, SlidingWindow, Span, TimeZoneName, TokenBucket,
};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    budget::{budget, queueing},
    circuit::{circuit_breaker, feedback_rules},
};

// The defaults that `resource.proto` states.
const DISPATCH_TOLERANCE_MAX: Span = Span::from_millis(500);
const SETTLE_WITHIN: Span = Span::from_secs(60);
/// `Limit.max_scope_values`.
pub const SCOPE_VALUES: u32 = 10_000;
const DAY: Span = Span::from_secs(24 * 3600);
const CLOCK_SKEW_MAX: Span = Span::from_secs(1);
const RESOLUTION: u32 = 100;
const LEASE_DEFAULT: Span = Span::from_secs(60);
const LEASE_MAX: Span = Span::from_secs(600);
const GRACE_MAX: Span = Span::from_secs(5);

const KINDS: &str = "token_bucket, leaky_bucket, fixed_window, sliding_window or concurrency";
pub(super) const SCOPES: &str = "SCOPE_RESOURCE, SCOPE_KEY, SCOPE_CONSUMER or SCOPE_SUBJECT";
const ANCHORS: &str = "ANCHOR_EPOCH, ANCHOR_MIDNIGHT or ANCHOR_FIRST_REQUEST";

/// Reads and checks a definition.
pub fn definition(wire: v1::Resource) -> Result<Resource, Invalid> {
    let mut fields = Fields::default();
    let resource = read(&mut fields, wire);
    let resource = fields.finish(resource)?;
    resource.validate().map_err(Invalid)?;
    Ok(resource)
}

fn read(fields: &mut Fields, wire: v1::Resource) -> Option<Resource> {
    let queueing = queueing(fields, &wire);
    let circuit_breaker = wire.circuit_breaker.as_ref().map(|wire| circuit_breaker(fields, wire));
    let feedback = feedback_rules(fields, &wire.feedback.unwrap_or_default());
    let name = fields.name("name", ResourceName::new(&wire.name));
    let limits = each(wire.limits, |index, wire| limit(fields, &format!("limits[{index}]"), wire));
    let keys = each(wire.keys, |index, key| fields.name(&format!("keys[{index}]"), Label::new(&key)));
    let budgets = each(wire.budgets, |index, wire| budget(fields, &format!("budgets[{index}]"), wire));
    let operation_costs = each(wire.operation_costs, |index, wire| {
        operation_cost(fields, &format!("operation_costs[{index}]"), &wire)
    });
    let description = fields.name("description", Description::new(&wire.description));
    let tolerance = default_tolerance(limits.as_deref().unwrap_or_default());
    Some(Resource {
        dispatch_tolerance: fields.span_or("dispatch_tolerance", wire.dispatch_tolerance, tolerance),
        settle_within: fields.span_or("settle_within", wire.settle_within, SETTLE_WITHIN),
        name: name?,
        limits: limits?,
        keys: keys?,
        description: description?,
        budgets: budgets?,
        queueing,
        circuit_breaker: circuit_breaker.map(Box::new),
        feedback: Box::new(feedback),
        operation_costs: operation_costs?,
    })
}

fn operation_cost(fields: &mut Fields, path: &str, wire: &v1::OperationCost) -> Option<OperationCost> {
    let operation = fields.name(&format!("{path}.operation"), Label::new(&wire.operation))?;
    Some(OperationCost { operation, cost: wire.cost })
}

/// Reads every item, so that all faults are found; then all or none.
pub(super) fn each<W, T>(wire: Vec<W>, mut read: impl FnMut(usize, W) -> Option<T>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = wire.into_iter().enumerate().map(|(index, item)| read(index, item)).collect();
    items.into_iter().collect()
}

/// A twentieth of the shortest window, at most 500 ms.
fn default_tolerance(limits: &[Limit]) -> Span {
    let windows = limits.iter().filter_map(|limit| match &limit.kind {
        LimitKind::FixedWindow(window) => Some(window.period),
        LimitKind::SlidingWindow(window) => Some(window.period),
        _ => None,
    });
    windows.min().map_or(DISPATCH_TOLERANCE_MAX, |shortest| fraction(shortest, 20, DISPATCH_TOLERANCE_MAX))
}

fn fraction(of: Span, divisor: u64, max: Span) -> Span {
    Span(of.0 / divisor).min(max)
}

fn limit(fields: &mut Fields, path: &str, wire: v1::Limit) -> Option<Limit> {
    let at = |field: &str| format!("{path}.{field}");
    let name = fields.name(&at("name"), LimitName::new(&wire.name));
    let operations = each(wire.operations, |index, pattern| {
        fields.name(&at(&format!("operations[{index}]")), Label::new(&pattern))
    });
    let dimension = match wire.dimension.as_str() {
        "" => Some(None),
        text => fields.name(&at("dimension"), Dimension::new(text)).map(Some),
    };
    let scope = fields.variant(&at("scope"), wire.scope, SCOPES).map(scope);
    let kind = kind(fields, path, wire.kind);
    Some(Limit {
        name: name?,
        operations: operations?,
        dimension: dimension?,
        scope: scope?,
        max_scope_values: or_default(wire.max_scope_values, SCOPE_VALUES),
        shadow: wire.shadow,
        kind: kind?,
    })
}

pub(super) fn scope(scope: v1::Scope) -> Scope {
    match scope {
        v1::Scope::Unspecified | v1::Scope::Resource => Scope::Resource,
        v1::Scope::Key => Scope::Key,
        v1::Scope::Consumer => Scope::Consumer,
        v1::Scope::Subject => Scope::Subject,
    }
}

fn or_default(number: u32, default: u32) -> u32 {
    if number == 0 { default } else { number }
}

fn kind(fields: &mut Fields, limit: &str, kind: Option<v1::limit::Kind>) -> Option<LimitKind> {
    use v1::limit::Kind;
    let Some(kind) = kind else {
        fields.reject(format!("{limit}.kind"), format_args!("is required: one of {KINDS}"));
        return None;
    };
    Some(match kind {
        Kind::TokenBucket(bucket) => LimitKind::TokenBucket(TokenBucket {
            capacity: bucket.capacity,
            refill_amount: bucket.refill_amount,
            refill_period: fields.span(&format!("{limit}.token_bucket.refill_period"), bucket.refill_period),
        }),
        Kind::LeakyBucket(bucket) => LimitKind::LeakyBucket(LeakyBucket {
            amount: bucket.amount,
            period: fields.span(&format!("{limit}.leaky_bucket.period"), bucket.period),
        }),
        Kind::FixedWindow(window) => {
            LimitKind::FixedWindow(fixed_window(fields, &format!("{limit}.fixed_window"), window)?)
        }
        Kind::SlidingWindow(window) => LimitKind::SlidingWindow(SlidingWindow {
            amount: window.amount,
            period: fields.span(&format!("{limit}.sliding_window.period"), window.period),
            resolution: or_default(window.resolution, RESOLUTION),
        }),
        Kind::Concurrency(slots) => {
            LimitKind::Concurrency(concurrency(fields, &format!("{limit}.concurrency"), slots))
        }
    })
}

fn fixed_window(fields: &mut Fields, path: &str, wire: v1::FixedWindow) -> Option<FixedWindow> {
    let at = |field: &str| format!("{path}.{field}");
    let anchor: v1::Anchor = fields.variant(&at("anchor"), wire.anchor, ANCHORS)?;
    if anchor != v1::Anchor::Midnight && !wire.time_zone.is_empty() {
        fields.reject(at("time_zone"), "must be empty unless the anchor is ANCHOR_MIDNIGHT");
    }
    let (anchor, period) = match anchor {
        v1::Anchor::Unspecified | v1::Anchor::Epoch => {
            (Anchor::Epoch, fields.span(&at("period"), wire.period))
        }
        v1::Anchor::FirstRequest => (Anchor::FirstRequest, fields.span(&at("period"), wire.period)),
        v1::Anchor::Midnight => {
            let zone = if wire.time_zone.is_empty() { "UTC" } else { &wire.time_zone };
            let zone = fields.name(&at("time_zone"), TimeZoneName::new(zone));
            (Anchor::Midnight(zone?), fields.span_or(&at("period"), wire.period, DAY))
        }
    };
    let skew = match anchor {
        Anchor::FirstRequest => Span::ZERO,
        Anchor::Epoch | Anchor::Midnight(_) => fraction(period, 100, CLOCK_SKEW_MAX),
    };
    let max_clock_skew = fields.span_or(&at("max_clock_skew"), wire.max_clock_skew, skew);
    Some(FixedWindow { amount: wire.amount, period, anchor, max_clock_skew })
}

/// The defaults of the two leases depend on each other, so that stating one is enough.
fn concurrency(fields: &mut Fields, path: &str, wire: v1::Concurrency) -> Concurrency {
    let mut read = |field: &str, given, default| fields.span_or(&format!("{path}.{field}"), given, default);
    let asked = read("lease_default", wire.lease_default, LEASE_DEFAULT);
    let lease_max = read("lease_max", wire.lease_max, LEASE_MAX.max(asked));
    let lease_default = if wire.lease_default.is_some() { asked } else { LEASE_DEFAULT.min(lease_max) };
    Concurrency {
        slots: wire.slots,
        lease_default,
        lease_max,
        grace: read("grace", wire.grace, fraction(lease_default, 10, GRACE_MAX)),
        counts_after: read("counts_after", wire.counts_after, Span::ZERO),
        quarantine: read("quarantine", wire.quarantine, Span::ZERO),
    }
}
