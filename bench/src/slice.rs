//! One side under load for a while.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    calls::{Connection, carry_out},
    error::Error,
    open_loop,
    plan::{Calls, Pace, Plan, Shape, Stream},
    prefetch,
    requests::Requests,
    side::Side,
    stream,
    tally::Tally,
};

/// After the end of a slice, answers may come for so long. Longer than a node holds any call of these.
const ANSWERS_MAX: Duration = Duration::from_secs(15);

/// Loads a side for so long, and waits until everything is answered.
///
/// # Errors
///
/// [`Error::Stuck`] when something is not; [`Error::Cluster`] for a client that cannot be made.
pub async fn slice(
    plan: &Plan,
    requests: &Arc<Requests>,
    side: &Side,
    length: Duration,
) -> Result<Tally, Error> {
    let end = Instant::now() + length;
    let load = async {
        Ok(match (&plan.shape, plan.pace) {
            (Shape::Calls(calls), Pace::Closed { in_flight }) => {
                closed(*calls, in_flight, requests, &side.connections, end).await
            }
            (Shape::Calls(calls), Pace::Open { rate }) => {
                open(*calls, rate, requests, &side.connections, end).await
            }
            (Shape::Stream(stream), Pace::Closed { in_flight }) => {
                streams(*stream, in_flight, requests, &side.connections, end).await
            }
            (Shape::Prefetch, Pace::Closed { in_flight }) => {
                prefetch::load(in_flight, requests, &side.addresses, end).await?
            }
            (Shape::Stream(_) | Shape::Prefetch, Pace::Open { .. }) => {
                unreachable!("streams and prefetch have no open loop: a plan is checked")
            }
        })
    };
    let stuck = |_| Error::Stuck { side: side.name.to_owned(), seconds: ANSWERS_MAX.as_secs() };
    timeout_at(end + ANSWERS_MAX, load).await.map_err(stuck)?
}

async fn closed(
    calls: Calls,
    in_flight: usize,
    requests: &Arc<Requests>,
    connections: &[Connection],
    end: Instant,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut callers = JoinSet::new();
    for connection in connections.iter().cycle().take(in_flight) {
        let (connection, requests, tally) = (connection.clone(), requests.clone(), tally.clone());
        callers.spawn(async move {
            let mut began = Instant::now();
            while began < end {
                let outcome = carry_out(calls, &requests, &connection).await;
                tally.lock().add(began, end, outcome);
                began = Instant::now();
            }
        });
    }
    callers.join_all().await;
    Arc::into_inner(tally).expect("all callers have ended").into_inner()
}

async fn open(
    calls: Calls,
    rate: f64,
    requests: &Arc<Requests>,
    connections: &[Connection],
    end: Instant,
) -> Tally {
    let mut turns = connections.iter().cycle();
    let start = || {
        let connection = turns.next().expect("a side has connections").clone();
        let requests = requests.clone();
        async move { carry_out(calls, &requests, &connection).await }
    };
    let per_call = Shape::Calls(calls).operations_per_call();
    let due = open_loop::due(rate / per_call as f64, end);
    open_loop::load(due, open_loop::open_max(per_call), end, start).await
}

async fn streams(
    stream: Stream,
    in_flight: usize,
    requests: &Arc<Requests>,
    connections: &[Connection],
    end: Instant,
) -> Tally {
    let mut conversations = JoinSet::new();
    for (number, connection) in connections.iter().enumerate() {
        let messages = in_flight / connections.len() + usize::from(number < in_flight % connections.len());
        let (connection, requests) = (connection.clone(), requests.clone());
        conversations.spawn(async move { stream::load(stream, messages, &requests, &connection, end).await });
    }
    let mut tally = Tally::default();
    for other in conversations.join_all().await {
        tally.merge(other);
    }
    tally
}
