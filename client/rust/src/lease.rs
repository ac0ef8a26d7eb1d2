//! Until when a permit may be used, by the clock rule; and the task that keeps its lease alive.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::client::Client;

/// The client stops this fraction (one part in so many: ρ = 0.001) before the end that the server states, because the
/// monotonic clocks of two machines may run at different rates. Crystals differ by less than 1 in 10,000, and NTP slews
/// by at most 1 in 2,000.
pub const CLOCK_RATE_TOLERANCE: u32 = 1_000;

/// A lease is renewed when this part of it has passed: two more tries fit in before it ends.
const RENEW_AFTER: u32 = 3;

/// The last moment, on this machine's clock, of what lasts for `span` on the server's.
pub(crate) fn safe_end(asked_at: Instant, span: Duration) -> Instant {
    let safe = (span - span / CLOCK_RATE_TOLERANCE).saturating_sub(Duration::from_nanos(1));
    // Too far away to be a moment: nothing that a server grants is, so it is not trusted.
    asked_at.checked_add(safe).unwrap_or(asked_at)
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug)]
enum Hold {
    Until(Instant),
    /// The server says so, or could not be asked in time. It never comes back.
    Lost,
}

/// A lease, renewed in the background unless that was not wanted.
pub(crate) struct Lease {
    hold: watch::Receiver<Hold>,
    renewal: Option<AbortHandle>,
}

impl Lease {
    /// A lease that ends by itself.
    pub(crate) fn fixed(asked_at: Instant, span: Duration) -> Lease {
        let (_, hold) = watch::channel(Hold::Until(safe_end(asked_at, span)));
        Lease { hold, renewal: None }
    }

    /// A lease that a task renews until [`Lease::stop_renewing`], for `asked` each time (by default the resource's).
    pub(crate) fn renewed(
        client: Client,
        permit_id: String,
        asked: Option<Duration>,
        asked_at: Instant,
        span: Duration,
    ) -> Lease {
        let (sender, hold) = watch::channel(Hold::Until(safe_end(asked_at, span)));
        let task = tokio::spawn(keep_renewing(client, permit_id, asked, asked_at, span, sender));
        Lease { hold, renewal: Some(task.abort_handle()) }
    }

    /// How much longer the slots are held for certain. Reads the clock beside what the task last said: the task is late
    /// when the runtime is blocked.
    pub(crate) fn left(&self) -> Duration {
        match *self.hold.borrow() {
            Hold::Until(end) => end.saturating_duration_since(Instant::now()),
            Hold::Lost => Duration::ZERO,
        }
    }

    /// Waits until it is not held any more.
    pub(crate) async fn lost(&self) {
        let mut hold = self.hold.clone();
        loop {
            let Hold::Until(end) = *hold.borrow_and_update() else { return };
            tokio::select! {
                // First, because both are ready when a blocked runtime wakes up after a renewal.
                biased;
                // Fails at once without a task that renews: then only the end counts.
                Ok(()) = hold.changed() => {}
                () = sleep_until(end) => return,
            }
        }
    }

    pub(crate) fn stop_renewing(&self) {
        if let Some(task) = &self.renewal {
            task.abort();
        }
    }
}

async fn keep_renewing(
    client: Client,
    permit_id: String,
    asked: Option<Duration>,
    mut asked_at: Instant,
    mut span: Duration,
    hold: watch::Sender<Hold>,
) {
    loop {
        sleep_until(asked_at + span / RENEW_AFTER).await;
        let left = safe_end(asked_at, span).saturating_duration_since(Instant::now());
        // Tries again by itself for as long as the lease lasts.
        match client.renew(&permit_id).lease_if(asked).deadline(left).ask().await {
            Ok(renewed) => {
                (asked_at, span) = (renewed.asked_at, renewed.message);
                hold.send_replace(Hold::Until(safe_end(asked_at, span)));
            }
            Err(error) => {
                tracing::warn!(permit_id, %error, "lease lost: stop using the permit");
                hold.send_replace(Hold::Lost);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_before_the_servers_clock_can_say_so() {
        let asked_at = Instant::now();
        for span in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(60), Duration::MAX] {
            let end = safe_end(asked_at, span);
            assert!(end == asked_at || end - asked_at < span.mul_f64(0.999_001));
        }
        assert!(safe_end(asked_at, Duration::from_secs(60)) > asked_at + Duration::from_millis(59_939));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_lease_is_lost_at_its_end() {
        let lease = Lease::fixed(Instant::now(), Duration::from_secs(60));
        assert!(!lease.left().is_zero());
        lease.lost().await;
        assert!(lease.left().is_zero());
    }
}
