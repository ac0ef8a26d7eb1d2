//! Calls to vendors, done right: with a permit each, tried again only when and where it makes sense, and reported to the whole fleet.

mod error;
mod observe;
mod patience;
mod retries;
#[cfg(any(feature = "reqwest", feature = "tower"))]
mod rules;
mod settle;
mod share;
mod tries;
mod unanswered;

use std::{sync::Arc, time::Duration};

#[cfg(any(feature = "reqwest", feature = "tower"))]
pub use self::rules::CallRules;
use self::tries::{End, Returned};
pub use self::{
    error::CallError,
    observe::{Observation, Observe},
    patience::PATIENCE_DEFAULT,
    retries::Retries,
    unanswered::Unanswered,
};
use crate::{acquire::Acquire, client::Client, error::Error, permit::Permit};

/// How long a request may wait for its turn if nobody says otherwise.
pub const CALL_WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// How long one try at the vendor may take if nobody says otherwise. A call that hangs holds its slot for as long, and then until its
/// lease ends ([`Unanswered`]).
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);

/// Makes calls to vendors under permits. Cheap to clone.
///
/// [`call`](Limiter::call) asks for a permit, runs the call, looks at what came back, tells the cluster, releases the permit, and
/// tries again where that makes sense: see [`Retries`]. What the vendor says about its limits holds for the whole fleet, so nobody
/// polls: after a pause the next try waits at the server with all others. The permit ends whatever happens: when the call panics, when its
/// future is dropped, when it takes too long. Then the vendor may still be at work on it, so slots that it holds are free only when its
/// lease ends ([`Unanswered`] has the choice). When the lease is lost, the call is stopped.
///
/// Whether a call may be made twice is for the caller to say: [`idempotent`](Limiter::idempotent).
///
/// ```no_run
/// # use std::time::Duration;
/// # use tollgate_client::{Answer, CallError, Client, Limiter};
/// # async fn get(url: &str, token: &str) -> Result<http::Response<String>, Answer> { Err(Answer::new(503)) }
/// # async fn example(client: Client) -> Result<(), CallError<Answer>> {
/// let hubspot = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
///
/// let contact = hubspot.call("hubspot/acme", |permit| async move { get("…/contacts/1", permit.key()).await }).await?;
///
/// let search = client.acquire("hubspot/acme").operation("search").consumer("crm-sync");
/// let found = hubspot.call(search, |permit| async move { get("…/search?q=jane", permit.key()).await }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Limiter {
    client: Client,
    vendor: String,
    idempotent: bool,
    wait: Duration,
    timeout: Duration,
    retries: Retries,
    unanswered: Unanswered,
    /// None: nobody said it.
    patience: Option<Duration>,
}

impl Limiter {
    /// Calls that wait for a permit for up to [`CALL_WAIT_DEFAULT`], take up to [`CALL_TIMEOUT_DEFAULT`], and are tried again as
    /// [`Retries::default`] says.
    pub fn new(client: Client) -> Limiter {
        Limiter {
            client,
            vendor: String::new(),
            idempotent: false,
            wait: CALL_WAIT_DEFAULT,
            timeout: CALL_TIMEOUT_DEFAULT,
            retries: Retries::default(),
            unanswered: Unanswered::default(),
            patience: None,
        }
    }

