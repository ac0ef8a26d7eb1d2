//! Resources to TOML.

use std::{fmt::Write, time};

use prost_types::Duration;
use tollgate_limiter::{FeedbackRules, Queueing};
use tollgate_proto::v1::{self, limit::Kind as Parameters};

use super::{
    budget, vendor,
    words::{ANCHORS, SCOPES},
};
use crate::grpc::convert::{
    budget::waiters_per_consumer, circuit::feedback_rules_to_wire, definition::SCOPE_VALUES, duration,
};

/// Writes resources so that reading them gives the same definitions. The generation is left out: it belongs to the
/// cluster that counts it.
pub fn write(resources: &[v1::Resource]) -> String {
    let texts: Vec<String> = resources.iter().map(resource).collect();
    texts.join("\n")
}

/// The lines of a table.
pub(super) struct Lines(String);

impl Lines {
    pub(super) fn table(header: &str) -> Lines {
        Lines(format!("{header}\n"))
    }

    pub(super) fn value(&mut self, key: &str, value: impl Into<toml::Value>) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "{key} = {}", value.into());
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.value(key, text);
        }
    }

    pub(super) fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.value(key, texts.to_vec());
        }
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        if number != 0 {
            let _ = writeln!(self.0, "{key} = {number}");
        }
    }

    /// Also a zero, where that says something.
    pub(super) fn figure(&mut self, key: &str, number: Option<u32>) {
        if let Some(number) = number {
            self.value(key, i64::from(number));
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn span(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration.and_then(|duration| time::Duration::try_from(duration).ok()) {
            self.value(key, humantime::format_duration(duration).to_string());
        }
    }
}

fn resource(resource: &v1::Resource) -> String {
    let mut lines = Lines::table("[[resource]]");
    lines.text("name", &resource.name);
    lines.text("description", &resource.description);
    lines.texts("keys", &resource.keys);
    lines.span("dispatch_tolerance", resource.dispatch_tolerance);
    lines.span("settle_within", resource.settle_within);
    queueing(&mut lines, resource);
    let default = feedback_rules_to_wire(&FeedbackRules::default());
    let feedback = resource.feedback.as_ref().filter(|rules| **rules != default);
    let tables = resource.limits.iter().map(limit).chain(resource.budgets.iter().map(budget::write));
    let tables = tables
        .chain(resource.circuit_breaker.as_ref().map(vendor::write_circuit_breaker))
        .chain(feedback.map(vendor::write_feedback))
        .chain(resource.operation_costs.iter().map(operation_cost));
    lines.0 + "\n" + &tables.collect::<Vec<_>>().join("\n")
}

/// What differs from the defaults.
fn queueing(lines: &mut Lines, resource: &v1::Resource) {
    let default = Queueing::default();
    if resource.max_waiters != default.max_waiters {
        lines.number("max_waiters", resource.max_waiters.into());
    }
    if resource.max_waiters_per_consumer != waiters_per_consumer(resource.max_waiters) {
        lines.number("max_waiters_per_consumer", resource.max_waiters_per_consumer.into());
    }
    if resource.ageing != Some(duration(default.ageing)) {
        lines.span("ageing", resource.ageing);
    }
}

fn operation_cost(known: &v1::OperationCost) -> String {
    let mut lines = Lines::table("[[resource.operation_cost]]");
    lines.text("operation", &known.operation);
    lines.number("cost", known.cost);
    lines.0
}

fn limit(limit: &v1::Limit) -> String {
    let mut lines = Lines::table("[[resource.limit]]");
    lines.text("name", &limit.name);
    if let Some(kind) = &limit.kind {
        parameters(&mut lines, kind);
    }
    lines.texts("operations", &limit.operations);
    lines.text("dimension", &limit.dimension);
    let scoped = limit.scope() != v1::Scope::Resource;
    if let Some((word, _)) = SCOPES.iter().find(|(_, scope)| scoped && *scope == limit.scope()) {
        lines.text("scope", word);
    }
    if scoped || limit.max_scope_values != SCOPE_VALUES {
        lines.number("max_scope_values", limit.max_scope_values.into());
    }
    if limit.shadow {
        lines.value("shadow", true);
    }
    lines.0
}

fn parameters(lines: &mut Lines, kind: &Parameters) {
    match kind {
        Parameters::TokenBucket(bucket) => {
            lines.text("kind", "token_bucket");
            lines.number("capacity", bucket.capacity);
            lines.number("refill_amount", bucket.refill_amount);
            lines.span("refill_period", bucket.refill_period);
        }
        Parameters::LeakyBucket(bucket) => {
            lines.text("kind", "leaky_bucket");
            lines.number("amount", bucket.amount);
            lines.span("period", bucket.period);
        }
        Parameters::FixedWindow(window) => {
            lines.text("kind", "fixed_window");
            lines.number("amount", window.amount);
            lines.span("period", window.period);
            if let Some((word, _)) = ANCHORS.iter().find(|(_, anchor)| *anchor == window.anchor()) {
                lines.text("anchor", word);
            }
            lines.text("time_zone", &window.time_zone);
            lines.span("max_clock_skew", window.max_clock_skew);
        }
        Parameters::SlidingWindow(window) => {
            lines.text("kind", "sliding_window");
            lines.number("amount", window.amount);
            lines.span("period", window.period);
            lines.number("resolution", window.resolution.into());
        }
        Parameters::Concurrency(slots) => {
            lines.text("kind", "concurrency");
            lines.number("slots", slots.slots.into());
            lines.span("lease_default", slots.lease_default);
            lines.span("lease_max", slots.lease_max);
            lines.span("grace", slots.grace);
            lines.span("counts_after", slots.counts_after);
            lines.span("quarantine", slots.quarantine);
        }
    }
}
