//! Calls under permits for whatever is a `tower::Service`.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service, ServiceExt};

use crate::{
    answer::Answer,
    call::{CallError, CallRules, Observation, Observe},
};

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
///
/// A vendor may say in the body that it refused a call for a limit: Salesforce with 403 and `REQUEST_LIMIT_EXCEEDED`, Google
/// with 403, Shopify even with 200 and `THROTTLED`. Nobody here knows how to read the body of a response, so pass it on with
/// [`PermitLayer::reading`]; without that such a refusal is taken for an answer like any other. What an error of the service means,
/// its [`Observe`] says: let that be [`Observation::Unreached`] where no connection could be made, so that the circuit opens. Of a
/// boxed error only a connection that was refused is recognised.
pub struct PermitLayer<Request, Response> {
    rules: Arc<CallRules<Request>>,
    read: Read<Response>,
}

/// What came of a call, by its response.
type Read<Response> = Arc<dyn Fn(&Response) -> Observation + Send + Sync>;

impl<Request, Response: 'static> PermitLayer<Request, Response> {
    /// A layer that follows these rules, and has of responses what they tell by themselves.
    pub fn new(rules: CallRules<Request>) -> PermitLayer<Request, Response>
    where
        Response: Observe,
    {
        PermitLayer { rules: Arc::new(rules), read: Arc::new(Response::observe) }
    }

    /// One to which `read` says what the vendor answered, as far as it speaks of limits, with the body or the true
    /// [cost](Answer::cost).
    ///
    /// ```
    /// # use tollgate_client::{Answer, CallRules, PermitLayer};
    /// # type Request = http::Request<String>;
    /// # fn example(rules: CallRules<Request>) -> PermitLayer<Request, http::Response<String>> {
    /// PermitLayer::reading(rules, |response: &http::Response<String>| {
    ///     let answer = Answer::of(response.status(), response.headers());
    ///     if response.status().is_client_error() { answer.body(response.body().as_str()) } else { answer }
    /// })
    /// # }
    /// ```
    pub fn reading(
        rules: CallRules<Request>,
        read: impl Fn(&Response) -> Answer + Send + Sync + 'static,
    ) -> PermitLayer<Request, Response> {
        let read = move |response: &Response| Observation::Answered(read(response));
        PermitLayer { rules: Arc::new(rules), read: Arc::new(read) }
    }
}

impl<Request, Response> Clone for PermitLayer<Request, Response> {
    fn clone(&self) -> PermitLayer<Request, Response> {
        PermitLayer { rules: self.rules.clone(), read: self.read.clone() }
    }
}

impl<S, Request, Response> Layer<S> for PermitLayer<Request, Response>
where
    S: Service<Request, Response = Response>,
{
    type Service = PermitService<S, Request, Response>;

    fn layer(&self, inner: S) -> PermitService<S, Request, Response> {
        PermitService { inner, rules: self.rules.clone(), read: self.read.clone() }
    }
}

/// What [`PermitLayer`] makes of a service.
pub struct PermitService<S, Request, Response> {
    inner: S,
    rules: Arc<CallRules<Request>>,
    read: Read<Response>,
}

impl<S: Clone, Request, Response> Clone for PermitService<S, Request, Response> {
    fn clone(&self) -> PermitService<S, Request, Response> {
        PermitService { inner: self.inner.clone(), rules: self.rules.clone(), read: self.read.clone() }
    }
}

impl<S, Request, Response> Service<Request> for PermitService<S, Request, Response>
where
    S: Service<Request, Response = Response, Error: Observe + Send, Future: Send> + Clone + Send + 'static,
    Request: Clone + Send + 'static,
    Response: Send + 'static,
{
    type Response = Response;
    type Error = CallError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Response, CallError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(|error| CallError::Failed { error, tries: 0 })
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled is ready; a clone need not be.
        let spare = self.inner.clone();
        let mut ready = Some(mem::replace(&mut self.inner, spare.clone()));
        let (rules, read) = (self.rules.clone(), self.read.clone());
        let (limiter, acquire) = rules.of(&request);
        Box::pin(async move {
            let send = move |permit: Arc<_>| {
                let request = rules.prepared(request.clone(), &permit);
                let (ready, spare, read) = (ready.take(), spare.clone(), read.clone());
                async move {
                    let response = match ready {
                        Some(mut service) => service.call(request).await?,
                        None => spare.oneshot(request).await?,
                    };
                    Ok((read(&response), response))
                }
            };
            Ok(limiter.forward(acquire, send).await?.1)
        })
    }
}
