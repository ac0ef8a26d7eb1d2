//! Resources and requests that tests begin with.

use prost_types::Duration;
use tollgate_proto::v1::{AcquirePermitRequest, Concurrency, Limit, Resource, TokenBucket, limit::Kind};

/// So many seconds, on the wire.
pub fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

/// A resource with so many slots, whose leases outlive every test.
pub fn slots(name: &str, slots: u32) -> Resource {
    let concurrency = Concurrency {
        slots,
        lease_default: seconds(3600),
        lease_max: seconds(7200),
        grace: seconds(1),
        ..Concurrency::default()
    };
    let limit =
        Limit { name: "slots".to_owned(), kind: Some(Kind::Concurrency(concurrency)), ..Limit::default() };
    Resource { name: name.to_owned(), limits: vec![limit], ..Resource::default() }
}

/// A resource that grants all that a test can ask for, and remembers no permit.
pub fn plenty(name: &str) -> Resource {
    let bucket = TokenBucket { capacity: 1_000_000_000, refill_amount: 1, refill_period: seconds(3600) };
    let limit =
        Limit { name: "plenty".to_owned(), kind: Some(Kind::TokenBucket(bucket)), ..Limit::default() };
    Resource { name: name.to_owned(), limits: vec![limit], settle_within: seconds(0), ..Resource::default() }
}

/// A request for one permit, that may be repeated under its id.
pub fn acquire(resource: &str, request_id: &str) -> AcquirePermitRequest {
    AcquirePermitRequest {
        resource: resource.to_owned(),
        request_id: request_id.to_owned(),
        ..AcquirePermitRequest::default()
    }
}