    /// Whose preset reads the answers, such as `hubspot`; `tollgate preset list` shows those that there are. Without it the cluster
    /// cannot know what the vendor's answers mean, unless the resource itself says so.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<String>) -> Limiter {
        self.vendor = vendor.into();
        self
    }

    /// States whether making a call twice does no more than making it once. Default: not so. Then a call is made again only if it
    /// certainly was not carried out.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Limiter {
        self.idempotent = idempotent;
        self
    }

    /// How long each request for a permit may wait for its turn, at most 1 h. A request that says so itself
    /// ([`Acquire::wait_up_to`]) keeps to that.
    #[must_use]
    pub fn wait_up_to(mut self, wait: Duration) -> Limiter {
        self.wait = wait;
        self
    }

    /// How long each try at the vendor may take; then it is stopped. A permit without slots is remembered for `settle_within` of its
    /// resource, one minute by default. Of a call that takes longer the cluster still hears how it ended, but not what it truly cost: give
    /// such resources more.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Limiter {
        self.timeout = timeout;
        self
    }

    /// Whether a call that was not answered keeps its slots until its lease ends. Default: it does.
    #[must_use]
    pub fn unanswered(mut self, unanswered: Unanswered) -> Limiter {
        self.unanswered = unanswered;
        self
    }

    /// How often, and when, a call is made again.
    #[must_use]
    pub fn retries(mut self, retries: Retries) -> Limiter {
        self.retries = retries;
        self
    }

    /// How long a call goes on asking for permits that it is denied, in all: the vendor may be paused, a quota used up, the cluster out of
    /// reach, and that passes. It leaves the cluster alone for as long as that says, up to 60 s at a time, before it waits for its turn
    /// once more. What time does not mend, such as a resource that does not exist, ends it at once. Default: not at all; in a
    /// [`Batcher`](crate::Batcher) or a [`Pipeline`](crate::Pipeline), [`PATIENCE_DEFAULT`].
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Limiter {
        self.patience = Some(patience);
        self
    }

    /// For work that nobody waits for at a screen.
    pub(crate) fn patient_by_default(mut self) -> Limiter {
        self.patience.get_or_insert(PATIENCE_DEFAULT);
        self
    }

    /// Makes a call to a resource, which is named, or asked for in detail by [`Client::acquire`]. `work` makes it, once for each
    /// try, with the permit that it is given: use the credential [`Permit::key`], and keep the permit no longer than the call takes.
    ///
    /// What `work` returned last is the result, also if that is an answer like 404; but not what the vendor refused for a limit, after all
    /// tries.
    ///
    /// # Errors
    /// [`CallError`]; for a limit, whatever the status is, [`CallError::Limited`], or with `work`'s own error [`CallError::Failed`].
    /// [`Error::Invalid`] in it for a request with an id of its own: each try is a request.
    pub async fn call<T, E, F>(
        &self,
        request: impl IntoAcquire,
        work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<T, CallError<E>>
    where
        T: Observe,
        E: Observe,
        F: Future<Output = Result<T, E>>,
    {
        self.returned(request, work).await?.served()
    }

    /// The same for those who hand on whatever the vendor says: a refusal for a limit is an answer like any other.
    #[cfg(any(feature = "reqwest", feature = "tower"))]
    pub(crate) async fn forward<T, E, F>(
        &self,
        request: impl IntoAcquire,
        work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<T, CallError<E>>
    where
        T: Observe,
        E: Observe,
        F: Future<Output = Result<T, E>>,
    {
        Ok(self.returned(request, work).await?.value)
    }

    async fn returned<T, E, F>(
        &self,
        request: impl IntoAcquire,
        work: impl FnMut(Arc<Permit>) -> F,
    ) -> Result<Returned<T>, CallError<E>>
    where
        T: Observe,
        E: Observe,
        F: Future<Output = Result<T, E>>,
    {
        match self.run(request.into_acquire(&self.client), |_| None, work).await? {
            End::Returned(returned) => Ok(returned),
            End::Shared(_) => Err(CallError::NoPermit { error: Error::incomplete("permit"), tries: 0 }),
        }
    }

    /// The client that asks for the permits.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// What a permit can be asked with: the name of a resource, or a request.
pub trait IntoAcquire {
    /// The request.
    fn into_acquire(self, client: &Client) -> Acquire;
}

impl IntoAcquire for Acquire {
    fn into_acquire(self, _: &Client) -> Acquire {
        self
    }
}

impl IntoAcquire for &str {
    fn into_acquire(self, client: &Client) -> Acquire {
        client.acquire(self)
    }
}

impl IntoAcquire for String {
    fn into_acquire(self, client: &Client) -> Acquire {
        client.acquire(self)
    }
}
