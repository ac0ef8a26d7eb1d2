//! How the decision on a permit is shown, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};
use tollgate_client::{BudgetCause, Denial, DenialReason, Exhausted, Pause, Permit};

use super::{
    duration,
    output::seconds,
    resource::condition,
    table::{table, thousands},
};

/// A permit for people.
pub fn granted_text(permit: &Permit) -> String {
    let again = if permit.replayed() { " (again)" } else { "" };
    let mut text = format!("granted {} for {}{again}", permit.id(), permit.resource());
    // Writing to a String cannot fail.
    if !permit.waited().is_zero() {
        let _ = write!(text, "\n  waited          {}", duration::human(permit.waited()));
    }
    if !permit.key().is_empty() {
        let _ = write!(text, "\n  key             {}", permit.key());
    }
    if let Some(within) = permit.dispatch_within() {
        let _ = write!(text, "\n  dispatch within {}", duration::human(within));
    }
    if let Some(lease) = permit.held_for_another() {
        let _ = write!(text, "\n  lease           {}", duration::human(lease));
    }
    for slot in permit.slots() {
        let _ = write!(
            text,
            "\n  slot            {} of {}, generation {}",
            slot.index, slot.limit, slot.generation
        );
    }
    for usage in permit.usage() {
        let (left, amount) = (thousands(usage.available), thousands(usage.amount));
        let _ = write!(text, "\n  left            {left} of {amount} {}", usage.limit);
        if usage.shadow {
            text += if usage.would_deny { " (shadow: would deny)" } else { " (shadow)" };
        }
    }
    text
}

/// A permit for programs.
pub fn granted_json(permit: &Permit) -> Value {
    let slots = permit
        .slots()
        .iter()
        .map(|slot| json!({ "limit": slot.limit, "index": slot.index, "generation": slot.generation }));
    let usage = permit.usage().iter().map(|usage| {
        json!({
            "limit": usage.limit, "amount": usage.amount, "available": usage.available,
            "shadow": usage.shadow, "would_deny": usage.would_deny,
        })
    });
    json!({
        "decision": "granted",
        "permit_id": permit.id(),
        "resource": permit.resource(),
        "waited_seconds": seconds(permit.waited()),
        "key": permit.key(),
        "replayed": permit.replayed(),
        "dispatch_within_seconds": permit.dispatch_within().map(seconds),
        "lease_seconds": permit.held_for_another().map(seconds),
        "slots": slots.collect::<Vec<_>>(),
        "usage": usage.collect::<Vec<_>>(),
    })
}

/// A denial for people.
pub fn denied_text(denial: &Denial) -> String {
    let mut text = format!("{}: {}", denial.resource, reason_text(denial));
    match denial.retry_after {
        Some(retry_after) => text += &format!(": ask again in {}", duration::human(retry_after)),
        None if denial.reason == DenialReason::OthersWait => text += ": ask again later",
        None => text += " until an operator orders otherwise",
    }
    if !denial.waited.is_zero() {
        text += &format!(" (it waited {})", duration::human(denial.waited));
    }
    match &denial.reason {
        DenialReason::CircuitOpen { circuit, .. } => {
            text += &format!("\n  {}", condition::circuit_text(circuit));
        }
        DenialReason::Paced { pace, .. } => text += &format!("\n  {}", condition::pace_text(pace)),
        _ => {}
    }
    if !denial.exhausted.is_empty() {
        text += &format!("\n{}", exhausted_table(&denial.exhausted));
    }
    text
}

/// Budgets have a column only where one stands in the way.
fn exhausted_table(exhausted: &[Exhausted]) -> String {
    let columns = |limit: &Exhausted| {
        [
            limit.limit.clone(),
            limit.scope_value.clone(),
            thousands(limit.requested),
            thousands(limit.available),
            thousands(limit.amount),
            limit.retry_after.map_or_else(|| "-".to_owned(), duration::human),
        ]
    };
    let headings = ["LIMIT", "SCOPE", "REQUESTED", "AVAILABLE", "AMOUNT", "RETRY AFTER"];
    if exhausted.iter().all(|limit| limit.budget_cause.is_none()) {
        return table(headings, &exhausted.iter().map(columns).collect::<Vec<_>>());
    }
    let [a, b, c, d, e, f] = headings;
    let with_budget = exhausted.iter().map(|limit| {
        let [a, b, c, d, e, f] = columns(limit);
        [a, b, c, d, e, f, limit.budget_cause.map_or("-", budget_cause).to_owned()]
    });
    table([a, b, c, d, e, f, "BUDGET"], &with_budget.collect::<Vec<_>>())
}

