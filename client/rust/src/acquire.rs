//! Asking for one permit.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_proto::v1::{
    self, Outcome, Priority, acquire_permit_response::Decision, permit_service_client::PermitServiceClient,
};
use uuid::Uuid;

use crate::{
    attempt::{Answered, Repeat},
    client::{Answer, Client},
    duration::{jitter, to_wire},
    error::Error,
    permit::{Keep, Permit},
};

/// The longest pause between two questions while waiting: a release by somebody else may free a slot at any time.
const POLL_MAX: Duration = Duration::from_secs(1);

/// Permits in a row that are given back because they came too late. A resource whose `dispatch_tolerance` is below the
/// time that a decision takes cannot be served in time at all.
const LATE_MAX: u32 = 3;

/// At least this much is randomised of a pause, so that waiters do not stay in step.
const POLL_JITTER_MIN: Duration = Duration::from_millis(5);

/// A request for one permit: say what it is for, then await it.
///
/// ```no_run
/// # use std::time::Duration;
/// # use tollgate_client::{Client, Error};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let permit = client
///     .acquire("openai/acme")
///     .operation("chat")
///     .amount("input_tokens", 1_200)
///     .consumer("summariser")
///     .wait_up_to(Duration::from_secs(30))
///     .await?;
/// # permit.release().await?; Ok(())
/// # }
/// ```
#[must_use = "a request is sent when it is awaited"]
pub struct Acquire {
    client: Client,
    request: v1::AcquirePermitRequest,
    /// The request id was made here, so nobody else can have used an earlier grant of it.
    own_id: bool,
    keep: Keep,
    deadline: Duration,
    wait: Duration,
}

impl Acquire {
    pub(crate) fn new(client: Client, resource: String) -> Acquire {
        let request = v1::AcquirePermitRequest {
            resource,
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let keep = Keep { lease: None, renew: true };
        Acquire { deadline: client.deadline(), client, request, own_id: true, keep, wait: Duration::ZERO }
    }

    /// What is about to be done, such as `search` or `batch/contacts`: selects the limits that apply.
    pub fn operation(mut self, operation: impl Into<String>) -> Acquire {
        self.request.operation = operation.into();
        self
    }

    /// How much the call weighs on limits without a dimension: 1 or more. Default 1.
    pub fn cost(mut self, cost: u64) -> Acquire {
        self.request.cost = Some(cost);
        self
    }

    /// How much the call weighs on limits with this dimension, such as `input_tokens`.
    pub fn amount(mut self, dimension: impl Into<String>, amount: u64) -> Acquire {
        self.request.amounts.insert(dimension.into(), amount);
        self
    }

    /// Who asks: the workflow or service, such as `crm-sync`.
    pub fn consumer(mut self, consumer: impl Into<String>) -> Acquire {
        self.request.consumer = consumer.into();
        self
    }

    /// On whose behalf: an end user or a mailbox.
    pub fn subject(mut self, subject: impl Into<String>) -> Acquire {
        self.request.subject = subject.into();
        self
    }

    /// Which credential of the resource to use. Default: the first with room.
    pub fn key(mut self, key: impl Into<String>) -> Acquire {
        self.request.key = key.into();
        self
    }

    /// How urgent the call is, compared with others that wait at the server.
    pub fn priority(mut self, priority: Priority) -> Acquire {
        self.request.priority = priority.into();
        self
    }

    /// How long a slot is held without renewal; each renewal asks for as much again. Default: the resource's.
    pub fn lease(mut self, lease: Duration) -> Acquire {
        self.request.lease = Some(to_wire(lease));
        self.keep.lease = Some(lease);
        self
    }

    /// Does not renew the lease in the background.
    pub fn without_renewal(mut self) -> Acquire {
        self.keep.renew = false;
        self
    }

    /// Names the request, so that it spends only once even if this process crashes and another one repeats it: the same
    /// id and body return the same permit, for 10 minutes. 1 to 128 bytes, unique across all resources. Default: a new
    /// UUID, which makes the client's own retries safe.
    pub fn request_id(mut self, id: impl Into<String>) -> Acquire {
        self.request.request_id = id.into();
        self.own_id = false;
        self
    }

    /// How long all tries may take together, not counting the waits of [`wait_up_to`](Acquire::wait_up_to). Default: the
    /// client's.
    pub fn deadline(mut self, deadline: Duration) -> Acquire {
        self.deadline = deadline;
        self
    }

    /// On a denial, asks again until this much time has passed. Default: not at all. The client polls: it sleeps for the
    /// denial's `retry_after` where it has one, but not over 1 s, plus a random bit. Who waits longest has therefore no
    /// precedence.
    pub fn wait_up_to(mut self, wait: Duration) -> Acquire {
        self.wait = wait;
        self
    }

    pub(crate) fn into_parts(self) -> (v1::AcquirePermitRequest, Keep) {
        (self.request, self.keep)
    }

    async fn poll(mut self) -> Result<Permit, Error> {
        let waits_from = Instant::now();
        loop {
            let denial = match self.ask().await {
                Err(Error::Denied(denial)) => denial,
                answer => return answer,
            };
            let left = self.wait.saturating_sub(waits_from.elapsed());
            if left.is_zero() {
                return Err(Error::Denied(denial));
            }
            let pause = denial.retry_after.unwrap_or(POLL_MAX).min(POLL_MAX);
            sleep((pause + jitter(POLL_JITTER_MIN.max(pause / 4))).min(left)).await;
        }
    }

    /// Asks until there is a decision. A permit that came too late to be used, as after a failover, is given back and
    /// asked for anew, unless somebody else may know its request id and have sent the call.
    async fn ask(&mut self) -> Result<Permit, Error> {
        let ends_at = Instant::now() + self.deadline.min(crate::DEADLINE_MAX);
        for _ in 0..LATE_MAX {
            let permit = self.decide(ends_at).await?;
            if permit.is_usable() || !self.own_id {
                return Ok(permit);
            }
            self.request.request_id = Uuid::new_v4().to_string();
            if let Err(error) = permit.release().outcome(Outcome::NotSent).await {
                // What it debited stays debited: that errs on the safe side.
                tracing::debug!(%error, "a permit that came too late was not given back");
            }
        }
        self.decide(ends_at).await
    }

    async fn decide(&self, ends_at: Instant) -> Result<Permit, Error> {
        let deadline = ends_at.saturating_duration_since(Instant::now());
        let answered = self
            .client
            .call(deadline, Repeat::Freely, |attempt| {
                let request = v1::AcquirePermitRequest { attempt: attempt.number, ..self.request.clone() };
                let request = attempt.request(request);
                async move { PermitServiceClient::new(attempt.channel).acquire_permit(request).await }
            })
            .await
            .map_err(|failed| failed.error.with_request_id(&self.request.request_id))?;
        received(&self.client, answered, &self.keep)
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Permit, Error>;
    type IntoFuture = Answer<Permit>;

    fn into_future(self) -> Answer<Permit> {
        Box::pin(self.poll())
    }
}

/// The permit, or the denial.
pub(crate) fn received(
    client: &Client,
    answered: Answered<v1::AcquirePermitResponse>,
    keep: &Keep,
) -> Result<Permit, Error> {
    match answered.message.decision {
        Some(Decision::Granted(granted)) => Ok(Permit::new(client.clone(), granted, answered.asked_at, keep)),
        Some(Decision::Denied(denied)) => Err(Error::Denied(denied.into())),
        None => Err(Error::incomplete("decision")),
    }
}
