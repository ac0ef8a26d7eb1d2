//! `tollgate resource usage`.

use serde_json::{Value, json};
use tollgate_client::{
    Client,
    v1::{CounterFigures, GetResourceUsageRequest, GetResourceUsageResponse, HeldSlot, LimitFigures},
};

use super::{
    super::{
        Failure, Output, duration,
        output::wire_seconds,
        table::{table, thousands},
    },
    availability, condition, json as definition, shares,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The resource, such as salesforce/acme.
    name: String,

    /// Only this key, consumer or subject of scoped limits.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    scope_value: String,

    /// At most so many keys, consumers or subjects of each limit, those with the least left first: 1 to 1,000.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    max_scope_values: u32,
}

pub async fn run(client: &Client, output: Output, args: Args) -> Result<(), Failure> {
    let Args { name, scope_value, max_scope_values } = args;
    let request = GetResourceUsageRequest { name: name.clone(), scope_value, max_scope_values };
    let usage = client.resources().usage(request).await?;
    output.print(|| text(&name, &usage), || json(&name, &usage))
}

fn text(name: &str, usage: &GetResourceUsageResponse) -> String {
    let counters: Vec<_> = usage
        .limits
        .iter()
        .flat_map(|limit| limit.counters.iter().map(move |counter| (limit, counter)))
        .map(|(limit, counter)| {
            [
                limit.limit.clone(),
                counter.scope_value.clone(),
                thousands(counter.used),
                thousands(counter.available),
                thousands(counter.amount),
                duration::wire(counter.full_in),
            ]
        })
        .collect();
    let headings = ["LIMIT", "SCOPE", "USED", "AVAILABLE", "AMOUNT", "FRESH IN"];
    let orders = usage.resource.iter().flat_map(availability::lines).chain(told_lines(&usage.limits));
    let orders = orders.map(|line| format!("\n  {line}"));
    let mut text = format!("{name}{}\n\n{}", orders.collect::<String>(), table(headings, &counters));
    for limit in usage.limits.iter().filter(|limit| limit.scope_values > limit.counters.len() as u64) {
        let others = limit.scope_values - limit.counters.len() as u64;
        text += &format!("\n{}: {} others with more left", limit.limit, thousands(others));
    }
    if !usage.held.is_empty() {
        text += &format!("\n\n{}", held_text(&usage.held));
    }
    text + &shares::text(usage)
}

/// What the vendor told of limits, as far as it holds permits back: the table shows them as if there were room, or as if it was us who
/// had used them.
fn told_lines(limits: &[LimitFigures]) -> impl Iterator<Item = String> {
    let counters = limits.iter().flat_map(|limit| limit.counters.iter().map(move |of| (&limit.limit, of)));
    counters.flat_map(|(limit, counter)| {
        let of = match counter.scope_value.as_str() {
            "" => limit.clone(),
            value => format!("{limit} of {value}"),
        };
        let held = counter.held_for.map(duration::from_wire).filter(|held_for| !held_for.is_zero());
        let held = held.map(|left| format!("{of}: held by the vendor for {}", duration::human(left)));
        let pace = counter.pace.map(|pace| format!("{of}: {}", condition::pace_text(&pace.into())));
        let others = Some(counter.used_by_others).filter(|used| *used > 0);
        let others = others.map(|used| format!("{of}: {} used by others", thousands(used)));
        held.into_iter().chain(pace).chain(others)
    })
}

fn held_text(held: &[HeldSlot]) -> String {
    let rows: Vec<_> = held
        .iter()
        .map(|slot| {
            [
                slot.limit.clone(),
                slot.scope_value.clone(),
                slot.index.to_string(),
                slot.permit_id.clone(),
                slot.consumer.clone(),
                slot.operation.clone(),
                duration::wire(slot.held_for),
                duration::wire(slot.lease_left),
            ]
        })
        .collect();
    let headings = ["LIMIT", "SCOPE", "SLOT", "PERMIT", "CONSUMER", "OPERATION", "HELD FOR", "LEASE LEFT"];
    table(headings, &rows)
}

fn json(name: &str, usage: &GetResourceUsageResponse) -> Value {
    let resource = usage.resource.as_ref();
    let keys = resource.into_iter().flat_map(|resource| &resource.key_statuses);
    let conditions = resource.into_iter().flat_map(|resource| &resource.conditions);
    let tightened = resource.into_iter().flat_map(|resource| &resource.tightened);
    let mut value = json!({
        "name": name,
        "pause": resource.and_then(|resource| resource.pause.as_ref()).map(definition::pause),
        "key_statuses": keys.map(definition::key_status).collect::<Vec<_>>(),
        "conditions": conditions.map(condition::json).collect::<Vec<_>>(),
        "tightened": tightened.map(condition::tightened).collect::<Vec<_>>(),
        "limits": usage.limits.iter().map(limit_json).collect::<Vec<_>>(),
        "held": usage.held.iter().map(held_json).collect::<Vec<_>>(),
        "settleable_permits": usage.settleable_permits,
    });
    shares::add_json(&mut value, usage);
    value
}

fn limit_json(limit: &LimitFigures) -> Value {
    json!({
        "limit": limit.limit,
        "scope_values": limit.scope_values,
        "counters": limit.counters.iter().map(counter_json).collect::<Vec<_>>(),
    })
}

fn counter_json(counter: &CounterFigures) -> Value {
    json!({
        "scope_value": counter.scope_value,
        "amount": counter.amount,
        "used": counter.used,
        "available": counter.available,
        "full_in_seconds": wire_seconds(counter.full_in),
        "used_by_others": counter.used_by_others,
        "held_for_seconds": wire_seconds(counter.held_for),
        "pace": counter.pace.map(|pace| condition::pace(&pace.into())),
    })
}

fn held_json(slot: &HeldSlot) -> Value {
    json!({
        "limit": slot.limit,
        "scope_value": slot.scope_value,
        "index": slot.index,
        "generation": slot.generation,
        "permit_id": slot.permit_id,
        "consumer": slot.consumer,
        "subject": slot.subject,
        "operation": slot.operation,
        "held_for_seconds": wire_seconds(slot.held_for),
        "lease_left_seconds": wire_seconds(slot.lease_left),
    })
}
