//! Answers that may be large, and clients that do not read them.
//!
//! A page of resources, or the figures of one, takes up to 2 MiB, and stays in memory until the client has read it. A
//! connection has 2,048 streams: a client that asks on all of them and opens no window would hold gigabytes, and answer
//! every ping meanwhile. So only so many of these answers are there at a time; who comes next waits for a moment, and is
//! then refused as overload. And an answer that is not read in time is given up, so that nobody can keep the others out.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::status::Failure;

/// Answers at a time.
const ANSWERS_MAX: usize = 32;

/// How long a call waits for its place.
const PLACE_MAX: Duration = Duration::from_secs(1);

/// How long a client may take to read an answer: 2 MiB in this time is slower than any link that is of use.
const READ_MAX: Duration = Duration::from_secs(20);

/// What is handed to the connection at a time; that much it keeps, whatever becomes of the answer.
const CHUNK_BYTES: usize = 16 << 10;

/// A service whose answers may be large.
#[derive(Clone)]
pub struct Large<S> {
    service: S,
    places: Arc<Semaphore>,
}

impl<S> Large<S> {
    /// The same service, bounded.
    pub fn new(service: S) -> Large<S> {
        Large { service, places: Arc::new(Semaphore::new(ANSWERS_MAX)) }
    }
}

impl<S: NamedService> NamedService for Large<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Large<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let places = self.places.clone();
        // tonic's services are always ready; a clone is as good as the one that was asked.
        let mut service = self.service.clone();
        Box::pin(async move {
            let Ok(Ok(place)) = timeout(PLACE_MAX, places.acquire_owned()).await else {
                return Ok(Failure::too_many_answers(ANSWERS_MAX).into_status().into_http());
            };
            let answer = service.call(request).await?;
            Ok(answer.map(|body| Body::new(Answer::new(body, place))))
        })
    }
}

/// What is left of an answer.
struct Rest {
    body: Body,
    /// Of what the body gave last.
    chunk: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Rest {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.chunk.has_remaining() {
            return Poll::Ready(Some(Ok(self.next_part())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                self.chunk = data;
                self.next_part()
            }
            Err(trailers) => trailers,
        })
    }

    /// A copy, so that the connection does not keep the whole for the sake of a part.
    fn next_part(&mut self) -> Frame<Bytes> {
        let part = self.chunk.len().min(CHUNK_BYTES);
        Frame::data(self.chunk.copy_to_bytes(part).to_vec().into())
    }
}

/// An answer that is being read; nothing is left of it once it is given up.
struct Answer {
    rest: Arc<Mutex<Option<Rest>>>,
    // A body that waits for its client is not polled, so it cannot look at the time itself.
    _deadline: AbortOnDropHandle<()>,
}

impl Answer {
    fn new(body: Body, place: OwnedSemaphorePermit) -> Answer {
        let rest = Arc::new(Mutex::new(Some(Rest { body, chunk: Bytes::new(), _place: place })));
        let late = rest.clone();
        let deadline = tokio::spawn(async move {
            sleep(READ_MAX).await;
            late.lock().take();
        });
        Answer { rest, _deadline: AbortOnDropHandle::new(deadline) }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.rest.lock().as_mut() {
            Some(rest) => rest.poll(context),
            None => Poll::Ready(Some(Err(Status::deadline_exceeded("the answer was not read in time")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_over = |rest: &Rest| !rest.chunk.has_remaining() && rest.body.is_end_stream();
        self.rest.lock().as_ref().is_some_and(is_over)
    }
}
