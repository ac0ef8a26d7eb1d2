//! Permits that the Rust client has taken in advance, spent without asking.
//!
//! They are handed out in less time than it takes to look at the clock, so each worker looks once in [`STRIDE`] permits, and the
//! latency of one is its part of that. A chunk that had to be asked for shows as a stride that took longer.

use std::sync::Arc;

use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep},
};
use tollgate_client::{Client, Prefetch, PrefetchBounds};

use crate::{
    calls::PAUSE,
    error::Error,
    requests::Requests,
    tally::{Outcome, Tally},
};

/// Permits between two looks at the clock.
const STRIDE: u64 = 1_000;

/// Loads the nodes at these addresses until `end`, by so many workers; each spends permits of one resource after the other,
/// and all share what was taken of a resource in advance.
pub async fn load(
    workers: usize,
    requests: &Arc<Requests>,
    addresses: &[String],
    end: Instant,
) -> Result<Tally, Error> {
    let client = Client::connect(addresses)?;
    let taken = |name: &String| client.acquire(name).prefetch(PrefetchBounds::default());
    let stocks: Arc<[Prefetch]> = requests.resources().iter().map(taken).collect::<Result<_, _>>()?;
    let mut spending = JoinSet::new();
    for _ in 0..workers {
        spending.spawn(spend(stocks.clone(), requests.clone(), end));
    }
    let mut tally = Tally::default();
    while let Some(spent) = spending.join_next().await {
        tally.merge(spent.expect("a worker does not panic"));
    }
    Ok(tally)
}

async fn spend(stocks: Arc<[Prefetch]>, requests: Arc<Requests>, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut began = Instant::now();
    while began < end {
        let outcome = stride(&stocks[requests.choose()]).await;
        let has_failed = !outcome.problems.is_empty();
        let taken = u32::try_from(outcome.operations.max(1)).unwrap_or(u32::MAX);
        tally.add_each((outcome.answered - began) / taken, end, outcome);
        if has_failed {
            sleep(PAUSE).await;
        }
        // Others have their turn: what is handed out at once never waits.
        yield_now().await;
        began = Instant::now();
    }
    tally
}

/// Takes many of one resource, one after the other, until one fails.
async fn stride(stock: &Prefetch) -> Outcome {
    let mut outcome = Outcome { answered: Instant::now(), operations: 0, problems: vec![] };
    while outcome.operations < STRIDE {
        let permit = match stock.try_take() {
            Some(permit) => Ok(permit),
            None => stock.take().await,
        };
        match permit.map(|permit| permit.ensure_usable()) {
            Ok(Ok(())) => outcome.operations += 1,
            Ok(Err(unusable)) => {
                outcome.problems.push(unusable.to_string());
                break;
            }
            Err(error) => {
                outcome.problems.push(error.to_string());
                break;
            }
        }
    }
    outcome.answered = Instant::now();
    outcome
}
