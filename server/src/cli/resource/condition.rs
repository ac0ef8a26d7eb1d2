//! Circuit breakers, rules of feedback, and how a vendor is doing.

use serde_json::{Value, json};
use tollgate_client::{
    CircuitState, CircuitStatus, Outcome, PaceCause, PaceStatus,
    v1::{CircuitBreaker, FeedbackRules, Resource, TightenedLimit, VendorCondition},
};

use super::{
    super::{
        duration,
        output::{seconds, wire_seconds},
        table::thousands,
    },
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
    json!({
        "limit": limit.limit,
        "defined": limit.defined,
        "amount": limit.amount,
        "told": Some(limit.told).filter(|told| *told > 0),
        "told_ago_seconds": wire_seconds(limit.told_ago),
    })
}

pub fn json(condition: &VendorCondition) -> Value {
    json!({
        "key": condition.key,
        "circuit": condition.circuit.map(|status| circuit(&status.into())),
        "pace": condition.pace.map(|status| pace(&status.into())),
    })
}

/// One line for each circuit, pace and limit that differs of which there is something to tell.
pub fn lines(resource: &Resource) -> impl Iterator<Item = String> {
    let tightened = resource.tightened.iter().map(tightened_text);
    let conditions = resource.conditions.iter().flat_map(|condition| {
        let of = if condition.key.is_empty() { String::new() } else { format!("key {}: ", condition.key) };
        let circuit = condition.circuit.map(|status| circuit_text(&status.into()));
        let pace = condition.pace.map(|status| pace_text(&status.into()));
        circuit.into_iter().chain(pace).map(move |text| format!("{of}{text}"))
    });
    conditions.chain(tightened)
}

pub fn circuit(circuit: &CircuitStatus) -> Value {
    json!({
        "state": state_name(circuit.state),
        "left_seconds": circuit.left.map(seconds),
        "times_opened": circuit.times_opened,
        "failures_in_row": circuit.failures_in_row,
        "calls": circuit.calls,
        "failures": circuit.failures,
        "probes_out": circuit.probes_out,
        "probes_succeeded": circuit.probes_succeeded,
        "open_for_seconds": circuit.open_for.map(seconds),
        "opened_by": circuit.opened_by.map(outcome_name),
    })
}

pub fn pace(pace: &PaceStatus) -> Value {
    json!({
        "per_second": per_second(pace.micros_per_second),
        "full_per_second": per_second(pace.full_micros_per_second),
        "full_in_seconds": seconds(pace.full_in),
        "cause": pace_cause(pace.cause),
    })
}

pub fn circuit_text(circuit: &CircuitStatus) -> String {
    let opened = opened_text(circuit);
    match circuit.state {
        CircuitState::Open => {
            let left = circuit.left.unwrap_or_default();
            let (again, time) = (duration::human(left), ordinal(circuit.times_opened));
            format!("circuit open: {opened}tried again in {again}, {time} time")
        }
        CircuitState::HalfOpen => format!(
            "circuit half-open: {opened}{} probes out, {} succeeded",
            circuit.probes_out, circuit.probes_succeeded
        ),
        CircuitState::Closed | CircuitState::Unspecified => {
            format!("circuit closed, {} of the last {} calls failed", circuit.failures, circuit.calls)
        }
    }
}

/// What is in force, what the vendor says, and what to do about it, if anything but waiting.
fn tightened_text(limit: &TightenedLimit) -> String {
    let TightenedLimit { limit, defined, amount, told, told_ago } = limit;
    let in_force = match amount < defined {
        true => format!("{} of {} in force", thousands(*amount), thousands(*defined)),
        false => thousands(*defined),
    };
    if *told == 0 {
        return format!("{limit}: {in_force}, because of what the vendor said");
    }
    let advice = match () {
        () if amount < defined && told > amount => ": loosen it with tollgate resource resume",
        () if told > defined => ": raise it with tollgate resource apply",
        () => "",
    };
    format!(
        "{limit}: {in_force}; the vendor says {} ({} ago){advice}",
        thousands(*told),
        duration::wire(*told_ago)
    )
}

/// Since when it has been open, and because of what, as far as the server knows. Where others succeeded between the failures, how many
/// calls there were.
fn opened_text(circuit: &CircuitStatus) -> String {
    let Some(open_for) = circuit.open_for else { return String::new() };
    let CircuitStatus { failures, calls, failures_in_row: in_row, .. } = circuit;
    let failures = match *failures > u64::from(*in_row) {
        true => format!("{failures} of {calls} calls failed, {in_row} in a row"),
        false if *in_row == 1 => "a failure".to_owned(),
        false => format!("{in_row} failures in a row"),
    };
    let last = circuit.opened_by.map(|last| format!(" (last: {})", outcome_name(last).replace('_', " ")));
    format!("opened {} ago after {failures}{}, ", duration::human(open_for), last.unwrap_or_default())
}

