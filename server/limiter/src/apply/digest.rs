//! The digest by which replicas notice that they have diverged.
//!
//! It folds what was answered, in the figures that any difference in the state shows in before long: permits, slots,
//! what is left, when to retry. A few multiplications a command, the same on every machine. It protects against faults
//! and bugs, not against somebody who forges answers.

use crate::model::{Answer, Denial, DenialReason, Grant, Outcome, Pause, Rejection, Stamp, StoredResource};

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014, "Fast splittable pseudorandom number generators") over the
/// chain so far and the next value: every bit of both changes half of the result's.
fn fold(digest: u64, value: u64) -> u64 {
    let mut z = digest.rotate_left(5).wrapping_add(value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(super) fn fold_stamp(digest: u64, stamp: Stamp) -> u64 {
    fold(fold(digest, stamp.cluster.0), stamp.wall.0.cast_unsigned())
}

pub(super) fn fold_answer(digest: u64, answer: &Answer) -> u64 {
    match answer {
        Ok(Outcome::Granted(grant)) => fold_grant(fold(digest, 1), grant),
        Ok(Outcome::Denied(denial)) => fold_denial(fold(digest, 2), denial),
        Ok(Outcome::Renewed(lease)) => fold(fold(digest, 3), lease.0),
        Ok(Outcome::Released(held_for)) => fold(fold(digest, 4), held_for.0),
        Ok(Outcome::Stored(stored)) => fold_stored(fold(digest, 5), stored),
        Ok(Outcome::Deleted) => fold(digest, 6),
        Ok(Outcome::Kept) => fold(digest, 7),
        Ok(Outcome::Shared(result)) => {
            fold(fold(fold(digest, 8), result.bytes.as_slice().len() as u64), result.age.0)
        }
        Ok(Outcome::Invalidated(count)) => fold(fold(digest, 9), *count),
        Ok(Outcome::Reported(shut_for)) => fold(fold(digest, 10), shut_for.0),
        Err(rejection) => fold(digest, 16 + kind(rejection)),
    }
}

fn fold_grant(digest: u64, grant: &Grant) -> u64 {
    let lease = grant.lease.unwrap_or_default().0;
    let digest = fold(fold(digest, grant.permit.0), lease ^ u64::from(grant.replayed));
    let digest = fold_alternative(digest, grant.alternative);
    let digest = grant.slots.iter().fold(digest, |digest, slot| fold(digest, u64::from(slot.index)));
    grant.usage.iter().fold(digest, |digest, usage| fold(digest, usage.available.cast_unsigned()))
}

fn fold_denial(digest: u64, denial: &Denial) -> u64 {
    let digest = fold(digest, denial.retry_after.map_or(u64::MAX, |retry_after| retry_after.0));
    let digest = fold_alternative(digest, denial.alternative);
    let digest = match &denial.reason {
        DenialReason::LimitExhausted => digest,
        DenialReason::Paused { pause, .. } => fold_pause(fold(digest, 1), pause),
        DenialReason::KeyUnavailable => fold(digest, 2),
        DenialReason::BudgetExhausted { .. } => fold(digest, 3),
        DenialReason::OthersWait => fold(digest, 4),
        DenialReason::CallUnderWay => fold(digest, 9),
        DenialReason::CircuitOpen { circuit, .. } => fold(fold(digest, 5), circuit.left.0),
        DenialReason::Paced { pace, .. } => fold(fold(digest, 6), pace.next_in.0),
    };
    denial.exhausted.iter().fold(digest, |digest, limit| {
        fold(fold(digest, limit.available.cast_unsigned()), limit.retry_after.0)
    })
}

/// Nothing for the request's own resource, so that nodes that know no alternatives agree.
fn fold_alternative(digest: u64, alternative: u32) -> u64 {
    if alternative == 0 { digest } else { fold(digest, u64::from(alternative)) }
}

fn fold_stored(digest: u64, stored: &StoredResource) -> u64 {
    let digest = fold(digest, stored.generation);
    let digest = stored.pause.iter().fold(digest, fold_pause);
    // Only what is in force, so that nodes that remember nothing else agree.
    let tightened = stored.vendor.tightened.iter().filter(|limit| limit.amount < limit.defined);
    let digest = tightened.fold(digest, |digest, limit| fold(digest, limit.amount));
    stored.keys.iter().fold(digest, |digest, status| {
        status.pause.iter().fold(fold(digest, status.state as u64), fold_pause)
    })
}

fn fold_pause(digest: u64, pause: &Pause) -> u64 {
    fold(digest, pause.left.map_or(u64::MAX, |left| left.0))
}

fn kind(rejection: &Rejection) -> u64 {
    match rejection {
        Rejection::ResourceNotFound => 0,
        Rejection::ResourceExists => 1,
        Rejection::StaleGeneration { .. } => 2,
        Rejection::TooManyResources { .. } => 3,
        Rejection::TooManyScopeValues { .. } => 4,
        Rejection::Invalid(_) => 5,
        Rejection::RequestIdReused => 6,
        Rejection::PermitNotFound => 7,
        Rejection::PermitEnded => 8,
        Rejection::PermitWithoutLease => 9,
        Rejection::KeyDisabled => 10,
        Rejection::AlternativeNotFound { .. } => 11,
        Rejection::TooManyCoalescedCalls { .. } => 14,
        Rejection::TooManyLeases { .. } => 15,
        Rejection::TooManyCounters { .. } => 16,
    }
}
