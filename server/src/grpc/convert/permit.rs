//! Permits by their ids, and what is done with them: renewals and releases, from the wire.

use tollgate_limiter::{CallOutcome, Command, MAX_AMOUNT, PermitId, Rejection, Release, Renew};
use tollgate_proto::v1;

use super::{
    Fields, Invalid,
    acquire::{amounts, lease},
    coalesce,
    feedback::{self, Receipt, Understood},
};
use crate::{grpc::status::Failure, raft::call::Call};

/// The only Raft group so far; a part of every permit's id, so that ids stay unique when there are more.
const GROUP: &str = "0";

const OUTCOMES: &str = "OUTCOME_OK, OUTCOME_THROTTLED, OUTCOME_CLIENT_ERROR, OUTCOME_SERVER_ERROR, OUTCOME_NOT_SENT, OUTCOME_TIMEOUT or OUTCOME_UNKNOWN";

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

/// Reads and checks a release; with what its caller is told of what came with it. See [`feedback::understand`].
pub fn release(
    request: v1::ReleasePermitRequest,
    receipt: &Receipt<'_>,
) -> Result<(Call, Option<v1::ReportFeedbackResponse>), Failure> {
    let mut fields = Fields::default();
    let given = outcome(&mut fields, request.outcome);
    let cost = request.cost.map(|cost| fields.within("cost", cost, 0..=MAX_AMOUNT));
    let result = coalesce::result(&mut fields, &request);
    let amounts = amounts(&mut fields, request.amounts);
    if let Some(feedback) = &request.feedback {
        feedback::check(&mut fields, feedback, given, receipt.presets);
    }
    fields.finish(Some(()))?;
    let permit = parse_id(&request.permit_id)?;
    let Understood { outcome, answer, told } =
        feedback::understand(request.feedback.as_ref(), given, receipt);
    // What is read as a refusal or a failure is nobody's result, though its client took it for one.
    let result = result.filter(|_| matches!(outcome, CallOutcome::Ok | CallOutcome::ClientError));
    // A refusal is heeded only with an answer, be it an empty one: logs from before that was so have none.
    let is_heeded = told.is_some() || outcome == CallOutcome::Throttled;
    let answer = is_heeded.then(|| Box::new(answer));
    let command = Command::Release(Release { permit, outcome, cost, amounts, answer, result });
    Ok((command.into(), told))
}

/// How the client says that a call ended, if it does.
pub(super) fn outcome(fields: &mut Fields, given: i32) -> Option<CallOutcome> {
    match fields.variant("outcome", given, OUTCOMES)? {
        v1::Outcome::Unspecified => None,
        v1::Outcome::Ok => Some(CallOutcome::Ok),
        v1::Outcome::Throttled => Some(CallOutcome::Throttled),
        v1::Outcome::ClientError => Some(CallOutcome::ClientError),
        v1::Outcome::ServerError => Some(CallOutcome::ServerError),
        v1::Outcome::NotSent => Some(CallOutcome::NotSent),
        v1::Outcome::Timeout => Some(CallOutcome::Timeout),
        v1::Outcome::Unknown => Some(CallOutcome::Unknown),
    }
}

/// How a call ended, as the server tells it.
pub(super) fn outcome_to_wire(outcome: CallOutcome) -> v1::Outcome {
    match outcome {
        CallOutcome::Ok => v1::Outcome::Ok,
        CallOutcome::Throttled => v1::Outcome::Throttled,
        CallOutcome::ClientError => v1::Outcome::ClientError,
        CallOutcome::ServerError => v1::Outcome::ServerError,
        CallOutcome::NotSent => v1::Outcome::NotSent,
        CallOutcome::Timeout => v1::Outcome::Timeout,
        CallOutcome::Unknown => v1::Outcome::Unknown,
    }
}
