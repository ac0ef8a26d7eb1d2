//! The resources that are asked for: one of each kind of guarantee.
//!
//! Rate limits are well below what is asked for, and take longer to fill than a failover lasts: had a failover filled one,
//! or granted something twice, more would be granted than may be. A limit that is never reached would hide that.

use prost_types::Duration;
use tollgate_client::v1::{
    Budget, BudgetShare, Concurrency, FixedWindow, Limit, Resource, SlidingWindow, TokenBucket, limit::Kind,
};
use tollgate_limiter::Span;

/// A few slots under short leases, so that there is a crowd and leases do end.
pub const SLOTS: &str = "torture/slots";

/// Tokens, of which some consumers have a share; about four times as many are asked for.
pub const BUCKET: &str = "torture/bucket";

/// Tokens of which operators change how many there are. More than are asked for, so that there is always something to
/// grant, and recovery is measured by elections.
pub const CHANGING: &str = "torture/changing";

/// Two windows at once, so that both are debited or none.
pub const WINDOWS: &str = "torture/windows";

/// Slots that nobody ever gives back: what is acknowledged here must be there at the end.
pub const KEPT: &str = "torture/kept";

/// The lease that clients of [`SLOTS`] ask for.
pub const LEASE: Span = Span::from_millis(1_500);

/// How long the server waits after that before it gives the slot to somebody else.
pub const GRACE: Span = Span::from_millis(300);

/// Longer than any session.
pub const FOR_EVER: Span = Span::from_secs(24 * 3_600);

/// All resources.
pub fn resources() -> Vec<Resource> {
    vec![
        resource(SLOTS, [limit("slots", Kind::Concurrency(slots(8, LEASE, GRACE)))]),
        Resource { budgets: budgets(), ..resource(BUCKET, [limit("tokens", Kind::TokenBucket(scarce()))]) },
        resource(CHANGING, [limit("tokens", Kind::TokenBucket(plenty()))]),
        resource(
            WINDOWS,
            [limit("burst", Kind::SlidingWindow(burst())), limit("hourly", Kind::FixedWindow(hourly()))],
        ),
        resource(KEPT, [limit("slots", Kind::Concurrency(slots(20_000, FOR_EVER, GRACE)))]),
    ]
}

fn scarce() -> TokenBucket {
    TokenBucket { capacity: 40, refill_amount: 20, refill_period: wire(Span::from_secs(1)) }
}

/// The tokens of [`CHANGING`] at first.
pub fn plenty() -> TokenBucket {
    TokenBucket { capacity: 100, refill_amount: 300, refill_period: wire(Span::from_secs(1)) }
}

/// The same resource, with other tokens.
pub fn with_bucket(resource: Resource, bucket: TokenBucket) -> Resource {
    Resource { limits: vec![limit("tokens", Kind::TokenBucket(bucket))], ..resource }
}

/// A guaranteed part and a ceiling for clients 10 to 19, and the rest for the others.
fn budgets() -> Vec<Budget> {
    let share = BudgetShare { limit: "tokens".to_owned(), reserve_percent: 20, ceiling_percent: Some(60) };
    let few = Budget {
        name: "few".to_owned(),
        consumers: vec!["client-1?".to_owned()],
        weight: 2,
        shares: vec![share],
        ..Budget::default()
    };
    vec![few, Budget { name: "others".to_owned(), unbudgeted: true, ..Budget::default() }]
}

fn slots(slots: u32, lease: Span, grace: Span) -> Concurrency {
    Concurrency {
        slots,
        lease_default: wire(lease),
        lease_max: wire(lease),
        grace: wire(grace),
        ..Concurrency::default()
    }
}

fn burst() -> SlidingWindow {
    SlidingWindow { amount: 40, period: wire(Span::from_secs(2)), resolution: 20 }
}

/// Never full: it is there to be debited together with the other, or not at all.
fn hourly() -> FixedWindow {
    FixedWindow { amount: 1_000_000, period: wire(Span::from_secs(3_600)), ..FixedWindow::default() }
}

fn resource(name: &str, limits: impl IntoIterator<Item = Limit>) -> Resource {
    // What is granted here is used at once, or given back: nothing is still to arrive at a vendor later.
    let dispatch_tolerance = wire(Span::ZERO);
    Resource {
        name: name.to_owned(),
        limits: limits.into_iter().collect(),
        dispatch_tolerance,
        ..Resource::default()
    }
}

fn limit(name: &str, kind: Kind) -> Limit {
    Limit { name: name.to_owned(), kind: Some(kind), ..Limit::default() }
}

/// A span on the wire.
pub fn wire(span: Span) -> Option<Duration> {
    Duration::try_from(std::time::Duration::from_nanos(span.0)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollgate_limiter::{Command, Resource};
    use tollgate_server::grpc::convert::definition::definition;

    use super::*;
    use crate::check::{
        intervals,
        story::{Story, acquire, granted},
    };

    /// Milliseconds between requests: for half of what the clients ask for.
    const PACE_MS: usize = 25;

    /// A leader dies, and another one grants.
    const OUTAGE_MS: std::ops::Range<u64> = 10_000..10_800;

    /// Grants of [`BUCKET`] in 12 s, by a server that does its sums; but for the outage, which may fill the bucket.
    fn run(is_filled: bool) -> Story {
        let resource: Resource = definition(resources().swap_remove(1)).unwrap();
        let (mut story, name) = (Story::of(resource.clone()), resource.name);
        let (capacity, per_ms) = (scarce().capacity as f64, scarce().refill_amount as f64 / 1_000.0);
        let mut tokens = capacity;
        for at in (2..12_000).step_by(PACE_MS) {
            tokens = (tokens + per_ms * PACE_MS as f64).min(capacity);
            if OUTAGE_MS.contains(&at) {
                tokens = if is_filled { capacity } else { tokens };
            } else if tokens >= 1.0 {
                tokens -= 1.0;
                let Command::Acquire(mut asked) = acquire(&at.to_string()) else { panic!("it acquires") };
                Arc::make_mut(&mut asked).resource = name.clone();
                story.seen(at, at + 3, Command::Acquire(asked), granted(at));
            }
        }
        story
    }

    #[test]
    fn a_failover_that_filled_the_bucket_would_be_noticed() {
        run(false).passes(intervals::check);
        run(true).violates("S1", intervals::check);
    }
}
