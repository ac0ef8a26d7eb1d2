//! One call for many: keys, results and their invalidation, from the wire and for it.

use tollgate_limiter::{
    CallResult, CoalesceKey, CoalesceKeyPrefix, CoalesceKeys, Command, InvalidateResults, Outcome,
    ResourceName, ResultBytes, SharedResult, Span,
};
use tollgate_proto::v1;

use super::{Fields, Invalid, decision, duration};
use crate::{
    grpc::status::Failure,
    raft::call::{Refusal, Reply},
};

/// What the call is known by, if it may be another's to make.
pub fn coalesce_key(fields: &mut Fields, request: &v1::AcquirePermitRequest) -> Option<CoalesceKey> {
    if request.coalesce_key.is_empty() {
        return None;
    }
    if !request.alternatives.is_empty() {
        fields.reject("coalesce_key", "cannot be combined with alternatives: a key belongs to one resource");
    }
    fields.name("coalesce_key", CoalesceKey::new(&request.coalesce_key))
}

/// Refuses a request of a batch that could be answered with a result: a thousand of them would not fit into one answer.
pub fn check_in_batch(request: &v1::AcquirePermitRequest) -> Result<(), Invalid> {
    match request.coalesce_key.as_str() {
        "" => Ok(()),
        _ => Err(Invalid::field("coalesce_key", "is not allowed in a batch: use AcquirePermit or a stream")),
    }
}

/// What a released call came to.
pub fn result(fields: &mut Fields, request: &v1::ReleasePermitRequest) -> Option<CallResult> {
    let allowed = CallResult::TTL_MIN..=CallResult::TTL_MAX;
    let ttl = fields.span_within("result_ttl", request.result_ttl, allowed);
    let Some(bytes) = &request.result else {
        if ttl.is_some() {
            fields.reject("result_ttl", "is allowed only with a result");
        }
        return None;
    };
    if !matches!(request.outcome(), v1::Outcome::Unspecified | v1::Outcome::Ok | v1::Outcome::ClientError) {
        fields.reject("result", "goes with OUTCOME_OK or OUTCOME_CLIENT_ERROR only");
    }
    let bytes = ResultBytes::new(bytes).map_err(|problem| fields.reject("result", problem)).ok();
    bytes.map(|bytes| CallResult { bytes, ttl: ttl.unwrap_or(CallResult::TTL_MIN) })
}

/// Reads and checks what to drop.
pub fn invalidation(request: &v1::InvalidateResultsRequest) -> Result<Command, Invalid> {
    use v1::invalidate_results_request::Keys;
    let mut fields = Fields::default();
    let resource = fields.name("resource", ResourceName::new(&request.resource));
    let keys = match &request.keys {
        Some(Keys::Key(key)) => fields.name("key", CoalesceKey::new(key)).map(CoalesceKeys::One),
        Some(Keys::Prefix(prefix)) => {
            fields.name("prefix", CoalesceKeyPrefix::new(prefix)).map(CoalesceKeys::With)
        }
        None => {
            fields.reject("keys", "is required: a key or a prefix");
            None
        }
    };
    let order = resource.zip(keys);
    fields.finish(
        order.map(|(resource, keys)| Command::InvalidateResults(InvalidateResults { resource, keys })),
    )
}

/// What another has found out.
pub fn shared(result: SharedResult, waited: Span) -> v1::SharedResult {
    v1::SharedResult {
        result: result.bytes.as_slice().to_vec(),
        age: Some(duration(result.age)),
        waited: Some(duration(waited)),
    }
}

/// How many were dropped.
pub fn invalidated(reply: Result<Reply, Refusal>) -> Result<v1::InvalidateResultsResponse, Failure> {
    match decision::outcome(reply)? {
        Outcome::Invalidated(invalidated) => Ok(v1::InvalidateResultsResponse { invalidated }),
        other => Err(Failure::mismatch(&other)),
    }
}
