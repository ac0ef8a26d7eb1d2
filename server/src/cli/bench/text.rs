//! A measurement for people.

use std::{fmt::Write, time::Duration};

use tollgate_bench::{Calls, Cycle, Pace, Plan, Ratio, Report, Shape, SideReport, Stream};

use super::super::{
    duration,
    table::{table, thousands},
};

/// Of the rate of an open loop: whoever has less did not keep up, and its latencies are those of a queue.
const KEPT_UP: f64 = 0.95;

pub fn text(report: &Report) -> String {
    let mut text = format!("{}\n\n{}\n", heading(&report.plan), sides(&report.sides));
    for side in &report.sides {
        if !side.cpu.is_empty() {
            let used =
                |cpu: &tollgate_bench::Cpu| format!("{} {:.1} µs", cpu.process, cpu.micros_per_operation);
            let used: Vec<_> = side.cpu.iter().map(used).collect();
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}: processor's time an operation: {}", side.name, used.join(", "));
        }
        if let Pace::Open { rate } = report.plan.pace
            && side.rate() < KEPT_UP * rate
        {
            let _ = write!(text, "\n{}: it fell behind: {:.0} of {rate} a second", side.name, side.rate());
        }
        for (problem, count) in &side.tally.errors {
            let _ = write!(text, "\n{}: {} times: {problem}", side.name, thousands(*count));
        }
    }
    if report.leader_changed {
        text += "\nA leader was elected since the beginning: measure again.";
    }
    text
}

fn heading(plan: &Plan) -> String {
    let pace = match plan.pace {
        Pace::Closed { in_flight } => format!("{in_flight} in flight"),
        Pace::Open { rate } => format!("{rate} a second, whatever is answered"),
    };
    let resources = match (plan.resources, plan.zipf) {
        (1, _) => "1 resource".to_owned(),
        (count, None) => format!("{} resources", thousands(count as u64)),
        (count, Some(exponent)) => format!("{} resources (Zipf, {exponent})", thousands(count as u64)),
    };
    let limits = match (plan.limits, plan.slots) {
        (limits, None) => format!("{limits} rate limits"),
        (0, Some(slots)) => format!("{} slots", thousands(slots)),
        (limits, Some(slots)) => format!("{} slots and {limits} rate limits", thousands(slots)),
    };
    let length = match plan.sides() {
        1 => duration::human(plan.duration),
        sides => format!("{} rounds of 1 s for each of {sides}", plan.rounds()),
    };
    let connections = plan.connections;
    let operation = operation(&plan.shape);
    format!("{operation}: {connections} connections, {pace}; {resources} with {limits}; {length}")
}

/// What one operation is.
pub fn operation(shape: &Shape) -> String {
    match shape {
        Shape::Calls(Calls::Acquire) => "acquire".to_owned(),
        Shape::Calls(Calls::Deny) => "deny".to_owned(),
        Shape::Calls(Calls::Batch { size }) => format!("acquire, {size} in a batch"),
        Shape::Calls(Calls::Wait) => "wait for a slot".to_owned(),
        Shape::Calls(Calls::Lease { renewals }) => lease(*renewals),
        Shape::Stream(Stream { per_message, cycle }) => {
            let cycle = match cycle {
                Cycle::Acquire => "acquire".to_owned(),
                Cycle::Lease { renewals } => lease(*renewals),
            };
            format!("{cycle}, {per_message} in a message of a stream")
        }
        Shape::Prefetch => "acquire, taken in advance".to_owned(),
    }
}

fn lease(renewals: u32) -> String {
    match renewals {
        0 => "acquire and release".to_owned(),
        1 => "acquire, renew and release".to_owned(),
        _ => format!("acquire, renew {renewals} times and release"),
    }
}

fn sides(sides: &[SideReport]) -> String {
    let rows: Vec<_> = sides
        .iter()
        .map(|side| {
            let [p50, p90, p99, p999, max] =
                [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| latency(side.tally.quantile(part)));
            [
                side.name.to_owned(),
                thousands(side.rate() as u64),
                p50,
                p90,
                p99,
                p999,
                max,
                thousands(side.tally.errors.values().sum::<u64>()),
                ratio(side.of_floor),
                ratio(side.of_first),
            ]
        })
        .collect();
    let headings =
        ["SIDE", "A SECOND", "P50", "P90", "P99", "P99.9", "MAX", "ERRORS", "OF THE FLOOR", "OF THE FIRST"];
    table(headings, &rows)
}

fn ratio(ratio: Option<Ratio>) -> String {
    match ratio {
        Some(Ratio { median, least, greatest }) => format!("{median:.2} ({least:.2} to {greatest:.2})"),
        None => "-".to_owned(),
    }
}

/// Three digits at least.
fn latency(latency: Duration) -> String {
    match latency.as_micros() {
        0 => format!("{}ns", latency.as_nanos()),
        micros @ 1..1_000 => format!("{micros}µs"),
        micros @ 1_000..1_000_000 => format!("{:.2}ms", micros as f64 / 1e3),
        _ => format!("{:.2}s", latency.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_a_unit_that_fits() {
        assert_eq!(latency(Duration::from_nanos(180)), "180ns");
        for (micros, expected) in [(1, "1µs"), (999, "999µs"), (1_000, "1.00ms"), (2_340_000, "2.34s")] {
            assert_eq!(latency(Duration::from_micros(micros)), expected);
        }
    }
}
