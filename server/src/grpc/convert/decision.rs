//! What the limiter decided on permits, for the wire.

use tollgate_limiter::{BudgetCause, Denial, DenialReason, ExhaustedLimit, Grant, LimitUsage, Outcome, Slot};
use tollgate_proto::v1;

use super::{availability::pause, duration, permit::permit_id};
use crate::{
    grpc::status::Failure,
    raft::call::{Refusal, Reply},
};

/// The decision on an acquire that named these resources.
pub fn acquired(
    reply: Result<Reply, Refusal>,
    resources: &[String],
) -> Result<v1::AcquirePermitResponse, Failure> {
    use v1::acquire_permit_response::Decision;
    let decision = match outcome(reply)? {
        Outcome::Granted(grant) => {
            let resource = named(resources, grant.alternative);
            Decision::Granted(v1::GrantedPermit { resource, ..granted(grant) })
        }
        Outcome::Denied(denial) => {
            let resource = named(resources, denial.alternative);
            Decision::Denied(v1::DeniedPermit { resource, ..denied(denial) })
        }
        other => return Err(Failure::mismatch(&other)),
    };
    Ok(v1::AcquirePermitResponse { decision: Some(decision) })
}

/// The new lease.
pub fn renewed(reply: Result<Reply, Refusal>) -> Result<v1::RenewPermitResponse, Failure> {
    match outcome(reply)? {
        Outcome::Renewed(lease) => Ok(v1::RenewPermitResponse { lease: Some(duration(lease)) }),
        other => Err(Failure::mismatch(&other)),
    }
}

/// The end of a permit.
pub fn released(reply: Result<Reply, Refusal>) -> Result<v1::ReleasePermitResponse, Failure> {
    match outcome(reply)? {
        Outcome::Released(held_for) => Ok(v1::ReleasePermitResponse { held_for: Some(duration(held_for)) }),
        other => Err(Failure::mismatch(&other)),
    }
}

/// What a command did, out of all that can come back.
pub fn outcome(reply: Result<Reply, Refusal>) -> Result<Outcome, Failure> {
    match reply? {
        Reply::Answer(answer) => Ok(answer?),
        other => Err(Failure::mismatch(&other)),
    }
}

/// The resource that the decision is about.
fn named(resources: &[String], alternative: u32) -> String {
    let position = usize::try_from(alternative).ok();
    position.and_then(|position| resources.get(position)).cloned().unwrap_or_default()
}

fn granted(grant: Grant) -> v1::GrantedPermit {
    v1::GrantedPermit {
        permit_id: permit_id(grant.permit),
        key: grant.key.to_string(),
        use_within: grant.use_within.map(duration),
        lease: grant.lease.map(duration),
        slots: grant.slots.into_iter().map(slot).collect(),
        usage: grant.usage.into_iter().map(usage).collect(),
        replayed: grant.replayed,
        ..v1::GrantedPermit::default()
    }
}

fn slot(slot: Slot) -> v1::Slot {
    v1::Slot { limit: slot.limit.to_string(), index: slot.index, generation: slot.generation }
}

fn usage(usage: LimitUsage) -> v1::LimitUsage {
    v1::LimitUsage {
        limit: usage.limit.to_string(),
        amount: usage.amount,
        available: usage.available,
        shadow: usage.shadow,
        would_deny: usage.would_deny,
    }
}

fn denied(denial: Denial) -> v1::DeniedPermit {
    let (reason, paused) = match denial.reason {
        DenialReason::LimitExhausted => (v1::DenialReason::LimitExhausted, None),
        DenialReason::Paused { key, pause } => (v1::DenialReason::Paused, Some((key, pause))),
        DenialReason::KeyUnavailable => (v1::DenialReason::KeyUnavailable, None),
        DenialReason::BudgetExhausted { .. } => (v1::DenialReason::BudgetExhausted, None),
        DenialReason::OthersWait => (v1::DenialReason::OthersWait, None),
    };
    let (paused_key, pause) = paused.map(|(key, stop)| (key.to_string(), pause(stop))).unzip();
    v1::DeniedPermit {
        reason: reason.into(),
        limit: denial.limit.map(|limit| limit.to_string()).unwrap_or_default(),
        exhausted: denial.exhausted.into_iter().map(exhausted).collect(),
        retry_after: denial.retry_after.map(duration),
        pause,
        paused_key: paused_key.unwrap_or_default(),
        ..v1::DeniedPermit::default()
    }
}

fn exhausted(limit: ExhaustedLimit) -> v1::ExhaustedLimit {
    v1::ExhaustedLimit {
        limit: limit.limit.to_string(),
        scope_value: limit.scope_value.to_string(),
        amount: limit.amount,
        available: limit.available,
        requested: limit.requested,
        retry_after: Some(duration(limit.retry_after)),
        budget_cause: budget_cause(limit.budget).into(),
    }
}

fn budget_cause(cause: Option<BudgetCause>) -> v1::BudgetCause {
    match cause {
        None => v1::BudgetCause::Unspecified,
        Some(BudgetCause::Ceiling) => v1::BudgetCause::Ceiling,
        Some(BudgetCause::Reserve) => v1::BudgetCause::Reserve,
        Some(BudgetCause::Schedule) => v1::BudgetCause::Schedule,
    }
}
