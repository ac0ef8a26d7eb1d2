//! Many records, one call: vendors count calls, and take a hundred records with each.

mod batches;
mod error;

use std::{sync::Arc, time::Duration};

use self::batches::{Batches, SendBatch};
pub use self::error::BatchError;
use crate::{
    acquire::Acquire,
    answer::Answer,
    call::{IntoAcquire, Limiter, Observation, Observe},
    error::Error,
    permit::Permit,
};

/// Batches at once, at most.
const BATCHES_MAX: u32 = 10_000;

/// How records become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBounds {
    /// Records in a batch, at most: 1 or more. HubSpot takes 100, Salesforce's composite calls 200. Default 100.
    pub size: usize,
    /// How long a batch is open for more records before it asks for its permit. Default 50 ms.
    pub linger: Duration,
    /// Batches at once, open or under way: 1 to 10,000. While there are so many, and none of them has room, whoever adds a record
    /// waits. Default 8.
    pub batches: u32,
}

impl Default for BatchBounds {
    fn default() -> BatchBounds {
        BatchBounds { size: 100, linger: Duration::from_millis(50), batches: 8 }
    }
}

/// What a vendor answered to a batch: what it said as a whole, and what became of each record, in their order.
#[derive(Clone, Debug)]
pub struct BatchReply<T, E> {
    /// The answer as a whole.
    pub answer: Answer,
    /// One for each record.
    pub results: Vec<Result<T, E>>,
}

impl<T, E> Observe for BatchReply<T, E> {
    fn observe(&self) -> Observation {
        self.answer.observe()
    }
}

/// Gathers single records into a vendor's batches, with one permit each, and hands the results back one by one. Cheap to clone; all
/// clones fill the same batches.
///
/// A batch that is full asks for its permit, and so does one that has been open for a while. It takes more records as long as it
/// waits for its permit and has room, so under pressure batches are full by themselves. A batch that fails as a whole is tried again
/// as any [call](Limiter::call) is, and outlasts pauses ([`patience`](Batcher::patience)); records that fail one by one are not tried
/// again, as only the caller knows what is wrong with them.
///
/// [`add`](Batcher::add) waits for what becomes of its record, so have as many under way at once as the batches have room for, which is
/// `size · batches` (800 by default). With fewer, batches leave half empty after they have lingered; one after the other, each record
/// has a batch to itself. A whole import is in `examples/import.rs`:
/// `contacts.map(|contact| batcher.add(contact)).buffer_unordered(800)`, with `StreamExt` of `futures-util`.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use tollgate_client::{Answer, BatchBounds, BatchError, BatchReply, Batcher, Client, Error, Limiter};
/// # struct Contact;
/// # async fn upsert(contacts: Arc<[Contact]>) -> Result<BatchReply<u64, String>, Answer> { Err(Answer::new(503)) }
/// # async fn example(client: Client, contact: Contact) -> Result<(), Error> {
/// let limiter = Limiter::new(client.clone()).vendor("hubspot").idempotent(true);
/// let batches = client.acquire("hubspot/acme").operation("batch/contacts");
/// let contacts = Batcher::new(limiter, batches, BatchBounds::default(), |_permit, contacts| upsert(contacts))?;
///
/// match contacts.add(contact).await {
///     Ok(id) => println!("contact {id}"),
///     Err(BatchError::Record(reason)) => eprintln!("HubSpot refused this contact: {reason}"),
///     Err(error) => eprintln!("{error}"),
/// }
/// contacts.close().await; // what was added before is sent
/// # Ok(())
/// # }
/// ```
pub struct Batcher<R, T, E, C> {
    batches: Arc<Batches<R, T, E, C>>,
}

impl<R, T, E, C> Clone for Batcher<R, T, E, C> {
    fn clone(&self) -> Batcher<R, T, E, C> {
        Batcher { batches: self.batches.clone() }
    }
}

impl<R, T, E, C> Batcher<R, T, E, C>
where
    R: Send + Sync + 'static,
    T: Send + 'static,
    E: Send + 'static,
    C: Observe + Send + Sync + 'static,
{
    /// A batcher whose batches ask for a permit by this request each, and are sent by `send`. That is called once for each try, with
    /// the same records; `C` is why a call failed as a whole, `E` why a single record did.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bounds out of range.
    pub fn new<F>(
        limiter: Limiter,
        request: impl IntoAcquire,
        bounds: BatchBounds,
        send: impl Fn(Arc<Permit>, Arc<[R]>) -> F + Send + Sync + 'static,
    ) -> Result<Batcher<R, T, E, C>, Error>
    where
        F: Future<Output = Result<BatchReply<T, E>, C>> + Send + 'static,
    {
        if bounds.size == 0 {
            return Err(Error::invalid("size", "must be 1 or more, not 0"));
        }
        if !(1..=BATCHES_MAX).contains(&bounds.batches) {
            return Err(Error::invalid(
                "batches",
                format!("must be 1 to {BATCHES_MAX}, not {}", bounds.batches),
            ));
        }
        let request: Acquire = request.into_acquire(limiter.client());
        let send: SendBatch<R, T, E, C> = Box::new(move |permit, records| Box::pin(send(permit, records)));
        Ok(Batcher { batches: Arc::new(Batches::new(limiter, request, bounds, send)) })
    }

    /// How long a batch goes on asking for permits that it is denied before it fails for that ([`Limiter::patience`]): a vendor that
    /// is paused is no fault of the records'. Holds for the batches of all clones that begin from now on. Default 25 h, which a day's quota does
    /// not outlast, unless the limiter says otherwise.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Batcher<R, T, E, C> {
        self.batches.be_patient_for(patience);
        self
    }

    /// Adds a record to a batch, and waits for what becomes of it. Dropping the future withdraws the record, unless its batch has
    /// left.
    ///
    /// # Errors
    /// [`BatchError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn add(&self, record: R) -> Result<T, BatchError<E, C>> {
        let result = self.batches.add(record).await?;
        // Without an answer the batch has ended otherwise than by returning.
        result.await.unwrap_or(Err(BatchError::Aborted))
    }

    /// Takes no more records, sends at once what is open, and waits until all batches are done; while they are denied their permits, for
    /// as long as their [`patience`](Batcher::patience).
    pub async fn close(&self) {
        self.batches.close().await;
    }
}
