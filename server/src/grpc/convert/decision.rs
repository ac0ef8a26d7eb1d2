//! What the limiter decided on permits, for the wire.

use std::sync::Arc;

use tollgate_limiter::{
    Acquire, BudgetCause, Denial, DenialReason, ExhaustedLimit, Grant, LimitUsage, Outcome, ResourceName,
    Slot, Span,
};
use tollgate_proto::v1;

use super::{
    availability::pause,
    circuit::{circuit, pace},
    coalesce::shared,
    duration,
    permit::permit_id,
};
use crate::{
    grpc::status::Failure,
    raft::call::{Refusal, Reply},
};

/// What of a request its answer repeats.
pub struct Asked {
    acquire: Arc<Acquire>,
}

impl Asked {
    /// What is to be remembered of a request while it is decided.
    pub fn of(acquire: &Arc<Acquire>) -> Asked {
        Asked { acquire: acquire.clone() }
    }

    /// Whether its client named it. A node that names it does so later, on a copy.
    fn has_id(&self) -> bool {
        self.acquire.request_id.is_some()
    }

    /// What is said of a request that its node gives up. What it is granted goes back; but a client that asks again under the
    /// same id may still be told of that grant.
    pub fn given_up(&self) -> Refusal {
        if self.has_id() { Refusal::OutcomeUnknown } else { Refusal::ShuttingDown }
    }

    /// The resource that the request names.
    pub fn resource(&self) -> &str {
        self.named(0)
    }

    /// The resource that a decision is about.
    fn named(&self, alternative: u32) -> &str {
        let Acquire { resource, alternatives, .. } = &*self.acquire;
        let other = (alternative as usize).checked_sub(1);
        other
            .map_or(Some(resource), |other| Some(&alternatives.get(other)?.resource))
            .map_or("", ResourceName::as_str)
    }
}

/// The decision on an acquire.
pub fn acquired(asked: &Asked, reply: Result<Reply, Refusal>) -> Result<v1::AcquirePermitResponse, Failure> {
    use v1::acquire_permit_response::Decision;
    let (outcome, waited) = outcome_and_wait(reply)?;
    let told = Some(duration(waited));
    let decision = match outcome {
        Outcome::Granted(grant) => {
            // Without an id the client retried nothing: the node did, under an id of its own.
            let replayed = grant.replayed && asked.has_id();
            let resource = asked.named(grant.alternative).to_owned();
            Decision::Granted(v1::GrantedPermit { resource, waited: told, replayed, ..granted(grant) })
        }
        Outcome::Denied(denial) => {
            let resource = asked.named(denial.alternative).to_owned();
            Decision::Denied(v1::DeniedPermit { resource, waited: told, ..denied(denial) })
        }
        Outcome::Shared(result) => Decision::Result(shared(result, waited)),
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
        Outcome::Released(held_for) => {
            Ok(v1::ReleasePermitResponse { held_for: Some(duration(held_for)), understood: None })
        }
        other => Err(Failure::mismatch(&other)),
    }
}

/// What a command did, out of all that can come back.
pub fn outcome(reply: Result<Reply, Refusal>) -> Result<Outcome, Failure> {
    Ok(outcome_and_wait(reply)?.0)
}

fn outcome_and_wait(reply: Result<Reply, Refusal>) -> Result<(Outcome, Span), Failure> {
    match reply? {
        Reply::Answer { answer, waited } => Ok(((*answer)?, waited)),
        other => Err(Failure::mismatch(&other)),
    }
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
    let mut denied = v1::DeniedPermit {
        limit: denial.limit.map(|limit| limit.to_string()).unwrap_or_default(),
        exhausted: denial.exhausted.into_iter().map(exhausted).collect(),
        retry_after: denial.retry_after.map(duration),
        ..v1::DeniedPermit::default()
    };
    let reason = match denial.reason {
        DenialReason::LimitExhausted => v1::DenialReason::LimitExhausted,
        DenialReason::Paused { key, pause: stop } => {
            (denied.paused_key, denied.pause) = (key.to_string(), Some(pause(stop)));
            v1::DenialReason::Paused
        }
        DenialReason::KeyUnavailable => v1::DenialReason::KeyUnavailable,
        DenialReason::BudgetExhausted { budget } => {
            denied.budget = budget.map(|budget| budget.to_string()).unwrap_or_default();
            v1::DenialReason::BudgetExhausted
        }
        DenialReason::OthersWait => v1::DenialReason::OthersWait,
        DenialReason::CallUnderWay => v1::DenialReason::CallUnderWay,
        DenialReason::CircuitOpen { key, circuit: status } => {
            (denied.paused_key, denied.circuit) = (key.to_string(), Some(Box::new(circuit(*status))));
            v1::DenialReason::CircuitOpen
        }
        DenialReason::Paced { key, pace: status } => {
            (denied.paused_key, denied.pace) = (key.to_string(), Some(Box::new(pace(*status))));
            v1::DenialReason::Paced
        }
    };
    denied.set_reason(reason);
    denied
}

fn exhausted(limit: ExhaustedLimit) -> v1::ExhaustedLimit {
    v1::ExhaustedLimit {
        limit: limit.limit.to_string(),
        scope_value: limit.scope_value.to_string(),
        amount: limit.amount,
        available: limit.available,
        requested: limit.requested,
        retry_after: Some(limit.retry_after).filter(|wait| *wait < Span::MAX).map(duration),
        budget_cause: budget_cause(limit.budget).into(),
    }
}

pub(super) fn budget_cause(cause: Option<BudgetCause>) -> v1::BudgetCause {
    match cause {
        None => v1::BudgetCause::Unspecified,
        Some(BudgetCause::Ceiling) => v1::BudgetCause::Ceiling,
        Some(BudgetCause::Reserve) => v1::BudgetCause::Reserve,
        Some(BudgetCause::Schedule) => v1::BudgetCause::Schedule,
    }
}
