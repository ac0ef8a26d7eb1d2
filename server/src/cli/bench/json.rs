//! A measurement for programs.

use serde_json::{Value, json};
use tollgate_bench::{Pace, Ratio, Report, SideReport};

use super::{super::output::seconds, text::operation};

pub fn json(report: &Report) -> Value {
    let plan = &report.plan;
    let (in_flight, rate) = match plan.pace {
        Pace::Closed { in_flight } => (Some(in_flight), None),
        Pace::Open { rate } => (None, Some(rate)),
    };
    json!({
        "operation": operation(&plan.shape),
        "connections": plan.connections,
        "in_flight": in_flight,
        "rate": rate,
        "resources": plan.resources,
        "limits": plan.limits,
        "slots": plan.slots,
        "duration_seconds": seconds(plan.duration),
        "leader_changed": report.leader_changed,
        "sides": report.sides.iter().map(side).collect::<Vec<_>>(),
    })
}

fn side(side: &SideReport) -> Value {
    let quantile = |part| seconds(side.tally.quantile(part));
    let cpu = side.cpu.iter().map(|cpu| (cpu.process.clone(), Value::from(cpu.micros_per_operation)));
    json!({
        "name": side.name,
        "operations_per_second": side.rate(),
        "slices": side.rates,
        "operations": side.tally.operations,
        "errors": side.tally.errors,
        "latency_seconds": {
            "p50": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99), "p99.9": quantile(0.999),
            "max": quantile(1.0),
        },
        "cpu_micros_per_operation": cpu.collect::<serde_json::Map<_, _>>(),
        "of_floor": side.of_floor.map(ratio),
        "of_first": side.of_first.map(ratio),
    })
}

fn ratio(ratio: Ratio) -> Value {
    json!({ "median": ratio.median, "least": ratio.least, "greatest": ratio.greatest })
}
