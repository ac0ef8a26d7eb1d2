//! The rules of a resource that go beyond a single field's type. Each names its field as the public API does. Those of its
//! budgets are in `budget_rules.rs`.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{
    Anchor, Concurrency, FixedWindow, LeakyBucket, Limit, LimitKind, MAX_AMOUNT, OperationCost, Resource,
    Scope, SlidingWindow, Span, TokenBucket, Violation,
};

const HOUR: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(24 * 3600);

/// The shortest period: below it, the network's jitter is all there is.
const PERIOD_MIN: Span = Span::from_millis(1);

/// The longest period: more than a year, so that yearly quotas fit.
const PERIOD_MAX: Span = Span::from_secs(400 * 24 * 3600);

/// The longest lease: a crashed holder of a longer one would block its slot for days.
pub const LEASE_MAX: Span = DAY;

/// The shortest lease: shorter ones would end on the way.
pub const LEASE_MIN: Span = Span::from_millis(1);

impl Resource {
    /// Limits of a resource. Each request is checked against all of them.
    pub const MAX_LIMITS: usize = 32;
    /// Keys of a resource. A request that names none may have to try them all.
    pub const MAX_KEYS: usize = 100;
    /// The most [`operation_costs`](Resource::operation_costs) of a resource.
    pub const MAX_OPERATION_COSTS: usize = 100;

    /// Checks all rules; the error lists every one that does not hold, in the order of the fields.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut check = Check::default();
        self.check_limits(&mut check);
        self.check_keys(&mut check);
        self.check_spans(&mut check);
        self.check_budgets(&mut check);
        self.check_queueing(&mut check);
        self.check_circuit_breaker(&mut check);
        self.check_feedback(&mut check);
        self.check_operation_costs(&mut check);
        match check.violations.is_empty() {
            true => Ok(()),
            false => Err(check.violations),
        }
    }

    fn check_limits(&self, check: &mut Check) {
        check.range("limits", "", self.limits.len(), 1, Self::MAX_LIMITS);
        let mut names = BTreeSet::new();
        for (index, limit) in self.limits.iter().enumerate() {
            let path = format!("limits[{index}]");
            if !names.insert(&limit.name) {
                check.fails(&path, "name", format!("`{}` names another limit already", limit.name));
            }
            limit.check(&path, check);
            if limit.scope == Scope::Key && self.keys.is_empty() {
                check.fails(&path, "scope", "SCOPE_KEY needs keys in the resource");
            }
        }
    }

    fn check_keys(&self, check: &mut Check) {
        check.range("keys", "", self.keys.len(), 0, Self::MAX_KEYS);
        let mut keys = BTreeSet::new();
        for (index, key) in self.keys.iter().enumerate() {
            let path = format!("keys[{index}]");
            if key.is_empty() {
                check.fails(&path, "", "must not be empty");
            } else if !keys.insert(key) {
                check.fails(&path, "", format!("`{key}` is listed already"));
            }
        }
    }

    fn check_operation_costs(&self, check: &mut Check) {
        check.range("operation_costs", "", self.operation_costs.len(), 0, Self::MAX_OPERATION_COSTS);
        for (index, OperationCost { operation, cost }) in self.operation_costs.iter().enumerate() {
            let path = format!("operation_costs[{index}]");
            if operation.is_empty() {
                check.fails(&path, "operation", "is required: a pattern such as `list/*`");
            }
            check.range(&path, "cost", *cost, 1, MAX_AMOUNT);
        }
    }

    fn check_spans(&self, check: &mut Check) {
        check.range("dispatch_tolerance", "", self.dispatch_tolerance, Span::ZERO, HOUR);
        check.range("settle_within", "", self.settle_within, Span::ZERO, HOUR);
        // With a skew of at most a quarter of the period, a call can then arrive in two windows at most: windows keep figures
        // for no more.
        let shortest = self.limits.iter().filter_map(|limit| limit.window_period()).min();
        if let Some(shortest) =
            shortest.filter(|shortest| self.dispatch_tolerance.0 >= shortest.0.div_ceil(2))
        {
            check.fails(
                "dispatch_tolerance",
                "",
                format!(
                    "must be less than half of the shortest window, which is {shortest}, not {}",
                    self.dispatch_tolerance
                ),
            );
        }
    }
}

impl Limit {
    /// Operation patterns of a limit.
    pub const MAX_OPERATIONS: usize = 32;
    /// The greatest `max_scope_values`.
    pub const MAX_SCOPE_VALUES: u32 = 1_000_000;

