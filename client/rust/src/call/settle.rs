//! Giving a permit back, with what came of its call.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Limiter, observe::Observation, share::Kept};
use crate::{
    feedback::Understood,
    permit::Permit,
    release::{Release, Released},
};

/// How long it is tried to release a permit, in the background.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a result is held back for the release. A cluster that answers does so long before.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// Releases a permit, with the result that others are to have, and tells what was understood of the vendor's answer; none if nobody can read it, or the cluster did not
/// answer soon. The release goes on if nobody waits for it any more.
pub(super) async fn settle(
    limiter: &Limiter,
    permit: Arc<Permit>,
    observation: &Observation,
    kept: Option<Kept>,
) -> Option<Understood> {
    let mut release = release(limiter, permit).outcome(observation.outcome()).deadline(RELEASE_DEADLINE);
    // A status beyond any is nothing that a server would take.
    if let Observation::Answered(answer) = observation
        && (100..=599).contains(&answer.status())
    {
        release = release.answer(&limiter.vendor, answer.clone());
    }
    if let Some(Kept { bytes, keep_for }) = kept {
        release = release.result(bytes).keep_result_for(keep_for);
    }
    let released = tokio::spawn(send(release));
    timeout(RELEASE_PATIENCE, released).await.ok()?.ok()??.understood
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

async fn send(release: Release) -> Option<Released> {
    match release.send().await {
        Ok(released) => Some(released),
        Err(error) => {
            tracing::warn!(%error, "nobody was told how a call went; a slot that its permit holds ends with the lease");
            None
        }
    }
}
