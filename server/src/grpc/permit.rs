//! PermitService: acquire, renew and release, one by one, in batches, and over streams.

use std::{iter, sync::Arc, time::Duration};

use futures_util::StreamExt;
use prost::Message;
use tollgate_limiter::{Called, Span};
use tollgate_proto::v1::{self, permit_service_server::PermitService, stream_answer::Answer};
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::{
    answer::{answer, patience, timeout, timeout_waiting},
    batch::{Batch, BatchAnswer, Read},
    convert::{
        Invalid, acquire, coalesce,
        decision::{self, Asked},
        permit,
    },
    feedback,
    status::Failure,
    stream::{self, Answers},
    waiting_room::WaitingRoom,
};
use crate::{
    clock,
    node::Node,
    raft::{call::Refusal, replies::Answered},
};

/// Requests in a batch, and calls in a message of a stream.
pub const CALLS_MAX: usize = 1_000;

/// The largest message of a call that asks for one thing.
pub const UNARY_BYTES_MAX: usize = 64 << 10;

/// The service.
pub struct Permits {
    node: Arc<Node>,
    waiting_room: WaitingRoom,
}

impl Permits {
    /// The service of a node.
    pub fn new(node: Node) -> Permits {
        Permits { node: Arc::new(node), waiting_room: WaitingRoom::default() }
    }
}

#[tonic::async_trait]
impl PermitService for Permits {
    async fn acquire_permit(
        &self,
        request: Request<v1::AcquirePermitRequest>,
    ) -> Result<Response<v1::AcquirePermitResponse>, Status> {
        let max_wait = acquire::max_wait(request.get_ref());
        let timeout = timeout_waiting(request.metadata(), max_wait);
        let result = match (fits(request.get_ref()), self.waiting_room.enter(request.remote_addr(), max_wait))
        {
            (Ok(()), Ok(_place)) => acquire(&self.node, request.into_inner(), timeout).await,
            (Err(invalid), _) => Err(invalid.into()),
            (_, Err(full)) => Err(full),
        };
        answer(&self.node, "AcquirePermit", result)
    }

    async fn acquire_permits(
        &self,
        request: Request<v1::AcquirePermitsRequest>,
    ) -> Result<Response<v1::AcquirePermitsResponse>, Status> {
        let max_wait = request.get_ref().requests.iter().map(acquire::max_wait).max().unwrap_or_default();
        let timeout = timeout_waiting(request.metadata(), max_wait);
        let result = match self.waiting_room.enter(request.remote_addr(), max_wait) {
            Ok(_place) => acquire_all(&self.node, request.into_inner().requests, timeout).await,
            Err(full) => Err(full),
        };
        answer(&self.node, "AcquirePermits", result)
    }

    async fn renew_permit(
        &self,
        request: Request<v1::RenewPermitRequest>,
    ) -> Result<Response<v1::RenewPermitResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = match fits(request.get_ref()) {
            Ok(()) => renew(&self.node, request.into_inner(), timeout).await,
            Err(invalid) => Err(invalid.into()),
        };
        answer(&self.node, "RenewPermit", result)
    }

    async fn release_permit(
        &self,
        request: Request<v1::ReleasePermitRequest>,
    ) -> Result<Response<v1::ReleasePermitResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = match fits(request.get_ref()) {
            Ok(()) => release(&self.node, request.into_inner(), timeout).await,
            Err(invalid) => Err(invalid.into()),
        };
        answer(&self.node, "ReleasePermit", result)
    }

    async fn report_feedback(
        &self,
        request: Request<v1::ReportFeedbackRequest>,
    ) -> Result<Response<v1::ReportFeedbackResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = match fits(request.get_ref()) {
            Ok(()) => feedback::report(&self.node, request.into_inner(), timeout).await,
            Err(invalid) => Err(invalid.into()),
        };
        answer(&self.node, "ReportFeedback", result)
    }

    async fn invalidate_results(
        &self,
        request: Request<v1::InvalidateResultsRequest>,
    ) -> Result<Response<v1::InvalidateResultsResponse>, Status> {
        let timeout = timeout(request.metadata());
        let result = invalidate(&self.node, request.get_ref(), timeout).await;
        answer(&self.node, "InvalidateResults", result)
    }

    type StreamPermitsStream = Answers;

    async fn stream_permits(
        &self,
        request: Request<Streaming<v1::StreamPermitsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        answer(&self.node, "StreamPermits", Ok(stream::answers(&self.node, request.into_inner())))
    }
}

/// Decides one request.
async fn acquire(
    node: &Node,
    request: v1::AcquirePermitRequest,
    timeout: Duration,
) -> Result<v1::AcquirePermitResponse, Failure> {
    let arrived = clock::monotonic();
    let (asked, call) = acquire::call(request, patience(timeout))?;
    let may_wait = call.wait().is_some();
    let decision = node.router.call(call, timeout);
    let reply = match may_wait {
        false => decision.await,
        // It does not keep a node from shutting down.
        true => node.stopping.run_until_cancelled(decision).await.unwrap_or_else(|| Err(asked.given_up())),
    };
    acquired(node, &asked, reply, Span(clock::monotonic().0.saturating_sub(arrived.0)))
}

