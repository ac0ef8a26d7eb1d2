//! Many requests over one stream.

mod conversation;
mod open_call;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use self::{
    conversation::{Conversation, Event},
    open_call::OpenCall,
};
use crate::{
    acquire::Acquire,
    attempt::Terms,
    client::Client,
    decide::{self, Way},
    error::Error,
    permit::Permit,
};

/// Asks for many permits over one stream, which costs both sides far less than a call for each: for workers with thousands
/// of requests that wait at a time. Cheap to clone; all clones share the stream. It is opened when it is first needed, and
/// opened again at another node when it breaks.
///
/// ```no_run
/// # use std::time::Duration;
/// # use tollgate_client::{Client, Error};
/// # async fn example(client: Client) -> Result<(), Error> {
/// let stream = client.stream();
/// for record in 0..5_000 {
///     let (client, stream) = (client.clone(), stream.clone());
///     tokio::spawn(async move {
///         let request = client.acquire("hubspot/acme").wait_up_to(Duration::from_secs(600));
///         let permit = stream.acquire(request).await?;
///         println!("{} lets record {record} through", permit.id());
///         permit.release().await
///     });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PermitStream {
    events: mpsc::UnboundedSender<Event>,
    next: Arc<AtomicU64>,
}

impl PermitStream {
    pub(crate) fn new(client: Client) -> PermitStream {
        let (events, inbox) = mpsc::unbounded_channel();
        tokio::spawn(Conversation::new(client, inbox, events.downgrade()).run());
        PermitStream { events, next: Arc::default() }
    }

    /// Asks for a permit, as awaiting the request does. Dropping the future gives the request's place up. A permit
    /// that was on its way by then is given back, unless the request id is the caller's own: asked again, it has that permit.
    ///
    /// # Errors
    /// As awaiting the request.
    pub async fn acquire(&self, request: Acquire) -> Result<Permit, Error> {
        decide::ask(request, Way::Stream(self)).await
    }

    /// One request id, until it is decided.
    pub(crate) async fn decide(&self, acquire: &Acquire) -> Result<Permit, Error> {
        let Acquire { request, keep, deadline, wait, own_id, .. } = acquire;
        let (reply, answer) = oneshot::channel();
        let asked_at = Instant::now();
        let ends_at = Terms::waiting(*wait, *deadline).end(asked_at);
        let id = number(self.next.fetch_add(1, Ordering::Relaxed), *own_id);
        let call = OpenCall::new(request.clone(), *keep, asked_at, ends_at, reply);
        // If nobody reads it the runtime is ending, and this future with it.
        let _ = self.events.send(Event::Ask(id, Box::new(call)));
        let mut place = Place { id, stream: self, is_open: true };
        match timeout_at(ends_at, answer).await {
            Ok(Ok(decision)) => {
                place.is_open = false;
                decision
            }
            Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown {
                request_id: Some(request.request_id.clone()),
                message: "no answer before the deadline".to_owned(),
            }),
        }
    }
}

/// The number of the n-th request on its stream. It rises with n, and tells whether the request id was made here.
fn number(n: u64, own_id: bool) -> u64 {
    (n << 1) | u64::from(own_id)
}

/// Whether nobody else can know the request id of the request with this number.
fn is_own(number: u64) -> bool {
    number & 1 == 1
}

/// The place of a request that is not decided; it is given up with this.
struct Place<'a> {
    id: u64,
    stream: &'a PermitStream,
    is_open: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // If nobody reads it, the stream has ended, and the place with it.
            let _ = self.stream.events.send(Event::Cancel(self.id));
        }
    }
}