    fn window_period(&self) -> Option<Span> {
        match &self.kind {
            LimitKind::FixedWindow(window) => Some(window.period),
            LimitKind::SlidingWindow(window) => Some(window.period),
            _ => None,
        }
    }

    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "operations", self.operations.len(), 0, Self::MAX_OPERATIONS);
        for (index, pattern) in self.operations.iter().enumerate() {
            if pattern.is_empty() {
                check.fails(
                    path,
                    &format!("operations[{index}]"),
                    "must not be empty; `**` matches everything",
                );
            }
        }
        if self.dimension.is_some() && self.kind.concurrency().is_some() {
            check.fails(path, "dimension", "must be empty for concurrency, which counts calls");
        }
        let least = u32::from(self.scope != Scope::Resource);
        check.range(path, "max_scope_values", self.max_scope_values, least, Self::MAX_SCOPE_VALUES);
        let path = format!("{path}.{}", self.kind.field());
        match &self.kind {
            LimitKind::TokenBucket(bucket) => bucket.check(&path, check),
            LimitKind::LeakyBucket(bucket) => bucket.check(&path, check),
            LimitKind::FixedWindow(window) => window.check(&path, check),
            LimitKind::SlidingWindow(window) => window.check(&path, check),
            LimitKind::Concurrency(concurrency) => concurrency.check(&path, check),
        }
    }
}

impl TokenBucket {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "capacity", self.capacity, 1, MAX_AMOUNT);
        check.range(path, "refill_amount", self.refill_amount, 1, MAX_AMOUNT);
        check.range(path, "refill_period", self.refill_period, PERIOD_MIN, PERIOD_MAX);
    }
}

impl LeakyBucket {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "amount", self.amount, 1, MAX_AMOUNT);
        check.range(path, "period", self.period, PERIOD_MIN, PERIOD_MAX);
    }
}

impl FixedWindow {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "amount", self.amount, 1, MAX_AMOUNT);
        check.range(path, "period", self.period, PERIOD_MIN, PERIOD_MAX);
        if matches!(self.anchor, Anchor::Midnight(_)) && self.period != DAY {
            check.fails(path, "period", format!("must be 24 h with ANCHOR_MIDNIGHT, not {}", self.period));
        }
        match self.anchor {
            Anchor::FirstRequest if !self.max_clock_skew.is_zero() => {
                check.fails(
                    path,
                    "max_clock_skew",
                    "must be absent with ANCHOR_FIRST_REQUEST, which needs no clock",
                );
            }
            Anchor::FirstRequest => {}
            _ => {
                check.range(path, "max_clock_skew", self.max_clock_skew, Span::ZERO, Span(self.period.0 / 4))
            }
        }
    }
}

impl SlidingWindow {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "amount", self.amount, 1, MAX_AMOUNT);
        check.range(path, "period", self.period, PERIOD_MIN, PERIOD_MAX);
        check.range(path, "resolution", self.resolution, 1, 1000);
    }
}

impl Concurrency {
    fn check(&self, path: &str, check: &mut Check) {
        check.range(path, "slots", self.slots, 1, 100_000);
        check.range(path, "lease_max", self.lease_max, LEASE_MIN, LEASE_MAX);
        check.range(path, "lease_default", self.lease_default, LEASE_MIN, self.lease_max.max(LEASE_MIN));
        check.range(path, "grace", self.grace, Span::ZERO, HOUR);
        check.range(path, "counts_after", self.counts_after, Span::ZERO, DAY);
        check.range(path, "quarantine", self.quarantine, Span::ZERO, DAY);
    }
}

/// Collects what does not hold.
#[derive(Default)]
pub(super) struct Check {
    violations: Vec<Violation>,
}

impl Check {
    pub(super) fn range<T: PartialOrd + Display>(
        &mut self,
        path: &str,
        field: &str,
        value: T,
        least: T,
        most: T,
    ) {
        if value < least || value > most {
            self.fails(path, field, format!("must be {least} to {most}, not {value}"));
        }
    }

    pub(super) fn fails(&mut self, path: &str, field: &str, problem: impl Into<String>) {
        let dot = if field.is_empty() { "" } else { "." };
        self.violations.push(Violation::new(format!("{path}{dot}{field}"), problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Description, LimitName, Queueing, ResourceName};

    #[test]
    fn everything_wrong_is_listed_at_once() {
        let bucket = TokenBucket { capacity: 0, refill_amount: MAX_AMOUNT + 1, refill_period: Span(1) };
        let limit = Limit {
            name: LimitName::new("burst").unwrap(),
            operations: vec![],
            dimension: None,
            scope: Scope::Key,
            max_scope_values: 1,
            shadow: false,
            kind: LimitKind::TokenBucket(bucket),
        };
        let resource = Resource {
            name: ResourceName::new("acme").unwrap(),
            limits: vec![limit],
            keys: vec![],
            dispatch_tolerance: HOUR + Span(1),
            settle_within: Span::ZERO,
            description: Description::default(),
            budgets: vec![],
            queueing: Queueing::default(),
            circuit_breaker: None,
            feedback: Box::default(),
            operation_costs: Vec::new(),
        };
        let fields: Vec<_> =
            resource.validate().unwrap_err().into_iter().map(|violation| violation.field).collect();
        assert_eq!(
            fields,
            [
                "limits[0].token_bucket.capacity",
                "limits[0].token_bucket.refill_amount",
                "limits[0].token_bucket.refill_period",
                "limits[0].scope",
                "dispatch_tolerance",
            ]
        );
    }
}
