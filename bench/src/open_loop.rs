//! Operations that start when they are due.

use std::{sync::Arc, thread, time::Duration};

use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::tally::{Outcome, Tally};

/// Due operations are started together at least this often. The runtime's own timer is precise to a millisecond only,
/// which would be most of the latency.
const STEP: Duration = Duration::from_micros(250);

/// Calls that are open at once, and what they carry. What is due beyond them is not sent, and counted as an error.
const OPEN_MAX: usize = 50_000;
const OPEN_OPERATIONS_MAX: usize = 1_000_000;

/// How many calls may be open that carry so many operations each.
pub fn open_max(operations_per_call: usize) -> usize {
    OPEN_MAX.min(OPEN_OPERATIONS_MAX / operations_per_call.max(1))
}

/// The moments at which operations are due, from now until `end`, `rate` in a second. Each is told when it has come.
pub fn due(rate: f64, end: Instant) -> impl Stream<Item = Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let began = Instant::now();
    let pace = move || {
        let length = end.saturating_duration_since(began);
        let after = |number: u64| Duration::from_secs_f64(number as f64 / rate);
        let mut sent = 0_u64;
        while !sender.is_closed() {
            let elapsed = began.elapsed();
            while after(sent) <= elapsed && after(sent) < length {
                // Where nobody takes it, the load was given up.
                let _ = sender.send(began + after(sent));
                sent += 1;
            }
            if elapsed >= length {
                return;
            }
            thread::sleep(STEP.max(after(sent).min(length).saturating_sub(elapsed)));
        }
    };
    thread::Builder::new().name("pace".to_owned()).spawn(pace).expect("the system has room for a thread");
    UnboundedReceiverStream::new(receiver)
}

/// Starts a call whenever one is due, and waits for the last of them. Latency counts from when each was due.
pub async fn load<F>(
    due: impl Stream<Item = Instant>,
    open_max: usize,
    end: Instant,
    mut start: impl FnMut() -> F,
) -> Tally
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut open = JoinSet::new();
    let mut due = std::pin::pin!(due);
    while let Some(at) = due.next().await {
        while open.try_join_next().is_some() {}
        if open.len() >= open_max {
            tally.lock().add_error(format!("not sent, because {open_max} were open"));
            continue;
        }
        let (operation, tally) = (start(), tally.clone());
        open.spawn(async move {
            let outcome = operation.await;
            tally.lock().add(at, end, outcome);
        });
    }
    open.join_all().await;
    Arc::into_inner(tally).expect("all operations have ended").into_inner()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::{sleep, sleep_until};

    use super::*;

    /// A server that answers each call in 1 ms, but nothing between 200 ms and 700 ms.
    #[tokio::test(start_paused = true)]
    async fn a_stall_is_felt_by_every_call_that_was_due_in_it() {
        let began = Instant::now();
        let at = move |millis| began + Duration::from_millis(millis);
        let due = stream::unfold(0, |number| async move {
            sleep_until(at(number)).await;
            (number < 1_000).then_some((at(number), number + 1))
        });
        let serve = move || async move {
            if (at(200)..at(700)).contains(&Instant::now()) {
                sleep_until(at(700)).await;
            }
            sleep(Duration::from_millis(1)).await;
            Outcome::one(Ok(()))
        };
        let tally = load(due, OPEN_MAX, at(1_000), serve).await;
        assert_eq!(tally.operations, 1_000);
        // Half of the calls were due in the stall, and waited for 250 ms on average.
        assert!((1..=2).contains(&tally.quantile(0.49).as_millis()), "{:?}", tally.quantile(0.49));
        assert!((240..=260).contains(&tally.quantile(0.75).as_millis()), "{:?}", tally.quantile(0.75));
        assert!((495..=505).contains(&tally.quantile(0.999).as_millis()), "{:?}", tally.quantile(0.999));
    }

    #[tokio::test]
    async fn the_first_operation_starts_at_once_and_not_an_interval_later() {
        let began = Instant::now();
        let moments = due(0.1, began + Duration::from_secs(20));
        let first = std::pin::pin!(moments).next().await;
        assert!(first.is_some_and(|at| at < began + Duration::from_secs(1)), "{first:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn operations_are_due_evenly_until_the_end() {
        let began = Instant::now();
        let end = began + Duration::from_millis(200);
        let moments: Vec<Instant> = due(10_000.0, end).collect().await;
        let step = Duration::from_micros(100);
        assert!(moments.iter().all(|at| (began..end).contains(at)));
        assert!(moments.last().is_some_and(|last| end - *last <= 2 * step), "none is left out at the end");
        for pair in moments.windows(2) {
            assert!((pair[1] - pair[0]).abs_diff(step) < Duration::from_nanos(10), "{pair:?}");
        }
    }
}
