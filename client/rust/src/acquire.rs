//! Asking for one permit.

use std::time::Duration;

use tollgate_proto::v1::{self, Priority};
use uuid::Uuid;

use crate::{
    Alternative, Prefetch, PrefetchBounds,
    client::{Answer, Client},
    decide::{self, Way},
    duration::to_wire,
    error::Error,
    permit::{Keep, Permit},
};

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
    pub(crate) client: Client,
    pub(crate) request: v1::AcquirePermitRequest,
    /// The request id was made here, so nobody else can have used an earlier grant of it.
    pub(crate) own_id: bool,
    pub(crate) keep: Keep,
    pub(crate) deadline: Duration,
    pub(crate) wait: Duration,
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

    /// How much the call weighs on limits without a dimension: 1 or more. Default: what the resource says that
    /// the operation costs, else 1.
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

    /// Which credential of the resource to use. Default: the one with the most headroom.
    pub fn key(mut self, key: impl Into<String>) -> Acquire {
        self.request.key = key.into();
        self
    }

    /// How urgent the call is, compared with others that wait. Default: [`Priority::Medium`].
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

    /// How long the server may hold the request until it is its turn: at most 1 h. Default: not at all. Those who wait go
    /// by priority, then by fair shares between consumers, then by arrival; nobody polls. A lost connection or leader
    /// costs no turn: the client asks again and says how long it has waited. Dropping the future gives the place up.
    pub fn wait_up_to(mut self, wait: Duration) -> Acquire {
        self.request.max_wait = Some(wait).filter(|wait| !wait.is_zero()).map(to_wire);
        self.wait = wait;
        self
    }

    /// The same, when some of the time has been spent: first of the wait, then of the deadline.
    pub(crate) fn with_what_is_left_after(mut self, spent: Duration) -> Acquire {
        let over = spent.saturating_sub(self.wait);
        self.deadline = self.deadline.saturating_sub(over);
        let wait = self.wait.saturating_sub(spent);
        self.wait_up_to(wait)
    }

    /// Takes permits for many such requests in advance, to be spent here without asking: see [`Prefetch`]. The deadline and
    /// the wait of this request are those of each chunk.
    ///
    /// A call counts as 1 if no [`cost`](Acquire::cost) is stated; where the resource says what operations cost, it must be.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bounds out of range, for a request with an id of its own, and for one with alternatives.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn prefetch(self, bounds: PrefetchBounds) -> Result<Prefetch, Error> {
        Prefetch::new(self, bounds)
    }

    /// Others may wait for what its call comes to.
    pub(crate) fn is_for_many(&self) -> bool {
        !self.request.coalesce_key.is_empty()
    }

    /// One request for so many calls, under an id of its own. Only a single one waits: more would hold up others for what
    /// nobody may need.
    pub(crate) fn times(&self, count: u64) -> Acquire {
        let mut request = self.request.clone();
        request.request_id = Uuid::new_v4().to_string();
        // What a single call costs, the resource may say.
        if count > 1 {
            request.cost = Some(request.cost.unwrap_or(1).saturating_mul(count));
        }
        request.amounts.values_mut().for_each(|amount| *amount = amount.saturating_mul(count));
        let Acquire { own_id, keep, deadline, wait, .. } = *self;
        let times = Acquire { client: self.client.clone(), request, own_id, keep, deadline, wait };
        if count == 1 { times } else { times.wait_up_to(Duration::ZERO) }
    }

    /// Another resource that would do as well. The first that has room is taken, in the order in which they are named; if
    /// none has, and the request [may wait](Acquire::wait_up_to), the first that comes free. At most 8.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tollgate_client::{Alternative, Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let permit = client
    ///     .acquire("clearbit/acme")
    ///     .or(Alternative::new("apollo/acme").operation("enrich"))
    ///     .or("hunter/acme")
    ///     .wait_up_to(Duration::from_secs(60))
    ///     .await?;
    /// println!("call {}, after {:?}", permit.resource(), permit.waited());
    /// # permit.release().await?; Ok(())
    /// # }
    /// ```
    pub fn or(mut self, other: impl Into<Alternative>) -> Acquire {
        self.request.alternatives.push(other.into().0);
        self
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Permit, Error>;
    type IntoFuture = Answer<Permit>;

    fn into_future(self) -> Answer<Permit> {
        Box::pin(decide::ask(self, Way::Call))
    }
}
