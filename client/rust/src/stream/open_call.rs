//! One request of a stream, from when it is asked until it is decided.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use tokio::{sync::oneshot, time::Instant};
use tollgate_proto::v1::{self, stream_call};

use crate::{
    attempt::BACKOFF,
    decide::numbered,
    duration::to_wire,
    error::Error,
    fault::Fault,
    permit::{Keep, Permit},
};

/// How much earlier than the client the server gives up, so that its answer is the one that counts.
const MARGIN: Duration = Duration::from_millis(100);

/// A request that is not decided.
pub(super) struct OpenCall {
    request: v1::AcquirePermitRequest,
    pub(super) keep: Keep,
    pub(super) asked_at: Instant,
    pub(super) ends_at: Instant,
    tries: u32,
    pub(super) backoff: ExponentialBackoff,
    /// It is on the stream that is open now.
    pub(super) is_sent: bool,
    /// No try so far can have taken effect, besides one that is sent.
    pub(super) is_certain: bool,
    pub(super) reply: oneshot::Sender<Result<Permit, Error>>,
}

impl OpenCall {
    pub(super) fn new(
        request: v1::AcquirePermitRequest,
        keep: Keep,
        asked_at: Instant,
        ends_at: Instant,
        reply: oneshot::Sender<Result<Permit, Error>>,
    ) -> OpenCall {
        let backoff = BACKOFF.build();
        OpenCall {
            request,
            keep,
            asked_at,
            ends_at,
            tries: 0,
            backoff,
            is_sent: false,
            is_certain: true,
            reply,
        }
    }

    /// The next try. The server gives up a little before the caller does.
    pub(super) fn next_try(&mut self, id: u64) -> v1::StreamCall {
        self.tries += 1;
        self.is_sent = true;
        let left = self.ends_at.saturating_duration_since(Instant::now());
        let timeout = left.saturating_sub(MARGIN).max(left / 2).max(Duration::from_nanos(1));
        let request = numbered(self.request.clone(), self.tries, self.asked_at);
        let call = Some(stream_call::Call::Acquire(request));
        v1::StreamCall { id, call, timeout: Some(to_wire(timeout)) }
    }

    /// Tells whoever waits why there is no answer.
    pub(super) fn fail(self, fault: Fault) {
        let error = fault.into_error(self.is_certain).with_request_id(&self.request.request_id);
        // Whoever does not read it has given up.
        let _ = self.reply.send(Err(error));
    }
}
