//! Circuit breakers, rules of feedback, and how vendors are doing: from the wire and for it.

use tollgate_limiter::{
    CircuitBreaker, CircuitState, CircuitStatus, FeedbackRules, Label, PaceCause, PaceStatus, Scope,
    TightenedLimit, VendorCondition,
};
use tollgate_proto::v1;

use super::{
    Fields,
    definition::{SCOPES, scope},
    duration,
    permit::outcome_to_wire,
    resource::scope_to_wire,
};

/// Reads a circuit breaker. Its rules are the core's.
pub fn circuit_breaker(fields: &mut Fields, wire: &v1::CircuitBreaker) -> CircuitBreaker {
    const PATH: &str = "circuit_breaker";
    let default = CircuitBreaker::default();
    let or_default = |number, default| if number == 0 { default } else { number };
    let scope = fields.variant(&format!("{PATH}.scope"), wire.scope, SCOPES).map_or(Scope::Resource, scope);
    let mut span = |field: &str, given, default| fields.span_or(&format!("{PATH}.{field}"), given, default);
    let open_for = span("open_for", wire.open_for, default.open_for);
    CircuitBreaker {
        scope,
        consecutive_failures: wire.consecutive_failures.unwrap_or(default.consecutive_failures),
        failure_percent: wire.failure_percent.unwrap_or(default.failure_percent),
        minimum_calls: or_default(wire.minimum_calls, default.minimum_calls),
        window: span("window", wire.window, default.window),
        open_for,
        max_open_for: span("max_open_for", wire.max_open_for, default.max_open_for.max(open_for)),
        probes: or_default(wire.probes, default.probes),
        probe_timeout: span("probe_timeout", wire.probe_timeout, default.probe_timeout),
    }
}

/// Reads rules of feedback. Whether there is a preset of the vendor, the node knows that is asked.
pub fn feedback_rules(fields: &mut Fields, wire: &v1::FeedbackRules) -> FeedbackRules {
    let default = FeedbackRules::default();
    let vendor = fields.name("feedback.vendor", Label::new(&wire.vendor)).unwrap_or_default();
    let mut span = |field: &str, given, default| fields.span_or(&format!("feedback.{field}"), given, default);
    FeedbackRules {
        vendor,
        ramp: span("ramp", wire.ramp, default.ramp),
        ramp_from_percent: wire.ramp_from_percent.unwrap_or(default.ramp_from_percent),
        pace_recovery: span("pace_recovery", wire.pace_recovery, default.pace_recovery),
        pace_floor_percent: wire.pace_floor_percent.unwrap_or(default.pace_floor_percent),
        trusted_percent: wire.trusted_percent.unwrap_or(default.trusted_percent),
        longest_wait: span("longest_wait", wire.longest_wait, default.longest_wait),
    }
}

/// A circuit breaker with all its defaults spelt out.
pub fn circuit_breaker_to_wire(breaker: &CircuitBreaker) -> v1::CircuitBreaker {
    v1::CircuitBreaker {
        scope: scope_to_wire(breaker.scope).into(),
        consecutive_failures: Some(breaker.consecutive_failures),
        failure_percent: Some(breaker.failure_percent),
        minimum_calls: breaker.minimum_calls,
        window: Some(duration(breaker.window)),
        open_for: Some(duration(breaker.open_for)),
        max_open_for: Some(duration(breaker.max_open_for)),
        probes: breaker.probes,
        probe_timeout: Some(duration(breaker.probe_timeout)),
    }
}

/// Rules of feedback with all their defaults spelt out.
pub fn feedback_rules_to_wire(rules: &FeedbackRules) -> v1::FeedbackRules {
    v1::FeedbackRules {
        ramp: Some(duration(rules.ramp)),
        ramp_from_percent: Some(rules.ramp_from_percent),
        pace_recovery: Some(duration(rules.pace_recovery)),
        pace_floor_percent: Some(rules.pace_floor_percent),
        trusted_percent: Some(rules.trusted_percent),
        longest_wait: Some(duration(rules.longest_wait)),
        vendor: rules.vendor.to_string(),
    }
}

/// A limit that the vendor says is not as defined.
pub fn tightened(limit: TightenedLimit) -> v1::TightenedLimit {
    let TightenedLimit { limit, defined, amount, told } = limit;
    v1::TightenedLimit {
        limit: limit.to_string(),
        defined,
        amount,
        told: told.map_or(0, |told| told.amount),
        told_ago: told.map(|told| duration(told.ago)),
    }
}

/// How a vendor is doing.
pub fn condition(condition: VendorCondition) -> v1::VendorCondition {
    v1::VendorCondition {
        key: condition.key.to_string(),
        circuit: condition.circuit.map(circuit),
        pace: condition.pace.map(pace),
    }
}

/// Where a circuit stands.
pub fn circuit(status: CircuitStatus) -> v1::Circuit {
    let state = match status.state {
        CircuitState::Closed => v1::CircuitState::Closed,
        CircuitState::Open => v1::CircuitState::Open,
        CircuitState::HalfOpen => v1::CircuitState::HalfOpen,
    };
    v1::Circuit {
        state: state.into(),
        left: (!status.left.is_zero()).then(|| duration(status.left)),
        times_opened: status.times_opened,
        failures_in_row: status.failures_in_row,
        calls: status.calls,
        failures: status.failures,
        probes_out: status.probes_out,
        probes_succeeded: status.probes_succeeded,
        open_for: status.open_for.map(duration),
        opened_by: status.opened_by.map(outcome_to_wire).unwrap_or_default().into(),
    }
}

/// How slowly permits are granted.
pub fn pace(pace: PaceStatus) -> v1::Pace {
    let cause = match pace.cause {
        None => v1::PaceCause::Unspecified,
        Some(PaceCause::Pause) => v1::PaceCause::AfterPause,
        Some(PaceCause::Outage) => v1::PaceCause::AfterOutage,
        Some(PaceCause::Refusals) => v1::PaceCause::Refusals,
    };
    v1::Pace {
        micros_per_second: pace.rate,
        full_micros_per_second: pace.full_rate,
        full_in: Some(duration(pace.full_in)),
        cause: cause.into(),
    }
}