pub fn pace_text(pace: &PaceStatus) -> String {
    let (now, full) = (per_second(pace.micros_per_second), per_second(pace.full_micros_per_second));
    let because = match pace.cause {
        PaceCause::AfterPause => ", after a pause that the vendor wanted",
        PaceCause::AfterOutage => ", after an outage",
        PaceCause::Refusals => ", after refusals",
        PaceCause::Unspecified => "",
    };
    format!("paced at {now:.1} of {full:.1} a second for {}{because}", duration::human(pace.full_in))
}

fn pace_cause(cause: PaceCause) -> Option<&'static str> {
    match cause {
        PaceCause::AfterPause => Some("after_pause"),
        PaceCause::AfterOutage => Some("after_outage"),
        PaceCause::Refusals => Some("refusals"),
        PaceCause::Unspecified => None,
    }
}

fn outcome_name(outcome: Outcome) -> String {
    outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase()
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

/// `1st`, `22nd`, `13th`.
fn ordinal(number: u32) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use tollgate_client::v1;

    use super::*;

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn open() -> v1::Circuit {
        v1::Circuit {
            state: CircuitState::Open.into(),
            left: seconds(240),
            times_opened: 3,
            failures_in_row: 5,
            calls: 5,
            failures: 5,
            open_for: seconds(720),
            opened_by: Outcome::Timeout.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_circuit_says_since_when_it_is_open_and_why() {
        for (circuit, text) in [
            (
                open(),
                "circuit open: opened 12m ago after 5 failures in a row (last: timeout), tried again in 4m, 3rd time",
            ),
            (
                v1::Circuit { calls: 20, failures: 12, opened_by: Outcome::ServerError.into(), ..open() },
                "circuit open: opened 12m ago after 12 of 20 calls failed, 5 in a row (last: server error), tried \
                 again in 4m, 3rd time",
            ),
            // The window has forgotten some of them; a server that does not know.
            (
                v1::Circuit {
                    calls: 2,
                    failures: 2,
                    times_opened: 11,
                    open_for: None,
                    opened_by: 0,
                    ..open()
                },
                "circuit open: tried again in 4m, 11th time",
            ),
            (
                v1::Circuit {
                    state: CircuitState::HalfOpen.into(),
                    probes_out: 1,
                    failures_in_row: 1,
                    failures: 1,
                    ..open()
                },
                "circuit half-open: opened 12m ago after a failure (last: timeout), 1 probes out, 0 succeeded",
            ),
        ] {
            assert_eq!(circuit_text(&circuit.into()), text);
        }
    }

    #[test]
    fn times_are_counted_in_english() {
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 102, 113].map(ordinal);
        let expected = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "113th"];
        assert_eq!(ordinals, expected);
    }

    #[test]
    fn a_limit_that_differs_says_what_is_in_force_and_what_the_vendor_says() {
        let ago = prost_types::Duration { seconds: 180, nanos: 0 };
        let limit = |amount, told| TightenedLimit {
            limit: "ten-seconds".into(),
            defined: 1_900,
            amount,
            told,
            told_ago: Some(ago).filter(|_| told > 0),
        };
        for (amount, told, text) in [
            (950, 10, "950 of 1,900 in force; the vendor says 10 (3m ago)"),
            (950, 950, "950 of 1,900 in force; the vendor says 950 (3m ago)"),
            (
                950,
                1_900,
                "950 of 1,900 in force; the vendor says 1,900 (3m ago): loosen it with tollgate resource resume",
            ),
            (1_900, 2_500, "1,900; the vendor says 2,500 (3m ago): raise it with tollgate resource apply"),
            // It is not trusted.
            (1_900, 10, "1,900; the vendor says 10 (3m ago)"),
            (950, 0, "950 of 1,900 in force, because of what the vendor said"),
        ] {
            let resource = Resource { tightened: vec![limit(amount, told)], ..Resource::default() };
            assert_eq!(lines(&resource).collect::<Vec<_>>(), [format!("ten-seconds: {text}")]);
        }
        let told = tightened(&limit(950, 10));
        assert_eq!((&told["told"], &told["told_ago_seconds"]), (&json!(10), &json!(180.0)));
        let told = tightened(&limit(950, 0));
        assert_eq!((&told["told"], &told["told_ago_seconds"]), (&Value::Null, &Value::Null));
    }
}
