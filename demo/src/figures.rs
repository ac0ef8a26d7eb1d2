//! What there is to compare.

use std::{ops::Range, time::Duration};

use serde::Serialize;
use tollgate_mock_vendor::MockVendor;

use crate::tally::Tally;

/// Both runs, as far as they have come.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// With backoff alone.
    pub naive: Option<Figures>,
    /// With a permit for each call.
    pub tollgate: Option<Figures>,
}

/// One run. What the vendor counted, and what only workers know.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// How long it has run, in seconds.
    pub seconds: f64,
    /// Calls that the vendor saw.
    pub calls: usize,
    /// Of these, refused because of a limit.
    pub refused: usize,
    /// Of these, met with the outage.
    pub during_outage: usize,
    /// Calls within a second after the outage; none before that.
    pub after_outage: Option<usize>,
    /// Of what the vendor's limits let through, the part that was used: from when the fleet was up, and without the outage and
    /// the window after it, in which a fleet may make up for some of it. None: no window is over yet.
    pub capacity_used: Option<f64>,
    /// Work that was done.
    pub done: u64,
    /// Calls beyond the first for the same work.
    pub retries: u64,
    /// Work that was given up.
    pub given_up: u64,
    /// The time within which 95 % of the interactive work was done, in seconds, from when it was wanted; without what met with
    /// the outage.
    pub interactive_p95: Option<f64>,
}

/// How long after an outage calls count as those that had waited for its end.
const AFTER: Duration = Duration::from_secs(1);

impl Figures {
    /// Those of a run with a vendor of such windows, and a fleet that came up within the first of them.
    pub fn of(vendor: &MockVendor, tally: &Tally, window: Duration) -> Figures {
        let ledger = vendor.ledger();
        let now = vendor.now();
        let outage = ledger.outages.first();
        let is_over = outage.is_some_and(|outage| outage.end + AFTER <= now);
        let steady = steady(window, outage, now);
        Figures {
            seconds: now.as_secs_f64(),
            calls: ledger.calls.len(),
            refused: ledger.refused().count(),
            during_outage: ledger.down().count(),
            after_outage: is_over.then(|| ledger.after_outages(AFTER).into_iter().sum()),
            capacity_used: share(vendor, &steady),
            done: tally.done,
            retries: tally.retries,
            given_up: tally.given_up,
            interactive_p95: tally.interactive_quantile(0.95).map(|time| time.as_secs_f64()),
        }
    }
}

/// The time in which the vendor could be used to the full.
fn steady(window: Duration, outage: Option<&Range<Duration>>, now: Duration) -> Vec<Range<Duration>> {
    let spans = match outage {
        Some(outage) => vec![window..outage.start, outage.end + window..now],
        None => vec![window..now],
    };
    spans.into_iter().filter(|span| span.start < span.end).collect()
}

/// By the length of the spans in which the vendor can tell.
fn share(vendor: &MockVendor, spans: &[Range<Duration>]) -> Option<f64> {
    let told = spans.iter().filter_map(|span| {
        let length = (span.end - span.start).as_secs_f64();
        Some((length, vendor.share_used(span)? * length))
    });
    let (length, used) = told.fold((0.0, 0.0), |all, span| (all.0 + span.0, all.1 + span.1));
    (length > 0.0).then(|| used / length)
}
