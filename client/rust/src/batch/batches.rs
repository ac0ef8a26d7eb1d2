//! Batches, from the first record to the results.

use std::{mem, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{BatchBounds, BatchError, BatchReply};
use crate::{
    acquire::Acquire,
    call::{CallError, Limiter, Observation, Observe},
    permit::Permit,
};

/// Makes the call for a batch.
pub(super) type SendBatch<R, T, E, C> = Box<
    dyn Fn(Arc<Permit>, Arc<[R]>) -> Pin<Box<dyn Future<Output = Result<BatchReply<T, E>, C>> + Send>>
        + Send
        + Sync,
>;

type Reply<T, E, C> = oneshot::Sender<Result<T, BatchError<E, C>>>;
type Awaited<T, E, C> = oneshot::Receiver<Result<T, BatchError<E, C>>>;

/// What all clones of a batcher share.
pub(super) struct Batches<R, T, E, C> {
    /// For the batches that are still to begin.
    limiter: Mutex<Limiter>,
    request: Acquire,
    bounds: BatchBounds,
    send: SendBatch<R, T, E, C>,
    intake: Mutex<Intake<R, T, E, C>>,
    /// One for each batch that is open or under way.
    places: Arc<Semaphore>,
}

/// Where records go.
struct Intake<R, T, E, C> {
    /// The batch that has room.
    open: Option<Arc<Batch<R, T, E, C>>>,
    closed: bool,
}

/// Records on their way to one call.
struct Batch<R, T, E, C> {
    /// Locked only by who holds the intake.
    entries: Mutex<Vec<Entry<R, T, E, C>>>,
    /// There is nothing more to linger for.
    due: Notify,
}

/// A record, and who waits for what becomes of it.
struct Entry<R, T, E, C> {
    record: R,
    reply: Reply<T, E, C>,
}

/// A batch that has left.
type Sealed<R, T, E, C> = (Arc<[R]>, Vec<Reply<T, E, C>>);

/// What came of a call.
enum Called<T, E> {
    Replied(BatchReply<T, E>),
    /// All records were withdrawn before the permit came.
    Withdrawn,
}

impl<T, E> Observe for Called<T, E> {
    fn observe(&self) -> Observation {
        match self {
            Called::Replied(reply) => reply.observe(),
            Called::Withdrawn => Observation::Unneeded,
        }
    }
}

impl<R, T, E, C> Batches<R, T, E, C>
where
    R: Send + Sync + 'static,
    T: Send + 'static,
    E: Send + 'static,
    C: Observe + Send + Sync + 'static,
{
    pub(super) fn new(
        limiter: Limiter,
        request: Acquire,
        bounds: BatchBounds,
        send: SendBatch<R, T, E, C>,
    ) -> Self {
        let intake = Mutex::new(Intake { open: None, closed: false });
        let places = Arc::new(Semaphore::new(bounds.batches as usize));
        let limiter = Mutex::new(limiter.patient_by_default());
        Batches { limiter, request, bounds, send, intake, places }
    }

    pub(super) fn be_patient_for(&self, patience: Duration) {
        let mut limiter = self.limiter.lock();
        *limiter = limiter.clone().patience(patience);
    }

    /// Puts a record into a batch, as soon as there is one for it.
    pub(super) async fn add(self: &Arc<Self>, record: R) -> Result<Awaited<T, E, C>, BatchError<E, C>> {
        let (reply, awaited) = oneshot::channel();
        let entry = Entry { record, reply };
        let mut place = None;
        loop {
            {
                let mut intake = self.intake.lock();
                if intake.closed {
                    return Err(BatchError::Closed);
                }
                let free = || self.places.clone().try_acquire_owned().ok();
                if intake.open.is_some() {
                    self.put(&mut intake, entry);
                    return Ok(awaited);
                }
                if let Some(place) = place.or_else(free) {
                    let batch = Arc::new(Batch { entries: Mutex::default(), due: Notify::new() });
                    tokio::spawn(self.clone().run(batch.clone(), place));
                    intake.open = Some(batch);
                    self.put(&mut intake, entry);
                    return Ok(awaited);
                }
            }
            let freed = self.places.clone().acquire_owned().await;
            place = Some(freed.expect("nobody closes the semaphore"));
        }
    }

    /// Into the batch that is open, which it may fill.
    fn put(&self, intake: &mut Intake<R, T, E, C>, entry: Entry<R, T, E, C>) {
        intake.open.take_if(|batch| {
            let mut entries = batch.entries.lock();
            entries.push(entry);
            let full = entries.len() >= self.bounds.size;
            if full {
                batch.due.notify_one();
            }
            full
        });
    }

    /// From the first record to the results; holds its place until then.
    async fn run(self: Arc<Self>, batch: Arc<Batch<R, T, E, C>>, _place: OwnedSemaphorePermit) {
        // Full, closed, or open for long enough: it goes in any case.
        let _ = timeout(self.bounds.linger, batch.due.notified()).await;
        let mut sealed = None;
        let send = |permit| {
            let (records, _) = sealed.get_or_insert_with(|| self.seal(&batch));
            let sending = (!records.is_empty()).then(|| (self.send)(permit, records.clone()));
            async move {
                match sending {
                    Some(sending) => sending.await.map(Called::Replied),
                    None => Ok(Called::Withdrawn),
                }
            }
        };
        let limiter = self.limiter.lock().clone();
        let result = limiter.call(self.request.times(1), send).await;
        let (_, replies) = sealed.unwrap_or_else(|| self.seal(&batch));
        hand_back(result, replies);
    }

    /// Lets the batch leave, without the records that nobody waits for any more.
    fn seal(&self, batch: &Arc<Batch<R, T, E, C>>) -> Sealed<R, T, E, C> {
        let mut intake = self.intake.lock();
        intake.open.take_if(|open| Arc::ptr_eq(open, batch));
        let entries = mem::take(&mut *batch.entries.lock());
        let awaited = entries.into_iter().filter(|entry| !entry.reply.is_closed());
        let (records, replies): (Vec<R>, Vec<_>) = awaited.map(|entry| (entry.record, entry.reply)).unzip();
        (records.into(), replies)
    }

    /// Takes no more records, and waits until all batches have ended.
    pub(super) async fn close(&self) {
        {
            let mut intake = self.intake.lock();
            intake.closed = true;
            if let Some(batch) = &intake.open {
                batch.due.notify_one();
            }
        }
        let all = self.places.acquire_many(self.bounds.batches).await;
        drop(all.expect("nobody closes the semaphore"));
    }
}

/// Tells each record's owner. Who does not wait any more is not told.
fn hand_back<T, E, C>(result: Result<Called<T, E>, CallError<C>>, replies: Vec<Reply<T, E, C>>) {
    match result {
        Ok(Called::Replied(BatchReply { results, .. })) if results.len() == replies.len() => {
            for (reply, result) in replies.into_iter().zip(results) {
                let _ = reply.send(result.map_err(BatchError::Record));
            }
        }
        Ok(Called::Replied(BatchReply { results, .. })) => {
            let (records, results) = (replies.len(), results.len());
            for reply in replies {
                let _ = reply.send(Err(BatchError::Mismatched { records, results }));
            }
        }
        Ok(Called::Withdrawn) => {}
        Err(error) => {
            let error = Arc::new(error);
            for reply in replies {
                let _ = reply.send(Err(BatchError::Batch(error.clone())));
            }
        }
    }
}
