//! The resources of a measurement: they are made for it, and removed after it.

use futures_util::{StreamExt, TryStreamExt, stream};
use tollgate_client::Client;
use tollgate_proto::v1::{
    Concurrency, FixedWindow, Limit, Resource, SlidingWindow, TokenBucket, limit::Kind,
};

use crate::{
    error::Error,
    plan::{Calls, Plan, Shape},
};

/// More than any measurement can use up.
const AMPLE: u64 = 1_000_000_000_000;

const DAY: i64 = 86_400;

/// Resources that are made or removed at a time.
const AT_ONCE: usize = 64;

/// Those that may wait for a resource, and of one consumer.
const WAITERS_MAX: u32 = 200_000;

/// Resources with names that nobody else has.
pub struct Resources {
    /// Their names.
    pub names: Vec<String>,
}

impl Resources {
    /// Names for the resources of a plan, which are not made yet.
    pub fn name(plan: &Plan) -> Resources {
        let measurement = format!("bench-{:08x}", rand::random::<u32>());
        Resources { names: (0..plan.resources).map(|number| format!("{measurement}/{number}")).collect() }
    }

    /// Makes them all.
    pub async fn create(&self, client: &Client, plan: &Plan) -> Result<(), Error> {
        let create = |name: &String| {
            let resource = resource(name.clone(), plan);
            async move { client.resources().create(resource).await.map(drop) }
        };
        Ok(stream::iter(&self.names).map(create).buffer_unordered(AT_ONCE).try_collect().await?)
    }

    /// Removes those that there are.
    pub async fn delete(&self, client: &Client) -> Result<(), Error> {
        let delete = |name: &String| {
            let name = name.clone();
            async move {
                match client.resources().delete(&name, 0).await {
                    // It was not made, for the measurement was interrupted before.
                    Err(tollgate_client::Error::NotFound { .. }) => Ok(()),
                    deleted => deleted,
                }
            }
        };
        Ok(stream::iter(&self.names).map(delete).buffer_unordered(AT_ONCE).try_collect().await?)
    }
}

fn resource(name: String, plan: &Plan) -> Resource {
    let is_exhausted = plan.shape == Shape::Calls(Calls::Deny);
    let mut limits: Vec<Limit> = (0..plan.limits).map(rate_limit).collect();
    if let (true, Some(last)) = (is_exhausted, limits.last_mut()) {
        last.kind = Some(bucket_of_one());
    }
    limits.extend(plan.slots.map(slots));
    Resource {
        name,
        limits,
        max_waiters: WAITERS_MAX,
        max_waiters_per_consumer: WAITERS_MAX,
        ..Resource::default()
    }
}

/// Of several limits, the kinds take turns.
fn rate_limit(number: usize) -> Limit {
    let kind = match number % 3 {
        0 => Kind::TokenBucket(TokenBucket {
            capacity: AMPLE,
            refill_amount: AMPLE,
            refill_period: seconds(1),
        }),
        1 => Kind::SlidingWindow(SlidingWindow { amount: AMPLE, period: seconds(10), resolution: 0 }),
        _ => Kind::FixedWindow(FixedWindow { amount: AMPLE, period: seconds(60), ..FixedWindow::default() }),
    };
    Limit { name: format!("rate-{number}"), kind: Some(kind), ..Limit::default() }
}

/// Empty once one permit was granted.
fn bucket_of_one() -> Kind {
    Kind::TokenBucket(TokenBucket { capacity: 1, refill_amount: 1, refill_period: seconds(DAY) })
}

fn slots(slots: u32) -> Limit {
    let concurrency =
        Concurrency { slots, lease_default: seconds(60), lease_max: seconds(600), ..Concurrency::default() };
    Limit { name: "slots".to_owned(), kind: Some(Kind::Concurrency(concurrency)), ..Limit::default() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}
