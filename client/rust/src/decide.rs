//! From a request to its permit, or its denial.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_proto::v1::{
    self, Outcome, acquire_permit_response::Decision, permit_service_client::PermitServiceClient,
};
use uuid::Uuid;

use crate::{
    PermitStream,
    acquire::Acquire,
    attempt::{Answered, Terms},
    client::Client,
    coalesce::Coalesced,
    duration::{from_wire, to_wire},
    error::Error,
    lease::safe_end,
    permit::{Keep, Permit},
};

/// Permits in a row that are given back because they came too late. A resource whose `dispatch_tolerance` is below the
/// time that a decision takes cannot be served in time at all.
const LATE_MAX: u32 = 3;

/// Asks until there is a decision.
pub(crate) async fn ask(acquire: Acquire, way: Way<'_>) -> Result<Permit, Error> {
    ask_coalesced(acquire, way).await?.into_permit()
}

/// The same of a request that another may answer for. A permit that came too late to be used, as after a failover, is given back and asked
/// for anew, unless somebody else may know its request id and have sent the call.
pub(crate) async fn ask_coalesced(mut acquire: Acquire, way: Way<'_>) -> Result<Coalesced, Error> {
    for _ in 0..LATE_MAX {
        let since = Instant::now();
        let permit = match way.decide(&acquire).await? {
            Coalesced::Permit(permit) if !permit.is_usable() && acquire.own_id => permit,
            decided => return Ok(decided),
        };
        acquire.request.request_id = Uuid::new_v4().to_string();
        if let Err(error) = permit.release().outcome(Outcome::NotSent).await {
            // What it debited stays debited: that errs on the safe side.
            tracing::debug!(%error, "a permit that came too late was not given back");
        }
        acquire = acquire.with_what_is_left_after(since.elapsed());
    }
    way.decide(&acquire).await
}

/// How a request is put to the cluster.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// By a call of its own.
    Call,
    /// With others.
    Stream(&'a PermitStream),
}

impl Way<'_> {
    async fn decide(self, acquire: &Acquire) -> Result<Coalesced, Error> {
        match self {
            Way::Call => decide(acquire).await,
            Way::Stream(stream) => stream.decide(acquire).await.map(Coalesced::Permit),
        }
    }
}

/// One request id, until it is decided.
async fn decide(acquire: &Acquire) -> Result<Coalesced, Error> {
    let Acquire { client, request, keep, deadline, wait, .. } = acquire;
    let answered = client
        .call(Terms::waiting(*wait, *deadline), |attempt| {
            let request = attempt.request(numbered(request.clone(), attempt.number, attempt.asked_at));
            async move { PermitServiceClient::new(attempt.channel).acquire_permit(request).await }
        })
        .await
        .map_err(|failed| failed.error.with_request_id(&request.request_id))?;
    decided(client, answered, keep)
}

/// The request as it is sent with its n-th try. One that waits says how long it has done so, and keeps its turn.
pub(crate) fn numbered(
    mut request: v1::AcquirePermitRequest,
    number: u32,
    asked_at: Instant,
) -> v1::AcquirePermitRequest {
    request.attempt = number;
    let has_waited = request.max_wait.is_some() && number > 1;
    request.waited_for = has_waited.then(|| to_wire(asked_at.elapsed()));
    request
}

/// The permit, or the denial.
pub(crate) fn received(
    client: &Client,
    answered: Answered<v1::AcquirePermitResponse>,
    keep: &Keep,
) -> Result<Permit, Error> {
    decided(client, answered, keep)?.into_permit()
}

fn decided(
    client: &Client,
    answered: Answered<v1::AcquirePermitResponse>,
    keep: &Keep,
) -> Result<Coalesced, Error> {
    match answered.message.decision {
        Some(Decision::Granted(granted)) => {
            let waited = granted.waited.map(from_wire).unwrap_or_default();
            let granted_from = granted_from(answered.asked_at, waited);
            Ok(Coalesced::Permit(Permit::new(client.clone(), granted, granted_from, keep)))
        }
        Some(Decision::Result(shared)) => Ok(Coalesced::Result(shared.into())),
        Some(Decision::Denied(denied)) => Err(Error::Denied(Box::new(denied.into()))),
        None => Err(Error::incomplete("decision")),
    }
}

/// The moment from which the times in a grant count here: one that certainly was not after the grant. The request was
/// asked before it, and the wait for its turn was over before it, too, by the server's clock.
fn granted_from(asked_at: Instant, waited: Duration) -> Instant {
    safe_end(asked_at, waited).min(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn times_count_from_a_moment_that_was_not_after_the_grant() {
        let asked_at = Instant::now();
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(granted_from(asked_at, Duration::ZERO), asked_at);
        // The server's clock may be faster than ours.
        let waited = granted_from(asked_at, Duration::from_secs(50));
        assert!(waited < asked_at + Duration::from_secs(50));
        assert!(waited > asked_at + Duration::from_millis(49_900));
        // Nothing is believed that lies ahead.
        assert_eq!(granted_from(asked_at, Duration::from_secs(500)), Instant::now());
    }
}
