//! Permits by their ids, and what is done with them: renewals and releases, from the wire.

use tollgate_limiter::{CallOutcome, Command, MAX_AMOUNT, PermitId, Rejection, Release, Renew};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    acquire::{amounts, lease},
    coalesce, feedback,
};
use crate::{grpc::status::Failure, raft::call::Call};

/// The only Raft group so far; a part of every permit's id, so that ids stay unique when there are more.
const GROUP: &str = "0";

const OUTCOMES: &str =
    "OUTCOME_OK, OUTCOME_THROTTLED, OUTCOME_CLIENT_ERROR, OUTCOME_SERVER_ERROR or OUTCOME_NOT_SENT";

/// The id as the wire has it: `p<group>-<count, hexadecimal>`.
pub fn permit_id(permit: PermitId) -> String {
    format!("p{GROUP}-{:x}", permit.0)
}

/// Reads an id. One that this cluster never made is answered exactly as one that was never granted.
pub fn parse_id(text: &str) -> Result<PermitId, Failure> {
    if text.is_empty() {
        return Err(Invalid::field("permit_id", "is required").into());
    }
    let count = text.strip_prefix('p').and_then(|rest| rest.strip_prefix(GROUP)?.strip_prefix('-'));
    let permit = count.and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(PermitId);
    // Only the very text that was given out: no upper case, no sign, no leading zeros.
    permit
        .filter(|permit| permit_id(*permit) == text)
        .ok_or_else(|| Failure::from(Rejection::PermitNotFound).naming(text))
}

/// Reads and checks a renewal.
pub fn renew(request: &v1::RenewPermitRequest) -> Result<Call, Failure> {
    let mut fields = Fields::default();
    let lease = lease(&mut fields, request.lease);
    fields.finish(Some(()))?;
    let permit = parse_id(&request.permit_id)?;
    Ok(Command::Renew(Renew { permit, lease }).into())
}

/// Reads and checks a release.
pub fn release(request: v1::ReleasePermitRequest) -> Result<Call, Failure> {
    let mut fields = Fields::default();
    let outcome = fields.variant("outcome", request.outcome, OUTCOMES).map(outcome);
    let cost = request.cost.map(|cost| fields.within("cost", cost, 0..=MAX_AMOUNT));
    let result = coalesce::result(&mut fields, &request);
    let amounts = amounts(&mut fields, request.amounts);
    if let Some(feedback) = &request.feedback {
        feedback::check(&mut fields, feedback);
    }
    let outcome = fields.finish(outcome)?;
    let permit = parse_id(&request.permit_id)?;
    let command = Command::Release(Release { permit, outcome, cost, amounts, result });
    Ok(command.into())
}

fn outcome(outcome: v1::Outcome) -> CallOutcome {
    match outcome {
        v1::Outcome::Unspecified | v1::Outcome::Ok => CallOutcome::Ok,
        v1::Outcome::Throttled => CallOutcome::Throttled,
        v1::Outcome::ClientError => CallOutcome::ClientError,
        v1::Outcome::ServerError => CallOutcome::ServerError,
        v1::Outcome::NotSent => CallOutcome::NotSent,
    }
}
