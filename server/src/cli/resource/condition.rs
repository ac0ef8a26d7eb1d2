//! Circuit breakers, rules of feedback, and how a vendor is doing.

use serde_json::{Value, json};
use tollgate_client::v1::{
    Circuit, CircuitBreaker, CircuitState, FeedbackRules, Pace, Resource, TightenedLimit, VendorCondition,
};

use super::{
    super::{duration, output::wire_seconds, table::thousands},
    json::scope,
};

pub fn circuit_breaker(breaker: &CircuitBreaker) -> Value {
    json!({
        "scope": scope(breaker.scope()),
        "consecutive_failures": breaker.consecutive_failures,
        "failure_percent": breaker.failure_percent,
        "minimum_calls": breaker.minimum_calls,
        "window_seconds": wire_seconds(breaker.window),
        "open_for_seconds": wire_seconds(breaker.open_for),
        "max_open_for_seconds": wire_seconds(breaker.max_open_for),
        "probes": breaker.probes,
        "probe_timeout_seconds": wire_seconds(breaker.probe_timeout),
    })
}

pub fn feedback_rules(rules: &FeedbackRules) -> Value {
    json!({
        "ramp_seconds": wire_seconds(rules.ramp),
        "ramp_from_percent": rules.ramp_from_percent,
        "pace_recovery_seconds": wire_seconds(rules.pace_recovery),
        "pace_floor_percent": rules.pace_floor_percent,
        "trusted_percent": rules.trusted_percent,
        "longest_wait_seconds": wire_seconds(rules.longest_wait),
        "vendor": rules.vendor,
    })
}

pub fn tightened(limit: &TightenedLimit) -> Value {
    json!({ "limit": limit.limit, "defined": limit.defined, "amount": limit.amount })
}

pub fn json(condition: &VendorCondition) -> Value {
    json!({
        "key": condition.key,
        "circuit": condition.circuit.as_ref().map(circuit),
        "pace": condition.pace.as_ref().map(pace),
    })
}

/// One line for each circuit, pace and tightened limit of which there is something to tell.
pub fn lines(resource: &Resource) -> impl Iterator<Item = String> {
    let tightened = resource.tightened.iter().map(|TightenedLimit { limit, defined, amount }| {
        format!("{limit}: {} instead of {}, as the vendor says", thousands(*amount), thousands(*defined))
    });
    let conditions = resource.conditions.iter().flat_map(|condition| {
        let of = if condition.key.is_empty() { String::new() } else { format!("key {}: ", condition.key) };
        let circuit = condition.circuit.as_ref().map(circuit_text);
        let pace = condition.pace.as_ref().map(pace_text);
        circuit.into_iter().chain(pace).map(move |text| format!("{of}{text}"))
    });
    conditions.chain(tightened)
}

fn circuit(circuit: &Circuit) -> Value {
    json!({
        "state": state_name(circuit.state()),
        "left_seconds": wire_seconds(circuit.left),
        "times_opened": circuit.times_opened,
        "failures_in_row": circuit.failures_in_row,
        "calls": circuit.calls,
        "failures": circuit.failures,
        "probes_out": circuit.probes_out,
        "probes_succeeded": circuit.probes_succeeded,
    })
}

fn pace(pace: &Pace) -> Value {
    json!({
        "per_second": per_second(pace.micros_per_second),
        "full_per_second": per_second(pace.full_micros_per_second),
        "full_in_seconds": wire_seconds(pace.full_in),
    })
}

fn circuit_text(circuit: &Circuit) -> String {
    match circuit.state() {
        CircuitState::Open => format!(
            "circuit open for {}, opened {} times",
            duration::wire(circuit.left),
            circuit.times_opened
        ),
        CircuitState::HalfOpen => format!(
            "circuit half-open, {} probes out, {} succeeded",
            circuit.probes_out, circuit.probes_succeeded
        ),
        CircuitState::Closed | CircuitState::Unspecified => {
            format!("circuit closed, {} of the last {} calls failed", circuit.failures, circuit.calls)
        }
    }
}

fn pace_text(pace: &Pace) -> String {
    let (now, full) = (per_second(pace.micros_per_second), per_second(pace.full_micros_per_second));
    format!("paced at {now:.1} of {full:.1} a second for {}", duration::wire(pace.full_in))
}

fn per_second(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn state_name(state: CircuitState) -> &'static str {
    match state {
        CircuitState::Closed => "closed",
        CircuitState::Open => "open",
        CircuitState::HalfOpen => "half_open",
        CircuitState::Unspecified => "unknown",
    }
}