/// The decision on a request, `after` its arrival.
pub(super) fn acquired(
    node: &Node,
    asked: &Asked,
    reply: Answered,
    after: Span,
) -> Result<v1::AcquirePermitResponse, Failure> {
    node.metrics.acquire_seconds.observe(after.as_nanos() as f64 / 1e9);
    decision::acquired(asked, reply).map_err(|failure| failure.naming(asked.resource()))
}

/// Decides a batch. The requests are handed on in their order, and wait together.
async fn acquire_all(
    node: &Arc<Node>,
    requests: Vec<v1::AcquirePermitRequest>,
    timeout: Duration,
) -> Result<v1::AcquirePermitsResponse, Failure> {
    check_count("requests", requests.len())?;
    let mut decisions: Vec<_> = iter::repeat_with(|| None).take(requests.len()).collect();
    let mut together = Vec::with_capacity(requests.len());
    for (place, request) in requests.into_iter().enumerate() {
        let checked = coalesce::check_in_batch(&request).map_err(Failure::from);
        match checked.and_then(|()| Read::acquire(request, timeout)) {
            Ok(read) => together.push((place as u64, read)),
            Err(failure) => decisions[place] = Some(Err(failure)),
        }
    }
    let mut batch = Batch::ask(node, together);
    while let Some(answers) = batch.next().await {
        for BatchAnswer { id, answer, .. } in answers {
            decisions[id as usize] = Some(answer);
        }
    }
    let decisions = decisions.into_iter().map(|decision| decision.expect("a batch answers all of its calls"));
    let decisions: Vec<_> = decisions.collect();
    if decisions.iter().all(|decision| decision.as_ref().is_err_and(Failure::is_no_leader)) {
        // Nobody can decide any of it: the call as a whole fails, as a single one would.
        return Err(Refusal::NoLeader.into());
    }
    Ok(v1::AcquirePermitsResponse { results: decisions.into_iter().map(result).collect() })
}

fn result(decision: Result<Answer, Failure>) -> v1::AcquirePermitResult {
    use v1::acquire_permit_result::Result::{Error, Response};
    let result = match decision {
        Ok(Answer::Acquired(response)) => Response(response),
        Ok(other) => Error(Failure::mismatch(&other).into_call_error()),
        Err(failure) => Error(failure.into_call_error()),
    };
    v1::AcquirePermitResult { result: Some(result) }
}

/// Extends a lease.
async fn renew(
    node: &Node,
    request: v1::RenewPermitRequest,
    timeout: Duration,
) -> Result<v1::RenewPermitResponse, Failure> {
    let call = permit::renew(&request)?;
    let reply = node.router.call(call, timeout).await;
    decision::renewed(reply).map_err(|failure| failure.naming(&request.permit_id))
}

/// Ends a permit.
pub(super) async fn release(
    node: &Node,
    request: v1::ReleasePermitRequest,
    timeout: Duration,
) -> Result<v1::ReleasePermitResponse, Failure> {
    let called = permit::parse_id(&request.permit_id).ok().map(Called::With);
    let receipt = feedback::receipt(node, called, request.feedback.as_ref(), timeout).await;
    let (id, status) = (request.permit_id.clone(), request.feedback.as_ref().map(|feedback| feedback.status));
    let (call, understood) = permit::release(request, &receipt)?;
    let response =
        decision::released(node.router.call(call, timeout).await).map_err(|failure| failure.naming(&id))?;
    if let Some(status) = status {
        feedback::count(node, status);
    }
    if understood.as_ref().is_some_and(|understood| understood.wait.is_some()) {
        info!(permit = id, "a vendor says to wait");
    }
    Ok(v1::ReleasePermitResponse { understood, ..response })
}

async fn invalidate(
    node: &Node,
    request: &v1::InvalidateResultsRequest,
    timeout: Duration,
) -> Result<v1::InvalidateResultsResponse, Failure> {
    let call = coalesce::invalidation(request)?.into();
    let response = coalesce::invalidated(node.router.call(call, timeout).await);
    response.map_err(|failure| failure.naming(&request.resource))
}

/// Refuses an empty or overlong list.
pub(super) fn check_count(field: &str, count: usize) -> Result<(), Invalid> {
    match count {
        1..=CALLS_MAX => Ok(()),
        _ => Err(Invalid::field(field, format_args!("must be 1 to {CALLS_MAX}, not {count}"))),
    }
}

/// Refuses a message that is too large for a call of its own. The transport's limit is that of batches.
fn fits(message: &impl Message) -> Result<(), Invalid> {
    match message.encoded_len() {
        0..=UNARY_BYTES_MAX => Ok(()),
        length => {
            let problem = format_args!("is {length} bytes long, at most {UNARY_BYTES_MAX} are allowed");
            Err(Invalid::field("(message)", problem))
        }
    }
}
