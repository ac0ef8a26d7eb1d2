//! What permits the requests of existing code need.

use crate::{acquire::Acquire, client::Client, permit::Permit};

use super::{IntoAcquire, Limiter};

/// What a [`PermitLayer`](crate::PermitLayer) or [`PermitMiddleware`](crate::PermitMiddleware) does with each request: which permit
/// it asks for, whether the request may be made twice, and what is to be added to it.
///
/// ```
/// use tollgate_client::{CallRules, Client, Limiter};
///
/// # fn example(client: Client) -> CallRules<http::Request<String>> {
/// CallRules::by(Limiter::new(client).vendor("hubspot"), |client, request: &http::Request<String>| {
///     let search = if request.uri().path().ends_with("/search") { "search" } else { "" };
///     client.acquire("hubspot/acme").operation(search).consumer("crm-sync")
/// })
/// .idempotent_if(|request| request.method().is_idempotent() || request.uri().path().ends_with("/search"))
/// # }
/// ```
pub struct CallRules<Request> {
    limiter: Limiter,
    acquire: Box<AcquireFor<Request>>,
    idempotent: Option<Box<IsIdempotent<Request>>>,
    prepare: Option<Box<Prepare<Request>>>,
}

type AcquireFor<Request> = dyn Fn(&Client, &Request) -> Acquire + Send + Sync;
type IsIdempotent<Request> = dyn Fn(&Request) -> bool + Send + Sync;
type Prepare<Request> = dyn Fn(&mut Request, &Permit) + Send + Sync;

impl<Request> CallRules<Request> {
    /// All ask for the same permit: the name of a resource, or more.
    pub fn new(limiter: Limiter, permit: impl IntoAcquire) -> CallRules<Request> {
        let permit = permit.into_acquire(&limiter.client);
        CallRules::by(limiter, move |_, _| permit.times(1))
    }

    /// Each request says what permit it needs.
    pub fn by(
        limiter: Limiter,
        acquire: impl Fn(&Client, &Request) -> Acquire + Send + Sync + 'static,
    ) -> CallRules<Request> {
        CallRules { limiter, acquire: Box::new(acquire), idempotent: None, prepare: None }
    }

    /// States which requests may be made twice. Default: all or none, as [`Limiter::idempotent`] says.
    #[must_use]
    pub fn idempotent_if(
        mut self,
        may: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> CallRules<Request> {
        self.idempotent = Some(Box::new(may));
        self
    }

    /// What is to be added to a request when its permit is there, such as the credential that [`Permit::key`] names.
    #[must_use]
    pub fn prepare(
        mut self,
        add: impl Fn(&mut Request, &Permit) + Send + Sync + 'static,
    ) -> CallRules<Request> {
        self.prepare = Some(Box::new(add));
        self
    }

    /// Who makes this call, and what permit it asks for.
    pub(crate) fn of(&self, request: &Request) -> (Limiter, Acquire) {
        let limiter = self.limiter.clone();
        let limiter = match &self.idempotent {
            Some(may) => limiter.idempotent(may(request)),
            None => limiter,
        };
        (limiter, (self.acquire)(&self.limiter.client, request))
    }

    /// The request as it is sent with this permit.
    pub(crate) fn prepared(&self, mut request: Request, permit: &Permit) -> Request {
        if let Some(add) = &self.prepare {
            add(&mut request, permit);
        }
        request
    }
}
