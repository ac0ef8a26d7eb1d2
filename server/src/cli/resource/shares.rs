//! Who has what of a resource: budgets and consumers, as tables and as JSON.

use serde_json::{Value, json};
use tollgate_client::v1::{
    Budget, BudgetFigures, BudgetShare, BudgetUse, ConsumerFigures, GetResourceUsageResponse, OpenHours,
    Schedule, Weekday,
};

use super::super::{
    duration,
    output::wire_seconds,
    table::{table, thousands},
};

/// The tables, each after an empty line; none for what there is nothing of.
pub fn text(usage: &GetResourceUsageResponse) -> String {
    let mut text = String::new();
    if !usage.budgets.is_empty() {
        text += &format!("\n\n{}", budgets_text(&usage.budgets));
    }
    if !usage.consumers.is_empty() {
        text += &format!("\n\n{}", consumers_text(&usage.consumers));
    }
    if usage.waiting > 0 {
        text += &format!("\n\nwaiting: {}", thousands(usage.waiting));
    }
    text
}

fn budgets_text(budgets: &[BudgetFigures]) -> String {
    let rows: Vec<_> = budgets
        .iter()
        .flat_map(|budget| {
            let uses: Vec<_> = match budget.uses.is_empty() {
                true => vec![None],
                false => budget.uses.iter().map(Some).collect(),
            };
            uses.into_iter().map(move |of| budget_row(budget, of))
        })
        .collect();
    table(["BUDGET", "STATE", "LIMIT", "SCOPE", "USED", "CEILING", "RESERVED", "RESERVE LEFT"], &rows)
}

fn budget_row(budget: &BudgetFigures, of: Option<&BudgetUse>) -> [String; 8] {
    let number = |number: fn(&BudgetUse) -> u64| of.map_or("-".to_owned(), |of| thousands(number(of)));
    [
        budget.budget.clone(),
        state(budget),
        of.map_or("-".to_owned(), |of| of.limit.clone()),
        of.map(|of| of.scope_value.clone()).unwrap_or_default(),
        number(|of| of.used),
        number(|of| of.ceiling),
        number(|of| of.reserve),
        number(|of| of.reserve_left),
    ]
}

fn state(budget: &BudgetFigures) -> String {
    let state = if budget.open { "open" } else { "closed" };
    match budget.changes_in {
        Some(changes_in) => format!("{state} for {}", duration::wire(Some(changes_in))),
        None => state.to_owned(),
    }
}

fn consumers_text(consumers: &[ConsumerFigures]) -> String {
    let rows: Vec<_> = consumers
        .iter()
        .map(|consumer| {
            let uses: Vec<_> =
                consumer.uses.iter().map(|of| format!("{} {}", of.limit, thousands(of.used))).collect();
            [
                if consumer.consumer.is_empty() { "(none)".to_owned() } else { consumer.consumer.clone() },
                if consumer.budget.is_empty() { "-".to_owned() } else { consumer.budget.clone() },
                thousands(consumer.waiting_high),
                thousands(consumer.waiting_medium),
                thousands(consumer.waiting_low),
                duration::wire(consumer.oldest_wait),
                uses.join(", "),
            ]
        })
        .collect();
    table(["CONSUMER", "BUDGET", "WAIT HIGH", "MEDIUM", "LOW", "OLDEST", "USES"], &rows)
}

/// Adds the figures to those of the resource.
pub fn add_json(value: &mut Value, usage: &GetResourceUsageResponse) {
    value["budgets"] = usage.budgets.iter().map(budget_json).collect();
    value["consumers"] = usage.consumers.iter().map(consumer_json).collect();
    value["waiting"] = usage.waiting.into();
}

fn budget_json(budget: &BudgetFigures) -> Value {
    let of = |of: &BudgetUse| {
        json!({
            "limit": of.limit,
            "scope_value": of.scope_value,
            "reserve": of.reserve,
            "reserve_left": of.reserve_left,
            "ceiling": of.ceiling,
            "used": of.used,
        })
    };
    json!({
        "budget": budget.budget,
        "open": budget.open,
        "changes_in_seconds": wire_seconds(budget.changes_in),
        "uses": budget.uses.iter().map(of).collect::<Vec<_>>(),
    })
}

fn consumer_json(consumer: &ConsumerFigures) -> Value {
    let uses = consumer.uses.iter().map(|of| json!({ "limit": of.limit, "used": of.used }));
    json!({
        "consumer": consumer.consumer,
        "budget": consumer.budget,
        "waiting_high": consumer.waiting_high,
        "waiting_medium": consumer.waiting_medium,
        "waiting_low": consumer.waiting_low,
        "oldest_wait_seconds": wire_seconds(consumer.oldest_wait),
        "uses": uses.collect::<Vec<_>>(),
    })
}

/// A budget as it is defined.
pub fn definition(budget: &Budget) -> Value {
    let share = |share: &BudgetShare| {
        json!({
            "limit": share.limit,
            "reserve_percent": share.reserve_percent,
            "ceiling_percent": share.ceiling_percent,
        })
    };
    json!({
        "name": budget.name,
        "consumers": budget.consumers,
        "unbudgeted": budget.unbudgeted,
        "weight": budget.weight,
        "shares": budget.shares.iter().map(share).collect::<Vec<_>>(),
        "schedule": budget.schedule.as_ref().map(schedule),
    })
}

fn schedule(schedule: &Schedule) -> Value {
    let hours = |hours: &OpenHours| {
        json!({
            "weekdays": hours.weekdays().map(weekday).collect::<Vec<_>>(),
            "from": hours.from,
            "to": hours.to,
        })
    };
    json!({ "time_zone": schedule.time_zone, "open": schedule.open.iter().map(hours).collect::<Vec<_>>() })
}

fn weekday(weekday: Weekday) -> String {
    weekday.as_str_name().trim_start_matches("WEEKDAY_").to_lowercase()
}
