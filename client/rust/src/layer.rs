//! Calls under permits for whatever is a `tower::Service`.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service, ServiceExt};

use crate::call::{CallError, CallRules, Observe};

/// A `tower` layer that makes each request a [call](crate::Limiter::call): with a permit, reported, and tried again where that makes
/// sense. Put it outside of what a single try needs, such as a timeout, and inside of what a request needs as a whole.
///
/// ```
/// use tollgate_client::{Answer, CallRules, Client, Limiter, PermitLayer};
/// use tower::{ServiceBuilder, service_fn};
///
/// # fn example(client: Client) {
/// let rules = CallRules::new(Limiter::new(client).vendor("hubspot"), "hubspot/acme")
///     .idempotent_if(|request: &http::Request<String>| request.method().is_idempotent())
///     .prepare(|request, permit| drop(request.headers_mut().insert("x-app", permit.key().parse().expect("a key is ASCII"))));
/// let service = ServiceBuilder::new()
///     .layer(PermitLayer::new(rules))
///     .service(service_fn(|_: http::Request<String>| async { Ok::<_, Answer>(http::Response::new("what the vendor says")) }));
/// # drop(service);
/// # }
/// ```
pub struct PermitLayer<Request> {
    rules: Arc<CallRules<Request>>,
}

impl<Request> PermitLayer<Request> {
    /// A layer that follows these rules.
    pub fn new(rules: CallRules<Request>) -> PermitLayer<Request> {
        PermitLayer { rules: Arc::new(rules) }
    }
}

impl<Request> Clone for PermitLayer<Request> {
    fn clone(&self) -> PermitLayer<Request> {
        PermitLayer { rules: self.rules.clone() }
    }
}

impl<S, Request> Layer<S> for PermitLayer<Request> {
    type Service = PermitService<S, Request>;

    fn layer(&self, inner: S) -> PermitService<S, Request> {
        PermitService { inner, rules: self.rules.clone() }
    }
}

/// What [`PermitLayer`] makes of a service.
pub struct PermitService<S, Request> {
    inner: S,
    rules: Arc<CallRules<Request>>,
}

impl<S: Clone, Request> Clone for PermitService<S, Request> {
    fn clone(&self) -> PermitService<S, Request> {
        PermitService { inner: self.inner.clone(), rules: self.rules.clone() }
    }
}

impl<S, Request> Service<Request> for PermitService<S, Request>
where
    S: Service<Request, Response: Observe + Send, Error: Observe + Send, Future: Send>
        + Clone
        + Send
        + 'static,
    Request: Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, CallError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(|error| CallError::Failed { error, tries: 0 })
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled is ready; a clone need not be.
        let spare = self.inner.clone();
        let mut ready = Some(mem::replace(&mut self.inner, spare.clone()));
        let rules = self.rules.clone();
        let (limiter, acquire) = rules.of(&request);
        Box::pin(async move {
            let send = move |permit: Arc<_>| {
                let request = rules.prepared(request.clone(), &permit);
                let (ready, spare) = (ready.take(), spare.clone());
                async move {
                    match ready {
                        Some(mut service) => service.call(request).await,
                        None => spare.oneshot(request).await,
                    }
                }
            };
            limiter.call(acquire, send).await
        })
    }
}
