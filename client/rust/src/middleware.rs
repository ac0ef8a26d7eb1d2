//! Calls under permits for whatever goes through reqwest.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use reqwest_middleware::{Error, Middleware, Next};

use crate::{
    answer::{Answer, BODY_BYTES_MAX},
    call::{CallError, CallRules, Observation, Observe},
};

/// A middleware of `reqwest-middleware` that makes each request a [call](crate::Limiter::call): with a permit, reported, and tried
/// again where that makes sense. A request whose body is a stream is tried once. The start of an error's body is read to find the
/// vendor's code in it ([of other answers too](PermitMiddleware::read_bodies_of), if you say so); whoever gets the response reads it
/// from the beginning all the same.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tollgate_client::{CallRules, Client, Limiter, PermitMiddleware};
///
/// # fn example(client: Client) {
/// let rules = CallRules::new(Limiter::new(client).vendor("salesforce"), "salesforce/acme")
///     .idempotent_if(|request: &reqwest::Request| request.method().is_idempotent());
/// let http = ClientBuilder::new(reqwest::Client::new()).with(PermitMiddleware::new(rules)).build();
/// # drop(http);
/// # }
/// ```
///
/// Where no answer came, the error is reqwest's own; a [`CallError`] where there was no permit, or the call was stopped.
pub struct PermitMiddleware {
    rules: CallRules<Request>,
    /// Besides errors.
    bodies_of: Vec<StatusCode>,
}

impl PermitMiddleware {
    /// A middleware that follows these rules.
    pub fn new(rules: CallRules<Request>) -> PermitMiddleware {
        PermitMiddleware { rules, bodies_of: Vec::new() }
    }

    /// Reads the start of the body, up to 8 KiB, of answers with these statuses as well, for vendors that refuse calls with what looks
    /// like a success: Shopify says 200, and `THROTTLED` in the body. Whoever gets such a response waits until its start is there.
    ///
    /// ```
    /// # use tollgate_client::{CallRules, Client, Limiter, PermitMiddleware};
    /// # fn example(client: Client) -> PermitMiddleware {
    /// let rules = CallRules::new(Limiter::new(client).vendor("shopify"), "shopify/acme");
    /// PermitMiddleware::new(rules).read_bodies_of([http::StatusCode::OK])
    /// # }
    /// ```
    #[must_use]
    pub fn read_bodies_of(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> PermitMiddleware {
        self.bodies_of.extend(statuses);
        self
    }

    /// A response, and what is passed on of it.
    async fn examined(&self, mut response: Response) -> reqwest_middleware::Result<(Answer, Response)> {
        let status = response.status();
        let answer = Answer::of(status, response.headers());
        if !status.is_client_error() && !status.is_server_error() && !self.bodies_of.contains(&status) {
            return Ok((answer, response));
        }
        let mut start = Vec::new();
        while start.len() <= BODY_BYTES_MAX
            && let Some(chunk) = response.chunk().await?
        {
            start.extend_from_slice(&chunk);
        }
        let answer = answer.body(start.clone());
        Ok((answer, put_back(start, response)?))
    }
}

#[tonic::async_trait]
impl Middleware for PermitMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let (limiter, acquire) = self.rules.of(&request);
        // What cannot be cloned is there for one try.
        let limiter = match request.try_clone() {
            Some(_) => limiter,
            None => limiter.retries(crate::Retries::none()),
        };
        let mut held = Some(request);
        // A try that is stopped does not give them back.
        let lent = Mutex::new(mem::take(extensions));
        let send = |permit: Arc<_>| {
            let copy = held.as_ref().and_then(Request::try_clone).or_else(|| held.take());
            let request = copy.expect("what cannot be cloned is asked for once, as is said above");
            let request = self.rules.prepared(request, &permit);
            let (next, lent) = (next.clone(), &lent);
            async move {
                let mut extensions = mem::take(&mut *lent.lock());
                let response = next.run(request, &mut extensions).await;
                *lent.lock() = extensions;
                self.examined(response?).await
            }
        };
        let result = limiter.forward(acquire, send).await;
        *extensions = lent.into_inner();
        match result {
            Ok((_, response)) => Ok(response),
            Err(CallError::Failed { error, .. }) => Err(error),
            Err(other) => Err(Error::middleware(other)),
        }
    }
}

/// The response as if nothing had been read of it.
fn put_back(start: Vec<u8>, response: Response) -> reqwest_middleware::Result<Response> {
    let with_url = http::response::Builder::new().url(response.url().clone()).body(());
    let (url, ()) = with_url.map_err(Error::middleware)?.into_parts();
    let (mut parts, rest) = http::Response::<Body>::from(response).into_parts();
    parts.extensions.extend(url.extensions);
    let body = Body::wrap(Rejoined { start: Some(start.into()), rest });
    Ok(http::Response::from_parts(parts, body).into())
}

/// A body whose start was read.
struct Rejoined {
    start: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.start.take_if(|start| !start.is_empty()) {
            Some(start) => Poll::Ready(Some(Ok(Frame::data(start)))),
            None => http_body::Body::poll_frame(Pin::new(&mut self.rest), context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.as_ref().is_none_or(Bytes::is_empty) && http_body::Body::is_end_stream(&self.rest)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.start.as_ref().map_or(0, |start| start.len() as u64);
        let rest = http_body::Body::size_hint(&self.rest);
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower() + read);
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper + read);
        }
        whole
    }
}

/// The status and the headers. The body has to be read by whoever wants its code known: [`Answer::body`].
impl Observe for Response {
    fn observe(&self) -> Observation {
        Observation::Answered(Answer::of(self.status(), self.headers()))
    }
}

impl Observe for reqwest::Error {
    fn observe(&self) -> Observation {
        match self.status() {
            Some(status) => Observation::Answered(Answer::new(status.as_u16())),
            // Also a name that is not known, and a connection that took too long to be made.
            None if self.is_connect() => Observation::Unreached,
            None if self.is_timeout() || self.is_request() || self.is_body() => Observation::Unanswered,
            None => Observation::Failed,
        }
    }
}

impl Observe for Error {
    fn observe(&self) -> Observation {
        match self {
            Error::Reqwest(error) => error.observe(),
            Error::Middleware(_) => Observation::Failed,
        }
    }
}
