//! Telling what came of a call, and giving its permit back.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tollgate_proto::v1::Outcome;

use super::{Limiter, observe::Observation, share::Kept};
use crate::{
    acquire::Acquire,
    error::Error,
    feedback::{Report, Understood},
    permit::Permit,
    release::{Release, Released},
};

/// How long it is tried to release a permit. A result whose meaning only the cluster knows is held back for as long: longer than a new
/// leader takes.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// How long any other result is held back, so that the next call comes after the release. A cluster that answers does so long before.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// Releases a permit that was asked for so, with the result that others are to have, and tells what was understood of the vendor's
/// answer; none if nobody can read it, or the cluster did not answer in time. The release goes on if nobody waits for it any more. Of
/// a call that was not answered, and keeps its slots, the fleet hears as soon, but the permit is left to its lease.
pub(super) async fn settle(
    limiter: &Limiter,
    (request, permit): (&Acquire, Arc<Permit>),
    (outcome, observation): (Outcome, &Observation),
    kept: Option<Kept>,
) -> Option<Understood> {
    let mut report = limiter.client.report(permit.resource()).key(permit.key()).permit(permit.id());
    report = report.asked_for_by(&request.request);
    report = report.outcome(outcome).deadline(RELEASE_DEADLINE);
    if matches!(observation, Observation::Unanswered) && permit.is_left_to_its_lease() {
        // There is no answer that could be understood.
        let told = async move { report.await.map(|_| None).unwrap_or_else(untold) };
        return timeout(RELEASE_PATIENCE, tokio::spawn(told)).await.ok()?.ok()?;
    }
    let mut release = release(limiter, permit).outcome(outcome).deadline(RELEASE_DEADLINE);
    // A status beyond any is nothing that a server would take.
    if let Observation::Answered(answer) = observation
        && (100..=599).contains(&answer.status())
    {
        release = release.answer(&limiter.vendor, answer.clone());
        report = report.answer(&limiter.vendor, answer.clone());
    }
    let report = (!matches!(outcome, Outcome::NotSent | Outcome::Unknown)).then_some(report);
    if let Some(Kept { bytes, keep_for }) = kept {
        release = release.result(bytes).keep_result_for(keep_for);
    }
    let is_open = may_be_refused(observation);
    let patience = if is_open { RELEASE_DEADLINE } else { RELEASE_PATIENCE };
    let told = tokio::spawn(send(release, report, is_open));
    timeout(patience, told).await.ok()?.ok()?
}

/// Whether the vendor may have refused the call for a limit: Shopify does so with a 200, Salesforce with a 403.
fn may_be_refused(observation: &Observation) -> bool {
    matches!(observation, Observation::Answered(answer) if !answer.is_plain_success())
}

fn release(limiter: &Limiter, permit: Arc<Permit>) -> Release {
    match Arc::try_unwrap(permit) {
        Ok(permit) => permit.release(),
        // The call left it to somebody else, whose right to it ends here.
        Err(shared) => {
            shared.stop_renewing();
            limiter.client.release(shared.id())
        }
    }
}

/// Of a permit that has ended, because the call took longer than it was remembered, a report tells all the same: a vendor that hangs is
/// noticed by nothing else. Where a release was repeated because its answer was lost, a report learns what that had said, if the answer of
/// the vendor `is_open` to be a refusal; the server knows the permit, so trouble that it has heard of counts no more.
async fn send(release: Release, report: Option<Report>, is_open: bool) -> Option<Understood> {
    let told = match (release.send().await, report) {
        (Ok(Released { ended_before: true, .. }), Some(report)) if is_open => report.await.map(Some),
        (Ok(Released { understood, .. }), _) => Ok(understood),
        (Err(Error::PermitEnded { .. }), Some(report)) => report.await.map(Some),
        (Err(error), _) => Err(error),
    };
    told.unwrap_or_else(untold)
}

fn untold(error: Error) -> Option<Understood> {
    tracing::warn!(%error, "nobody was told how a call went; a slot that its permit holds ends with the lease");
    None
}
