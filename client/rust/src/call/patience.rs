//! Permits that are waited for through pauses and outages.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Limiter;
use crate::{acquire::Acquire, coalesce::Coalesced, duration::jitter, error::Error};

/// How long the batches of a [`Batcher`](crate::Batcher) and the tasks of a [`Pipeline`](crate::Pipeline) go on asking if nobody says
/// otherwise: a day's quota that is used up is there again within it.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(25 * 3_600);

/// How long the cluster is left alone after a denial, before what is added at random.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// How often the rest is doubled where nobody says how long it is to be. More, and nobody would be there when an outage ends.
const DOUBLINGS_MAX: u32 = 4;

impl Limiter {
    /// A permit that can be used now, or what another's call came to, within what is left of the call's patience. Each time that it is asked for, it waits for its
    /// turn at the server for as long as the request says.
    pub(super) async fn patiently(&self, request: &Acquire, left: &mut Duration) -> Result<Coalesced, Error> {
        let mut denials = 0;
        loop {
            let asked_at = Instant::now();
            let error = match self.permit(request).await {
                Ok(granted) => return Ok(granted),
                Err(error) => error,
            };
            let rest = rest(&error, denials);
            let spent = asked_at.elapsed() + rest;
            if !passes(&error) || spent >= *left {
                return Err(error);
            }
            tracing::info!(%error, ?rest, "there is no permit yet; it is asked for again");
            *left -= spent;
            denials += 1;
            sleep(rest).await;
        }
    }
}

/// Whether time alone may mend it. Permits come too late while the cluster or this machine is slow.
fn passes(error: &Error) -> bool {
    error.is_temporary() || matches!(error, Error::Unusable(_))
}

/// How long to leave the cluster alone after so many denials before this one: what it says, or twice as long each time, and up to
/// half of that at random on top.
fn rest(error: &Error, denials: u32) -> Duration {
    let told = match error {
        Error::Denied(denial) => denial.retry_after,
        Error::Overloaded { retry_after, .. } | Error::QueueFull { retry_after, .. } => Some(*retry_after),
        _ => None,
    };
    let rest = told.unwrap_or(REST_MIN * 2_u32.pow(denials.min(DOUBLINGS_MAX))).clamp(REST_MIN, REST_MAX);
    rest + jitter(rest / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permit::Unusable;

    #[test]
    fn the_cluster_says_how_long_it_is_left_alone() {
        let seconds = Duration::from_secs;
        let overloaded = |retry_after| Error::Overloaded { retry_after, message: String::new() };
        let full = |retry_after| Error::QueueFull { retry_after, message: String::new() };
        let late = || Error::from(Unusable::TooLateToDispatch);
        for (error, denials, least) in [
            (overloaded(seconds(7)), 9, seconds(7)),
            (full(seconds(7)), 0, seconds(7)),
            (full(Duration::ZERO), 0, REST_MIN),
            (full(seconds(600)), 0, REST_MAX),
            (late(), 0, seconds(1)),
            (late(), 1, seconds(2)),
            (late(), 3, seconds(8)),
            (late(), u32::MAX, seconds(16)),
        ] {
            let rest = rest(&error, denials);
            assert!(rest >= least && rest <= least * 3 / 2, "{error:?} after {denials}: {rest:?}");
        }
    }
}
