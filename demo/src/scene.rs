//! A vendor, how fast its clock runs, what is asked of it, and what Tollgate is told about it.

use std::{ops::RangeInclusive, time::Duration};

use tollgate_client::v1::{
    Anchor, Concurrency, FixedWindow, Limit, Resource, SlidingWindow, TokenBucket, limit::Kind,
};
use tollgate_mock_vendor::{Apollo, HubSpot, Profile, Salesforce, Salesloft};

/// A vendor that the mock can imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vendor {
    /// 190 calls in any ten seconds.
    Hubspot,
    /// 25 calls at the same time, each of 20 to 30 s.
    Salesforce,
    /// A cost of 600 in any minute; pages far down a list cost more.
    Salesloft,
    /// 1,000 calls a minute; the first call opens the minute.
    Apollo,
}

/// A vendor with a clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Which.
    pub vendor: Vendor,
    /// How many times as fast its clock runs. All windows and calls are shorter by it.
    pub faster: u32,
}

/// One call that the vendor is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Path and query.
    pub uri: String,
    /// What the vendor counts for it.
    pub cost: u64,
}

/// No call needs longer to get from a worker to the vendor; a machine that is busy for longer makes permits go unused.
const DISPATCH_MIN: Duration = Duration::from_millis(75);

/// Finer than by default: what a sub-bucket wastes is a quarter.
const RESOLUTION: u32 = 400;

impl Scene {
    /// As `tollgate demo` shows it: with windows of seconds, and some tens of calls a second.
    pub fn compressed(vendor: Vendor) -> Scene {
        let faster = match vendor {
            Vendor::Hubspot => 4,
            Vendor::Salesforce => 40,
            Vendor::Salesloft => 20,
            Vendor::Apollo => 12,
        };
        Scene { vendor, faster }
    }

    /// What the mock vendor enforces.
    pub fn profile(self) -> Profile {
        let profile: Profile = match self.vendor {
            Vendor::Hubspot => HubSpot::PROFESSIONAL.into(),
            Vendor::Salesforce => Salesforce::STRICT.into(),
            Vendor::Salesloft => Salesloft::STANDARD.into(),
            Vendor::Apollo => Apollo::PAID_ENRICHMENT.into(),
        };
        profile.with_latency(self.vendor.latency()).faster(self.faster)
    }

    /// The shortest of the vendor's windows; of one that limits what runs, the longest call.
    pub fn window(self) -> Duration {
        let window = match self.vendor {
            Vendor::Hubspot => Duration::from_secs(10),
            Vendor::Salesforce => *self.vendor.latency().end(),
            Vendor::Salesloft | Vendor::Apollo => Duration::from_secs(60),
        };
        window / self.faster
    }

    /// What goes through in a second at most, roughly.
    pub fn calls_per_second(self) -> f64 {
        let in_window = match self.vendor {
            Vendor::Hubspot => 190.0,
            // The mean call is shorter than the longest.
            Vendor::Salesforce => 25.0 * 30.0 / 25.0,
            Vendor::Salesloft => 600.0 / MEAN_PAGE_COST,
            Vendor::Apollo => 1_000.0,
        };
        in_window / self.window().as_secs_f64()
    }

    /// What Tollgate is told: the limits that the vendor documents, as far as a run can come near them. Beside a window stands a
    /// pace. The window alone keeps below the vendor's limit, but a fleet that waits for it moves in bursts, a window apart, and
    /// whoever comes between two bursts waits for the next, whatever its priority.
    pub fn resource(self, name: &str) -> Resource {
        let window = self.window();
        let tolerance = (window * 15 / 1_000).max(DISPATCH_MIN);
        let limits = match self.vendor {
            Vendor::Hubspot => {
                vec![limit("ten-seconds", rolling(190, window)), pace(190, window + tolerance)]
            }
            Vendor::Salesforce => vec![limit("concurrent", slots(25, window))],
            Vendor::Salesloft => vec![limit("minute", rolling(600, window)), pace(600, window + tolerance)],
            Vendor::Apollo => vec![limit("minute", opened(1_000, window)), pace(1_000, window)],
        };
        Resource {
            name: name.to_owned(),
            limits,
            dispatch_tolerance: Some(to_wire(tolerance)),
            description: format!("like {:?}, with a clock {} times as fast", self.vendor, self.faster),
            ..Resource::default()
        }
    }

    /// Some work.
    pub fn task(self, random: &mut fastrand::Rng) -> Task {
        match self.vendor {
            Vendor::Hubspot => Task { uri: "/crm/v3/objects/contacts".to_owned(), cost: 1 },
            Vendor::Salesforce => Task { uri: "/services/data/v62.0/query".to_owned(), cost: 1 },
            Vendor::Salesloft => {
                let (page, cost) = PAGES[random.usize(..PAGES.len())];
                Task { uri: format!("/v2/people.json?per_page=100&page={page}"), cost }
            }
            Vendor::Apollo => Task { uri: "/v1/people/match".to_owned(), cost: 1 },
        }
    }

    /// How the preset that reads the vendor's answers is called.
    pub fn preset(self) -> &'static str {
        match self.vendor {
            Vendor::Hubspot => "hubspot",
            Vendor::Salesforce => "salesforce",
            Vendor::Salesloft => "salesloft",
            Vendor::Apollo => "apollo",
        }
    }
}

/// Pages of lists, and what the vendor documents that they cost. Most lists are short.
const PAGES: [(u32, u64); 8] = [(1, 1), (2, 1), (17, 1), (60, 1), (99, 1), (130, 3), (200, 8), (300, 10)];
const MEAN_PAGE_COST: f64 = 26.0 / PAGES.len() as f64;

impl Vendor {
    /// Of its calls, by its own clock.
    fn latency(self) -> RangeInclusive<Duration> {
        match self {
            Vendor::Salesforce => Duration::from_secs(20)..=Duration::from_secs(30),
            _ => Duration::from_millis(50)..=Duration::from_millis(150),
        }
    }
}

fn limit(name: &str, kind: Kind) -> Limit {
    Limit { name: name.to_owned(), kind: Some(kind), ..Limit::default() }
}

fn rolling(amount: u64, window: Duration) -> Kind {
    Kind::SlidingWindow(SlidingWindow { amount, period: Some(to_wire(window)), resolution: RESOLUTION })
}

fn opened(amount: u64, window: Duration) -> Kind {
    let anchor = Anchor::FirstRequest.into();
    Kind::FixedWindow(FixedWindow { amount, period: Some(to_wire(window)), anchor, ..FixedWindow::default() })
}

/// As fast as the window allows in the long run; a tenth of it makes up for moments in which nobody asked.
fn pace(amount: u64, window: Duration) -> Limit {
    let refill_period = Some(to_wire(window));
    limit(
        "pace",
        Kind::TokenBucket(TokenBucket { capacity: amount / 10, refill_amount: amount, refill_period }),
    )
}

/// A crashed worker's call may go on at the vendor for as long as the longest: the lease that is left outlives it.
fn slots(slots: u32, longest_call: Duration) -> Kind {
    let lease = Some(to_wire((longest_call * 2).max(Duration::from_secs(5))));
    let grace = Some(to_wire(Duration::from_millis(500)));
    Kind::Concurrency(Concurrency {
        slots,
        lease_default: lease,
        lease_max: lease,
        grace,
        ..Concurrency::default()
    })
}

fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("some minutes at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_cost_is_that_of_the_pages() {
        let sum: u64 = PAGES.iter().map(|(_, cost)| cost).sum();
        assert_eq!(MEAN_PAGE_COST, sum as f64 / PAGES.len() as f64);
    }
}
