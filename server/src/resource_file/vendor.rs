//! Circuit breakers and rules of feedback in TOML, both ways.
//!
//! ```toml
//! [resource.circuit_breaker]
//! consecutive_failures = 5
//! open_for = "30s"
//!
//! [resource.feedback]
//! vendor = "hubspot"
//! ramp = "10s"
//! ```

use tollgate_proto::v1;

use super::{limit::span, words::SCOPES, write::Lines};
use crate::toml_reader::{Reader, Section};

/// What is not stated is that of the base: of a preset, or of nothing. `false`: none, though the preset has one; `true`: the
/// default one.
pub fn circuit_breaker<'i>(
    reader: &mut Reader<'i>,
    of: &mut Section<'_, 'i>,
    base: Option<v1::CircuitBreaker>,
) -> Option<v1::CircuitBreaker> {
    const KEY: &str = "circuit_breaker";
    if of.has_boolean(KEY) {
        let wanted = reader.boolean(of, KEY) == Some(true);
        return wanted.then(|| base.unwrap_or_default());
    }
    match reader.section(of, KEY) {
        Some(section) => Some(stated_breaker(reader, section, base.unwrap_or_default())),
        None => base,
    }
}

/// Presets state the scope alone; the server fills in the rest.
fn stated_breaker<'i>(
    reader: &mut Reader<'i>,
    mut section: Section<'_, 'i>,
    base: v1::CircuitBreaker,
) -> v1::CircuitBreaker {
    let breaker = v1::CircuitBreaker {
        scope: reader.word(&mut section, "scope", &SCOPES).map_or(base.scope, i32::from),
        consecutive_failures: reader.integer(&mut section, "consecutive_failures"),
        failure_percent: reader.integer(&mut section, "failure_percent"),
        minimum_calls: reader.integer(&mut section, "minimum_calls").unwrap_or_default(),
        window: span(reader, &mut section, "window"),
        open_for: span(reader, &mut section, "open_for"),
        max_open_for: span(reader, &mut section, "max_open_for"),
        probes: reader.integer(&mut section, "probes").unwrap_or_default(),
        probe_timeout: span(reader, &mut section, "probe_timeout"),
    };
    reader.finish(section);
    breaker
}

/// What is not stated is that of the base: of a preset, or of nothing.
pub fn feedback<'i>(
    reader: &mut Reader<'i>,
    mut section: Section<'_, 'i>,
    base: Option<v1::FeedbackRules>,
) -> v1::FeedbackRules {
    let base = base.unwrap_or_default();
    let rules = v1::FeedbackRules {
        vendor: reader.text(&mut section, "vendor").unwrap_or(base.vendor),
        ramp: span(reader, &mut section, "ramp"),
        ramp_from_percent: reader.integer(&mut section, "ramp_from_percent"),
        pace_recovery: span(reader, &mut section, "pace_recovery"),
        pace_floor_percent: reader.integer(&mut section, "pace_floor_percent"),
        trusted_percent: reader.integer(&mut section, "trusted_percent"),
        longest_wait: span(reader, &mut section, "longest_wait"),
    };
    reader.finish(section);
    rules
}

pub fn write_circuit_breaker(breaker: &v1::CircuitBreaker) -> String {
    let mut lines = Lines::table("[resource.circuit_breaker]");
    let scoped = breaker.scope() != v1::Scope::Resource;
    if let Some((word, _)) = SCOPES.iter().find(|(_, scope)| scoped && *scope == breaker.scope()) {
        lines.text("scope", word);
    }
    lines.figure("consecutive_failures", breaker.consecutive_failures);
    lines.figure("failure_percent", breaker.failure_percent);
    lines.number("minimum_calls", breaker.minimum_calls.into());
    lines.span("window", breaker.window);
    lines.span("open_for", breaker.open_for);
    lines.span("max_open_for", breaker.max_open_for);
    lines.number("probes", breaker.probes.into());
    lines.span("probe_timeout", breaker.probe_timeout);
    lines.into_text()
}

pub fn write_feedback(rules: &v1::FeedbackRules) -> String {
    let mut lines = Lines::table("[resource.feedback]");
    lines.text("vendor", &rules.vendor);
    lines.span("ramp", rules.ramp);
    lines.figure("ramp_from_percent", rules.ramp_from_percent);
    lines.span("pace_recovery", rules.pace_recovery);
    lines.figure("pace_floor_percent", rules.pace_floor_percent);
    lines.figure("trusted_percent", rules.trusted_percent);
    lines.span("longest_wait", rules.longest_wait);
    lines.into_text()
}
