//! PermitService: acquire, renew and release, one by one, in batches, and over streams.

use std::time::Duration;

use futures_util::future::join_all;
use prost::Message;
use tollgate_proto::v1::{self, permit_service_server::PermitService};
use tonic::{Request, Response, Status, Streaming};

use super::{
    answer::{answer, patience, timeout, timeout_waiting},
    convert::{
        Invalid, acquire,
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
    raft::call::{Call, Refusal, Reply},
};

/// Requests in a batch, and calls in a message of a stream.
pub const CALLS_MAX: usize = 1_000;

/// The largest message of a call that asks for one thing.
pub const UNARY_BYTES_MAX: usize = 64 << 10;

/// The service.
pub struct Permits {
    node: Node,
    waiting_room: WaitingRoom,
}

impl Permits {
    /// The service of a node.
    pub fn new(node: Node) -> Permits {
        Permits { node, waiting_room: WaitingRoom::default() }
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

    type StreamPermitsStream = Answers;

    async fn stream_permits(
        &self,
        request: Request<Streaming<v1::StreamPermitsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        answer(&self.node, "StreamPermits", Ok(stream::answers(self.node.clone(), request.into_inner())))
    }
}

/// Decides one request.
pub(super) async fn acquire(
    node: &Node,
    request: v1::AcquirePermitRequest,
    timeout: Duration,
) -> Result<v1::AcquirePermitResponse, Failure> {
    let arrived = clock::monotonic();
    let asked = Asked::of(&request);
    let call = acquire::call(request, patience(timeout))?;
    let response = decision::acquired(&asked, decide(node, &asked, call, timeout).await);
    let nanos = clock::monotonic().0.saturating_sub(arrived.0);
    node.metrics.acquire_seconds.observe(Duration::from_nanos(nanos).as_secs_f64());
    response.map_err(|failure| failure.naming(asked.resource()))
}

/// Asks whoever leads. A request that waits does not keep a node from shutting down.
async fn decide(node: &Node, asked: &Asked, call: Call, timeout: Duration) -> Result<Reply, Refusal> {
    let may_wait = call.wait().is_some();
    let decision = node.router.call(call, timeout);
    if !may_wait {
        return decision.await;
    }
    let decision = node.stopping.run_until_cancelled(decision).await;
    // Given up, what is granted goes back. A client that asks again under the same id may still be told of that grant.
    decision.unwrap_or(Err(if asked.has_id() { Refusal::OutcomeUnknown } else { Refusal::ShuttingDown }))
}

/// Decides a batch. The requests are handed on in their order, and wait together.
async fn acquire_all(
    node: &Node,
    requests: Vec<v1::AcquirePermitRequest>,
    timeout: Duration,
) -> Result<v1::AcquirePermitsResponse, Failure> {
    check_count("requests", requests.len())?;
    let decisions = join_all(requests.into_iter().map(|request| acquire(node, request, timeout))).await;
    if decisions.iter().all(|decision| decision.as_ref().is_err_and(Failure::is_no_leader)) {
        // Nobody can decide any of it: the call as a whole fails, as a single one would.
        return Err(Refusal::NoLeader.into());
    }
    Ok(v1::AcquirePermitsResponse { results: decisions.into_iter().map(result).collect() })
}

fn result(decision: Result<v1::AcquirePermitResponse, Failure>) -> v1::AcquirePermitResult {
    use v1::acquire_permit_result::Result::{Error, Response};
    let result = match decision {
        Ok(response) => Response(response),
        Err(failure) => Error(failure.into_call_error()),
    };
    v1::AcquirePermitResult { result: Some(result) }
}

/// Extends a lease.
pub(super) async fn renew(
    node: &Node,
    request: v1::RenewPermitRequest,
    timeout: Duration,
) -> Result<v1::RenewPermitResponse, Failure> {
    let id = request.permit_id.clone();
    let call = permit::renew(request)?;
    decision::renewed(node.router.call(call, timeout).await).map_err(|failure| failure.naming(&id))
}

/// Ends a permit.
pub(super) async fn release(
    node: &Node,
    request: v1::ReleasePermitRequest,
    timeout: Duration,
) -> Result<v1::ReleasePermitResponse, Failure> {
    let (id, feedback) = (request.permit_id.clone(), request.feedback.clone());
    let call = permit::release(request)?;
    let understood = match &feedback {
        Some(feedback) => feedback::with_release(node, &id, feedback, timeout).await,
        None => None,
    };
    let response =
        decision::released(node.router.call(call, timeout).await).map_err(|failure| failure.naming(&id))?;
    if let Some(feedback) = &feedback {
        feedback::count(node, feedback);
    }
    Ok(v1::ReleasePermitResponse { understood, ..response })
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