fn reason_text(denial: &Denial) -> String {
    match &denial.reason {
        DenialReason::LimitExhausted => format!("denied by {}", denial.limit),
        DenialReason::Paused(pause) => format!("denied: {pause}"),
        DenialReason::KeyUnavailable => "denied: no key is active".to_owned(),
        DenialReason::BudgetExhausted { budget, .. } => budget_text(denial, budget),
        DenialReason::OthersWait => format!("denied: others wait for {} first", denial.limit),
        DenialReason::CallUnderWay => "denied: another makes the call".to_owned(),
        DenialReason::CircuitOpen { key, circuit, .. } => {
            format!("denied: the circuit{} is {circuit}", of_key(key))
        }
        DenialReason::Paced { .. } if !denial.limit.is_empty() => {
            format!("denied: calls of {} are paced", denial.limit)
        }
        DenialReason::Paced { key, .. } => format!("denied: calls{} are paced", of_key(key)),
        _ => "denied".to_owned(),
    }
}

fn of_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" of key {key}") }
}

fn budget_text(denial: &Denial, budget: &str) -> String {
    let limit = &denial.limit;
    match denial.budget_cause() {
        Some(BudgetCause::Schedule) => format!("denied: budget {budget} is closed at this hour"),
        Some(BudgetCause::Ceiling) => format!("denied: budget {budget} has had its share of {limit}"),
        _ => format!("denied: what is left of {limit} is kept for other budgets"),
    }
}

fn budget_cause(cause: BudgetCause) -> &'static str {
    match cause {
        BudgetCause::Ceiling => "ceiling",
        BudgetCause::Reserve => "reserve",
        BudgetCause::Schedule => "schedule",
        _ => "other",
    }
}

/// A denial for programs.
pub fn denied_json(denial: &Denial) -> Value {
    let exhausted = denial.exhausted.iter().map(|limit| {
        json!({
            "limit": limit.limit, "scope_value": limit.scope_value, "amount": limit.amount,
            "available": limit.available, "requested": limit.requested,
            "retry_after_seconds": limit.retry_after.map(seconds),
            "budget_cause": limit.budget_cause.map(budget_cause),
        })
    });
    let (reason, pause, budget) = match &denial.reason {
        DenialReason::LimitExhausted => ("limit_exhausted", None, None),
        DenialReason::Paused(pause) => ("paused", Some(pause), None),
        DenialReason::KeyUnavailable => ("key_unavailable", None, None),
        DenialReason::BudgetExhausted { budget, .. } => {
            ("budget_exhausted", None, Some(budget).filter(|budget| !budget.is_empty()))
        }
        DenialReason::OthersWait => ("others_wait", None, None),
        DenialReason::CallUnderWay => ("call_under_way", None, None),
        DenialReason::CircuitOpen { .. } => ("circuit_open", None, None),
        DenialReason::Paced { .. } => ("paced", None, None),
        _ => ("other", None, None),
    };
    let (key, circuit, pace) = match &denial.reason {
        DenialReason::CircuitOpen { key, circuit, .. } => {
            (Some(key), Some(condition::circuit(circuit)), None)
        }
        DenialReason::Paced { key, pace, .. } => (Some(key), None, Some(condition::pace(pace))),
        _ => (None, None, None),
    };
    json!({
        "decision": "denied",
        "resource": denial.resource,
        "waited_seconds": seconds(denial.waited),
        "reason": reason,
        "limit": denial.limit,
        "pause": pause.map(pause_json),
        "key": key,
        "circuit": circuit,
        "pace": pace,
        "budget": budget,
        "retry_after_seconds": denial.retry_after.map(seconds),
        "exhausted": exhausted.collect::<Vec<_>>(),
    })
}

fn pause_json(pause: &Pause) -> Value {
    json!({ "key": pause.key, "left_seconds": pause.left.map(seconds), "reason": pause.reason })
}
