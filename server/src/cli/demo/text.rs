//! The comparison for people, while it goes on and at the end.

use std::time::Duration;

use tollgate_demo::{Comparison, Figures, Plan, Vendor};

use super::super::{
    duration,
    table::{table, thousands},
};

pub fn text(plan: &Plan, comparison: &Comparison) -> String {
    let heading = format!(
        "{} workers call {}, for {} each; in the middle the vendor is out of order for {}",
        thousands(plan.workers),
        vendor(plan.vendor),
        duration::human(plan.length),
        duration::human(plan.length / 10),
    );
    let row = |name: &str, value: fn(&Figures) -> Option<String>| {
        let of = |side: &Option<Figures>| side.as_ref().and_then(value).unwrap_or_else(|| "-".to_owned());
        [name.to_owned(), of(&comparison.naive), of(&comparison.tollgate)]
    };
    let rows = [
        row("time", |figures| Some(format!("{:.0} s", figures.seconds))),
        row("calls", |figures| Some(thousands(figures.calls as u64))),
        row("refused by the vendor's limits", |figures| Some(thousands(figures.refused as u64))),
        row("share of the vendor's capacity used", |figures| {
            figures.capacity_used.map(|share| format!("{:.1} %", share * 100.0))
        }),
        row("work done", |figures| Some(thousands(figures.done))),
        row("work given up", |figures| Some(thousands(figures.given_up))),
        row("high-priority work, p95", |figures| {
            figures.interactive_p95.map(|p95| duration::human(Duration::from_secs_f64(p95)))
        }),
        row("retries", |figures| Some(thousands(figures.retries))),
        row("calls in the second after the outage", |figures| {
            figures.after_outage.map(|calls| thousands(calls as u64))
        }),
    ];
    format!("{heading}\n\n{}", table(["", "BACKOFF ALONE", "THROUGH TOLLGATE"], &rows))
}

fn vendor(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Hubspot => "a vendor like HubSpot (190 calls in any 2.5 s)",
        Vendor::Salesforce => "a vendor like Salesforce (25 calls at a time, of 500 to 750 ms)",
        Vendor::Salesloft => "a vendor like Salesloft (600 of cost in any 3 s)",
        Vendor::Apollo => "a vendor like Apollo (1,000 calls in 5 s, which the first call begins)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_is_a_dash() {
        let plan = Plan { vendor: Vendor::Hubspot, workers: 200, length: Duration::from_secs(20) };
        let naive = Figures {
            seconds: 20.0,
            calls: 2_000,
            refused: 600,
            during_outage: 10,
            after_outage: None,
            capacity_used: Some(0.905),
            done: 1_390,
            retries: 500,
            given_up: 3,
            interactive_p95: Some(1.25),
        };
        let comparison = Comparison { naive: Some(naive), tollgate: None };
        let text = text(&plan, &comparison);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        let cells = |name: &str| line(name)[name.len()..].split("  ").map(str::trim).collect::<String>();
        assert_eq!(cells("share of the vendor's capacity used"), "90.5 %-");
        assert_eq!(cells("high-priority work, p95"), "1.3s-");
        assert_eq!(cells("calls in the second after the outage"), "--");
    }
}
